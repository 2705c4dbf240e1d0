//! The replicated map: every entry, by key and by age, and its digests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use weir_proto::{
    peer::{Audit, AuditKey, Entry, EntryKey, Usage, UsageKey},
    policy::PolicyName,
    time::Time,
};

use super::{conflict::Rivals, digest::Digests, hash, key};

/// An entry in its joined state.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    Policy(Rivals),
    Audit(Arc<Audit>),
    Usage(Usage),
}

impl State {
    /// What a peer or the store has.
    pub(super) fn of(entry: Entry) -> (EntryKey, State) {
        let key = entry.key();
        let state = match entry {
            Entry::Policy(_, register) => State::Policy(Rivals::of(register)),
            Entry::Audit(_, audit) => State::Audit(audit),
            Entry::Usage(_, usage) => State::Usage(usage),
        };
        (key, state)
    }

    /// Takes in what `other` has. Returns how many losers had no room.
    pub(super) fn join(&mut self, other: State) -> u64 {
        match (self, other) {
            (State::Policy(ours), State::Policy(theirs)) => return ours.join(theirs),
            // Immutable; should two ever differ, all managers keep the same one.
            (State::Audit(ours), State::Audit(theirs)) => {
                *ours = Arc::clone(ours).max(theirs);
            }
            (State::Usage(ours), State::Usage(theirs)) => {
                ours.join(&theirs);
            }
            // A key says of which kind its entry is.
            _ => {}
        }
        0
    }

    fn hash(&self, key: u64) -> u64 {
        match self {
            State::Policy(rivals) => hash::of_rivals(key, rivals),
            State::Audit(audit) => hash::of_audit(key, audit),
            State::Usage(usage) => hash::of_usage(key, usage),
        }
    }
}

/// As peers and the store take it.
pub(super) fn entry(key: &EntryKey, state: &State) -> Option<Entry> {
    match (key, state) {
        (EntryKey::Policy(name), State::Policy(rivals)) => {
            Some(Entry::Policy(name.clone(), rivals.register()))
        }
        (EntryKey::Audit(key), State::Audit(audit)) => {
            Some(Entry::Audit(key.clone(), audit.clone()))
        }
        (EntryKey::Usage(key), State::Usage(usage)) => {
            Some(Entry::Usage(key.clone(), usage.clone()))
        }
        _ => None,
    }
}

/// Records in the order in which they are given up: time, then key.
pub(super) type ByAge<K> = BTreeSet<(u64, K)>;

/// All entries.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    policies: BTreeMap<PolicyName, Rivals>,
    audit: BTreeMap<AuditKey, Arc<Audit>>,
    audit_by_age: ByAge<AuditKey>,
    usage: BTreeMap<Arc<UsageKey>, Usage>,
    usage_by_age: ByAge<Arc<UsageKey>>,
    digests: Digests,
}

impl Entries {
    /// One entry's state.
    pub(super) fn get(&self, key: &EntryKey) -> Option<State> {
        match key {
            EntryKey::Policy(name) => self.policies.get(name).cloned().map(State::Policy),
            EntryKey::Audit(key) => self.audit.get(key).cloned().map(State::Audit),
            EntryKey::Usage(key) => self.usage.get(key).cloned().map(State::Usage),
        }
    }

    /// Whether there is such an entry.
    pub(super) fn has(&self, key: &EntryKey) -> bool {
        match key {
            EntryKey::Policy(name) => self.policies.contains_key(name),
            EntryKey::Audit(key) => self.audit.contains_key(key),
            EntryKey::Usage(key) => self.usage.contains_key(key),
        }
    }

    /// Joins the entry; with `sweep`, without losers that were too old by then.
    pub(super) fn join(&mut self, key: &EntryKey, state: State, sweep: Option<(Duration, Time)>) {
        let mut joined = state;
        if let Some(ours) = self.get(key) {
            joined.join(ours);
        }
        if let (State::Policy(rivals), Some((hold, at))) = (&mut joined, sweep) {
            rivals.sweep(hold, at);
        }
        let hash = hash::of_key(&key::encode(key));
        self.digests.set(hash, Some((key.clone(), joined.hash(hash))));
        match (key, joined) {
            (EntryKey::Policy(name), State::Policy(rivals)) => {
                self.policies.insert(name.clone(), rivals);
            }
            (EntryKey::Audit(key), State::Audit(audit)) => {
                if let Some(old) = self.audit.get(key) {
                    self.audit_by_age.remove(&(old.at.as_micros(), key.clone()));
                }
                self.audit_by_age.insert((audit.at.as_micros(), key.clone()));
                self.audit.insert(key.clone(), audit);
            }
            (EntryKey::Usage(key), State::Usage(usage)) => {
                self.usage_by_age.insert((key.end_secs(), key.clone()));
                self.usage.insert(key.clone(), usage);
            }
            _ => {}
        }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, key: &EntryKey) {
        self.digests.set(hash::of_key(&key::encode(key)), None);
        match key {
            EntryKey::Policy(name) => {
                self.policies.remove(name);
            }
            EntryKey::Audit(key) => {
                if let Some(old) = self.audit.remove(key) {
                    self.audit_by_age.remove(&(old.at.as_micros(), key.clone()));
                }
            }
            EntryKey::Usage(key) => {
                self.usage.remove(key);
                self.usage_by_age.remove(&(key.end_secs(), key.clone()));
            }
        }
    }

    /// The registers, by name.
    pub(super) fn policies(&self) -> &BTreeMap<PolicyName, Rivals> {
        &self.policies
    }

    /// One register.
    pub(super) fn rivals(&self, name: &str) -> Option<&Rivals> {
        self.policies.get(name)
    }

    /// Audit records, the newest first.
    pub(super) fn audit(&self) -> impl Iterator<Item = (&AuditKey, &Audit)> {
        let newest = self.audit_by_age.iter().rev();
        newest.filter_map(|(_, key)| self.audit.get(key).map(|audit| (key, &**audit)))
    }

    /// Usage records, the newest period first.
    pub(super) fn usage(&self) -> impl Iterator<Item = (&UsageKey, &Usage)> {
        let newest = self.usage_by_age.iter().rev();
        newest.filter_map(|(_, key)| self.usage.get(key).map(|usage| (&**key, usage)))
    }

    /// One usage record.
    pub(super) fn usage_of(&self, key: &UsageKey) -> Option<&Usage> {
        self.usage.get(key)
    }

    /// Audit records, the first to go first.
    pub(super) fn audit_by_age(&self) -> &ByAge<AuditKey> {
        &self.audit_by_age
    }

    /// Usage records, the first to go first.
    pub(super) fn usage_by_age(&self) -> &ByAge<Arc<UsageKey>> {
        &self.usage_by_age
    }

    /// The digests.
    pub(super) fn digests(&self) -> &Digests {
        &self.digests
    }
}
