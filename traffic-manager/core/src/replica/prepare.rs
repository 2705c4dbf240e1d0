//! Preparing changes: what would be, while nothing is changed.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use weir_proto::{
    id::{ManagerId, ManagerLife},
    peer::{
        Audit, AuditKey, Delta, EntryKey, MAX_AUTHOR, MAX_BODY, MAX_DETAIL, MAX_PARTS, MAX_TEXT,
        Usage, UsageKey, VersionHash,
    },
    policy::{Policy, PolicyName},
    time::Time,
};

use super::{
    Change, ConflictId, Record, Replica, TooOld, WriteError, WriteId,
    change::Received,
    conflict::{Draft, Rivals, too_old},
    entries::{ByAge, State},
    plausible,
};

/// The author of versions of the start-up file; real lives have incarnations above zero.
const FILE: &str = "file";

impl Replica {
    /// Prepares a policy's next version, to be created or replaced.
    ///
    /// # Errors
    /// [`WriteError::Full`], [`WriteError::TooLarge`].
    pub fn put(&self, policy: &Policy, author: &str, now: Time) -> Result<Change, WriteError> {
        let body = document(policy)?;
        let max = self.config.max_policies;
        let adds = self.winner(policy.name.as_str()).is_none();
        if (adds && self.held.len() >= max) || !self.has_room(&policy.name, 0) {
            return Err(WriteError::Full { max });
        }
        Ok(self.write(&policy.name, author, Some(body), None, now))
    }

    /// Prepares a policy's deletion; `None` if there is no such policy.
    pub fn delete(&self, name: &str, author: &str, now: Time) -> Option<Change> {
        let (name, rivals) = self.entries.policies().get_key_value(name)?;
        let (_, winner) = rivals.winner()?;
        winner.body.as_ref()?;
        Some(self.write(name, author, None, None, now))
    }

    /// Prepares a version that has a loser's document, and takes the loser out of the log. The document is given
    /// as it must be now: what other policies and resets say since is its caller's to heed.
    ///
    /// # Errors
    /// [`WriteError::NoConflict`], [`WriteError::Deletion`], [`WriteError::Full`], [`WriteError::TooLarge`].
    pub fn restore(
        &self,
        conflict: ConflictId,
        policy: &Policy,
        author: &str,
        now: Time,
    ) -> Result<Change, WriteError> {
        let (name, rivals) = self.find(conflict).ok_or(WriteError::NoConflict)?;
        let loser = rivals.version(&conflict).ok_or(WriteError::NoConflict)?;
        if loser.body.is_none() {
            return Err(WriteError::Deletion);
        }
        let max = self.config.max_policies;
        if self.winner(name.as_str()).is_none() && self.held.len() >= max {
            return Err(WriteError::Full { max });
        }
        Ok(self.write(name, author, Some(document(policy)?), Some(conflict), now))
    }

    /// Prepares a version that has the winner's document, and takes a loser out of the log.
    ///
    /// # Errors
    /// [`WriteError::NoConflict`].
    pub fn dismiss(
        &self,
        conflict: ConflictId,
        author: &str,
        now: Time,
    ) -> Result<Change, WriteError> {
        let (name, rivals) = self.find(conflict).ok_or(WriteError::NoConflict)?;
        let (_, winner) = rivals.winner().ok_or(WriteError::NoConflict)?;
        Ok(self.write(name, author, winner.body.clone(), Some(conflict), now))
    }

    /// Prepares what the start-up file brings; empty if it brings nothing new. What was changed or
    /// deleted since stays so. Policies that have no room are left out and counted.
    pub fn offer_file(&self, policies: &[Policy], _now: Time) -> Change {
        let mut change = Change::default();
        let Ok(id) = ManagerId::new(FILE) else { return change };
        for policy in policies {
            let Ok(body) = document(policy) else {
                change.refused += 1;
                continue;
            };
            let mut rivals = self.rivals(&policy.name);
            let same = rivals.winner().is_some_and(|(_, v)| v.body.as_ref() == Some(&body));
            if same || rivals.top() > 1 {
                continue;
            }
            let room =
                self.config.max_policies.saturating_sub(self.held.len() + change.staged.len());
            if rivals.top() == 0 && (room == 0 || !self.has_room(&policy.name, change.staged.len()))
            {
                change.refused += 1;
                continue;
            }
            let life = ManagerLife { id: id.clone(), incarnation: 0 };
            change.dropped += rivals.join(Rivals::of_file(life, body));
            rivals.vote(&self.config.me);
            let key = EntryKey::Policy(policy.name.clone());
            if self.entries.rivals(policy.name.as_str()) != Some(&rivals) {
                change.staged.insert(key, State::Policy(rivals));
            }
        }
        change
    }

    /// Prepares records. Texts that are too long are cut.
    pub fn record(&self, records: Vec<Record>, _now: Time) -> Change {
        let mut change = Change::default();
        let mut seq = self.audit_seq;
        for record in records {
            let (key, state) = match record {
                Record::Audit(audit) => {
                    seq += 1;
                    let key = AuditKey { origin: self.config.me.clone(), seq };
                    (EntryKey::Audit(key), State::Audit(Arc::new(fitting_audit(audit))))
                }
                Record::Usage(key, usage) => {
                    (EntryKey::Usage(Arc::new(fitting_key(key))), State::Usage(usage))
                }
            };
            self.stage(&mut change, key, state);
        }
        self.make_room(&mut change);
        change
    }

    /// The record of usage under this name, as records are named; `Err` for one that would be too old to be
    /// kept.
    ///
    /// # Errors
    /// [`TooOld`].
    pub fn usage_of(&self, key: &UsageKey) -> Result<Option<&Usage>, TooOld> {
        let key = fitting_key(key.clone());
        if let Some(usage) = self.entries.usage_of(&key) {
            return Ok(Some(usage));
        }
        let records = self.entries.usage_by_age();
        let full = records.len() >= self.config.max_usage;
        let oldest = records.first().map_or(0, |(end, _)| *end);
        if full && key.end_secs() <= oldest { Err(TooOld) } else { Ok(None) }
    }

    /// Prepares a peer's entries, joined with ours; remembers what to acknowledge.
    pub fn receive(&self, from: &ManagerLife, delta: Delta, now: Time) -> Change {
        let mut change = Change { swept: Some(now), ..Change::default() };
        let mut received = Received {
            from: from.clone(),
            number: delta.number,
            arrived: Vec::with_capacity(delta.entries.len()),
            known: Vec::new(),
            refused: Vec::new(),
        };
        let mut added = 0;
        for entry in delta.entries {
            let (key, theirs) = State::of(entry);
            received.arrived.push(key.clone());
            let new = matches!(key, EntryKey::Policy(_))
                && !self.entries.has(&key)
                && !change.staged.contains_key(&key);
            let ours = (&self.config.me, self.audit_seq);
            let can_be = plausible::can_be((&key, &theirs), ours, now);
            let full = match &key {
                EntryKey::Policy(name) => new && !self.has_room(name, added),
                _ => false,
            };
            if full || !can_be {
                change.refused += 1;
                received.refused.push(key);
                continue;
            }
            let joined = self.stage(&mut change, key.clone(), theirs.clone());
            if self.accept(&mut change, &key, joined, now) == theirs {
                received.known.push(key.clone());
            }
            added += usize::from(new && change.staged.contains_key(&key));
        }
        self.make_room(&mut change);
        change.received = Some(received);
        change
    }

    /// Prepares the removal of what is too old: see
    /// [`Config::tombstone_hold`](super::Config::tombstone_hold). Each manager does so for itself, by
    /// the same rule.
    pub fn sweep(&self, now: Time) -> Change {
        let mut change = Change { swept: Some(now), ..Change::default() };
        let hold = self.config.tombstone_hold;
        let mut floor = self.floor;
        for (name, rivals) in self.entries.policies() {
            if !rivals.versions().any(|version| too_old(version, hold, now)) {
                continue;
            }
            let mut swept = rivals.clone();
            if swept.sweep(hold, now) {
                floor = floor.max(swept.top());
                change.removed.push(EntryKey::Policy(name.clone()));
            } else if swept != *rivals {
                change.staged.insert(EntryKey::Policy(name.clone()), State::Policy(swept));
            }
        }
        change.floor = (floor > self.floor).then_some(floor);
        change
    }

    fn write(
        &self,
        name: &PolicyName,
        author: &str,
        body: Option<Bytes>,
        also: Option<VersionHash>,
        now: Time,
    ) -> Change {
        let mut rivals = self.rivals(name);
        // Above any register that was swept: a peer that still has it does not win against this one.
        let floor = if rivals.top() == 0 { self.floor } else { 0 };
        let stamp = self.clock.next(now);
        let draft = Draft { me: &self.config.me, stamp, author: cut(author, MAX_AUTHOR), body };
        let dropped = rivals.write(draft, also, floor);
        let key = EntryKey::Policy(name.clone());
        let mut change = Change { dropped, ..Change::default() };
        change.write = Some((WriteId(self.last_write + 1), BTreeSet::from([key.clone()])));
        change.staged.insert(key, State::Policy(rivals));
        change
    }

    fn rivals(&self, name: &PolicyName) -> Rivals {
        self.entries.rivals(name.as_str()).cloned().unwrap_or_default()
    }

    /// The register with that loser.
    pub(super) fn find(&self, conflict: ConflictId) -> Option<(&PolicyName, &Rivals)> {
        let mut all = self.entries.policies().iter();
        all.find(|(_, rivals)| rivals.losers().any(|(hash, _)| hash == conflict))
    }

    /// Registers of tombstones take room, too: as much as that of policies. `added` are new already.
    fn has_room(&self, name: &PolicyName, added: usize) -> bool {
        let (registers, max) = (self.entries.policies(), self.config.max_policies);
        registers.contains_key(name) || registers.len() + added < max.saturating_mul(2)
    }

    /// Joins `state` to what is staged or held, and stages the result if it is news.
    fn stage(&self, change: &mut Change, key: EntryKey, state: State) -> State {
        let ours = change.staged.get(&key).cloned().or_else(|| self.entries.get(&key));
        let mut joined = ours.clone().unwrap_or_else(|| state.clone());
        if ours.is_some() {
            change.dropped += joined.join(state);
        }
        if ours.as_ref() != Some(&joined) {
            change.staged.insert(key, joined.clone());
        }
        joined
    }

    /// Votes in the moment in which a version is accepted, and keeps nothing that is too old.
    fn accept(&self, change: &mut Change, key: &EntryKey, joined: State, now: Time) -> State {
        let State::Policy(mut rivals) = joined else { return joined };
        rivals.vote(&self.config.me);
        let gone = rivals.sweep(self.config.tombstone_hold, now);
        let EntryKey::Policy(name) = key else { return State::Policy(rivals) };
        let ours = self.entries.rivals(name.as_str());
        if ours == Some(&rivals) || (gone && ours.is_none()) {
            change.staged.remove(key);
        } else {
            change.staged.insert(key.clone(), State::Policy(rivals.clone()));
        }
        State::Policy(rivals)
    }

    /// Keeps the newest records, in an order that is the same on all managers.
    fn make_room(&self, change: &mut Change) {
        let (mut audit, mut usage) = (ByAge::new(), ByAge::new());
        for (key, state) in change.staged.iter().filter(|(key, _)| !self.entries.has(key)) {
            match (key, state) {
                (EntryKey::Audit(key), State::Audit(record)) => {
                    audit.insert((record.at.as_micros(), key.clone()));
                }
                (EntryKey::Usage(key), _) => {
                    usage.insert((key.end_secs(), key.clone()));
                }
                _ => {}
            }
        }
        let audit = excess(self.entries.audit_by_age(), &audit, self.config.max_audit);
        let usage = excess(self.entries.usage_by_age(), &usage, self.config.max_usage);
        let keys = audit.into_iter().map(|(_, key)| EntryKey::Audit(key));
        for key in keys.chain(usage.into_iter().map(|(_, key)| EntryKey::Usage(key))) {
            change.staged.remove(&key);
            if self.entries.has(&key) {
                change.removed.push(key);
            }
        }
    }
}

/// The oldest of both that are too many.
fn excess<K: Ord + Clone>(old: &ByAge<K>, new: &ByAge<K>, max: usize) -> Vec<(u64, K)> {
    let excess = (old.len() + new.len()).saturating_sub(max);
    let mut oldest: Vec<(u64, K)> =
        old.iter().take(excess).chain(new.iter().take(excess)).cloned().collect();
    oldest.sort();
    oldest.truncate(excess);
    oldest
}

fn document(policy: &Policy) -> Result<Bytes, WriteError> {
    let body = policy.to_json().to_string();
    if body.len() > MAX_BODY {
        return Err(WriteError::TooLarge { bytes: body.len(), max: MAX_BODY });
    }
    Ok(Bytes::from(body))
}

fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

fn fitting_audit(audit: Audit) -> Audit {
    Audit {
        at: audit.at,
        actor: cut(&audit.actor, MAX_AUTHOR).to_owned(),
        action: cut(&audit.action, MAX_TEXT).to_owned(),
        policy: cut(&audit.policy, MAX_TEXT).to_owned(),
        tag: cut(&audit.tag, MAX_TEXT).to_owned(),
        detail: cut(&audit.detail, MAX_DETAIL).to_owned(),
    }
}

fn fitting_key(key: UsageKey) -> UsageKey {
    UsageKey {
        policy: cut(&key.policy, MAX_TEXT).to_owned(),
        limit: cut(&key.limit, MAX_TEXT).to_owned(),
        key: key.key.iter().take(MAX_PARTS).map(|part| cut(part, MAX_TEXT).to_owned()).collect(),
        ..key
    }
}
