//! Real programs that tests talk to: where they are, and what happens when one is missing.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The program that the environment variable names; `tests/run` installs it and sets the variable.
#[expect(clippy::disallowed_methods, reason = "tests/run tells where the peers are")]
pub(crate) fn peer(variable: &str, what: &str) -> Result<PathBuf, String> {
    let help = format!("run tests/run, or set {variable} to the program of {what}");
    match env::var_os(variable).map(PathBuf::from) {
        None => Err(format!("{what} is missing: {help}")),
        Some(path) if path.is_file() => Ok(path),
        Some(path) => Err(format!("{variable}={}: no such program; {help}", path.display())),
    }
}

/// Prometheus' checker of metrics and rules.
pub(crate) fn promtool_binary() -> Result<PathBuf, String> {
    peer("WEIR_PROMTOOL", "promtool")
}

/// A program that the system provides, from `PATH` or the administrator's folders.
#[expect(clippy::disallowed_methods, reason = "PATH tells where the system's programs are")]
pub(crate) fn system_binary(name: &str) -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder: PathBuf| Path::join(&folder, name))
        .find(|program| program.is_file())
        .ok_or_else(|| format!("{name} is missing: run tests/run, or install it"))
}

/// The peer, or `None` where its tests are skipped: `let Some(envoy) = or_skip(envoy_binary()) else
/// { return };`
///
/// # Panics
/// In continuous integration: a missing peer is a failure there.
#[track_caller]
pub(crate) fn or_skip<T>(peer: Result<T, String>) -> Option<T> {
    match peer {
        Ok(peer) => Some(peer),
        Err(why) if in_ci() => panic!("{why}"),
        Err(why) => {
            eprintln!("skipped: {why}");
            None
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the convention of every CI service")]
fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}
