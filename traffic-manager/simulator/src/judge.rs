//! What was admitted, against what an exact central limiter would have admitted.
//!
//! Each limiter is judged in the windows that it counted in itself: a fixed window is named by
//! manager time as the agent saw it, so that a clock's error shifts a window but never changes what
//! it may hold. Sliding windows are judged in true time. The exact limiter gets the same requests
//! with the same window names; it decides at once and forgets nothing.

mod score;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use weir_proto::{
    matcher::PolicySet,
    policy::{Accuracy, Level, Mode, OnLimit, Policy},
    time::Time,
    window::{Algorithm, Window},
};

pub use self::score::{Reaction, Score};
use crate::world::EPOCH_SECS;

/// A limit that is held against limiters.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Name of the policy.
    pub policy: String,
    /// The limit's id in it.
    pub id: String,
    /// Policy, and the limit's id where there are several.
    pub name: String,
    /// Amount per window.
    pub amount: u64,
    /// Length.
    pub window: Window,
    /// Windows slide.
    pub sliding: bool,
    /// The policy promises never to exceed it.
    pub strict: bool,
}

/// A counter that a request counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// Place among the [`Facts`].
    pub limit: usize,
    /// Dense number of the counter.
    pub counter: usize,
}

/// What a limiter said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// It may pass.
    Pass,
    /// It may not, because of the limit at this place.
    Refused(Option<usize>),
    /// A deny policy refused it: no limit is at fault.
    Denied,
}

/// The limits of these policies that refuse: not those in shadow mode, nor with `on_limit: allow`.
pub fn facts(policies: &[Policy]) -> Vec<Facts> {
    let set = PolicySet::compile(1, policies.iter().cloned().map(Arc::new));
    let mut facts = Vec::new();
    for policy in set.compiled() {
        let policy = &policy.policy;
        if !enforces(policy) {
            continue;
        }
        let many = policy.all_limits().count() > 1;
        for (id, limit) in policy.all_limits() {
            let name = if many { format!("{} {id}", policy.name) } else { policy.name.to_string() };
            facts.push(Facts {
                policy: policy.name.to_string(),
                id,
                name,
                amount: limit.amount,
                window: limit.window,
                sliding: limit.algorithm == Algorithm::SlidingWindow,
                strict: policy.accuracy != Accuracy::Balanced,
            });
        }
    }
    facts
}

fn enforces(policy: &Policy) -> bool {
    policy.mode == Mode::Enforce
        && policy.on_limit == OnLimit::Reject
        && policy.level != Level::Deny
}

/// One window of one counter.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    offered: u64,
    admitted: u64,
    exact: u64,
    exact_refused: u64,
    refused: u64,
    /// When the limit was reached, and the last admission.
    reached: Time,
    last: Time,
}

/// One counter, as its limiter used it.
#[derive(Debug, Default)]
struct Counter {
    limit: usize,
    cells: BTreeMap<u64, Cell>,
    /// Sliding: when requests were admitted.
    times: Vec<Time>,
    /// Sliding: what the exact limiter admitted within the last window length.
    recent: VecDeque<Time>,
    track: Vec<Step>,
}

/// What a picture needs to know of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// True time.
    pub at: Duration,
    /// The window's begin (sliding: a span of true time), counted from the run's begin.
    pub window: Duration,
    /// It was admitted.
    pub admitted: bool,
    /// The exact limiter admitted it.
    pub exact: bool,
}

/// Keeps the score of one limiter.
#[derive(Debug)]
pub struct Judge {
    facts: Arc<[Facts]>,
    counters: Vec<Counter>,
    keep: bool,
}

impl Judge {
    /// `keep`: remember every request, for a picture.
    pub fn new(facts: Arc<[Facts]>, keep: bool) -> Self {
        Judge { facts, counters: Vec::new(), keep }
    }

    /// Counts what became of one request. `at` is true time, `seen` manager time as the limiter saw
    /// it.
    pub fn count(&mut self, hits: &[Hit], at: Time, seen: Time, ruling: Ruling) {
        if ruling == Ruling::Denied {
            return;
        }
        for hit in hits {
            if self.counters.len() <= hit.counter {
                self.counters.resize_with(hit.counter + 1, Counter::default);
            }
            self.counters[hit.counter].limit = hit.limit;
        }
        let full = hits.iter().position(|hit| !self.has_room(*hit, at, seen));
        for (place, hit) in hits.iter().enumerate() {
            let facts = &self.facts[hit.limit];
            let label = label(facts, at, seen);
            let counter = &mut self.counters[hit.counter];
            let cell = counter.cells.entry(label).or_default();
            cell.offered += 1;
            cell.exact += u64::from(full.is_none());
            cell.exact_refused += u64::from(full == Some(place));
            cell.refused += u64::from(ruling == Ruling::Refused(Some(hit.limit)));
            if ruling == Ruling::Pass {
                cell.admitted += 1;
                cell.last = at;
                if cell.admitted == facts.amount {
                    cell.reached = at;
                }
            }
            if facts.sliding {
                if full.is_none() {
                    counter.recent.push_back(at);
                }
                if ruling == Ruling::Pass {
                    counter.times.push(at);
                }
            }
            if self.keep {
                counter.track.push(Step {
                    at: at.since(Time::ZERO),
                    window: Duration::from_secs(label.saturating_sub(EPOCH_SECS)),
                    admitted: ruling == Ruling::Pass,
                    exact: full.is_none(),
                });
            }
        }
    }

    /// Whether the exact limiter has room in this counter.
    fn has_room(&mut self, hit: Hit, at: Time, seen: Time) -> bool {
        let facts = &self.facts[hit.limit];
        let counter = &mut self.counters[hit.counter];
        if facts.sliding {
            let length = facts.window.duration();
            while counter.recent.front().is_some_and(|first| at.since(*first) >= length) {
                counter.recent.pop_front();
            }
            return (counter.recent.len() as u64) < facts.amount;
        }
        let cell = counter.cells.get(&label(facts, at, seen));
        cell.map_or(0, |cell| cell.exact) < facts.amount
    }

    /// The counter of this limit that had most requests, these in order, and how many counters the
    /// limit has.
    pub fn busiest(&self, limit: usize) -> Option<(usize, &[Step], usize)> {
        let own = || self.counters.iter().enumerate().filter(|(_, c)| c.limit == limit);
        let used = own().filter(|(_, counter)| !counter.cells.is_empty()).count();
        let (counter, most) = own().max_by_key(|(_, counter)| counter.track.len())?;
        Some((counter, &most.track, used))
    }
}

/// The name of a window: when it began, in seconds of the Unix epoch.
fn label(facts: &Facts, at: Time, seen: Time) -> u64 {
    let time = if facts.sliding { at + Duration::from_secs(EPOCH_SECS) } else { seen };
    facts.window.start_at(time).0
}

#[cfg(test)]
mod tests;
