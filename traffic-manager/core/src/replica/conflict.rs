//! The conflict rules: which versions of a policy stay, which one wins. All of them, and nothing else.
//!
//! [`Rivals`] is a join-semilattice: [`Rivals::join`] is commutative, associative and idempotent, and
//! everything else is a function of the state. `REPLICATION.md` says why managers converge.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use weir_proto::{
    id::{ManagerId, ManagerLife},
    peer::{
        MAX_SEEN, MAX_VERSIONS, MAX_VOTES, Origin, Register, Seen, Stamp, Version, VersionHash,
        Vote,
    },
    time::Time,
};

use super::hash;

/// Whether whoever made `newer` knew `older`.
fn supersedes(newer: &Version, older: &Version) -> bool {
    newer.seen.get(&older.origin).is_some_and(|known| *known >= older.stamp)
}

/// The versions of one policy that no other one supersedes, and the votes at the highest `ref_number`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rivals {
    versions: BTreeMap<VersionHash, Arc<Version>>,
    /// The highest `ref_number` heard of; the votes are for versions of that number.
    top: u64,
    votes: BTreeMap<ManagerId, Vote>,
}

impl Rivals {
    /// What a peer or the store has.
    pub(super) fn of(register: Register) -> Rivals {
        let versions = register.versions.into_iter().map(|v| (hash::of_version(&v), v)).collect();
        let given = Rivals { versions, top: register.vote_ref, votes: register.votes };
        let mut rivals = Rivals::default();
        rivals.join(given);
        rivals
    }

    /// What the start-up file has of a policy: equal files give equal versions.
    pub(super) fn of_file(life: ManagerLife, body: Bytes) -> Rivals {
        let version = Version {
            ref_number: 1,
            stamp: Stamp(0),
            // Different files are different origins: to know one is not to know the other.
            origin: Origin { life, series: Stamp(hash::of_body(&body)) },
            seen: Seen::new(),
            author: "file".to_owned(),
            body: Some(body),
        };
        Rivals::of(Register { versions: vec![Arc::new(version)], ..Register::default() })
    }

    /// As peers and the store take it.
    pub(super) fn register(&self) -> Register {
        Register {
            versions: self.versions.values().cloned().collect(),
            vote_ref: self.top,
            votes: self.votes.clone(),
        }
    }

    /// Takes in all that `other` has. Returns how many losers had no room.
    pub(super) fn join(&mut self, other: Rivals) -> u64 {
        self.raise(other.top);
        let highest = other.versions.values().map(|v| v.ref_number).max();
        self.raise(highest.unwrap_or(0));
        if other.top == self.top {
            for (voter, vote) in other.votes {
                let mine = self.votes.entry(voter).or_insert(vote);
                *mine = vote.max(*mine);
            }
        }
        while self.votes.len() > MAX_VOTES {
            self.votes.pop_last();
        }
        self.versions.extend(other.versions);
        let all: Vec<Arc<Version>> = self.versions.values().cloned().collect();
        self.versions.retain(|_, version| !all.iter().any(|other| supersedes(other, version)));
        self.make_room()
    }

    /// Votes at a lower number are void.
    fn raise(&mut self, top: u64) {
        if top > self.top {
            self.top = top;
            self.votes.clear();
        }
    }

    fn make_room(&mut self) -> u64 {
        let mut dropped = 0;
        while self.versions.len() > MAX_VERSIONS {
            let winner = self.winner().map(|(hash, _)| hash);
            let losers = self.versions.iter().filter(|(hash, _)| Some(**hash) != winner);
            let lowest = losers.min_by_key(|(hash, v)| (v.ref_number, v.stamp, **hash));
            let Some(lowest) = lowest.map(|(hash, _)| *hash) else { break };
            self.versions.remove(&lowest);
            dropped += 1;
        }
        dropped
    }

    /// Casts the vote of `me` for the version that it accepts first at the highest number, unless it has
    /// voted there.
    pub(super) fn vote(&mut self, me: &ManagerLife) {
        if self.votes.contains_key(&me.id) || self.votes.len() >= MAX_VOTES {
            return;
        }
        let Some((hash, version)) = self.winner() else { return };
        if version.ref_number == self.top {
            self.votes.insert(me.id.clone(), Vote { incarnation: me.incarnation, hash });
        }
    }

    /// The highest number; then the most votes; then the latest stamp; then the largest hash.
    pub(super) fn winner(&self) -> Option<(VersionHash, &Arc<Version>)> {
        let rank = |hash: &VersionHash, version: &Version| {
            (version.ref_number, self.votes_for(hash), version.stamp, *hash)
        };
        let best = self.versions.iter().max_by_key(|(hash, version)| rank(hash, version));
        best.map(|(hash, version)| (*hash, version))
    }

    fn votes_for(&self, hash: &VersionHash) -> usize {
        self.votes.values().filter(|vote| vote.hash == *hash).count()
    }

    /// Whether no vote that is missing can change the winner, with `group` voters.
    pub(super) fn settled(&self, group: usize) -> bool {
        let missing = group.saturating_sub(self.votes.len());
        let Some((winner, _)) = self.winner() else { return true };
        let mut others: BTreeMap<VersionHash, usize> = BTreeMap::new();
        for vote in self.votes.values().filter(|vote| vote.hash != winner) {
            *others.entry(vote.hash).or_default() += 1;
        }
        let second = others.values().max().copied().unwrap_or(0);
        missing == 0 || self.votes_for(&winner) > second + missing
    }

    /// The conflict log: all but the winner.
    pub(super) fn losers(&self) -> impl Iterator<Item = (VersionHash, &Arc<Version>)> {
        let winner = self.winner().map(|(hash, _)| hash);
        let all = self.versions.iter().map(|(hash, version)| (*hash, version));
        all.filter(move |(hash, _)| Some(*hash) != winner)
    }

    /// One version.
    pub(super) fn version(&self, hash: &VersionHash) -> Option<&Arc<Version>> {
        self.versions.get(hash)
    }

    /// All versions' hashes, ascending.
    pub(super) fn hashes(&self) -> impl Iterator<Item = &VersionHash> {
        self.versions.keys()
    }

    /// The versions.
    pub(super) fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.versions.values()
    }

    /// Who voted for what at the highest number.
    pub(super) fn votes(&self) -> &BTreeMap<ManagerId, Vote> {
        &self.votes
    }

    /// The highest number heard of.
    pub(super) fn top(&self) -> u64 {
        self.top
    }

    /// Writes the next version, in knowledge of the winner and of `also`, a loser that it settles. The other
    /// losers stay losers. The number is above `floor`.
    pub(super) fn write(&mut self, draft: Draft<'_>, also: Option<VersionHash>, floor: u64) -> u64 {
        let base = self.winner().map(|(hash, _)| hash);
        let known: Vec<&Arc<Version>> =
            base.iter().chain(&also).filter_map(|hash| self.versions.get(hash)).collect();
        let mut seen = Seen::new();
        for version in &known {
            let news = version.seen.iter().chain([(&version.origin, &version.stamp)]);
            for (origin, stamp) in news {
                let until = seen.entry(origin.clone()).or_default();
                *until = (*stamp).max(*until);
            }
        }
        let series = self.own_series(draft.me, &seen).unwrap_or(draft.stamp);
        let keep: Vec<&Origin> = known.iter().map(|version| &version.origin).collect();
        forget_oldest(&mut seen, &keep);
        let version = Version {
            ref_number: self.top.max(floor).saturating_add(1),
            stamp: draft.stamp,
            origin: Origin { life: draft.me.clone(), series },
            seen,
            author: draft.author.to_owned(),
            body: draft.body,
        };
        let next = Register { versions: vec![Arc::new(version)], ..Register::default() };
        let dropped = self.join(Rivals::of(next));
        self.vote(draft.me);
        dropped
    }

    /// A series of `me` that may go on: all of it that is known here is in `seen`.
    fn own_series(&self, me: &ManagerLife, seen: &Seen) -> Option<Stamp> {
        let newest = |origin: &Origin| {
            let of = |v: &Arc<Version>| {
                let own = (v.origin == *origin).then_some(v.stamp);
                own.max(v.seen.get(origin).copied())
            };
            self.versions.values().filter_map(of).max()
        };
        let own = seen.iter().rev().filter(|(origin, _)| origin.life == *me);
        let mut open = own.filter(|(origin, until)| newest(origin) <= Some(**until));
        open.next().map(|(origin, _)| origin.series)
    }

    /// Drops losers older than `hold`. True if nothing is left but a deletion that is as old: then the
    /// whole of it may go.
    pub(super) fn sweep(&mut self, hold: Duration, now: Time) -> bool {
        let old = |version: &Version| too_old(version, hold, now);
        let Some((winner, _)) = self.winner() else { return true };
        self.versions.retain(|hash, version| *hash == winner || !old(version));
        let only = self.versions.len() == 1;
        only && self.winner().is_some_and(|(_, version)| version.body.is_none() && old(version))
    }
}

/// Whether a version is beyond its time. Those of start-up files have no time: they leave when they are
/// settled.
pub(super) fn too_old(version: &Version, hold: Duration, now: Time) -> bool {
    version.stamp != Stamp::default() && version.stamp.time() + hold < now
}

/// A version to be written.
pub(super) struct Draft<'a> {
    /// By whom.
    pub(super) me: &'a ManagerLife,
    /// When: later than every stamp seen.
    pub(super) stamp: Stamp,
    /// On whose behalf.
    pub(super) author: &'a str,
    /// The document; `None` deletes.
    pub(super) body: Option<Bytes>,
}

/// Keeps the newest. What is forgotten may come back as a needless conflict: never a loss.
fn forget_oldest(seen: &mut Seen, keep: &[&Origin]) {
    while seen.len() > MAX_SEEN {
        let old = seen.iter().filter(|(origin, _)| !keep.contains(origin));
        let Some(oldest) = old.min_by_key(|(_, stamp)| **stamp).map(|(origin, _)| origin.clone())
        else {
            break;
        };
        seen.remove(&oldest);
    }
}

#[cfg(test)]
mod tests;
