//! What was admitted, against what was allowed.

use std::{collections::BTreeMap, time::Duration};

use weir_proto::time::{Time, WindowStart};

use crate::plan::Plan;

/// Counts of one run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Admitted per key and window label (fixed windows).
    pub windows: BTreeMap<(u64, WindowStart), u64>,
    /// Requests per key and window label.
    pub offered: BTreeMap<(u64, WindowStart), u64>,
    /// Admissions per key in true time (rolling windows).
    pub times: BTreeMap<u64, Vec<Time>>,
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
    /// What happened when, if the plan asked for it.
    pub log: Vec<(Time, String)>,
}

impl Outcome {
    /// The most admitted in one window, over all keys.
    pub fn worst(&self, plan: &Plan) -> u64 {
        if plan.sliding {
            let worst = |times: &Vec<Time>| densest(times, plan.window);
            return self.times.values().map(worst).max().unwrap_or(0);
        }
        self.windows.values().copied().max().unwrap_or(0)
    }

    /// Mean shortfall, in parts of the limit, over windows of key 0 between both times in which at
    /// least twice the limit was requested.
    pub fn shortfall(&self, plan: &Plan, from: Duration, to: Duration) -> f64 {
        let mut missing = 0.0;
        let mut windows = 0.0;
        for ((key, start), offered) in &self.offered {
            let begin = Duration::from_secs(start.0.saturating_sub(crate::world::EPOCH_SECS));
            let whole = begin >= from && begin + plan.window <= to;
            if *key != 0 || !whole || *offered < plan.limit * 2 {
                continue;
            }
            let admitted = self.windows.get(&(*key, *start)).copied().unwrap_or(0);
            #[expect(clippy::cast_precision_loss, reason = "limits are small here")]
            let part = plan.limit.saturating_sub(admitted) as f64 / plan.limit as f64;
            missing += part;
            windows += 1.0;
        }
        if windows == 0.0 { 0.0 } else { missing / windows }
    }
}

/// The most events within any window of this length.
fn densest(times: &[Time], length: Duration) -> u64 {
    let mut first = 0;
    let mut most = 0;
    for (i, at) in times.iter().enumerate() {
        while at.since(times[first]) >= length {
            first += 1;
        }
        most = most.max(i + 1 - first);
    }
    most as u64
}
