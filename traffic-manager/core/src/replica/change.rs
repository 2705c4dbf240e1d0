//! What was prepared: entries to store, and what to tell once they are.

use bytes::Bytes;
use weir_proto::{
    id::ManagerLife,
    peer::{Entry, EntryKey},
};

use super::WriteId;

/// Prepared, and not yet true: commit [`Change::writes`] to the store, then
/// [apply](super::Replica::apply) it; or drop it, and nothing has happened. One at a time: prepare the
/// next one after the former one was applied or dropped.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub(super) entries: Vec<Entry>,
    pub(super) removed: Vec<EntryKey>,
    pub(super) ack: Option<(ManagerLife, u64)>,
    pub(super) write: Option<WriteId>,
}

impl Change {
    /// What the store commits, atomically: key and value; `None` = remove.
    pub fn writes(&self) -> impl Iterator<Item = (Bytes, Option<Bytes>)> + '_ {
        std::iter::empty()
    }

    /// Both together, to be committed as one.
    #[must_use]
    pub fn and(mut self, mut other: Change) -> Change {
        self.entries.append(&mut other.entries);
        self.removed.append(&mut other.removed);
        self.ack = self.ack.or(other.ack);
        self.write = self.write.or(other.write);
        self
    }

    /// Nothing to commit; it is to be applied all the same.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.removed.is_empty()
    }

    /// Names the write, for [`Replica::holders`](super::Replica::holders); `None` for what came from
    /// peers.
    pub fn write(&self) -> Option<WriteId> {
        self.write
    }
}
