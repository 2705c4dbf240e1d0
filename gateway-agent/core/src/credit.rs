//! The session with the manager that is followed: names, sequence, and what to say of a counter.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;
use weir_proto::{
    decision::{CreditEntry, CreditFrame},
    id::ManagerLife,
    key::CounterKey,
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
};

/// Ids of counters that the agent does not have, but must answer for, begin here.
const FOREIGN: KeyId = 1 << 31;

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
