//! Which peers hold the last writes of this life.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::{id::ManagerId, peer::EntryKey};

use super::super::{Output, WriteId};

/// Writes remembered; older ones are held by nobody, as far as is known.
const REMEMBERED: usize = 4_096;

#[derive(Debug, Clone)]
struct Write {
    key: EntryKey,
    revision: u64,
    holders: BTreeSet<ManagerId>,
}

/// The last writes.
#[derive(Debug, Clone, Default)]
pub(super) struct Writes {
    by_id: BTreeMap<WriteId, Write>,
    by_key: BTreeSet<(EntryKey, WriteId)>,
}

impl Writes {
    pub(super) fn add(&mut self, id: WriteId, key: EntryKey, revision: u64) {
        self.by_key.insert((key.clone(), id));
        self.by_id.insert(id, Write { key, revision, holders: BTreeSet::new() });
        while self.by_id.len() > REMEMBERED {
            if let Some((id, write)) = self.by_id.pop_first() {
                self.by_key.remove(&(write.key, id));
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
            if write.revision <= revision && write.holders.insert(peer.clone()) {
                out.push(Output::Acked(*id));
            }
        }
    }

    /// The peer holds everything.
    pub(super) fn all_held(&mut self, peer: &ManagerId, out: &mut Vec<Output>) {
        for (id, write) in &mut self.by_id {
            if !write.holders.contains(peer) && write.holders.insert(peer.clone()) {
                out.push(Output::Acked(*id));
            }
        }
    }

    pub(super) fn holders(&self, id: WriteId) -> usize {
        self.by_id.get(&id).map_or(0, |write| write.holders.len())
    }
}
