//! Why a store did not do something: the consequence, whose fault it is, and what to do.

use std::io;

/// Why a store did not do something. Whatever it is, nothing of the change was kept, and what was
/// stored before is still there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No space. The operator frees some; then the same change succeeds, without a restart.
    #[error(
        "the store {place} has no space left ({detail}): nothing of this change was kept, and what \
         was stored before is intact; free some space and send it again"
    )]
    Full {
        /// Which store.
        place: String,
        /// What the system said.
        detail: String,
    },
    /// The database cannot be reached now. It passes, or the operator starts the database.
    #[error(
        "the store {place} cannot be reached ({detail}): nothing of this change was kept; it is \
         tried anew with the next change"
    )]
    Unavailable {
        /// Which store.
        place: String,
        /// What the system said.
        detail: String,
    },
    /// Reading or writing failed: the disk, its rights, or the database.
    #[error(
        "the store {place} failed ({detail}): nothing of this change was kept; look at the disk \
         and the rights of {place}"
    )]
    Failed {
        /// Which store.
        place: String,
        /// What the system said.
        detail: String,
    },
    /// Somebody else has it. The operator started two managers with one store.
    #[error(
        "the store {place} is in use by {holder}: one manager at a time may have it; stop that one, \
         or give this one a store of its own"
    )]
    Held {
        /// Which store.
        place: String,
        /// Who has it, as far as it is known.
        holder: String,
    },
    /// Not made by Weir. It is left as it is.
    #[error(
        "{place} is not a store of Weir ({detail}): it is left as it is; move it away, or name \
         another place"
    )]
    Foreign {
        /// What was to be opened.
        place: String,
        /// How it shows.
        detail: String,
    },
    /// Made by a later version. It is left as it is.
    #[error(
        "the store {place} has format {found}, and this version knows formats up to {known}: it is \
         left as it is; use the version that wrote it, or a later one"
    )]
    Newer {
        /// Which store.
        place: String,
        /// Its format.
        found: u32,
        /// The newest known here.
        known: u32,
    },
    /// Damaged. It is left as it is.
    #[error(
        "the store {place} is damaged ({detail}): it is left as it is; move it away, then restore a \
         backup with `traffic-manager store restore`, or start empty and let the peers fill it"
    )]
    Corrupt {
        /// Which store.
        place: String,
        /// What was found.
        detail: String,
    },
    /// Made for another manager.
    #[error(
        "the store {place} is manager {found}'s, and this is manager {me}: give each manager a \
         store of its own, or set id = \"{found}\""
    )]
    OtherManager {
        /// Which store.
        place: String,
        /// Whose it is.
        found: String,
        /// Who wanted it.
        me: String,
    },
    /// There is something already where a new store was to be.
    #[error("{place} exists already: nothing was written; {advice}")]
    Exists {
        /// What exists.
        place: String,
        /// What to do.
        advice: &'static str,
    },
    /// There is no store.
    #[error("there is no store at {place}")]
    Missing {
        /// Where it was looked for.
        place: String,
    },
    /// A record is too large for any store; the caller is at fault.
    #[error("a {what} of {bytes} bytes is too large for the store, which takes {limit}")]
    TooLarge {
        /// Key or value.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The most.
        limit: usize,
    },
    /// A record that the reader does not understand.
    #[error("the store has a record in {table} that cannot be understood ({detail})")]
    Record {
        /// Its table.
        table: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The manager is shutting down, or its store's thread has ended.
    #[error("the store is closed, for the manager is stopping: nothing of this change was kept")]
    Stopped,
}

impl StoreError {
    /// Whether the same call may succeed later, without a change of the call or a restart.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            StoreError::Full { .. } | StoreError::Unavailable { .. } | StoreError::Failed { .. }
        )
    }

    /// It in a few words, without the place and what the system said: for those who may not know them.
    #[must_use]
    pub fn brief(&self) -> &'static str {
        match self {
            StoreError::Full { .. } => "the store has no space left",
            StoreError::Unavailable { .. } => "the store's database cannot be reached",
            StoreError::Failed { .. } => "the store failed",
            StoreError::Stopped => "the store is closed",
            _ => "the store cannot be used",
        }
    }

    /// What an error of the file system means.
    pub(super) fn from_io(place: &str, error: &io::Error) -> Self {
        let (place, detail) = (place.to_owned(), error.to_string());
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => StoreError::Full { place, detail },
            io::ErrorKind::NotFound => StoreError::Missing { place },
            _ => StoreError::Failed { place, detail },
        }
    }
}
