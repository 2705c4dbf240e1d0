//! The repository's own rules, as tests: what a reviewer need not look for.
//!
//! Each message says where and what to do. `tidy/rules.rs` holds the rules, `tidy/samples.rs` shows
//! that each of them fires.

#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/repository.rs"]
mod repository;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/samples.rs"]
mod samples;
#[path = "tidy/source.rs"]
mod source;

use repository::{File, Finding, Repository};

fn enforce(rule: fn(&File) -> Vec<Finding>) {
    let repository = Repository::read();
    report(repository.files().iter().flat_map(rule).collect());
}

fn report(findings: Vec<Finding>) {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn the_repository_is_seen() {
    let repository = Repository::read();
    for path in ["Cargo.toml", "tests/tidy.rs", "proto/src/lib.rs"] {
        assert!(repository.files().iter().any(|f| f.path == path), "{path} was not read");
    }
}

#[test]
fn files_are_short() {
    enforce(rules::file_length);
}

#[test]
fn functions_are_short() {
    enforce(rules::function_length);
}

#[test]
fn every_file_says_why_it_exists() {
    enforce(rules::module_docs);
}

#[test]
fn modules_stand_beside_their_folder() {
    enforce(rules::no_mod_rs);
}

#[test]
fn pure_crates_import_nothing_impure() {
    enforce(rules::pure_imports);
}

#[test]
fn text_is_clean() {
    enforce(rules::whitespace);
}

#[test]
fn nothing_is_ignored_or_unfinished() {
    enforce(rules::unfinished);
}

#[test]
fn tests_never_sleep() {
    enforce(rules::sleeps);
}

#[test]
fn services_are_described() {
    enforce(rules::described_services);
}

#[test]
fn the_root_holds_only_what_belongs_there() {
    report(rules::root_entries(Repository::read().files()));
}

#[test]
fn pure_crates_share_their_clippy_rules() {
    report(rules::clippy_files(Repository::read().files()));
}

#[test]
fn dependencies_point_inwards() {
    report(dependencies::direction(Repository::read().files()));
}
