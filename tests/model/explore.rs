//! Every schedule of small fleets, within bounds: after each step, what all agents have admitted and
//! may still admit in a window is at most the limit.
//!
//! `cargo run --release -p weir-simulator --example explore` searches further.

use std::time::Duration;

use weir_simulator::explore::{Action, Order, Scene, Scope, World, explore};

/// Small enough for every build. Each state has every choice in it.
const EVERY: Scope = Scope {
    order: Order::Every,
    steps: 5,
    time: Duration::from_millis(300),
    requests: 3,
    holds: 0,
    faults: 1,
    repairs: 1,
    states: 100_000,
};

/// Longer schedules, in which little is out of the ordinary.
const PROMPT: Scope = Scope {
    order: Order::Prompt,
    steps: 200,
    time: Duration::from_millis(60),
    requests: 1,
    holds: 1,
    faults: 1,
    repairs: 1,
    states: 100_000,
};

/// Searches the scene to the end of the scope, and demands that no schedule breaks the bound.
fn holds(scene: Scene, agents: usize, limit: u64, scope: &Scope) -> usize {
    let report = explore(&scene.world(agents, limit), scope);
    if let Some((path, overdraft)) = report.found {
        let mut world = scene.world(agents, limit);
        let mut words = Vec::new();
        for action in path {
            words.push(format!("{:?} {}", world.age(), world.describe(action)));
            world.step(action);
        }
        panic!("{scene:?}, {agents} agents, limit {limit}: {overdraft:?}\n{}", words.join("\n"));
    }
    assert!(report.complete, "{scene:?} has more than {} states", scope.states);
    report.states
}

#[test]
fn every_order_of_a_few_events_keeps_the_bound() {
    for scene in Scene::ALL {
        holds(scene, 2, 3, &EVERY);
    }
    for scene in [Scene::Near, Scene::Split] {
        holds(scene, 3, 6, &Scope { steps: 4, ..EVERY });
    }
}

#[test]
fn one_fault_and_one_delay_keep_the_bound_near_the_limit() {
    for limit in [2, 3, 6] {
        holds(Scene::Near, 2, limit, &PROMPT);
        holds(Scene::Ending, 2, limit, &Scope { faults: 0, ..PROMPT });
        holds(Scene::Ending, 2, limit, &Scope { holds: 0, ..PROMPT });
    }
}

#[test]
fn one_fault_and_one_delay_keep_the_bound_between_two_managers() {
    for limit in [2, 6] {
        for scene in [Scene::Split, Scene::Abandoned, Scene::Alone] {
            holds(scene, 2, limit, &PROMPT);
        }
    }
}

#[test]
fn one_fault_keeps_the_bound_among_three_agents() {
    for scene in [Scene::Near, Scene::Split, Scene::Abandoned] {
        holds(scene, 3, 6, &Scope { holds: 0, ..PROMPT });
    }
}

#[test]
fn one_delay_keeps_the_bound_while_views_change() {
    for scene in [Scene::Takeover, Scene::Joining] {
        holds(scene, 2, 6, &Scope { faults: 0, time: Duration::from_millis(20), ..PROMPT });
    }
}

#[test]
fn a_broken_bound_is_seen() {
    // Both managers found a fleet of their own, as each hears of one agent only: against the
    // assumptions. Each agent then owns the whole limit.
    let mut world = World::new(2, 0, 2, 3, Duration::from_secs(2));
    for (agent, manager) in [(0, 1), (1, 0)] {
        world.step(Action::Cut(agent, manager));
        world.step(Action::StartAgent(agent));
    }
    world.pass(Duration::from_millis(4_100));
    let overdraft = world.overdraft().expect("two fleets, two limits");
    assert_eq!((overdraft.admitted, overdraft.in_force), (0, 6));
}

#[test]
fn a_copy_of_a_world_goes_its_own_way() {
    let world = Scene::Fresh.world(2, 6);
    let window = weir_proto::time::WindowStart(1_800_000_004);
    let before = world.in_force(window);
    let mut copy = world.clone();
    copy.step(Action::Request(0));
    copy.pass(Duration::from_millis(4_200));
    assert!(copy.in_force(window).admitted > 0 || copy.in_force(window) != before);
    assert_eq!(world.in_force(window), before);
}
