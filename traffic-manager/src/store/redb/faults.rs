//! What redb's errors mean to the operator.

use std::path::Path;

use ::redb::Error;

use super::super::StoreError;

/// How a file is named in messages.
pub(super) fn place(file: &Path) -> String {
    file.display().to_string()
}

/// An error while a file is being opened: it may not be ours at all.
pub(super) fn opening(file: &Path, error: Error) -> StoreError {
    let place = place(file);
    match error {
        Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => {
            StoreError::Held { place, holder: "another process".to_owned() }
        }
        Error::UpgradeRequired(version) => StoreError::Foreign {
            place,
            detail: format!("a redb file of version {version}, which this build cannot read"),
        },
        error => working(file, error),
    }
}

/// An error while a store is in use.
pub(super) fn working(file: &Path, error: Error) -> StoreError {
    let place = place(file);
    match error {
        Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            StoreError::Corrupt { place, detail: error.to_string() }
        }
        Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            StoreError::Corrupt { place, detail: "the file is shorter than it says".to_owned() }
        }
        Error::Io(error) => StoreError::from_io(&place, &error),
        Error::Corrupted(detail) => StoreError::Corrupt { place, detail },
        Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => {
            StoreError::Held { place, holder: "another process".to_owned() }
        }
        Error::RepairAborted | Error::TableTypeMismatch { .. } => {
            StoreError::Corrupt { place, detail: error.to_string() }
        }
        error => StoreError::Failed { place, detail: error.to_string() },
    }
}
