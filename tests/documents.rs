//! What the documents show works: every policy in them, and in the files beside them, is a valid one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use weir_proto::policy::parse_document;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Asserts that the text is a document, or one policy.
#[track_caller]
fn check(what: &str, text: &str) {
    match parse_document(text) {
        Ok(policies) => assert!(!policies.is_empty(), "{what} holds no policy"),
        Err(errors) => panic!("{what}:\n{errors}\n{text}"),
    }
}

#[test]
fn every_policy_file_is_valid() {
    let folder = root().join("deploy/policies");
    let mut found = 0;
    for entry in fs::read_dir(&folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            check(&path.display().to_string(), &read(&path));
            found += 1;
        }
    }
    assert!(found >= 2, "{found} files in {}", folder.display());
}

#[test]
fn every_policy_in_the_documents_is_valid() {
    let mut found = 0;
    for name in ["README.md", "deploy/policies/README.md"] {
        let text = read(&root().join(name));
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        for block in blocks.filter(|block| block.contains("limits:") || block.contains("level:")) {
            check(name, block);
            found += 1;
        }
    }
    assert!(found >= 10, "only {found} policies are shown");
}
