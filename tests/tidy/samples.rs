//! Every rule fires on a bad sample and leaves a good one alone.

use crate::{
    dependencies,
    repository::{File, Finding},
    rules, source,
};

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

/// The lines that `rule` complains of.
fn lines(rule: fn(&File) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
    rule(&file(path, text)).iter().map(|f| f.line).collect()
}

fn texts(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn literals_and_comments_are_no_code() {
    let text = r####"a "b\"c" 'd' '\'' b'e' r#"f"g"# br"h" // i
/* j /* k */ l */ m 'n: loop {} fn<'o>() r#p"####;
    let code = source::code_only(text);
    let left: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(left, ["a", "b", "m", "'n:", "loop", "{}", "fn<'o>()", "r#p"]);
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn functions_are_measured() {
    let code = source::code_only(
        "trait T { fn none(&self); }\nfn one() -> [u8; 2] { [0; 2] }\n\
         fn three(f: fn(u8)) {\n    let s = \"}\"; if s { }\n}\nlet p: fn() = x;",
    );
    let found: Vec<(String, usize, usize)> =
        source::functions(&code).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
    assert_eq!(found, [("one".to_owned(), 2, 1), ("three".to_owned(), 3, 3)]);
}

#[test]
fn imports_are_written_out() {
    let code = "use a::{b, c::{d as e, *}};\npub use ::f;\nlet used = 1;";
    let expected = [(1, "a::b"), (1, "a::c::d"), (1, "a::c::*"), (2, "f")];
    assert_eq!(source::imports(code), expected.map(|(line, path)| (line, path.to_owned())));
}

#[test]
fn long_files_are_found() {
    let text = "x\n".repeat(401);
    assert_eq!(lines(rules::file_length, "proto/src/a.rs", &text), [401]);
    assert_eq!(lines(rules::file_length, "proto/src/a/tests.rs", &text), [0; 0]);
    assert_eq!(lines(rules::file_length, "tests/a.rs", &"x\n".repeat(601)), [601]);
    assert_eq!(lines(rules::file_length, "proto/src/a.rs", &"x\n".repeat(400)), [0; 0]);
}

#[test]
fn long_functions_are_found() {
    let body = |n: usize| format!("\nfn f() {{\n{}}}\n", "x;\n".repeat(n));
    assert_eq!(lines(rules::function_length, "a.rs", &body(69)), [2]);
    assert_eq!(lines(rules::function_length, "a.rs", &body(68)), [0; 0]);
}

#[test]
fn missing_module_docs_are_found() {
    assert_eq!(lines(rules::module_docs, "a.rs", "use a;\n//! Late.\n"), [1]);
    assert_eq!(lines(rules::module_docs, "a.rs", "//!\nuse a;\n"), [1]);
    assert_eq!(lines(rules::module_docs, "a.rs", ""), [1]);
    assert_eq!(lines(rules::module_docs, "a.rs", "// Licence.\n#![a]\n\n//! Why.\n"), [0; 0]);
}

#[test]
fn mod_rs_is_found() {
    assert_eq!(lines(rules::no_mod_rs, "proto/src/a/mod.rs", "//! Why.\n"), [1]);
    assert_eq!(lines(rules::no_mod_rs, "proto/src/a_mod.rs", "//! Why.\n"), [0; 0]);
}

#[test]
fn impure_imports_are_found() {
    let core = "traffic-manager/core/src/a.rs";
    let rule = rules::pure_imports;
    for bad in [
        "use tokio::sync::mpsc;",
        "use std::{collections::BTreeMap, time::{Duration, Instant}};",
        "use std::time::*;",
        "use std::net::TcpStream as T;",
        "fn f() { std::fs::read(p); }",
        "fn f() { rand::random() }",
        "use tonic::Status;",
    ] {
        assert_eq!(lines(rule, core, bad), [1], "{bad}");
        assert_eq!(lines(rule, "proto/src/a.rs", bad), [1], "{bad}");
        assert_eq!(lines(rule, "traffic-manager/src/a.rs", bad), [0; 0], "{bad}");
    }
    let good =
        "use std::{net::IpAddr, time::Duration}; // tokio::spawn\nlet operand::x = \"rand::\";";
    assert_eq!(lines(rule, core, good), [0; 0]);
    assert_eq!(lines(rule, "proto/src/wire.rs", "use tonic::Status;"), [0; 0]);
}

#[test]
fn unclean_text_is_found() {
    assert_eq!(lines(rules::whitespace, "a.md", "ok\ntrailing \n\ttab\nend\r\n"), [2, 3, 4]);
    assert_eq!(lines(rules::whitespace, "a.html", "\t\n"), [0; 0]);
    assert_eq!(lines(rules::whitespace, "proto/schema/xds/a.proto", "// \n"), [0; 0]);
}

#[test]
fn unfinished_work_is_found() {
    let text = "#[ignore = \"slow\"]\nfn a() { todo!() }\nfn b() { unimplemented!() } // todo!\n";
    assert_eq!(lines(rules::unfinished, "a.rs", text), [1, 2, 3]);
    assert_eq!(lines(rules::unfinished, "a.rs", "let s = \"todo!\";"), [0; 0]);
}

#[test]
fn sleeps_in_tests_are_found() {
    let module = "fn a() { sleep(1) }\n#[cfg(test)]\nmod tests {\n    fn b() { t::sleep (1) }\n}\n";
    assert_eq!(lines(rules::sleeps, "gateway-agent/src/a.rs", module), [4]);
    assert_eq!(lines(rules::sleeps, "gateway-agent/src/a/tests.rs", module), [1, 4]);
    assert_eq!(lines(rules::sleeps, "tests/support/wait.rs", module), [0; 0]);
    assert_eq!(lines(rules::sleeps, "tests/a.rs", "fn no_sleep() { asleep(sleeper) }"), [0; 0]);
}

#[test]
fn undescribed_services_are_found() {
    let text = "// Described.\nservice A {\n}\n\nservice B {}\n";
    assert_eq!(lines(rules::described_services, "proto/schema/weir/v1/a.proto", text), [5]);
    assert_eq!(lines(rules::described_services, "proto/schema/envoy/a.proto", text), [0; 0]);
}

#[test]
fn strangers_at_the_root_are_found() {
    let files = ["Cargo.toml", ".deny.toml", ".ci/run", "proto/a.rs", "notes.md", "docs/a.md"];
    let found = rules::root_entries(&files.map(|path| file(path, "")));
    let places: Vec<&str> = found.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(places, ["notes.md", "docs/a.md"]);
}

#[test]
fn diverging_clippy_files_are_found() {
    let (root, pure) = ("# root\na = 1\n", "a = 1\nb = 2\n");
    let files = |agent: &str| {
        [
            file(".clippy.toml", root),
            file("proto/.clippy.toml", pure),
            file("traffic-manager/core/.clippy.toml", pure),
            file("gateway-agent/core/.clippy.toml", agent),
        ]
    };
    assert!(rules::clippy_files(&files(pure)).is_empty());
    let found = texts(&rules::clippy_files(&files("b = 2\n")));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("gateway-agent/core/.clippy.toml:1: make it the same"));
    assert!(found[1].contains("repeat the root's rule: a = 1"));
    assert_eq!(rules::clippy_files(&files("")).len(), 2);
}

fn manifest(name: &str, rest: &str) -> File {
    file(&format!("{name}/Cargo.toml"), &format!("[package]\nname = \"{name}\"\n{rest}"))
}

#[test]
fn wrong_dependencies_are_found() {
    let names = ["weir-proto", "traffic-manager-core", "traffic-manager", "gateway-agent"];
    let with = |bad: File| {
        let mut files: Vec<File> = names.iter().map(|name| manifest(name, "")).collect();
        files.push(bad);
        texts(&dependencies::direction(&files))
    };
    for (name, bad) in [
        ("traffic-manager", "[dependencies]\ngateway-agent.workspace = true"),
        ("traffic-manager", "[dev-dependencies]\ngateway-agent = { path = \"x\" }"),
        ("gateway-agent", "[target.'cfg(unix)'.dependencies]\ntraffic-manager = {}"),
        ("gateway-agent", "[dependencies]\ntm = { package = \"traffic-manager-core\" }"),
        ("weir-proto", "[dependencies]\ntraffic-manager-core = {}"),
        ("weir-proto", "[dependencies]\ntonic = { workspace = true }"),
        ("gateway-agent-core", "[dependencies]\ntonic = { optional = true }"),
        ("gateway-agent-core", "[dependencies]\ntokio = \"1\""),
        ("gateway-agent-core", "[dependencies]\nweir-proto = { features = [\"grpc\"] }"),
    ] {
        let found = with(manifest(name, bad));
        assert_eq!(found.len(), 1, "{name}: {bad}: {found:?}");
        assert!(found[0].contains(":4: "), "{found:?}");
    }
    for (name, good) in [
        ("traffic-manager", "[dependencies]\ntraffic-manager-core = {}\ntokio = \"1\""),
        ("weir-proto", "[dependencies]\ntonic = { optional = true }"),
        ("weir-tests", "[dev-dependencies]\ntraffic-manager = {}\ngateway-agent = {}"),
    ] {
        assert_eq!(with(manifest(name, good)), [""; 0], "{name}");
    }
}
