//! The session with the manager that is followed: names, sequence, and what to say of a counter.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;
use weir_proto::{
    convert::MAX_FRAME_BYTES,
    decision::{CreditEntry, CreditFrame},
    id::ManagerLife,
    key::{CounterKey, MAX_KEY_BYTES},
    matcher::PolicySet,
    policy::Policy,
    time::Time,
    usage::{KeyDef, KeyId, UsageEntry},
};

use crate::{
    counter::Counter,
    message::{ConnectionId, ManagerIndex},
    standing::Standing,
    table::Family,
    usage::{FRAME_ENTRIES, FRAME_NAMES},
};

/// Ids of counters that the agent does not have, but must answer for, begin here.
const FOREIGN: KeyId = 1 << 31;

/// Bytes of an entry beside its key, at most, and of what a frame says once: who attaches, and two views.
const ENTRY: usize = 128;
const ONCE: usize = 1 << 20;
const _: () = assert!(FRAME_ENTRIES * ENTRY + FRAME_NAMES + MAX_KEY_BYTES + ONCE < MAX_FRAME_BYTES);

/// Entries in frames that a manager takes, however long their keys are: none if there are none.
pub fn frames(entries: Vec<(CounterKey, CreditEntry)>) -> Vec<Vec<(CounterKey, CreditEntry)>> {
    let mut frames: Vec<Vec<_>> = Vec::new();
    let mut names = 0;
    for entry in entries {
        let full = |frame: &Vec<_>| frame.len() >= FRAME_ENTRIES || names >= FRAME_NAMES;
        if frames.last().is_none_or(full) {
            frames.push(Vec::new());
            names = 0;
        }
        names += entry.0.as_bytes().len();
        if let Some(frame) = frames.last_mut() {
            frame.push(entry);
        }
    }
    frames
}

/// One session.
#[derive(Debug, Clone)]
pub struct Session {
    /// With whom.
    pub manager: ManagerIndex,
    /// On which stream.
    pub connection: ConnectionId,
    /// Who answers, once it has.
    pub life: Option<ManagerLife>,
    /// Last decision revision applied.
    pub applied: u64,
    /// Policies of an update that is still arriving.
    pub arriving: Option<BTreeMap<String, std::sync::Arc<Policy>>>,
    /// The snapshot is complete.
    pub ready: bool,
    seq: u64,
    defined: HashMap<KeyId, CounterKey, FixedState>,
    names: HashMap<KeyId, CounterKey, FixedState>,
}

impl Session {
    /// A session on which nothing was said.
    pub fn new(manager: ManagerIndex, connection: ConnectionId) -> Self {
        Session {
            manager,
            connection,
            life: None,
            applied: 0,
            arriving: None,
            ready: false,
            seq: 0,
            defined: HashMap::default(),
            names: HashMap::default(),
        }
    }

    /// The next frame, with these entries.
    pub fn frame(
        &mut self,
        now: Time,
        stamp: u64,
        entries: Vec<(CounterKey, CreditEntry)>,
    ) -> CreditFrame {
        self.seq += 1;
        let mut frame = CreditFrame {
            seq: self.seq,
            now,
            applied: self.applied,
            stamp,
            ..CreditFrame::default()
        };
        for (key, entry) in entries {
            let known = self.defined.insert(entry.key, key.clone());
            if known.as_ref() != Some(&key) {
                frame.keys.push(KeyDef { id: entry.key, key });
            }
            frame.entries.push(entry);
        }
        frame
    }

    /// The manager names counters.
    pub fn learn(&mut self, defs: Vec<KeyDef>) {
        for def in defs {
            self.names.insert(def.id, def.key);
        }
    }

    /// What the manager calls `id`.
    pub fn named(&self, id: KeyId) -> Option<&CounterKey> {
        self.names.get(&id)
    }

    /// Whether the number may name another counter from now on.
    pub fn undefine(&mut self, id: KeyId) {
        self.defined.remove(&id);
    }
}

/// What to say of a counter. From then on its ceiling is explicit on both sides.
pub fn entry(
    counter: &mut Counter,
    family: &Family,
    policies: &PolicySet,
    standing: &Standing,
    asking: bool,
    now: Time,
) -> CreditEntry {
    let limit = policies
        .get(&family.policy)
        .and_then(|policy| policy.limit(&family.limit, counter.parts()))
        .map(|limit| limit.capacity);
    // Use beyond the ceiling (the floor of `balanced`) does not lift it.
    let ceiling = limit.map_or(counter.used, |amount| counter.ceiling(amount, family, standing));
    counter.fix_ceiling(ceiling);
    let mut want = 0;
    if asking {
        // Twice what came since the last word: enough for the round trip, whatever its length.
        want = counter.asked(now).saturating_mul(2).max(1).min(limit.unwrap_or(0));
    }
    let recent = if family.rolling { counter.recent(family.length(), now) } else { 0 };
    CreditEntry {
        key: counter.id,
        window: counter.window,
        used: counter.used,
        ceiling,
        want,
        recent,
        rejected: counter.rejected(),
    }
}

/// A window that has ended: nothing more is admitted in it.
pub fn ended(entry: &UsageEntry) -> CreditEntry {
    CreditEntry {
        key: entry.key,
        window: entry.window,
        used: entry.used,
        ceiling: entry.used,
        want: 0,
        recent: 0,
        rejected: entry.rejected,
    }
}

/// The answer for a counter that this agent does not have: it holds nothing.
pub fn nothing(id: KeyId, window: weir_proto::time::WindowStart) -> CreditEntry {
    CreditEntry { key: FOREIGN | id, window, used: 0, ceiling: 0, want: 0, recent: 0, rejected: 0 }
}

#[cfg(test)]
mod tests {
    use weir_proto::time::WindowStart;

    use super::*;

    #[test]
    fn long_keys_make_more_frames_and_nothing_is_left_out() {
        let part = "k".repeat(1_000);
        let amounts = |n| CreditEntry {
            key: 0,
            window: WindowStart(n),
            used: 1,
            ceiling: 1,
            want: 0,
            recent: 0,
            rejected: 0,
        };
        let entry = |n: u64| {
            let first = format!("{n:0>6}");
            let parts: Vec<&str> =
                [first.as_str()].into_iter().chain([part.as_str(); 15]).collect();
            (CounterKey::new("p", "requests/1m", &parts).expect("a key"), amounts(n))
        };
        let all: Vec<_> = (0..5_000).map(entry).collect();
        let cut = frames(all.clone());
        let bytes = |frame: &Vec<(CounterKey, CreditEntry)>| -> usize {
            frame.iter().map(|(key, _)| key.as_bytes().len()).sum()
        };
        assert!(cut.iter().all(|frame| bytes(frame) <= FRAME_NAMES + MAX_KEY_BYTES));
        assert!(cut.len() > 50, "{}", cut.len());
        assert_eq!(cut.concat(), all);
        assert!(frames(Vec::new()).is_empty());
    }
}
