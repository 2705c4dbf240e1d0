//! Rolling windows where agents and managers see a counter begin, or end, at different times.

use std::time::Duration;

use weir_simulator::{Fault, Plan, World, world::Ask};

use crate::scenario::{ms, plan, secs};

fn ask(world: &mut World, agent: usize, times: u64) {
    for _ in 0..times {
        let attributes = [("application".to_owned(), "shop".to_owned())].into();
        world.ask(agent, Ask { id: 1, attributes, key: 0 });
    }
}

fn allowed(world: &mut World) -> usize {
    world.answers().iter().filter(|answer| answer.allowed).count()
}

/// One agent opens its counter and another wants everything, just before or just after the manager
/// takes note of the first one; much later the first has the whole limit to itself.
fn alone_later(opened: Duration) -> usize {
    let plan = Plan { window: secs(60), sliding: true, ..plan(2, 100, 200) };
    let mut world = World::new(plan);
    world.run_until(opened);
    ask(&mut world, 1, 3);
    world.run_until(ms(20_003));
    ask(&mut world, 0, 200);
    world.run_until(secs(88));
    let _ = allowed(&mut world);
    for tenth in 880..1_330 {
        world.run_until(ms(tenth * 100));
        ask(&mut world, 1, 1);
    }
    world.run_until(secs(134));
    allowed(&mut world)
}

#[test]
fn a_counter_that_the_manager_noticed_late_is_not_starved() {
    for opened in [19_990, 19_999, 20_001] {
        let passed = alone_later(ms(opened));
        assert!(passed > 70, "{passed} of 100 when opened after {opened} ms");
    }
}

#[test]
fn alone_with_a_floor_agents_have_their_shares() {
    let mut plan = Plan { window: secs(10), sliding: true, balanced: true, ..plan(2, 1_000, 60) }
        .steady(400.0);
    for manager in 0..plan.managers {
        plan = plan.fault(12_000, Fault::KillManager(manager));
    }
    let outcome = World::new(plan.clone()).run();
    assert_eq!(outcome.excess(&plan), None);
    // Paced from 23 s on: half of each share as burst, half as refill.
    let late = outcome.times[&0].iter().filter(|at| at.as_secs() >= 26).count();
    assert!(late > 1_500, "{late} of 1,700 in the last 34 s");
}
