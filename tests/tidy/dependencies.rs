//! The dependency direction: shells on their core, cores on `proto`, the two sides never on each
//! other. Read from the manifests, so that a forbidden edge fails before anything uses it.

use toml::{Table, Value};

use crate::repository::{File, Finding};

/// What a package of this repository may depend on, of this repository. Tests, benches and the
/// quickstart are not named: they may use all. The simulator drives both cores, and is a command of
/// the manager's program: that is the one way on which the manager meets the agent's core.
const INWARDS: &[(&str, &[&str])] = &[
    ("weir-proto", &[]),
    ("traffic-manager-core", &["weir-proto"]),
    ("gateway-agent-core", &["weir-proto"]),
    ("weir-simulator", &["gateway-agent-core", "traffic-manager-core", "weir-proto"]),
    ("traffic-manager", &["traffic-manager-core", "weir-proto", "weir-simulator"]),
    ("gateway-agent", &["gateway-agent-core", "weir-proto"]),
];

const PURE: &[&str] = &["weir-proto", "traffic-manager-core", "gateway-agent-core"];

/// Runtime, transport, entropy: not for a pure crate. The second list may be optional in
/// `weir-proto`, for the shells' generated clients and servers.
const IMPURE: &[&str] = &[
    "async-nats",
    "axum",
    "fastrand",
    "getrandom",
    "hyper",
    "hyper-util",
    "rand",
    "redb",
    "rustls",
    "tokio",
    "tokio-stream",
    "tower",
];
const TRANSPORT: &[&str] = &["tonic", "tonic-prost"];

const KINDS: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

struct Manifest<'a> {
    file: &'a File,
    table: Table,
    name: String,
}

pub(crate) fn direction(files: &[File]) -> Vec<Finding> {
    let manifests: Vec<Manifest<'_>> =
        files.iter().filter(|f| f.path.ends_with("Cargo.toml")).filter_map(parse).collect();
    let ours: Vec<&str> = manifests.iter().map(|m| m.name.as_str()).collect();
    manifests.iter().flat_map(|m| check(m, &ours)).collect()
}

/// A manifest with a package in it; the workspace's has none.
fn parse(file: &File) -> Option<Manifest<'_>> {
    let table: Table = file.text.parse().unwrap_or_else(|e| panic!("{}: not TOML: {e}", file.path));
    let name = table.get("package")?.get("name")?.as_str()?.to_owned();
    Some(Manifest { file, table, name })
}

fn check(manifest: &Manifest<'_>, ours: &[&str]) -> Vec<Finding> {
    let Some((_, allowed)) = INWARDS.iter().find(|(name, _)| *name == manifest.name) else {
        return Vec::new();
    };
    let pure = PURE.contains(&manifest.name.as_str());
    let mut found = Vec::new();
    for (kind, key, spec) in dependencies(&manifest.table) {
        let name = spec.get("package").and_then(Value::as_str).unwrap_or(key);
        let optional = spec.get("optional").and_then(Value::as_bool).unwrap_or(false);
        let transport = TRANSPORT.contains(&name) && !(manifest.name == "weir-proto" && optional);
        let what = if ours.contains(&name) && !allowed.contains(&name) {
            format!("{} must not depend on {name}: move what both need to proto", manifest.name)
        } else if pure && kind == "dependencies" && (IMPURE.contains(&name) || transport) {
            format!("{name} in a pure crate: move what needs it into the shell")
        } else if pure && enables_grpc(spec) {
            format!("{} must not enable {name}'s grpc feature: that is the shell's", manifest.name)
        } else {
            continue;
        };
        found.push(manifest.file.finding(line_of_key(&manifest.file.text, key), what));
    }
    found
}

fn enables_grpc(spec: &Value) -> bool {
    let features = spec.get("features").and_then(Value::as_array);
    features.is_some_and(|list| list.iter().any(|f| f.as_str() == Some("grpc")))
}

/// Every dependency of every kind, those of single targets included.
fn dependencies(table: &Table) -> Vec<(&'static str, &str, &Value)> {
    let targets = table.get("target").and_then(Value::as_table);
    let tables = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    std::iter::once(table)
        .chain(tables)
        .flat_map(|table| KINDS.iter().map(move |kind| (*kind, table.get(*kind))))
        .filter_map(|(kind, list)| Some((kind, list?.as_table()?)))
        .flat_map(|(kind, list)| list.iter().map(move |(key, spec)| (kind, key.as_str(), spec)))
        .collect()
}

fn line_of_key(text: &str, key: &str) -> usize {
    let is_key = |line: &str| {
        line.trim_start()
            .strip_prefix(key)
            .is_some_and(|rest| rest.trim_start().starts_with(['=', '.']))
    };
    text.lines().position(is_key).map_or(1, |i| i + 1)
}
