//! Schedules that once exceeded a limit, found by the fuzzer and made small.

use weir_simulator::{Fault, Plan, Traffic};

use crate::scenario::{ms, run, secs};

/// Requests at one agent all the time.
fn steady(plan: &Plan, agent: usize, rate: f64) -> Traffic {
    Traffic { agent, from: secs(0), to: plan.length, rate, keys: 1 }
}

#[test]
fn use_that_crossed_with_a_recall_is_not_brought_along() {
    // Agent 2 follows the second manager, uses 2, is asked to give back all, and says: 2 used, 0 held.
    // It visits the first manager, and comes back when that one dies: those 2 were this manager's own.
    let mut plan = Plan::new(18_595, 3, 100, secs(2), secs(10));
    plan.max_wait = ms(0);
    plan.delay = (ms(1) / 2, ms(1) / 2);
    for (agent, rate) in [(0, 125.0 / 3.0), (1, 125.0 / 3.0), (2, 12.5 / 3.0)] {
        plan.traffic.push(steady(&plan, agent, rate));
    }
    let plan = plan
        .fault(9_850, Fault::KillManager(0))
        .fault(3_697, Fault::Cut(0, 0))
        .fault(3_697, Fault::Cut(2, 0))
        .fault(7_697, Fault::Heal(2, 0))
        .fault(8_851, Fault::Cut(2, 1))
        .fault(9_451, Fault::Heal(2, 1));
    run(plan).never_below(secs(8), secs(10), 95);
}

#[test]
fn alone_agents_spend_at_most_their_share_of_what_they_hold() {
    // The manager dies when one agent holds the limit of a rolling window. It may spend that while the
    // others, one length later, pace themselves at their shares.
    let mut plan = Plan::new(1_945, 4, 2, secs(2), ms(11_500));
    plan.managers = 1;
    plan.sliding = true;
    plan.delay = (ms(1), ms(2));
    plan.skew_ms = vec![142];
    for agent in [1, 3] {
        plan.traffic.push(steady(&plan, agent, 5.0 / 3.0));
    }
    let run = run(plan.fault(9_003, Fault::KillManager(0)));
    assert!(run.outcome.times[&0].len() > 2, "more than one window was used");
}
