//! What to do when it is not known whether a commit took place.
//!
//! The disk may fail, or the database's connection break, between the moment in which a commit is
//! made and the one in which that is known. Every commit therefore raises a number in the store by
//! one, in the same transaction. Who opens the store again reads it, and knows. A commit that was
//! reported as failed and is there after all is taken back, so that a refused change never appears.

use super::Batch;

/// A commit whose end is not known.
#[derive(Debug)]
pub(super) struct Doubt {
    /// The store's number if it took place.
    pub(super) sequence: u64,
    /// What takes it back.
    pub(super) undo: Batch,
}

impl Doubt {
    /// Whether the commit took place in a store that has this number now.
    pub(super) fn took_place(&self, sequence: u64) -> bool {
        sequence >= self.sequence
    }
}
