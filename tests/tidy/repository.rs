//! Which files the repository consists of, and how a finding in one is told.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A text file; its path is relative to the root, with `/` between the parts.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn has_extension(&self, wanted: &[&str]) -> bool {
        Path::new(&self.path).extension().is_some_and(|e| wanted.iter().any(|w| e == *w))
    }

    pub(crate) fn finding(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, what: what.into() }
    }
}

/// What breaks a rule, where, and what to do.
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

pub(crate) struct Repository {
    files: Vec<File>,
}

impl Repository {
    /// The files that git tracks or would track; without git, all files but build output.
    /// What is not text has an empty text.
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let paths = git_files(&root).unwrap_or_else(|| walk(&root));
        let files = paths
            .into_iter()
            .filter(|p| root.join(p).is_file())
            .map(|path| File {
                text: fs::read_to_string(root.join(&path)).unwrap_or_default(),
                path,
            })
            .collect();
        Self { files }
    }

    pub(crate) fn files(&self) -> &[File] {
        &self.files
    }
}

fn git_files(root: &Path) -> Option<Vec<String>> {
    if !root.join(".git").exists() {
        return None; // an unpacked archive, perhaps inside someone else's repository
    }
    let out = Command::new("git")
        .args(["ls-files", "-coz", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()
        .filter(|out| out.status.success())?;
    let text = String::from_utf8(out.stdout).expect("paths in the repository are UTF-8");
    Some(text.split_terminator('\0').map(str::to_owned).collect())
}

fn walk(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root.join(&folder)).expect("a folder of the repository");
        for entry in entries.map(|e| e.expect("an entry of the repository")) {
            let path = folder.join(entry.file_name());
            let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
            match path.to_str() {
                Some(".git" | "target" | "tests/fuzz/target") => {}
                Some(_) if is_folder => folders.push(path),
                Some(text) => found.push(text.replace('\\', "/")),
                None => panic!("{}: paths in the repository are UTF-8", path.display()),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn git_and_the_walk_agree_on_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let walked = walk(&root);
    for path in git_files(&root).unwrap_or_default() {
        assert!(walked.contains(&path) || !root.join(&path).is_file(), "{path} was not walked");
    }
    assert!(walked.iter().any(|p| p == "tests/tidy/repository.rs"));
}
