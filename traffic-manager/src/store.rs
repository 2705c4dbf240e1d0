//! Where a manager keeps what must outlive it: one trait, and who implements it.
//!
//! | module | holds |
//! |---|---|
//! | `redb` | the embedded store: one file in `data_dir` |
//! | `postgres` | PostgreSQL, of `[store] url` (feature `postgres`) |
//! | `memory` | nothing that outlives the process, for `data_dir = ":memory:"` |
//! | `handle` | the asynchronous face: a thread that owns a store, its queue, joint commits |
//! | `refusals` | how often commits were refused, and why |
//! | `place`, `restore` | opening what the configuration names; from a backup to a store |
//! | `copy` | a backup of a store that is in use |
//! | `batch`, `error`, `doubt` | a change; why it was refused; what to do when that is not known |
//!
//! All implementations pass one suite of tests (`tests/store/conformance.rs`).

use std::path::Path;

use weir_proto::{id::ManagerId, time::Time};

#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresPlace, PostgresStore};
pub use self::{
    batch::{Batch, MAX_KEY, MAX_VALUE, Table, fits},
    copy::Copied,
    error::StoreError,
    handle::{Record, StoreHandle},
    memory::MemoryStore,
    place::Place,
    redb::RedbStore,
    refusals::Refusals,
    restore::{inspect, restore},
};

mod batch;
mod copy;
mod doubt;
mod error;
mod handle;
mod memory;
mod place;
#[cfg(feature = "postgres")]
mod postgres;
mod redb;
mod refusals;
mod restore;

/// The layout of stores that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// Takes one record at a time: its table, key and value.
pub type Visit<'a> = dyn FnMut(Table, &[u8], &[u8]) -> Result<(), StoreError> + 'a;

/// Keeps records. Blocking: it lives on a thread of its own (see [`StoreHandle`]).
pub trait Store: Send {
    /// Whose store it is.
    fn identity(&self) -> &Identity;

    /// Shows every record to `visit`, those of a table together and in the order of their keys.
    ///
    /// # Errors
    /// The store cannot be read, or `visit` refused a record: its error is handed on.
    fn load(&mut self, visit: &mut Visit<'_>) -> Result<(), StoreError>;

    /// Writes a batch: all of it, and durable on return. On an error nothing of it is there, and
    /// the next commit may succeed.
    ///
    /// # Errors
    /// Why nothing was written.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// Whether no call can help any more, and only a new life of the manager can: what it has in its
    /// memory may differ from what is stored.
    fn is_over(&self) -> bool {
        false
    }

    /// Examines the whole store.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    fn check(&mut self) -> Result<Report, StoreError>;

    /// All records, to be read on another thread while this store goes on to commit: as of one moment,
    /// this one or a later one before the first record is shown. Reads no record, and so takes no time
    /// that a commit would notice.
    ///
    /// # Errors
    /// The store cannot be read.
    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StoreError>;

    /// Copies all records into a new file, as of one moment. The file is a store of the embedded
    /// kind, whatever this one is; it appears whole or not at all, and replaces nothing.
    ///
    /// # Errors
    /// `to` exists, or cannot be written; or this store cannot be read.
    fn backup(&mut self, to: &Path) -> Result<(), StoreError> {
        let identity = self.identity().clone();
        let mut snapshot = self.snapshot()?;
        redb::write_new(to, &identity, &mut |visit| snapshot.load(visit))
    }
}

/// The records of a store as of one moment, whatever is committed since. Blocking.
pub trait Snapshot: Send {
    /// Shows every record to `visit`, as [`Store::load`] does.
    ///
    /// # Errors
    /// It cannot be read (any more: the store was closed, or failed and was opened anew); or `visit`
    /// refused a record.
    fn load(&mut self, visit: &mut Visit<'_>) -> Result<(), StoreError>;

    /// How many bytes a copy takes at most, about; `None` where that is not known.
    fn size(&self) -> Option<u64>;
}

/// Whose store it is; written into it when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The manager. A store of another one is refused: two managers with one disk are a mistake.
    pub manager: ManagerId,
    /// Manager time at which the store was made.
    pub created: Time,
}

/// What [`Store::check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose store it is.
    pub identity: Identity,
    /// Its layout.
    pub format: u32,
    /// Records of each table, in the order of [`Table::ALL`].
    pub records: [u64; Table::ALL.len()],
    /// Bytes of all keys and values.
    pub bytes: u64,
    /// Bytes on the disk, as far as it is known.
    pub size: Option<u64>,
}
