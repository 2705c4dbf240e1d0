//! Agents come, go and crash, links flap and lose: the limit holds throughout.

use weir_simulator::{Fault, Plan};

use crate::scenario::{SETTLED, plan, requests, run, secs};

#[test]
fn a_fleet_may_double() {
    let mut plan = plan(5, 200, 14).steady(600.0);
    plan.spare_agents = 5;
    for agent in 5..10 {
        plan = plan.fault(6_000 + agent as u64 * 30, Fault::StartAgent(agent));
        plan.traffic.push(requests(agent, 2, 14, 120.0));
    }
    let run = run(plan);
    run.full(SETTLED, secs(6), 0.01);
    run.full(secs(9), secs(14), 0.01);
    run.never_below(SETTLED, secs(14), 45);
}

#[test]
fn agents_may_leave() {
    let mut plan = plan(6, 120, 14).steady(720.0);
    for agent in 0..3 {
        plan = plan.fault(6_300 + agent as u64 * 40, Fault::StopAgent(agent));
    }
    let run = run(plan);
    run.never_below(SETTLED, secs(14), 60);
    run.full(secs(8), secs(14), 0.01);
}

#[test]
fn a_crashed_agent_neither_breaks_nor_starves_the_rest() {
    let plan = plan(4, 100, 44).steady(400.0).fault(6_300, Fault::KillAgent(1));
    let run = run(plan);
    // Its whole share stays reserved until its silence has lasted for `silent_hold`.
    run.never_below(SETTLED, secs(44), 74);
    run.full(secs(38), secs(44), 0.01);
}

#[test]
fn an_agent_that_restarts_gets_its_share_again() {
    let plan = plan(4, 100, 16)
        .steady(400.0)
        .fault(6_300, Fault::KillAgent(1))
        .fault(6_900, Fault::StartAgent(1));
    let run = run(plan);
    run.never_below(SETTLED, secs(16), 74);
    run.full(secs(9), secs(16), 0.01);
}

#[test]
fn agents_that_restart_in_turn_never_exceed_a_long_window() {
    let mut plan = Plan { window: secs(10), ..plan(4, 300, 30) }.steady(120.0);
    for agent in 0..4 {
        let at = 10_700 + agent as u64 * 1_700;
        plan = plan.fault(at, Fault::StopAgent(agent)).fault(at + 400, Fault::StartAgent(agent));
    }
    run(plan).full(secs(10), secs(30), 0.01);
}

#[test]
fn a_link_may_flap() {
    let mut plan = plan(4, 100, 22).steady(300.0);
    for round in 0..20 {
        let at = 4_000 + round * 500;
        plan = plan.fault(at, Fault::Cut(1, 0)).fault(at + 250, Fault::Heal(1, 0));
    }
    let run = run(plan);
    run.never_below(SETTLED, secs(22), 75);
    run.full(secs(18), secs(22), 0.01);
}

#[test]
fn connections_may_be_reset_over_and_over() {
    let mut plan = plan(4, 100, 20).steady(300.0);
    for round in 0..60 {
        let (agent, kind) = (round % 4, u8::from(round % 3 == 0));
        plan = plan.fault(4_000 + round as u64 * 170, Fault::Reset(agent, 0, kind));
    }
    let run = run(plan);
    run.never_below(SETTLED, secs(20), 25);
    run.full(secs(18), secs(20), 0.01);
}

#[test]
fn one_message_in_ten_may_be_late() {
    let run = run(Plan { loss: 10, ..plan(6, 200, 16).steady(600.0) });
    run.full(SETTLED, secs(16), 0.05);
    run.never_below(SETTLED, secs(16), 150);
}

#[test]
fn a_slow_network_costs_little() {
    let slow = (crate::scenario::ms(15), crate::scenario::ms(25));
    let run = run(Plan { delay: slow, ..plan(6, 200, 16).steady(600.0) });
    run.full(SETTLED, secs(16), 0.02);
}

#[test]
fn a_burst_across_a_window_boundary_is_counted_on_both_sides() {
    let mut plan = plan(8, 400, 9);
    for agent in 0..8 {
        let mut burst = requests(agent, 4, 6, 2_000.0);
        burst.from += crate::scenario::ms(900);
        burst.to = secs(5) + crate::scenario::ms(100);
        plan.traffic.push(burst);
    }
    let run = run(plan);
    // 1600 requests before the boundary and as many after it: both windows are full.
    run.full(secs(4), secs(6), 0.01);
    assert_eq!(run.outcome.windows.len(), 2, "two windows were used");
}

#[test]
fn nobody_is_served_twice_where_agents_disagree_about_the_time() {
    // Half of the fleet follows a manager whose clock is ahead by 0.6 s.
    let mut plan = plan(4, 100, 14).steady(400.0);
    plan.skew_ms = vec![-300, 300];
    for agent in 0..2 {
        plan = plan.fault(5_000, Fault::Cut(agent, 0)).fault(9_000, Fault::Heal(agent, 0));
    }
    run(plan).full(SETTLED, secs(5), 0.01);
}
