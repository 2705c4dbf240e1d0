//! What is wrong with a configuration. The operator is at fault; nothing was started.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// One field that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// As in the file: `listen.grpc`.
    pub field: &'static str,
    /// What is wrong, phrased to follow the name of the field.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.message)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, or not ours to read.
    #[error("cannot read {}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Not TOML, a value of a wrong type, or an unknown field; with line and column.
    #[error("{}: {message}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Where and what; without the text that is there, which may be a secret.
        message: String,
    },
    /// Values that the manager cannot run with.
    #[error("{}", list(.file.as_deref(), .faults))]
    Invalid {
        /// The file, if there is one.
        file: Option<PathBuf>,
        /// At least one.
        faults: Vec<Fault>,
    },
}

impl ConfigError {
    /// Says in which file the fault is.
    pub(super) fn in_file(self, name: Option<&Path>) -> Self {
        match self {
            ConfigError::Invalid { faults, .. } => {
                ConfigError::Invalid { file: name.map(Path::to_owned), faults }
            }
            other => other,
        }
    }
}

fn list(file: Option<&Path>, faults: &[Fault]) -> String {
    let place = file.map_or_else(|| "configuration".to_owned(), |file| file.display().to_string());
    let lines: Vec<String> = faults.iter().map(|fault| format!("{place}: {fault}")).collect();
    lines.join("\n")
}
