//! What a request would meet here: the counters of its keys, and what would refuse it.

use weir_proto::{
    amount::{Amounts, Charging},
    key::CounterKey,
    matcher::explain::{Finding, Met},
    policy::{Level, Limit, Mode, OnLimit},
    time::{Time, WindowStart},
};

use crate::{manager::Manager, view::CounterView};

/// A limit that a request would count in.
#[derive(Debug, Clone)]
pub struct Count {
    /// The limit's id in its policy.
    pub limit_id: String,
    /// The limit.
    pub limit: Limit,
    /// The values of the policy's key.
    pub parts: Vec<String>,
    /// What the request adds.
    pub cost: u64,
    /// Begin of the fixed window.
    pub start: Option<WindowStart>,
    /// End of the fixed window.
    pub end: Option<Time>,
    /// Admitted in the window, as far as this manager was told; `None` = the window is over and
    /// forgotten.
    pub used: Option<u64>,
    /// The counter, if there is one in that window.
    pub counter: Option<CounterView>,
}

impl Count {
    /// What is left, as far as it is known.
    pub fn remaining(&self) -> Option<u64> {
        self.used.map(|used| self.limit.capacity().saturating_sub(used))
    }

    /// Whether the request is too much.
    pub fn refuses(&self) -> bool {
        // What is told after the response passes while anything is left.
        let later = matches!(self.limit.unit.charging(), Charging::After | Charging::Flagged);
        let needed = if later { self.cost.max(1) } else { self.cost };
        self.remaining().is_some_and(|remaining| remaining < needed)
    }
}

/// What a policy says to a request.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The policy, and why it is met or not.
    pub finding: Finding,
    /// The counters of its limits, in their order; none if it is not met.
    pub counts: Vec<Count>,
}

/// What would become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It would pass.
    Allowed,
    /// The policy at this place denies it.
    Denied(usize),
    /// The limit at these places, of policies and of its counts, has no room for it.
    Limited(usize, usize),
}

/// What would become of a request that meets these, in this order. Policies in shadow mode and
/// with `on_limit: allow` let it pass.
pub fn judge(all: &[Explained]) -> Judgement {
    for (place, Explained { finding, counts }) in all.iter().enumerate() {
        let policy = &finding.policy;
        if finding.outcome.is_err() || policy.mode != Mode::Enforce {
            continue;
        }
        if policy.level == Level::Deny {
            return Judgement::Denied(place);
        }
        let full = counts.iter().position(Count::refuses);
        if let Some(limit) = full.filter(|_| policy.on_limit == OnLimit::Reject) {
            return Judgement::Limited(place, limit);
        }
    }
    Judgement::Allowed
}

impl Manager {
    /// Adds to each finding the counters that it names, as they would be at `at`, for a request of these
    /// amounts.
    pub fn explain(
        &self,
        findings: Vec<Finding>,
        amounts: &Amounts,
        at: Time,
        now: Time,
    ) -> Vec<Explained> {
        let counts = |met: &Met| -> Vec<Count> {
            let counts = met.limits.iter();
            let count = |(limit, key): &(Limit, CounterKey)| {
                self.count(limit, key, amounts.of(&limit.unit), at, now)
            };
            counts.map(count).collect()
        };
        let explained = |finding: Finding| {
            let counts = finding.outcome.as_ref().map(counts).unwrap_or_default();
            Explained { finding, counts }
        };
        findings.into_iter().map(explained).collect()
    }

    fn count(&self, limit: &Limit, key: &CounterKey, cost: u64, at: Time, now: Time) -> Count {
        let start = (!limit.rolling()).then(|| limit.window.start_at(at));
        let end = start.map(|start| limit.window.end(start));
        let name = start.unwrap_or(WindowStart(0));
        let counter = self.ledger.find(key).and_then(|ix| self.ledger.read(ix));
        let view = counter.as_ref().and_then(|counter| {
            let window = counter.windows.iter().find(|window| window.start == name)?;
            Some(self.counter_view(counter, window, at.max(now)))
        });
        let forgotten = end.is_some_and(|end| end <= now);
        let used = view.as_ref().map(|view| view.used).or((!forgotten).then_some(0));
        let parts = key.parts().map(str::to_owned).collect();
        let (limit_id, limit) = (key.limit().to_owned(), Limit::clone(limit));
        Count { limit_id, limit, parts, cost, start, end, used, counter: view }
    }
}
