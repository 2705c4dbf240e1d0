//! Which peers hold the last writes of this life.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::{id::ManagerId, peer::EntryKey};

use super::super::{Output, WriteId};

/// Writes remembered; older ones are held by nobody, as far as is known.
const REMEMBERED: usize = 4_096;

#[derive(Debug, Clone)]
struct Write {
    keys: BTreeSet<EntryKey>,
    revision: u64,
    /// Which of the keys a peer holds; of one that holds all of them, nothing but that.
    parts: BTreeMap<ManagerId, BTreeSet<EntryKey>>,
    holders: BTreeSet<ManagerId>,
}

impl Write {
    /// The peer holds one of the keys. Whether it holds them all now, and did not before.
    fn held(&mut self, key: &EntryKey, peer: &ManagerId) -> bool {
        if self.holders.contains(peer) {
            return false;
        }
        let parts = self.parts.entry(peer.clone()).or_default();
        parts.insert(key.clone());
        parts.len() == self.keys.len() && self.held_whole(peer)
    }

    fn held_whole(&mut self, peer: &ManagerId) -> bool {
        self.parts.remove(peer);
        self.holders.insert(peer.clone())
    }
}

/// The last writes.
#[derive(Debug, Clone, Default)]
pub(super) struct Writes {
    by_id: BTreeMap<WriteId, Write>,
    by_key: BTreeSet<(EntryKey, WriteId)>,
}

impl Writes {
    pub(super) fn add(&mut self, id: WriteId, keys: BTreeSet<EntryKey>, revision: u64) {
        self.by_key.extend(keys.iter().map(|key| (key.clone(), id)));
        let (parts, holders) = (BTreeMap::new(), BTreeSet::new());
        self.by_id.insert(id, Write { keys, revision, parts, holders });
        while self.by_id.len() > REMEMBERED {
            let Some((id, write)) = self.by_id.pop_first() else { return };
            for key in write.keys {
                self.by_key.remove(&(key, id));
            }
        }
    }

    /// The peer holds this entry as it was at that revision of ours.
    pub(super) fn held(
        &mut self,
        key: &EntryKey,
        revision: u64,
        peer: &ManagerId,
        out: &mut Vec<Output>,
    ) {
        let range = (key.clone(), WriteId(0))..=(key.clone(), WriteId(u64::MAX));
        for (_, id) in self.by_key.range(range) {
            let Some(write) = self.by_id.get_mut(id) else { continue };
            if write.revision <= revision && write.held(key, peer) {
                out.push(Output::Acked(*id));
            }
        }
    }

    /// The peer holds everything.
    pub(super) fn all_held(&mut self, peer: &ManagerId, out: &mut Vec<Output>) {
        for (id, write) in &mut self.by_id {
            if !write.holders.contains(peer) && write.held_whole(peer) {
                out.push(Output::Acked(*id));
            }
        }
    }

    pub(super) fn holders(&self, id: WriteId) -> impl Iterator<Item = &ManagerId> {
        self.by_id.get(&id).into_iter().flat_map(|write| &write.holders)
    }
}
