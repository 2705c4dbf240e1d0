//! The replicated part of a manager: policies with their conflicts, audit and usage records.
//!
//! Pure. Who owns a replica does one thing at a time: *prepare* a [`Change`] (nothing changes),
//! *commit* its writes to the store, *apply* it (cannot fail). So a store that refuses leaves memory
//! and disk as they were, and nothing is told to peers that could be forgotten here.
//! `REPLICATION.md` beside this crate states the rules and why managers converge.

mod change;
mod conflict;
mod digest;
mod entries;
mod hash;
mod held;
mod key;
mod message;
mod plausible;
mod prepare;
mod stamp;
mod sync;
mod view;

use std::collections::BTreeMap;

use weir_proto::{
    id::ManagerId,
    peer::{EntryKey, Register, Version, VersionHash},
    policy::PolicyName,
    time::Time,
};

pub use self::{
    change::Change,
    key::{MAX_STORED_KEY, MAX_STORED_VALUE},
    message::{
        Announcement, Config, ConflictId, Input, LoadError, Output, Record, TooOld, WriteError,
        WriteId,
    },
    view::{
        AuditFilter, AuditRecord, Conflict, PeerStatus, Sizes, Totals, UsageFilter, UsageRecord,
        Winner, Won,
    },
};
use conflict::Rivals;
use entries::{Entries, State};
use held::{Held, Reading};
use stamp::Clock;
use sync::{Context, Sync};

/// One manager's copy of the replicated map.
#[derive(Debug, Clone)]
pub struct Replica {
    config: Config,
    entries: Entries,
    /// What holds, read.
    held: BTreeMap<PolicyName, Held>,
    clock: Clock,
    sync: Sync,
    /// Of all entries, and of the policies that hold.
    revisions: (u64, u64),
    /// The highest number of a register that was swept.
    floor: u64,
    /// Of the last audit record of this life.
    audit_seq: u64,
    last_write: u64,
    totals: Totals,
}

impl Replica {
    /// An empty one. [Load](Replica::load) what the store has before anything else.
    pub fn new(config: Config, now: Time) -> Self {
        Replica {
            sync: Sync::new(config.me.clone(), config.group, now),
            config,
            entries: Entries::default(),
            held: BTreeMap::new(),
            clock: Clock::default(),
            revisions: (0, 0),
            floor: 0,
            audit_seq: 0,
            last_write: 0,
            totals: Totals::default(),
        }
    }

    /// Takes one entry of the store.
    ///
    /// # Errors
    /// [`LoadError`] if it cannot be read.
    pub fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), LoadError> {
        if key == key::FLOOR {
            self.floor = self.floor.max(key::read_floor(value)?);
            return Ok(());
        }
        let (key, state) = State::of(key::read(key, value)?);
        self.revisions.1 += u64::from(self.join(key, state, None).is_some());
        Ok(())
    }

    /// Makes a change true that the store has.
    pub fn apply(&mut self, change: Change, now: Time, out: &mut Vec<Output>) {
        self.totals.dropped_versions += change.dropped;
        self.totals.refused_entries += change.refused;
        self.floor = self.floor.max(change.floor.unwrap_or(0));
        if !change.is_empty() {
            self.revisions.0 += 1;
        }
        let keys: Vec<EntryKey> = change.staged.keys().cloned().collect();
        for (key, state) in change.staged {
            let changed = self.join(key, state, change.swept);
            out.extend(changed.map(|name| self.told(&name)));
        }
        for key in &change.removed {
            self.entries.remove(key);
            if let EntryKey::Policy(name) = key {
                let gone = self.held.remove(name).is_some();
                out.extend(gone.then(|| self.told(name)));
            }
        }
        let cx = context(&self.entries, &self.clock, self.revisions, now);
        self.sync.changed(keys.into_iter(), cx);
        self.sync.gone(change.removed);
        if let Some((id, keys)) = change.write {
            self.last_write = id.0;
            self.sync.wrote(id, keys, self.revisions.0);
        }
        if let Some(received) = change.received {
            self.sync.received(received, cx, out);
        }
        self.sync.flush(cx, out);
    }

    fn told(&mut self, name: &PolicyName) -> Output {
        self.revisions.1 += 1;
        let revision = self.revisions.1;
        let winner = self.held.get(name).map(|held| held.winner.clone());
        Output::Policy { name: name.to_string(), winner, revision }
    }

    /// Joins an entry, and drops what was too old at `swept`. Returns the policy whose winner is another
    /// one now.
    fn join(&mut self, key: EntryKey, state: State, swept: Option<Time>) -> Option<PolicyName> {
        match (&key, &state) {
            (EntryKey::Policy(_), State::Policy(rivals)) => {
                rivals.versions().for_each(|version| self.clock.see(version.stamp));
            }
            (EntryKey::Audit(key), _) if key.origin == self.config.me => {
                self.audit_seq = self.audit_seq.max(key.seq);
            }
            _ => {}
        }
        let sweep = swept.map(|at| (self.config.tombstone_hold, at));
        self.entries.join(&key, state, sweep);
        let EntryKey::Policy(name) = key else { return None };
        self.read(&name).then_some(name)
    }

    /// Reads the winner, if it is another one. A winner that this build cannot read is kept for the others;
    /// what held before it goes on here.
    fn read(&mut self, name: &PolicyName) -> bool {
        let before = self.held.get(name).map(|held| held.hash);
        let rivals = self.entries.rivals(name.as_str());
        match held::read(name, rivals, before, self.config.group) {
            Reading::Same(settled) => {
                if let Some(held) = self.held.get_mut(name) {
                    held.winner.settled = settled;
                }
                false
            }
            Reading::Gone => self.held.remove(name).is_some(),
            Reading::New(held) => {
                self.held.insert(name.clone(), *held);
                true
            }
            Reading::Unreadable => {
                self.totals.unreadable += 1;
                false
            }
        }
    }

    /// Takes what came from peers.
    pub fn handle(&mut self, input: Input, now: Time, out: &mut Vec<Output>) {
        let cx = context(&self.entries, &self.clock, self.revisions, now);
        self.sync.handle(input, cx, out);
    }

    /// What heartbeats say of this manager from now on; if it is news, one is due at once: call
    /// [`Replica::on_deadline`] next.
    pub fn announce(&mut self, announcement: Announcement, now: Time) {
        self.sync.announce(announcement, now);
    }

    /// When [`Replica::on_deadline`] must be called next.
    pub fn next_deadline(&self) -> Option<Time> {
        Some(self.sync.next_deadline())
    }

    /// Does what is due.
    pub fn on_deadline(&mut self, now: Time, out: &mut Vec<Output>) {
        let cx = context(&self.entries, &self.clock, self.revisions, now);
        self.sync.on_deadline(cx, out);
    }

    /// The version of a policy that holds.
    pub fn winner(&self, name: &str) -> Option<&Winner> {
        self.held.get(name).map(|held| &held.winner)
    }

    /// All that hold, by name.
    pub fn winners(&self) -> impl Iterator<Item = &Winner> {
        self.held.values().map(|held| &held.winner)
    }

    /// The conflict log, by name.
    pub fn conflicts(&self) -> impl Iterator<Item = Conflict> + '_ {
        self.entries
            .policies()
            .iter()
            .flat_map(move |(name, rivals)| {
                rivals.losers().map(move |(hash, _)| (name, rivals, hash))
            })
            .filter_map(move |(name, rivals, hash)| self.loser(name, rivals, hash))
    }

    /// One conflict.
    pub fn conflict(&self, id: ConflictId) -> Option<Conflict> {
        let (name, rivals) = self.find(id)?;
        self.loser(name, rivals, id)
    }

    fn loser(&self, name: &PolicyName, rivals: &Rivals, id: VersionHash) -> Option<Conflict> {
        let version = rivals.version(&id)?;
        let won = rivals.winner().map(|(_, winner)| Won {
            ref_number: winner.ref_number,
            author: winner.author.clone(),
            stamp: winner.stamp,
            origin: winner.origin.life.clone(),
            deletion: winner.body.is_none(),
        });
        Some(Conflict {
            id,
            name: name.to_string(),
            body: version.body.clone(),
            ref_number: version.ref_number,
            author: version.author.clone(),
            stamp: version.stamp,
            origin: version.origin.life.clone(),
            winner: self.winner(name.as_str()).map(|winner| winner.tag.clone()),
            won,
        })
    }

    /// Audit records, the newest first.
    pub fn audit(&self, filter: &AuditFilter) -> impl Iterator<Item = AuditRecord<'_>> {
        self.entries.audit().filter(|(_, audit)| filter.meets(audit))
    }

    /// Usage records, the newest period first.
    pub fn usage(&self, filter: &UsageFilter) -> impl Iterator<Item = UsageRecord<'_>> {
        self.entries.usage().filter(|(key, _)| filter.meets(key))
    }

    /// Grows with every change here, in this life.
    pub fn revision(&self) -> u64 {
        self.revisions.0
    }

    /// Grows with every change of a policy that holds, in this life; peers are told it in heartbeats.
    pub fn policies_revision(&self) -> u64 {
        self.revisions.1
    }

    /// Digest of everything: equal ones mean equal entries.
    pub fn root(&self) -> u64 {
        self.entries.digests().root()
    }

    /// Every peer ever met in this life, by name.
    pub fn peers(&self, now: Time) -> Vec<PeerStatus> {
        self.sync.status(context(&self.entries, &self.clock, self.revisions, now))
    }

    /// How many peers hold a write durably. Asked of the last 4,096 writes; older ones have none.
    pub fn holders(&self, write: WriteId) -> usize {
        self.holding(write).count()
    }

    /// Which ones, by name.
    pub fn holding(&self, write: WriteId) -> impl Iterator<Item = &ManagerId> {
        self.sync.holders(write)
    }

    /// How much is kept, beside the policies that hold.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            tombstones: self.entries.policies().len().saturating_sub(self.held.len()),
            conflicts: self.conflicts().count(),
            audit_records: self.entries.audit_by_age().len(),
            usage_records: self.entries.usage_by_age().len(),
        }
    }

    /// Totals since start.
    pub fn totals(&self) -> Totals {
        Totals { resent: self.sync.resent, rounds: self.sync.rounds(), ..self.totals }
    }

    /// How it was configured.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether there is such an entry.
    pub fn has(&self, key: &EntryKey) -> bool {
        self.entries.has(key)
    }

    /// A policy's versions and votes as peers and the store take them: for tests and diagnosis.
    pub fn register(&self, name: &str) -> Option<Register> {
        self.entries.rivals(name).map(Rivals::register)
    }
}

/// The hash that names a version: in votes, in tags and in the conflict log.
pub fn version_hash(version: &Version) -> VersionHash {
    hash::of_version(version)
}

fn context<'a>(
    entries: &'a Entries,
    clock: &Clock,
    (revision, policies_revision): (u64, u64),
    now: Time,
) -> Context<'a> {
    Context { entries, now, revision, policies_revision, stamp: clock.latest() }
}

#[cfg(test)]
mod tests;
