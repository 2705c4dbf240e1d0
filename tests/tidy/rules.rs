//! The rules that one file keeps or breaks, and two about the repository's shape.

use crate::{
    repository::{File, Finding},
    source,
};

const FILE_LINES: usize = 400;
const TEST_FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;

/// Sources of the crates that are functions of (state, input, now).
pub(crate) const PURE: &[&str] = &["proto", "traffic-manager/core", "gateway-agent/core"];

/// The only generated code; it may name the transport.
const GENERATED: &str = "proto/src/wire.rs";

/// Copies of other projects' files, kept as they are.
const THIRD_PARTY: &[&str] =
    &["proto/schema/envoy/", "proto/schema/udpa/", "proto/schema/xds/", "proto/schema/validate/"];

/// The one place where a test may wait.
const WAITING: &str = "tests/support/wait.rs";

const ROOT: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "deploy",
    "gateway-agent",
    "proto",
    "tests",
    "traffic-manager",
];

const IMPURE_CRATES: &[&str] =
    &["axum", "fastrand", "getrandom", "hyper", "rand", "rustls", "tokio", "tonic", "tower"];

const IMPURE_PATHS: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

fn is_rust(file: &File) -> bool {
    file.has_extension(&["rs"])
}

fn is_third_party(file: &File) -> bool {
    THIRD_PARTY.iter().any(|folder| file.path.starts_with(folder))
}

fn is_test_file(file: &File) -> bool {
    let p = &file.path;
    p.starts_with("tests/") || p.contains("/tests/") || p.ends_with("/tests.rs")
}

pub(crate) fn file_length(file: &File) -> Vec<Finding> {
    let limit = if is_test_file(file) { TEST_FILE_LINES } else { FILE_LINES };
    let lines = file.text.lines().count();
    if !is_rust(file) || lines <= limit {
        return Vec::new();
    }
    vec![file.finding(
        limit + 1,
        format!("{lines} lines, at most {limit}: split by noun; move tests to x/tests.rs"),
    )]
}

pub(crate) fn function_length(file: &File) -> Vec<Finding> {
    if !is_rust(file) {
        return Vec::new();
    }
    source::functions(&source::code_only(&file.text))
        .into_iter()
        .filter(|f| f.lines > FUNCTION_LINES)
        .map(|f| {
            let what = format!(
                "fn {} has {} lines, at most {FUNCTION_LINES}: keep the control flow here, move \
                 the steps into functions",
                f.name, f.lines
            );
            file.finding(f.line, what)
        })
        .collect()
}

pub(crate) fn module_docs(file: &File) -> Vec<Finding> {
    let first = file.text.lines().map(str::trim).find(|line| {
        !line.is_empty() && !line.starts_with("#!") && (!line.starts_with("//") || is_docs(line))
    });
    if !is_rust(file) || first.is_some_and(is_docs) {
        return Vec::new();
    }
    vec![file.finding(1, "begin with a //! comment that says why this file exists")]
}

fn is_docs(line: &str) -> bool {
    line.strip_prefix("//!").is_some_and(|rest| !rest.trim().is_empty())
}

pub(crate) fn no_mod_rs(file: &File) -> Vec<Finding> {
    if file.path.ends_with("/mod.rs") {
        return vec![file.finding(1, "name the module x.rs, beside its folder x/")];
    }
    Vec::new()
}

pub(crate) fn pure_imports(file: &File) -> Vec<Finding> {
    let pure = PURE.iter().any(|folder| file.path.starts_with(&format!("{folder}/src/")));
    if !pure || !is_rust(file) || file.path == GENERATED {
        return Vec::new();
    }
    let code = source::code_only(&file.text);
    let imported = source::imports(&code)
        .into_iter()
        .filter_map(|(line, path)| impure(&path).map(|what| (line, what)));
    let named = IMPURE_CRATES
        .iter()
        .map(|name| format!("{name}::"))
        .chain(IMPURE_PATHS.iter().map(|path| (*path).to_owned()))
        .flat_map(|path| {
            let found: Vec<usize> = code
                .match_indices(&path)
                .map(|(at, _)| at)
                .filter(|at| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
                .collect();
            found.into_iter().map(move |at| (at, path.trim_end_matches(':').to_owned()))
        })
        .map(|(at, what)| (source::line_of(&code, at), what));
    let mut found: Vec<(usize, String)> = imported.chain(named).collect();
    found.sort();
    found.dedup();
    found
        .into_iter()
        .map(|(line, what)| {
            let advice = "in a pure crate: take it as an argument, or move this into the shell";
            file.finding(line, format!("{what} {advice}"))
        })
        .collect()
}

/// The impure thing that an import of `path` brings, a glob over its parent included.
fn impure(path: &str) -> Option<String> {
    let within = |whole: &str, part: &str| {
        whole == part || whole.strip_prefix(part).is_some_and(|rest| rest.starts_with("::"))
    };
    let glob = path.strip_suffix("::*");
    IMPURE_CRATES
        .iter()
        .chain(IMPURE_PATHS)
        .find(|bad| within(path, bad) || glob.is_some_and(|parent| within(bad, parent)))
        .map(|bad| (*bad).to_owned())
}

pub(crate) fn whitespace(file: &File) -> Vec<Finding> {
    if !file.has_extension(&["rs", "md", "toml", "proto"]) || is_third_party(file) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (i, line) in file.text.split('\n').enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            found.push(file.finding(i + 1, "remove the white space at the end of the line"));
        }
        if line.contains('\t') {
            found.push(file.finding(i + 1, "replace the tab by spaces (or write \\t)"));
        }
    }
    found
}

pub(crate) fn unfinished(file: &File) -> Vec<Finding> {
    if !is_rust(file) {
        return Vec::new();
    }
    let code: String = source::code_only(&file.text);
    let marks = [
        ("#[ignore", "make the test run everywhere, or delete it"),
        ("todo!", "finish it, or open an issue and leave it out"),
        ("unimplemented!", "finish it, or open an issue and leave it out"),
    ];
    let mut found = Vec::new();
    for (mark, advice) in marks {
        for (at, _) in code.match_indices(mark) {
            found.push(file.finding(source::line_of(&code, at), format!("{mark}: {advice}")));
        }
    }
    found
}

pub(crate) fn sleeps(file: &File) -> Vec<Finding> {
    if !is_rust(file) || file.path == WAITING {
        return Vec::new();
    }
    let code = source::code_only(&file.text);
    let modules = test_modules(&code);
    let in_test = |at: &usize| is_test_file(file) || modules.iter().any(|m| m.contains(at));
    source::words(&code, "sleep")
        .filter(|at| code[at + "sleep".len()..].trim_start().starts_with('('))
        .filter(in_test)
        .map(|at| {
            let what = format!("a sleep only hopes: poll a condition with {WAITING}");
            file.finding(source::line_of(&code, at), what)
        })
        .collect()
}

/// Bodies of `#[cfg(test)]` items.
fn test_modules(code: &str) -> Vec<std::ops::Range<usize>> {
    code.match_indices("#[cfg(test)]")
        .filter_map(|(at, _)| {
            let open = at + code[at..].find(['{', ';'])?;
            (code.as_bytes()[open] == b'{')
                .then(|| open..source::matching_brace(code, open).unwrap_or(code.len()))
        })
        .collect()
}

pub(crate) fn described_services(file: &File) -> Vec<Finding> {
    if !file.has_extension(&["proto"]) || is_third_party(file) {
        return Vec::new();
    }
    let mut above = "";
    let mut found = Vec::new();
    for (i, line) in file.text.lines().map(str::trim).enumerate() {
        if line.starts_with("service ") && !(above.starts_with("//") || above.ends_with("*/")) {
            found.push(file.finding(i + 1, "say above the service what its callers may rely on"));
        }
        above = line;
    }
    found
}

pub(crate) fn root_entries(files: &[File]) -> Vec<Finding> {
    files
        .iter()
        .filter(|file| {
            let top = file.path.split('/').next().unwrap_or_default();
            !top.starts_with('.') && !ROOT.contains(&top)
        })
        .map(|file| file.finding(1, format!("move it: the root holds only {}", ROOT.join(", "))))
        .collect()
}

/// Clippy reads the nearest file and merges nothing: the pure crates' files must be alike, and
/// repeat the root's.
pub(crate) fn clippy_files(files: &[File]) -> Vec<Finding> {
    let text = |folder: &str| {
        let path = format!("{folder}.clippy.toml");
        files.iter().find(|f| f.path == path).map_or("", |f| f.text.as_str())
    };
    let finding = |folder: &str, what: &str| Finding {
        path: format!("{folder}/.clippy.toml"),
        line: 1,
        what: what.to_owned(),
    };
    let root = text("");
    let first = text(&format!("{}/", PURE[0]));
    let mut found = Vec::new();
    for folder in PURE {
        let own = text(&format!("{folder}/"));
        if own.is_empty() {
            found.push(finding(folder, "write it: a pure crate bans clocks, I/O and hash order"));
        } else if own != first {
            found.push(finding(folder, &format!("make it the same as {}/.clippy.toml", PURE[0])));
        }
        for rule in root.lines().filter(|l| !l.starts_with('#') && !own.contains(*l)) {
            found.push(finding(folder, &format!("repeat the root's rule: {}", rule.trim())));
        }
    }
    found
}
