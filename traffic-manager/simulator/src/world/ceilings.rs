//! What agents may admit without another word from a manager, after every event.

use std::{collections::BTreeMap, time::Duration};

use weir_proto::{
    key::CounterKey,
    policy::Policy,
    time::{Time, WindowStart},
};

use super::{EPOCH_SECS, World};
use crate::{outcome::Excess, plan::Plan};

/// Use by agent, and the names of its counters.
#[derive(Default)]
pub(super) struct Spent {
    /// Admitted by key and window, by agents' lives.
    used: BTreeMap<(u64, WindowStart), BTreeMap<u64, u64>>,
    /// By key.
    names: Vec<CounterKey>,
}

impl Spent {
    /// Nothing, for the keys of this plan.
    pub(super) fn new(plan: &Plan, policies: &[Policy]) -> Self {
        let first = policies.first().and_then(|policy| policy.all_limits().next());
        let limit = first.map(|(id, _)| id).unwrap_or_default();
        let keys = plan.traffic.iter().map(|t| t.keys.max(1)).max().unwrap_or(0);
        let name = |key| CounterKey::new("p", &limit, &[&format!("app-{key}")]).ok();
        let names = if plan.ceilings { (0..keys).filter_map(name).collect() } else { Vec::new() };
        Spent { used: BTreeMap::new(), names }
    }
}

impl World {
    pub(super) fn spend(&mut self, agent: usize, key: u64, window: WindowStart) {
        if self.plan.ceilings {
            let life = self.agents[agent].life;
            *self.spent.used.entry((key, window)).or_default().entry(life).or_default() += 1;
        }
    }

    /// The first window of now, before or after in which agents, the dead included, have admitted and
    /// may still admit more than the limit in sum.
    pub(super) fn overdraft(&self) -> Option<(Time, Excess)> {
        let length = self.plan.window.as_secs();
        let present = (EPOCH_SECS + self.now.as_secs()) / length * length;
        for (key, name) in (0..).zip(&self.spent.names) {
            for start in [present - length, present, present + length].map(WindowStart) {
                let admitted = self.in_force(key, name, start);
                if admitted > self.plan.limit {
                    let from = Duration::from_secs(start.0.saturating_sub(EPOCH_SECS));
                    let bound = self.plan.limit;
                    return Some((self.now, Excess { key, from, admitted, bound }));
                }
            }
        }
        None
    }

    fn in_force(&self, key: u64, name: &CounterKey, start: WindowStart) -> u64 {
        let none = BTreeMap::new();
        let spent = self.spent.used.get(&(key, start)).unwrap_or(&none);
        let mut sum = spent.values().sum();
        for (i, agent) in self.agents.iter().enumerate() {
            let Some(core) = &agent.core else { continue };
            let own = spent.get(&agent.life).copied().unwrap_or(0);
            sum += core.in_force(name, start, self.local(i)).saturating_sub(own);
        }
        sum
    }
}
