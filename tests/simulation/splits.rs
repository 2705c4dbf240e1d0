//! The fleet falls apart and comes together: never above the limit, and nobody is shut out.

use weir_simulator::{Fault, Plan};

use crate::scenario::{SETTLED, plan, run, secs};

#[test]
fn thirty_per_cent_may_lose_all_managers() {
    let mut plan = plan(10, 200, 18).steady(600.0);
    for agent in 0..3 {
        for manager in 0..2 {
            plan = plan
                .fault(5_200, Fault::Cut(agent, manager))
                .fault(11_200, Fault::Heal(agent, manager));
        }
    }
    let run = run(plan);
    run.full(SETTLED, secs(5), 0.01);
    // The others keep their part, and those cut off have at least their defaults.
    run.never_below(SETTLED, secs(18), 7 * 20 + 3 * 5);
    run.full(secs(8), secs(11), 0.01);
    run.full(secs(14), secs(18), 0.01);
}

/// Half of the fleet sees only manager 1, the others only manager 2.
fn split(plan: Plan, from: u64, to: u64) -> Plan {
    (0..plan.agents).fold(plan, |plan, agent| {
        let lost = agent % 2;
        plan.fault(from, Fault::Cut(agent, lost)).fault(to, Fault::Heal(agent, lost))
    })
}

#[test]
fn two_halves_with_a_manager_each_share_one_limit() {
    let run = run(split(plan(6, 120, 22).steady(480.0), 5_200, 14_200));
    run.never_below(SETTLED, secs(22), 30);
    run.full(secs(8), secs(14), 0.01);
    run.full(secs(19), secs(22), 0.01);
}

#[test]
fn two_halves_share_one_long_window() {
    let plan = Plan { window: secs(10), ..plan(6, 300, 30) }.steady(120.0);
    run(split(plan, 12_200, 17_200)).full(secs(20), secs(30), 0.01);
}

#[test]
fn halves_that_form_and_heal_again_and_again_share_one_limit() {
    let mut plan = plan(6, 60, 24).steady(240.0);
    for round in 0..6 {
        plan = split(plan, 3_000 + round * 3_000, 4_700 + round * 3_000);
    }
    run(plan).never_below(SETTLED, secs(24), 15);
}

#[test]
fn a_manager_that_hangs_amid_a_split_grants_nothing_twice() {
    let plan = split(plan(6, 60, 20).steady(240.0), 5_200, 10_200)
        .fault(6_700, Fault::FreezeManager(0))
        .fault(8_300, Fault::ThawManager(0));
    let run = run(plan);
    run.never_below(SETTLED, secs(20), 15 / 2);
    run.full(secs(17), secs(20), 0.01);
}
