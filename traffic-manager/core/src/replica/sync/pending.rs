//! What a peer is not known to hold: keys, never copies of entries, so that it is bounded by what there
//! is.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::{peer::EntryKey, time::Time};

/// Since which change of ours a peer lacks an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) revision: u64,
    pub(super) since: Time,
}

/// Keys that are to be sent, the longest missing first.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending {
    by_key: BTreeMap<EntryKey, Mark>,
    by_age: BTreeSet<(Mark, EntryKey)>,
}

impl Pending {
    /// A key that is there keeps its older mark.
    pub(super) fn insert(&mut self, key: EntryKey, mark: Mark) {
        let mark = match self.remove(&key) {
            Some(old) => old.min(mark),
            None => mark,
        };
        self.by_age.insert((mark, key.clone()));
        self.by_key.insert(key, mark);
    }

    pub(super) fn remove(&mut self, key: &EntryKey) -> Option<Mark> {
        let mark = self.by_key.remove(key)?;
        self.by_age.remove(&(mark, key.clone()));
        Some(mark)
    }

    pub(super) fn has(&self, key: &EntryKey) -> bool {
        self.by_key.contains_key(key)
    }

    pub(super) fn first(&self) -> Option<(Mark, EntryKey)> {
        self.by_age.first().cloned()
    }

    pub(super) fn clear(&mut self) {
        self.by_age.clear();
        self.by_key.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}
