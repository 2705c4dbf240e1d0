//! Arguments and exit codes. The commands against a manager are tested end to end.

use clap::CommandFactory;

use super::*;

fn run_with(arguments: &[&str]) -> (ExitCode, String) {
    let mut out = Vec::new();
    let words = std::iter::once("traffic-manager").chain(arguments.iter().copied());
    let code = run(words.map(OsString::from), &mut out);
    (code, String::from_utf8(out).unwrap())
}

/// `ExitCode` compares only by its text.
fn is(code: ExitCode, expected: u8) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::from(expected))
}

#[test]
fn the_commands_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn usage_errors_are_two_and_help_is_zero() {
    assert!(is(run_with(&["policy", "frobnicate"]).0, 2));
    assert!(is(run_with(&["--help"]).0, 0));
}

#[test]
fn an_unreachable_manager_is_two() {
    // Port 1 on loopback: nothing listens there.
    let (code, _) = run_with(&["status", "--server", "http://127.0.0.1:1"]);
    assert!(is(code, 2));
}

#[test]
fn check_config_tells_what_it_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tm.toml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "id = 'tm-1'\npolicies_file = 'p.yaml'\n").unwrap();
    assert!(is(run_with(&["check-config", path]).0, 1), "the policies file is missing");
    let policies = "apiVersion: weir/v1\npolicies:\n- name: a\n  level: deny\n";
    std::fs::write(folder.path().join("p.yaml"), policies).unwrap();
    let (code, out) = run_with(&["check-config", path]);
    assert!(is(code, 0) && out.contains("ok (id tm-1") && out.contains("1 policies"), "{out}");
    std::fs::write(folder.path().join("p.yaml"), "apiVersion: weir/v1\n").unwrap();
    assert!(is(run_with(&["check-config", path]).0, 1), "the policies file is not valid");
}

#[test]
fn an_invalid_policy_is_one_and_nothing_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    std::fs::write(&file, "name: a\nlevel: nowhere\n").unwrap();
    let server = ["--server", "http://127.0.0.1:1"];
    let file = file.to_str().unwrap();
    assert!(is(run_with(&[&["policy", "apply", "-f", file], &server[..]].concat()).0, 1));
}
