//! Scores: what the counts of a run come to.

use std::time::Duration;

use weir_proto::time::{Time, WindowStart};

use super::{Cell, Counter, Facts, Judge};
use crate::world::EPOCH_SECS;

/// How long admissions went on in windows in which the limit was reached.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reaction {
    /// Windows in which the limit was reached.
    pub windows: u64,
    /// From the admission that reached the limit to the last one, summed over these windows.
    pub sum: Duration,
    /// The longest.
    pub worst: Duration,
}

/// How one limiter held one limit, over all counters of the limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// Whole windows that were judged.
    pub windows: u64,
    /// Requests of the whole run, with those that were not judged.
    pub met: u64,
    /// Requests.
    pub offered: u64,
    /// Admitted.
    pub admitted: u64,
    /// What the exact limiter admitted.
    pub allowed: u64,
    /// What the fullest window held above the limit.
    pub over_requests: u64,
    /// The same in per cent of the limit.
    pub over: f64,
    /// Mean of what is missing where the exact limiter was saturated, in per cent of the limit.
    pub under: f64,
    /// Windows in which it was saturated.
    pub saturated: u64,
    /// Refused, in per cent of the requests, in windows in which the exact limiter refused nothing.
    pub wrong: f64,
    /// How long admissions went on.
    pub reaction: Reaction,
}

/// Sums over windows.
#[derive(Default)]
struct Sums {
    score: Score,
    missing: u64,
    calm_offered: u64,
    calm_refused: u64,
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

impl Judge {
    /// The score of each limit, over windows that begin from `from` on. Windows that end after `to`
    /// are not whole: they may be exceeded, but nothing is missing in them.
    pub fn scores(&self, from: Duration, to: Duration) -> Vec<Score> {
        (0..self.facts.len()).map(|limit| self.score(limit, from, to)).collect()
    }

    fn score(&self, limit: usize, from: Duration, to: Duration) -> Score {
        let facts = &self.facts[limit];
        let mut sums = Sums::default();
        for counter in self.counters.iter().filter(|counter| counter.limit == limit) {
            for (label, cell) in &counter.cells {
                sums.score.met += cell.offered;
                let begin = Duration::from_secs(label.saturating_sub(EPOCH_SECS));
                let length = facts.window.length_of(WindowStart(*label));
                if begin >= from {
                    sums.add(cell, facts, begin + length <= to);
                }
            }
            if facts.sliding {
                let densest = densest(counter, facts, from);
                sums.over(densest.saturating_sub(facts.amount));
            }
        }
        sums.finish(facts)
    }
}

impl Sums {
    fn add(&mut self, cell: &Cell, facts: &Facts, whole: bool) {
        let score = &mut self.score;
        score.offered += cell.offered;
        score.admitted += cell.admitted;
        score.allowed += cell.exact;
        if !facts.sliding {
            self.over(cell.admitted.saturating_sub(facts.amount));
        }
        let score = &mut self.score;
        if cell.admitted >= facts.amount && facts.amount > 0 && !facts.sliding {
            let reaction = &mut score.reaction;
            let lasted = cell.last.since(cell.reached);
            reaction.windows += 1;
            reaction.sum += lasted;
            reaction.worst = reaction.worst.max(lasted);
        }
        if !whole {
            return;
        }
        score.windows += 1;
        if cell.exact_refused > 0 {
            score.saturated += 1;
            self.missing += cell.exact.saturating_sub(cell.admitted);
        } else {
            self.calm_offered += cell.offered;
            self.calm_refused += cell.refused;
        }
    }

    fn over(&mut self, by: u64) {
        self.score.over_requests = self.score.over_requests.max(by);
    }

    fn finish(self, facts: &Facts) -> Score {
        let Sums { mut score, missing, calm_offered, calm_refused } = self;
        score.over = percent(score.over_requests, facts.amount.max(1));
        score.under = percent(missing, facts.amount.max(1) * score.saturated);
        score.wrong = percent(calm_refused, calm_offered);
        score
    }
}

/// The most admissions within any window of the limit's length that begins from `from` on.
fn densest(counter: &Counter, facts: &Facts, from: Duration) -> u64 {
    let (mut first, mut best) = (0, 0);
    let times: Vec<Time> =
        counter.times.iter().copied().filter(|at| at.since(Time::ZERO) >= from).collect();
    for (i, at) in times.iter().enumerate() {
        while at.since(times[first]) >= facts.window.duration() {
            first += 1;
        }
        best = best.max((i + 1 - first) as u64);
    }
    best
}
