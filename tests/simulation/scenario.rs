//! What the scenarios share: a plan, its run, and judgements in the words of users.

use std::time::Duration;

use weir_simulator::{Outcome, Plan, Traffic, World};

/// Fleets are founded and rates are steady from here on.
pub(crate) const SETTLED: Duration = Duration::from_secs(3);

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// `agents` agents, two managers, `limit` per second, for `length` seconds.
pub(crate) fn plan(agents: usize, limit: u64, length: u64) -> Plan {
    Plan::new(1, agents, limit, secs(1), secs(length))
}

/// Requests at one agent at this rate, between both seconds.
pub(crate) fn requests(agent: usize, from: u64, to: u64, rate: f64) -> Traffic {
    Traffic { agent, from: secs(from), to: secs(to), rate, keys: 1 }
}

/// A finished run.
pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) outcome: Outcome,
}

/// Runs the plan, and demands that no window held more than the limit.
pub(crate) fn run(plan: Plan) -> Run {
    let outcome = World::new(plan.clone()).run();
    if let Some(excess) = outcome.excess(&plan) {
        panic!("{excess:?} is above the limit of {}, in {plan:?}", plan.limit);
    }
    assert!(outcome.admitted > 0, "nothing was admitted in {plan:?}");
    Run { plan, outcome }
}

impl Run {
    /// Of the limit, at most this part is missing in windows of these seconds that had twice the
    /// limit to choose from. Such windows must exist.
    pub(crate) fn full(&self, from: Duration, to: Duration, missing: f64) {
        let shortfall = self.outcome.shortfall(&self.plan, from, to);
        let shortfall = shortfall.expect("windows with twice the limit requested");
        assert!(shortfall <= missing, "{shortfall:.4} of the limit is missing: {}", self.table());
    }

    /// Of the requests, at most this part was refused though there was room.
    pub(crate) fn willing(&self, from: Duration, to: Duration, refused: f64) {
        let vain = self.outcome.refused_in_vain(&self.plan, from, to).expect("requests");
        assert!(vain <= refused, "{vain:.4} was refused below the limit: {}", self.table());
    }

    /// Each window of these seconds admitted at least this much.
    pub(crate) fn never_below(&self, from: Duration, to: Duration, least: u64) {
        let windows: Vec<_> = self.outcome.whole_windows(&self.plan, from, to).collect();
        assert!(!windows.is_empty(), "no window was used");
        for (begin, _, admitted) in windows {
            assert!(admitted >= least, "{admitted} from {begin:?} on: {}", self.table());
        }
    }

    /// Requests and admissions by window, for messages.
    fn table(&self) -> String {
        let windows = self.outcome.whole_windows(&self.plan, Duration::ZERO, self.plan.length);
        let cells = windows
            .map(|(begin, offered, admitted)| format!("{}s {admitted}/{offered}", begin.as_secs()));
        cells.collect::<Vec<_>>().join(", ")
    }
}
