//! What was prepared: entries to store, and what to tell once they are.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use weir_proto::{id::ManagerLife, peer::EntryKey, time::Time};

use super::{
    WriteId,
    entries::{State, entry},
    held, key,
};

/// Prepared, and not yet true: commit [`Change::writes`] to the store, then
/// [apply](super::Replica::apply) it; or drop it, and nothing has happened. One at a time: prepare the
/// next one after the former one was applied or dropped.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Joined with what was there.
    pub(super) staged: BTreeMap<EntryKey, State>,
    pub(super) removed: Vec<EntryKey>,
    /// What is staged lacks losers that were too old by then.
    pub(super) swept: Option<Time>,
    /// The new highest number of a register that was swept.
    pub(super) floor: Option<u64>,
    pub(super) received: Option<Received>,
    /// Which policies this life writes.
    pub(super) write: Option<(WriteId, BTreeSet<EntryKey>)>,
    /// Losers and entries that had no room.
    pub(super) dropped: u64,
    pub(super) refused: u64,
}

/// Where entries came from.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) from: ManagerLife,
    pub(super) number: u64,
    /// What came, whether it was news or not.
    pub(super) arrived: Vec<EntryKey>,
    /// What the sender has as we shall have it.
    pub(super) known: Vec<EntryKey>,
    /// What there is no room for.
    pub(super) refused: Vec<EntryKey>,
}

impl Change {
    /// What the store commits, atomically: key and value; `None` = remove.
    pub fn writes(&self) -> impl Iterator<Item = (Bytes, Option<Bytes>)> + '_ {
        let stored = self.staged.iter().filter_map(|(key, state)| {
            let value = key::value(&entry(key, state)?);
            Some((key::encode(key), Some(value)))
        });
        let removed = self.removed.iter().map(|key| (key::encode(key), None));
        let floor =
            self.floor.map(|floor| (Bytes::from_static(key::FLOOR), Some(key::floor(floor))));
        stored.chain(removed).chain(floor)
    }

    /// Leaves out every entry whose key and value do not pass `fits`, as if there were no room for it: a peer
    /// that sent it is told so, and sends on what comes after it. Returns what was left out, in words.
    pub fn retain(&mut self, fits: impl Fn(&[u8], &[u8]) -> bool) -> Vec<String> {
        let mut out = Vec::new();
        let entries = self.staged.iter().filter_map(|(key, state)| Some((key, entry(key, state)?)));
        for (key, entry) in entries {
            if !fits(&key::encode(key), &key::value(&entry)) {
                out.push(key.clone());
            }
        }
        for key in &out {
            self.staged.remove(key);
        }
        self.refused += out.len() as u64;
        let names = out.iter().map(|key| key::readable(&key::encode(key))).collect();
        if let Some(received) = &mut self.received {
            received.known.retain(|key| !out.contains(key));
            received.refused.extend(out);
        }
        names
    }

    /// Both together, to be committed as one. They must be about different entries; records of one change
    /// are prepared by one call.
    #[must_use]
    pub fn and(mut self, mut other: Change) -> Change {
        self.staged.append(&mut other.staged);
        self.removed.append(&mut other.removed);
        self.swept = self.swept.or(other.swept);
        self.floor = self.floor.max(other.floor);
        self.received = self.received.or(other.received);
        self.write = match (self.write, other.write) {
            (Some((id, mut keys)), Some((_, more))) => {
                keys.extend(more);
                Some((id, keys))
            }
            (one, other) => one.or(other),
        };
        self.dropped += other.dropped;
        self.refused += other.refused;
        self
    }

    /// The entity tag of the version that this writes of a policy; `None` for a deletion, and where it
    /// writes none of that policy.
    pub fn tag(&self, policy: &str) -> Option<String> {
        let of = |key: &EntryKey| matches!(key, EntryKey::Policy(name) if name.as_str() == policy);
        let (_, state) = self.staged.iter().find(|(key, _)| of(key))?;
        let State::Policy(rivals) = state else { return None };
        let (hash, version) = rivals.winner()?;
        version.body.is_some().then(|| held::tag(version, hash))
    }

    /// Nothing to commit; it is to be applied all the same.
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty() && self.removed.is_empty() && self.floor.is_none()
    }

    /// Names the write, all policies in it, for [`Replica::holders`](super::Replica::holders); `None` for what came from
    /// peers, and for records.
    pub fn write(&self) -> Option<WriteId> {
        self.write.as_ref().map(|(id, _)| *id)
    }
}
