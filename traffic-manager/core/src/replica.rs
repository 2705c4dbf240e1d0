//! The replicated part of a manager: policies with their conflicts, audit and usage records.
//!
//! Pure. Who owns a replica does one thing at a time: *prepare* a [`Change`] (nothing changes),
//! *commit* its writes to the store, *apply* it (cannot fail). So a store that refuses leaves memory
//! and disk as they were, and nothing is told to peers that could be forgotten here.
//! `REPLICATION.md` beside this crate states the rules and why managers converge.

mod change;
mod conflict;
mod hash;
mod message;
mod stamp;
mod view;

use std::collections::BTreeMap;

use weir_proto::{
    id::ManagerLife,
    peer::{Delta, EntryKey},
    policy::Policy,
    time::Time,
};

pub use self::{
    change::Change,
    message::{
        Announcement, Config, ConflictId, Input, LoadError, Output, Record, WriteError, WriteId,
    },
    view::{
        AuditFilter, AuditRecord, Conflict, PeerStatus, Totals, UsageFilter, UsageRecord, Winner,
    },
};

/// One manager's copy of the replicated map.
#[derive(Debug, Clone)]
pub struct Replica {
    config: Config,
    winners: BTreeMap<String, Winner>,
    announcement: Announcement,
    revision: u64,
    totals: Totals,
}

impl Replica {
    /// An empty one. [Load](Replica::load) what the store has before anything else.
    pub fn new(config: Config, _now: Time) -> Self {
        Replica {
            config,
            winners: BTreeMap::new(),
            announcement: Announcement::default(),
            revision: 0,
            totals: Totals::default(),
        }
    }

    /// Takes one entry of the store.
    ///
    /// # Errors
    /// [`LoadError`] if it cannot be read.
    pub fn load(&mut self, _key: &[u8], _value: &[u8]) -> Result<(), LoadError> {
        Ok(())
    }

    /// Prepares a policy's next version, to be created or replaced.
    ///
    /// # Errors
    /// [`WriteError::Full`], [`WriteError::TooLarge`].
    pub fn put(&self, _policy: &Policy, _author: &str, _now: Time) -> Result<Change, WriteError> {
        Ok(Change::default())
    }

    /// Prepares a policy's deletion; `None` if there is no such policy.
    pub fn delete(&self, _name: &str, _author: &str, _now: Time) -> Option<Change> {
        None
    }

    /// Prepares a version that has a loser's document, and takes the loser out of the log.
    ///
    /// # Errors
    /// [`WriteError::NoConflict`], [`WriteError::Deletion`].
    pub fn restore(
        &self,
        _conflict: ConflictId,
        _author: &str,
        _now: Time,
    ) -> Result<Change, WriteError> {
        Err(WriteError::NoConflict)
    }

    /// Prepares a version that has the winner's document, and takes a loser out of the log.
    ///
    /// # Errors
    /// [`WriteError::NoConflict`].
    pub fn dismiss(
        &self,
        _conflict: ConflictId,
        _author: &str,
        _now: Time,
    ) -> Result<Change, WriteError> {
        Err(WriteError::NoConflict)
    }

    /// Prepares what the start-up file brings; empty if it brings nothing new. What was changed or
    /// deleted since stays so.
    pub fn offer_file(&self, _policies: &[Policy], _now: Time) -> Change {
        Change::default()
    }

    /// Prepares records. Texts that are too long are cut.
    pub fn record(&self, _records: Vec<Record>, _now: Time) -> Change {
        Change::default()
    }

    /// Prepares a peer's entries, joined with ours; remembers what to acknowledge.
    pub fn receive(&self, _from: &ManagerLife, _delta: Delta, _now: Time) -> Change {
        Change::default()
    }

    /// Prepares the removal of what is too old: see [`Config::tombstone_hold`]. Each manager does so for
    /// itself, by the same rule.
    pub fn sweep(&self, _now: Time) -> Change {
        Change::default()
    }

    /// Makes a change true that the store has.
    pub fn apply(&mut self, _change: Change, _now: Time, _out: &mut Vec<Output>) {}

    /// Takes what came from peers.
    pub fn handle(&mut self, _input: Input, _now: Time, _out: &mut Vec<Output>) {}

    /// What heartbeats say of this manager from now on; one is sent at once.
    pub fn announce(&mut self, announcement: Announcement, _now: Time, _out: &mut Vec<Output>) {
        self.announcement = announcement;
    }

    /// When [`Replica::on_deadline`] must be called next.
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// Does what is due.
    pub fn on_deadline(&mut self, _now: Time, _out: &mut Vec<Output>) {}

    /// The version of a policy that holds.
    pub fn winner(&self, name: &str) -> Option<&Winner> {
        self.winners.get(name)
    }

    /// All that hold, by name.
    pub fn winners(&self) -> impl Iterator<Item = &Winner> {
        self.winners.values()
    }

    /// The conflict log, by name.
    pub fn conflicts(&self) -> impl Iterator<Item = Conflict> + '_ {
        std::iter::empty()
    }

    /// One conflict.
    pub fn conflict(&self, _id: ConflictId) -> Option<Conflict> {
        None
    }

    /// Audit records, the newest first.
    pub fn audit(&self, _filter: &AuditFilter) -> impl Iterator<Item = AuditRecord<'_>> {
        std::iter::empty()
    }

    /// Usage records, the newest period first.
    pub fn usage(&self, _filter: &UsageFilter) -> impl Iterator<Item = UsageRecord<'_>> {
        std::iter::empty()
    }

    /// Grows with every change here, in this life.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Digest of everything: equal ones mean equal entries.
    pub fn root(&self) -> u64 {
        0
    }

    /// Every peer ever met in this life, by name.
    pub fn peers(&self, _now: Time) -> Vec<PeerStatus> {
        Vec::new()
    }

    /// How many peers hold a write durably. Asked of the last 4,096 writes; older ones have none.
    pub fn holders(&self, _write: WriteId) -> usize {
        0
    }

    /// Totals since start.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// How it was configured.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether there is such an entry.
    pub fn has(&self, _key: &EntryKey) -> bool {
        false
    }
}
