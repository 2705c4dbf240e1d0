//! What is true of a run, kept apart from what replicas say: who wrote what on top of what, and which
//! disks have it.

use std::collections::{BTreeMap, BTreeSet};

use traffic_manager_core::replica::{AuditFilter, Replica, UsageFilter, version_hash};
use weir_proto::{
    id::{ManagerId, ManagerLife},
    peer::{AuditKey, Register, UsageKey, Version, VersionHash},
};

/// An acknowledged write.
#[derive(Debug)]
struct Write {
    policy: String,
    hash: VersionHash,
    /// It was on no disk that survived.
    excused: bool,
}

/// An acknowledged record.
#[derive(Debug)]
struct Record<K, V> {
    key: K,
    value: V,
    excused: bool,
}

/// Votes seen: policy, voter, its incarnation, `ref_number`.
type Ballot = (String, ManagerId, u64, u64);

/// The truth.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// A version's true ancestors: it was written in their presence, as winner or as settled loser.
    ancestors: BTreeMap<VersionHash, BTreeSet<VersionHash>>,
    writes: Vec<Write>,
    audit: Vec<Record<AuditKey, ()>>,
    usage: Vec<Record<UsageKey, u64>>,
    ballots: BTreeMap<Ballot, VersionHash>,
    pub(super) failures: Vec<String>,
}

/// The winner by the rules, found in another way than the replica does: sort by each in turn.
pub(super) fn winner(register: &Register) -> Option<(VersionHash, &Version)> {
    let votes = |hash: VersionHash| register.votes.values().filter(|v| v.hash == hash).count();
    let mut all: Vec<(VersionHash, &Version)> =
        register.versions.iter().map(|v| (version_hash(v), &**v)).collect();
    all.sort_by_key(|(hash, _)| *hash);
    all.sort_by_key(|(_, version)| version.stamp);
    all.sort_by_key(|(hash, _)| votes(*hash));
    all.sort_by_key(|(_, version)| version.ref_number);
    all.pop()
}

impl Oracle {
    /// A version was written at a manager on top of what it had.
    pub(super) fn written(
        &mut self,
        before: Option<&Register>,
        also: Option<VersionHash>,
        after: &Register,
        me: &ManagerLife,
    ) -> Option<VersionHash> {
        let known = |hash: &VersionHash| {
            before.is_some_and(|b| b.versions.iter().any(|v| version_hash(v) == *hash))
        };
        let new =
            after.versions.iter().find(|v| v.origin.life == *me && !known(&version_hash(v)))?;
        let hash = version_hash(new);
        let base = before.and_then(winner).map(|(hash, _)| hash);
        let mut ancestors = BTreeSet::new();
        for parent in base.into_iter().chain(also) {
            ancestors.insert(parent);
            ancestors.extend(self.ancestors.get(&parent).into_iter().flatten().copied());
        }
        self.ancestors.insert(hash, ancestors);
        Some(hash)
    }

    /// The caller was told that its write is done.
    pub(super) fn acknowledged(&mut self, policy: &str, hash: VersionHash) {
        self.writes.push(Write { policy: policy.to_owned(), hash, excused: false });
    }

    pub(super) fn recorded_audit(&mut self, key: AuditKey) {
        self.audit.push(Record { key, value: (), excused: false });
    }

    pub(super) fn recorded_usage(&mut self, key: UsageKey, admitted: u64) {
        self.usage.push(Record { key, value: admitted, excused: false });
    }

    /// Votes never change.
    pub(super) fn look_at(&mut self, policy: &str, register: &Register) {
        for (voter, vote) in &register.votes {
            let ballot = (policy.to_owned(), voter.clone(), vote.incarnation, register.vote_ref);
            let cast = *self.ballots.entry(ballot).or_insert(vote.hash);
            if cast != vote.hash {
                self.failures.push(format!("{voter} changed its vote on {policy}"));
            }
        }
    }

    /// The version or one that was made of it is in the register.
    fn is_in(&self, hash: VersionHash, register: &Register) -> bool {
        register.versions.iter().map(|version| version_hash(version)).any(|held| {
            held == hash || self.ancestors.get(&held).is_some_and(|of| of.contains(&hash))
        })
    }

    fn holds_write(&self, write: &Write, disk: &Replica) -> bool {
        disk.register(&write.policy).is_some_and(|register| self.is_in(write.hash, &register))
    }

    /// These are all the disks there are now: what is on none of them is lost, for an honest reason.
    pub(super) fn disks_are(&mut self, disks: &[Replica]) {
        let held: Vec<bool> = self
            .writes
            .iter()
            .map(|write| disks.iter().any(|disk| self.holds_write(write, disk)))
            .collect();
        for (write, held) in self.writes.iter_mut().zip(held) {
            write.excused |= !held;
        }
        for record in &mut self.audit {
            record.excused |= !disks.iter().any(|disk| holds_audit(disk, &record.key));
        }
        for record in &mut self.usage {
            record.excused |=
                !disks.iter().any(|disk| holds_usage(disk, &record.key, record.value));
        }
    }

    /// Whether as many of these disks hold the write as somebody says.
    pub(super) fn holders(&self, policy: &str, hash: VersionHash, disks: &[&Replica]) -> usize {
        let holds = |disk: &&&Replica| {
            disk.register(policy).is_some_and(|register| self.is_in(hash, &register))
        };
        disks.iter().filter(holds).count()
    }

    /// Nothing that was acknowledged is missing at this replica.
    pub(super) fn judge(&mut self, name: &str, replica: &Replica) {
        let mut failures = Vec::new();
        for write in self.writes.iter().filter(|write| !write.excused) {
            if !self.holds_write(write, replica) {
                failures.push(format!("{name} misses a write of {}: {}", write.policy, write.hash));
            }
        }
        for record in self.audit.iter().filter(|record| !record.excused) {
            if !holds_audit(replica, &record.key) {
                failures.push(format!("{name} misses {:?}", record.key));
            }
        }
        for record in self.usage.iter().filter(|record| !record.excused) {
            if !holds_usage(replica, &record.key, record.value) {
                failures.push(format!("{name} misses {} of {:?}", record.value, record.key));
            }
        }
        self.failures.extend(failures);
    }

    pub(super) fn totals(&self) -> (u64, u64) {
        let lost = self.writes.iter().filter(|write| write.excused).count();
        (self.writes.len() as u64, lost as u64)
    }
}

fn holds_audit(replica: &Replica, key: &AuditKey) -> bool {
    let filter = AuditFilter::default();
    replica.audit(&filter).any(|(held, _)| held == key)
}

fn holds_usage(replica: &Replica, key: &UsageKey, admitted: u64) -> bool {
    let filter = UsageFilter::default();
    let mut all = replica.usage(&filter);
    all.any(|(held, usage)| held == key && usage.admitted >= admitted)
}
