//! What was admitted, against what was allowed.

use std::{collections::BTreeMap, time::Duration};

use weir_proto::time::{Time, WindowStart};

use crate::plan::Plan;

/// Managers reserve a dead agent's ceilings for so long.
const HOLD: Duration = Duration::from_secs(5);

/// Counts of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Admitted per key and window label (fixed windows).
    pub windows: BTreeMap<(u64, WindowStart), u64>,
    /// Requests per key and window label.
    pub offered: BTreeMap<(u64, WindowStart), u64>,
    /// Admissions per key in true time (rolling windows).
    pub times: BTreeMap<u64, Vec<Time>>,
    /// `balanced`: by how much each life of an agent that admitted anything may exceed its ceiling,
    /// by key and window label (all windows together where they slide).
    pub floors: BTreeMap<(u64, WindowStart), BTreeMap<(usize, u64), u64>>,
    /// What some manager never heard of agents that ended, by key, window label and life. In windows that
    /// go on for longer than managers reserve a dead agent's ceilings, it may come on top.
    pub lost: BTreeMap<(u64, WindowStart), BTreeMap<u64, u64>>,
    /// Requests.
    pub requests: u64,
    /// Admitted.
    pub admitted: u64,
    /// Requests that waited.
    pub waited: u64,
    /// Messages sent.
    pub messages: u64,
    /// Of these, with decisions or questions about ceilings.
    pub credit_messages: u64,
    /// What messages weighed, if the plan asked for it.
    pub cost: Cost,
    /// Who followed whom from when on; `None` = nobody.
    pub followed: Vec<(Time, usize, Option<usize>)>,
    /// When agents might first have admitted more than the limit, and how much in which window, if the
    /// plan asked for it.
    pub overdraft: Option<(Time, Excess)>,
    /// What happened when, if the plan asked for it.
    pub log: Vec<(Time, String)>,
}

/// What crossed the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Usage frames and their acknowledgements.
    pub usage_messages: u64,
    /// Their bytes.
    pub usage_bytes: u64,
    /// Frames of decision sessions, both ways.
    pub decision_messages: u64,
    /// Their bytes.
    pub decision_bytes: u64,
}

impl std::ops::Sub for Cost {
    type Output = Cost;
    fn sub(self, earlier: Cost) -> Cost {
        Cost {
            usage_messages: self.usage_messages - earlier.usage_messages,
            usage_bytes: self.usage_bytes - earlier.usage_bytes,
            decision_messages: self.decision_messages - earlier.decision_messages,
            decision_bytes: self.decision_bytes - earlier.decision_bytes,
        }
    }
}

/// A window in which too much was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    /// Key.
    pub key: u64,
    /// When the window began: by its name (manager time), or in true time where windows slide.
    pub from: Duration,
    /// Admitted in it.
    pub admitted: u64,
    /// The most that may be admitted in it.
    pub bound: u64,
}

impl Outcome {
    /// The most admitted in one window, over all keys.
    pub fn worst(&self, plan: &Plan) -> u64 {
        self.fullest(plan).map_or(0, |window| window.admitted)
    }

    /// Notes that this life of an agent may exceed its ceiling in this window by `floor`.
    pub(crate) fn allow(&mut self, key: u64, window: WindowStart, life: (usize, u64), floor: u64) {
        let most = self.floors.entry((key, window)).or_default().entry(life).or_default();
        *most = floor.max(*most);
    }

    /// What may be admitted beyond the limit.
    fn slack(&self, plan: &Plan, key: u64, window: WindowStart) -> u64 {
        let floors = self.floors.get(&(key, window)).map_or(0, |floors| floors.values().sum());
        // A bucket remembers until it has been empty.
        if plan.window <= HOLD && !plan.bucket {
            return floors;
        }
        let same = |of: &&(u64, WindowStart)| of.0 == key && (plan.sliding || of.1 == window);
        let lost = self.lost.keys().filter(same).filter_map(|of| self.lost.get(of));
        floors + lost.flat_map(BTreeMap::values).sum::<u64>()
    }

    /// The window that broke the bound most, if any did.
    pub fn excess(&self, plan: &Plan) -> Option<Excess> {
        self.fullest(plan).filter(|window| window.admitted > window.bound)
    }

    /// The window that comes closest to its bound, or breaks it most; of equals the first.
    fn fullest(&self, plan: &Plan) -> Option<Excess> {
        let sliding = self.times.iter().filter_map(|(key, times)| {
            let (first, admitted) = match plan.bucket {
                true => deepest(times, plan.limit, plan.window)?,
                false => densest(times, plan.window)?,
            };
            let bound = plan.limit + self.slack(plan, *key, WindowStart::default());
            Some(Excess { key: *key, from: first.since(Time::ZERO), admitted, bound })
        });
        let fixed = self.windows.iter().map(|((key, start), admitted)| Excess {
            key: *key,
            from: begin(*start),
            admitted: *admitted,
            bound: plan.limit + self.slack(plan, *key, *start),
        });
        let over = |window: &Excess| i128::from(window.admitted) - i128::from(window.bound);
        let most = |window: &Excess| (over(window), std::cmp::Reverse(window.from));
        if plan.sliding { sliding.max_by_key(most) } else { fixed.max_by_key(most) }
    }

    /// Mean shortfall, in parts of the limit, over windows of all keys between both times in which at
    /// least twice the limit was requested; `None` when there was no such window.
    pub fn shortfall(&self, plan: &Plan, from: Duration, to: Duration) -> Option<f64> {
        let full = |(_, offered, _): &(Duration, u64, u64)| *offered >= plan.limit * 2;
        let missing: Vec<u64> = self
            .whole_windows(plan, from, to)
            .filter(full)
            .map(|(_, _, admitted)| plan.limit.saturating_sub(admitted))
            .collect();
        ratio(missing.iter().sum(), plan.limit * missing.len() as u64)
    }

    /// The part of the requests between both times that was refused although the limit had room for
    /// it in that window; `None` when there were no requests.
    pub fn refused_in_vain(&self, plan: &Plan, from: Duration, to: Duration) -> Option<f64> {
        let (mut vain, mut all) = (0, 0);
        for (_, offered, admitted) in self.whole_windows(plan, from, to) {
            vain += offered.min(plan.limit).saturating_sub(admitted);
            all += offered;
        }
        ratio(vain, all)
    }

    /// Begin, requests and admissions of each fixed window that lies between both times.
    pub fn whole_windows(
        &self,
        plan: &Plan,
        from: Duration,
        to: Duration,
    ) -> impl Iterator<Item = (Duration, u64, u64)> {
        let length = plan.window;
        self.offered
            .iter()
            .map(|(at, offered)| {
                let admitted = self.windows.get(at).copied().unwrap_or(0);
                (begin(at.1), *offered, admitted)
            })
            .filter(move |(begin, _, _)| *begin >= from && *begin + length <= to)
    }
}

fn begin(start: WindowStart) -> Duration {
    Duration::from_secs(start.0.saturating_sub(crate::world::EPOCH_SECS))
}

#[expect(clippy::cast_precision_loss, reason = "counts are small here")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The highest level of a bucket that leaks `limit` per `window`, and when it was last empty before.
fn deepest(times: &[Time], limit: u64, window: Duration) -> Option<(Time, u64)> {
    let unit = window.as_micros();
    let (mut level, mut empty, mut last) = (0, *times.first()?, *times.first()?);
    let mut deepest = (empty, 0);
    for at in times {
        let leaked = at.since(last).as_micros() * u128::from(limit);
        if leaked >= level {
            (level, empty) = (0, *at);
        } else {
            level -= leaked;
        }
        (level, last) = (level + unit, *at);
        let tokens = u64::try_from(level.div_ceil(unit)).unwrap_or(u64::MAX);
        if tokens > deepest.1 {
            deepest = (empty, tokens);
        }
    }
    Some(deepest)
}

/// The most events within any window of this length, and when it begins.
fn densest(times: &[Time], length: Duration) -> Option<(Time, u64)> {
    let mut first = 0;
    let mut best: Option<(Time, u64)> = None;
    for (i, at) in times.iter().enumerate() {
        while at.since(times[first]) >= length {
            first += 1;
        }
        let count = (i + 1 - first) as u64;
        if best.is_none_or(|(_, most)| count > most) {
            best = Some((times[first], count));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn the_densest_window_excludes_its_end() {
        let times = [at(0), at(400), at(999), at(1_000), at(1_399), at(5_000)];
        assert_eq!(densest(&times, Duration::from_secs(1)), Some((at(400), 4)));
        assert_eq!(densest(&[], Duration::from_secs(1)), None);
    }

    #[test]
    fn shortfall_and_refusals_are_judged_by_window() {
        let plan = Plan::new(1, 1, 10, Duration::from_secs(1), Duration::from_secs(9));
        let mut outcome = Outcome::default();
        for (second, offered, admitted) in [(1, 100, 0), (2, 20, 9), (3, 40, 10), (4, 8, 6)] {
            let window = (0, WindowStart(crate::world::EPOCH_SECS + second));
            outcome.offered.insert(window, offered);
            outcome.windows.insert(window, admitted);
        }
        let (from, to) = (Duration::from_secs(2), Duration::from_secs(5));
        assert_eq!(outcome.shortfall(&plan, from, to), Some(0.05));
        assert_eq!(outcome.refused_in_vain(&plan, from, to), Some(3.0 / 68.0));
        assert_eq!(outcome.shortfall(&plan, to, to), None);
        assert_eq!(outcome.excess(&plan), None);
        let full = (0, WindowStart(crate::world::EPOCH_SECS + 7));
        outcome.windows.insert(full, 11);
        let excess = Excess { key: 0, from: Duration::from_secs(7), admitted: 11, bound: 10 };
        assert_eq!(outcome.excess(&plan), Some(excess));
        outcome.allow(0, full.1, (0, 1), 1);
        outcome.allow(0, full.1, (0, 1), 0);
        assert_eq!(outcome.excess(&plan), None, "one agent may exceed its ceiling by one");
    }
}
