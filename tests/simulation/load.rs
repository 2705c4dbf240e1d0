//! No faults: whatever the load, never above the limit, and hardly below it when it is wanted.

use std::time::Duration;

use weir_simulator::{Plan, World, world::Ask};

use crate::scenario::{SETTLED, ms, plan, requests, run, secs};

/// Limit 1000 per second on 20 agents, at this multiple of the limit.
fn steady(factor: f64) -> Plan {
    plan(20, 1_000, 10).steady(1_000.0 * factor)
}

#[test]
fn half_of_the_limit_passes_untouched() {
    run(steady(0.5)).willing(SETTLED, secs(10), 0.0);
}

#[test]
fn near_the_limit_hardly_anything_is_refused() {
    run(steady(0.9)).willing(SETTLED, secs(10), 0.005);
}

#[test]
fn twice_the_limit_fills_it() {
    run(steady(2.0)).full(SETTLED, secs(10), 0.01);
}

#[test]
fn ten_times_the_limit_fills_it() {
    run(steady(10.0)).full(SETTLED, secs(10), 0.01);
}

#[test]
fn without_waiting_twice_the_limit_fills_it() {
    let plan = Plan { max_wait: std::time::Duration::ZERO, ..steady(2.0) };
    run(plan).full(SETTLED, secs(10), 0.01);
}

#[test]
fn a_few_agents_may_have_most_of_the_load() {
    let mut plan = plan(20, 1_000, 10);
    for agent in 0..20_u32 {
        let rate = 900.0 / f64::from(agent + 1); // Zipf: 3238 in all, 900 at the first
        plan.traffic.push(requests(agent as usize, 2, 10, rate));
    }
    run(plan).full(SETTLED, secs(10), 0.01);
}

#[test]
fn a_skewed_load_below_the_limit_passes() {
    let mut plan = plan(20, 1_000, 10);
    for agent in 0..20_u32 {
        plan.traffic.push(requests(agent as usize, 2, 10, 230.0 / f64::from(agent + 1)));
    }
    run(plan).willing(SETTLED, secs(10), 0.005);
}

#[test]
fn a_load_that_moves_from_agent_to_agent_passes() {
    let mut plan = plan(8, 1_000, 11);
    for agent in 0..8 {
        plan.traffic.push(requests(agent, 2 + agent as u64, 3 + agent as u64, 800.0));
    }
    run(plan).willing(SETTLED, secs(10), 0.01);
}

#[test]
fn a_burst_of_twice_the_limit_at_one_agent_gets_the_limit() {
    let mut plan = plan(10, 500, 7);
    plan.traffic.push(requests(3, 4, 5, 1_500.0));
    let run = run(plan);
    run.full(secs(4), secs(5), 0.01);
}

#[test]
fn small_limits_are_exact_with_more_agents_than_that() {
    for limit in [1, 2, 5, 10] {
        let agents = usize::try_from(limit).expect("small") * 2 + 3;
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let run = run(plan(agents, limit, 14).steady(limit as f64 * 6.0));
        run.full(SETTLED, secs(14), 0.0);
        run.never_below(SETTLED, secs(14), 1);
    }
}

#[test]
fn the_first_request_of_a_small_limit_is_not_refused() {
    for limit in [1, 2, 5, 10] {
        let agents = usize::try_from(limit).expect("small") * 2 + 3;
        let run = run(plan(agents, limit, 120).steady(0.7));
        run.never_below(SETTLED, secs(120), 1);
        // A second one may come while what it needs is on its way to another agent.
        run.willing(SETTLED, secs(120), 0.06);
    }
}

#[test]
fn long_windows_fill_up_and_stay_full() {
    let plan = Plan { window: secs(5), ..plan(10, 1_000, 25) }.steady(600.0);
    run(plan).full(secs(5), secs(25), 0.01);
}

#[test]
fn many_counters_are_limited_each_by_itself() {
    let mut plan = plan(6, 20, 10);
    for agent in 0..6 {
        let mut traffic = requests(agent, 2, 10, 600.0);
        traffic.keys = 30;
        plan.traffic.push(traffic);
    }
    let run = run(plan);
    run.full(SETTLED, secs(10), 0.01);
    assert_eq!(run.outcome.windows.keys().map(|(key, _)| key).max(), Some(&29));
}

#[test]
fn any_second_of_a_sliding_window_holds_at_most_the_limit() {
    for factor in [0.9, 2.0, 10.0] {
        let plan = Plan { sliding: true, ..steady(factor) };
        let run = run(plan);
        let least = if factor < 1.0 { 6_600 } else { 7_600 };
        let admitted = run.outcome.admitted;
        assert!(admitted >= least, "{admitted} of 8 s at {factor} times 1000/s");
    }
}

/// One request after the other, each at another agent, and a little later: what they did, in order.
fn one_by_one(limit: u64, agents: usize, pause: Duration) -> Vec<bool> {
    let plan = Plan { window: secs(5), max_wait: secs(1), ..plan(agents, limit, 20) };
    let mut world = World::new(plan);
    let mut at = secs(11);
    for n in 0..limit + 3 {
        world.run_until(at);
        let attributes = [("application".to_owned(), "shop".to_owned())].into();
        let agent = usize::try_from(n * 7).expect("small") % agents;
        world.ask(agent, Ask { id: n + 1, attributes, key: 0 });
        at += pause;
    }
    world.run_until(secs(14));
    let mut answers = world.answers();
    answers.sort_by_key(|answer| answer.id);
    answers.iter().map(|answer| answer.allowed).collect()
}

#[test]
fn small_limits_are_exact_for_one_request_after_the_other() {
    for limit in [1, 2, 5, 10] {
        for pause in [0, 1, 5, 17, 49, 120].map(ms) {
            let told = one_by_one(limit, 12, pause);
            let passed = told.iter().filter(|allowed| **allowed).count() as u64;
            assert_eq!(told.len() as u64, limit + 3, "all are answered");
            assert_eq!(passed, limit, "limit {limit}, {pause:?} apart: {told:?}");
        }
    }
}
