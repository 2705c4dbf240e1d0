//! Where the configuration says that the store is.

use std::{fmt, path::PathBuf};

use super::{Identity, MemoryStore, RedbStore, Store, StoreError};
#[cfg(feature = "postgres")]
use super::{PostgresPlace, PostgresStore};

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In memory: it ends with the process.
    Memory,
    /// The embedded store in this folder.
    Folder(PathBuf),
    /// Rows of a database.
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresPlace>),
}

impl Place {
    /// Opens the store; makes it if there is none. Blocks.
    ///
    /// # Errors
    /// It is in use, cannot be reached, or is not fit for use: then it is left as it is.
    pub fn open(&self, identity: &Identity) -> Result<Box<dyn Store>, StoreError> {
        Ok(match self {
            Place::Memory => Box::new(MemoryStore::new(identity.clone())),
            Place::Folder(folder) => Box::new(RedbStore::open(folder, identity)?),
            #[cfg(feature = "postgres")]
            Place::Postgres(place) => Box::new(PostgresStore::open(place, identity)?),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Memory => f.write_str("memory"),
            Place::Folder(folder) => folder.display().fmt(f),
            #[cfg(feature = "postgres")]
            Place::Postgres(place) => place.fmt(f),
        }
    }
}
