//! Managers die, hang, restart and vanish: the limit holds, and service goes on.

use weir_simulator::{Fault, Plan};

use crate::scenario::{plan, run, secs};

/// 100 per second on 5 agents at three times the limit.
fn busy(length: u64) -> Plan {
    plan(5, 100, length).steady(300.0)
}

/// What an agent may admit unasked, all together: a window is never emptier than that.
const DEFAULTS: u64 = 5 * (100 / 5 / 4);

#[test]
fn when_the_manager_is_killed_the_next_takes_over() {
    let run = run(busy(14).fault(5_300, Fault::KillManager(0)));
    run.never_below(secs(3), secs(14), DEFAULTS);
    run.full(secs(7), secs(14), 0.01);
}

#[test]
fn when_the_manager_hangs_the_next_takes_over() {
    let plan = busy(20).fault(5_300, Fault::FreezeManager(0)).fault(11_300, Fault::ThawManager(0));
    let run = run(plan);
    run.never_below(secs(3), secs(20), DEFAULTS);
    run.full(secs(8), secs(11), 0.01);
    run.full(secs(17), secs(20), 0.01);
}

#[test]
fn when_the_manager_cannot_be_reached_the_next_takes_over() {
    let mut plan = busy(20);
    for agent in 0..5 {
        plan = plan.fault(5_300, Fault::Cut(agent, 0)).fault(11_300, Fault::Heal(agent, 0));
    }
    let run = run(plan);
    run.never_below(secs(3), secs(20), DEFAULTS);
    run.full(secs(8), secs(11), 0.01);
    run.full(secs(17), secs(20), 0.01);
}

#[test]
fn a_manager_without_a_second_may_restart_empty() {
    let mut plan =
        busy(14).fault(5_300, Fault::KillManager(0)).fault(5_900, Fault::StartManager(0));
    plan.managers = 1;
    let run = run(plan);
    run.never_below(secs(3), secs(14), DEFAULTS);
    run.full(secs(9), secs(14), 0.01);
}

#[test]
fn the_first_of_two_managers_may_restart_empty() {
    let plan = busy(18).fault(5_300, Fault::KillManager(0)).fault(6_300, Fault::StartManager(0));
    let run = run(plan);
    run.never_below(secs(3), secs(18), DEFAULTS);
    run.full(secs(13), secs(18), 0.01);
}

#[test]
fn both_managers_may_restart_one_after_the_other() {
    let plan = busy(24)
        .fault(5_300, Fault::KillManager(0))
        .fault(6_300, Fault::StartManager(0))
        .fault(12_300, Fault::KillManager(1))
        .fault(13_300, Fault::StartManager(1));
    let run = run(plan);
    run.never_below(secs(3), secs(24), DEFAULTS);
    run.full(secs(19), secs(24), 0.01);
}

#[test]
fn a_manager_that_restarts_amid_a_long_window_does_not_start_it_over() {
    let mut plan = Plan { window: secs(10), ..plan(4, 500, 30) }.steady(200.0);
    for (kill, start) in [(12_300, 12_900), (14_600, 15_200), (17_000, 17_300)] {
        plan = plan.fault(kill, Fault::KillManager(0)).fault(start, Fault::StartManager(0));
    }
    for managers in [1, 2] {
        let run = run(Plan { managers, ..plan.clone() });
        run.never_below(secs(10), secs(30), 125);
        run.full(secs(20), secs(30), 0.01);
    }
}

#[test]
fn with_all_managers_dead_each_agent_has_its_share() {
    let plan = busy(14).fault(5_300, Fault::KillManager(0)).fault(5_300, Fault::KillManager(1));
    let run = run(plan);
    run.never_below(secs(3), secs(14), DEFAULTS);
    run.full(secs(7), secs(14), 0.01);
}

#[test]
fn with_all_managers_dead_idle_shares_stay_unused() {
    let mut plan =
        plan(5, 100, 14).fault(5_300, Fault::KillManager(0)).fault(5_300, Fault::KillManager(1));
    plan.traffic.push(crate::scenario::requests(2, 2, 14, 300.0));
    let run = run(plan);
    run.full(secs(3), secs(5), 0.01);
    let shares = run.outcome.whole_windows(&run.plan, secs(7), secs(14));
    for (begin, _, admitted) in shares {
        assert_eq!(admitted, 20, "the share of one of five, from {begin:?}");
    }
}

#[test]
fn managers_that_come_back_find_the_fleet_as_it_was() {
    let plan = busy(18)
        .fault(5_300, Fault::KillManager(0))
        .fault(5_300, Fault::KillManager(1))
        .fault(9_300, Fault::StartManager(0))
        .fault(9_600, Fault::StartManager(1));
    let run = run(plan);
    run.never_below(secs(3), secs(18), DEFAULTS);
    run.full(secs(13), secs(18), 0.01);
}

#[test]
fn clocks_of_managers_may_differ_by_half_a_second() {
    for skew_ms in [vec![500, -500], vec![-500, 500]] {
        let plan =
            busy(20).fault(6_100, Fault::KillManager(0)).fault(9_100, Fault::StartManager(0));
        let run = run(Plan { skew_ms, ..plan });
        run.full(secs(8), secs(11), 0.05);
        run.full(secs(16), secs(19), 0.01);
    }
}
