//! Links between managers: what gets through, when, and how often.

use std::{collections::BTreeSet, time::Duration};

use super::Plan;
use crate::chance::Chance;

/// Which directions are cut, and how bad the rest is.
#[derive(Debug)]
pub(super) struct Network {
    cut: BTreeSet<(usize, usize)>,
    loss: u64,
    double: u64,
    delay: Duration,
}

impl Network {
    pub(super) fn new(plan: &Plan) -> Network {
        Network { cut: BTreeSet::new(), loss: plan.loss, double: plan.double, delay: plan.delay }
    }

    /// When copies of a frame arrive, if any.
    pub(super) fn arrivals(&self, from: usize, to: usize, chance: &mut Chance) -> Vec<Duration> {
        if self.cut.contains(&(from, to)) || (self.loss > 0 && chance.one_in(self.loss)) {
            return Vec::new();
        }
        let most = u64::try_from(self.delay.as_micros()).unwrap_or(0);
        let copies = if self.double > 0 && chance.one_in(self.double) { 2 } else { 1 };
        (0..copies).map(|_| Duration::from_micros(chance.between(100, most.max(100)))).collect()
    }

    pub(super) fn set_cut(&mut self, from: usize, to: usize, cut: bool) {
        if cut {
            self.cut.insert((from, to));
        } else {
            self.cut.remove(&(from, to));
        }
    }

    /// All directions work, and nothing is slow or lost any more.
    pub(super) fn heal(&mut self) {
        self.cut.clear();
        self.loss = 0;
        self.delay = self.delay.min(Duration::from_millis(50));
    }
}
