//! Counters by the bytes of their keys.
//!
//! The table holds 32 bits of each key's hash beside the counter's place, so that it grows without
//! reading a key, and a search reads one key: the right one.

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Part of a key's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fingerprint(u32);

impl Fingerprint {
    /// The table chooses by all bits, low and high.
    fn spread(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Places by key.
#[derive(Debug, Clone)]
pub(super) struct Index {
    table: HashTable<(Fingerprint, u32)>,
    /// Keys hold what clients send: whoever does not know the seed cannot make them collide.
    hasher: FixedState,
}

impl Index {
    pub(super) fn new(seed: u64) -> Self {
        Index { table: HashTable::new(), hasher: FixedState::with_seed(seed) }
    }

    /// The fingerprint of a key.
    pub(super) fn fingerprint(&self, key: &[u8]) -> Fingerprint {
        use std::hash::{BuildHasher, Hasher};
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        let hash = hasher.finish();
        Fingerprint(u32::try_from((hash ^ (hash >> 32)) & u64::from(u32::MAX)).unwrap_or(0))
    }

    /// The first place with this fingerprint: nearly always the key's, if the key is known.
    pub(super) fn guess(&self, fingerprint: Fingerprint) -> Option<u32> {
        let found = self.table.find(fingerprint.spread(), |(f, _)| *f == fingerprint);
        found.map(|(_, place)| *place)
    }

    /// The place with this fingerprint for which `is_it` holds.
    pub(super) fn find(
        &self,
        fingerprint: Fingerprint,
        is_it: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let same = |(f, place): &(Fingerprint, u32)| *f == fingerprint && is_it(*place);
        self.table.find(fingerprint.spread(), same).map(|(_, place)| *place)
    }

    /// Adds a place; its key must not be there.
    pub(super) fn insert(&mut self, fingerprint: Fingerprint, place: u32) {
        self.table.insert_unique(fingerprint.spread(), (fingerprint, place), |(f, _)| f.spread());
    }

    /// Takes a place out.
    pub(super) fn remove(&mut self, fingerprint: Fingerprint, place: u32) {
        let found = self.table.find_entry(fingerprint.spread(), |(_, p)| *p == place);
        if let Ok(entry) = found {
            entry.remove();
        }
    }
}
