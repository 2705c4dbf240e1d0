//! Records of usage: how much was admitted and refused per counter and period, once each.
//!
//! Every manager sees every counter, so that each collects what may become a record when a window closes.
//! One of them, who holds the role of the ledger, hands its candidates out to be written; the others keep theirs
//! until a record that says at least as much is there, and so lose nothing when the ledger dies. A
//! record is state, not an event: named by counter and period, its amounts cumulative, and merged by
//! maximum. Two ledgers at once, or one that repeats itself, change nothing.
//!
//! What a period is:
//!
//! | limit | record |
//! |---|---|
//! | windows of a minute or longer, by length or calendar | one per window |
//! | shorter windows | one per minute, made of the windows that begin in it, each with its own amounts: so the sum stays exact when two managers know different ones |
//! | sliding windows, token buckets | one per minute: what was told within it. Managers hear of the same use at slightly different times: the record is what the best-informed one saw |
//! | concurrency | none |
//!
//! A record says what its writer was told. Of managers that were cut off from different agents, the one that
//! saw more wins; what each saw alone is not added up.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use weir_proto::{key::CounterKey, time::Time};

mod record;
pub use record::{Amounts, Part, UsageRecord};
#[cfg(test)]
mod tests;

/// Windows below so many seconds share a record, and rolling counters have one for each such period.
pub const MINUTE: u64 = 60;

/// So long after a minute its windows have been told, and its record may be written.
const GATHER: Duration = Duration::from_secs(12);
/// The ledger hands out again what was not written by then.
const RETRY: Duration = Duration::from_secs(5);
/// The others look again whether the ledger has written.
const RECHECK: Duration = Duration::from_secs(10);
/// After so long the ledger cannot know what this manager knows: it hands its candidate out.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A window of a counter that is over, or a minute of a rolling counter, as one manager saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The counter.
    pub key: CounterKey,
    /// When it began, in seconds since 1970, manager time.
    pub start: u64,
    /// How long it lasted, in seconds.
    pub secs: u64,
    /// What all agents told.
    pub amounts: Amounts,
    /// Rolling: how much of it came so close to the minute's bounds that another manager may have heard it
    /// in the next minute.
    pub edge: Amounts,
}

/// What a manager does with its candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// It holds the ledger: hands all of them out.
    Ledger,
    /// Another does: keeps them until they are written, and hands out what nobody wrote for
    /// [`PATIENCE`].
    Standby,
}

/// Counter, start and length of the period: a policy that comes back with windows of another length begins
/// records of its own.
type Id = (CounterKey, u64, u64);

#[derive(Debug, Clone)]
struct Candidate {
    amounts: Amounts,
    edge: Amounts,
    /// Of windows below a minute.
    parts: Vec<Part>,
    /// When all of it should have been told.
    ready: Time,
    /// When to look at it.
    next: Time,
}

impl Candidate {
    fn record(&self, (key, start, secs): &Id) -> UsageRecord {
        UsageRecord {
            policy: key.policy().to_owned(),
            limit: key.limit().to_owned(),
            key: key.parts().map(str::to_owned).collect(),
            start: *start,
            secs: *secs,
            amounts: self.amounts,
            parts: self.parts.clone(),
        }
    }

    fn written(&self, known: &UsageRecord) -> bool {
        if self.parts.is_empty() || known.parts.is_empty() {
            known.amounts.plus(self.edge).covers(self.amounts)
        } else {
            known.covers_parts(&self.parts)
        }
    }
}

/// Candidates that a manager keeps by default, about 30 MB.
pub const MAX_CANDIDATES: usize = 100_000;

/// Candidates of one manager.
#[derive(Debug, Clone)]
pub struct Accounts {
    max: usize,
    duty: Duty,
    candidates: BTreeMap<Id, Candidate>,
    /// By [`Candidate::next`].
    queue: BTreeSet<(Time, Id)>,
    /// By [`Candidate::ready`].
    ages: BTreeSet<(Time, Id)>,
    dropped: u64,
}

impl Accounts {
    /// At most `max` candidates, [`MAX_CANDIDATES`] by default. Of more, those that closed first go, and are counted.
    pub fn new(max: usize) -> Self {
        Accounts {
            max,
            duty: Duty::Standby,
            candidates: BTreeMap::new(),
            queue: BTreeSet::new(),
            ages: BTreeSet::new(),
            dropped: 0,
        }
    }

    /// Candidates that are not known to be written.
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Candidates that were given up because there were too many: their use may be in no record.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes in what closed; again, or with less, changes nothing.
    pub fn note(&mut self, closed: &Closed, now: Time) {
        if closed.amounts == Amounts::default() {
            return;
        }
        let short = closed.secs < MINUTE;
        let (start, secs) = match short {
            true => (closed.start - closed.start % MINUTE, MINUTE),
            false => (closed.start, closed.secs),
        };
        let ready = match short {
            true => now.max(Time::from_secs(start.saturating_add(MINUTE))) + GATHER,
            false => now,
        };
        let id = (closed.key.clone(), start, secs);
        let fresh = || Candidate {
            amounts: Amounts::default(),
            edge: Amounts::default(),
            parts: Vec::new(),
            ready,
            next: ready,
        };
        let mut candidate = self.take(&id).unwrap_or_else(fresh);
        if short {
            record::join_part(
                &mut candidate.parts,
                Part { start: closed.start, amounts: closed.amounts },
            );
            candidate.amounts = record::sum(&candidate.parts);
        } else {
            candidate.amounts = candidate.amounts.max(closed.amounts);
            candidate.edge = candidate.edge.max(closed.edge);
        }
        // What was handed out already goes out again if it grew: when it is due anyway.
        self.put(id, candidate);
        while self.candidates.len() > self.max {
            let Some((_, oldest)) = self.ages.first().cloned() else { break };
            self.take(&oldest);
            self.dropped += 1;
        }
    }

    /// When [`Accounts::due`] has something to do next.
    pub fn next_deadline(&self) -> Option<Time> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Looks at most at `most` candidates whose time has come, and returns what must be written now.
    /// `have` finds the present record of the same counter and period; where that would be too old to be kept,
    /// it gives back what it was asked for. What is returned stays a candidate until a record
    /// that says as much is there, and is returned again after a while.
    ///
    /// The caller asks [`Roles::may`](crate::roles::Roles::may) before it writes as the ledger.
    pub fn due(
        &mut self,
        duty: Duty,
        now: Time,
        most: usize,
        mut have: impl FnMut(&UsageRecord) -> Option<UsageRecord>,
    ) -> Vec<UsageRecord> {
        self.turn(duty, now);
        let mut out = Vec::new();
        for _ in 0..most {
            let Some((_, id)) = self.queue.first().filter(|(at, _)| *at <= now).cloned() else {
                break;
            };
            let Some(mut candidate) = self.take(&id) else { break };
            let record = candidate.record(&id);
            if have(&record).is_some_and(|known| candidate.written(&known)) {
                continue;
            }
            let patient = duty == Duty::Standby && now < candidate.ready + PATIENCE;
            candidate.next = now + if patient { RECHECK } else { RETRY };
            self.put(id, candidate);
            if !patient {
                out.push(record);
            }
        }
        out
    }

    /// A record was written, here or by a peer: candidates that say no more go.
    pub fn seen(&mut self, record: &UsageRecord) {
        let Some(key) = record.counter() else { return };
        let id = (key, record.start, record.secs);
        if self.candidates.get(&id).is_some_and(|candidate| candidate.written(record)) {
            self.take(&id);
        }
    }

    /// Who becomes the ledger writes what is left at once.
    fn turn(&mut self, duty: Duty, now: Time) {
        if std::mem::replace(&mut self.duty, duty) == duty || duty == Duty::Standby {
            return;
        }
        self.queue.clear();
        for (id, candidate) in &mut self.candidates {
            candidate.next = candidate.next.min(candidate.ready.max(now));
            self.queue.insert((candidate.next, id.clone()));
        }
    }

    fn take(&mut self, id: &Id) -> Option<Candidate> {
        let candidate = self.candidates.remove(id)?;
        self.queue.remove(&(candidate.next, id.clone()));
        self.ages.remove(&(candidate.ready, id.clone()));
        Some(candidate)
    }

    fn put(&mut self, id: Id, candidate: Candidate) {
        self.queue.insert((candidate.next, id.clone()));
        self.ages.insert((candidate.ready, id.clone()));
        self.candidates.insert(id, candidate);
    }
}
