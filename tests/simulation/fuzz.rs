//! Random schedules of faults: the bound holds for every seed.
//!
//! `WEIR_SIM_RUNS=60000` runs more seeds, `WEIR_SIM_SEED=7993 WEIR_SIM_RUNS=1` a certain one. One
//! that fails is shrunk, and the message says how to replay it.

use std::ops::Range;

use weir_simulator::{Plan, World, fuzz, shrink};

/// Seeds by default, from 0 on: about 20 s on two cores.
const RUNS: u64 = 6_000;
/// Tests that share the seeds, so that cores can.
const SHARDS: u64 = 4;

fn number(variable: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how thorough a run is, is up to who runs it")]
    let value = std::env::var(variable);
    value.map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{variable}={text}: {e}")))
}

/// The seeds of one shard.
fn seeds(shard: u64) -> Range<u64> {
    let (first, runs) = (number("WEIR_SIM_SEED", 0), number("WEIR_SIM_RUNS", RUNS));
    first + runs * shard / SHARDS..first + runs * (shard + 1) / SHARDS
}

fn check(shard: u64) {
    let mut admitted = 0;
    for seed in seeds(shard) {
        let plan = fuzz::plan(seed, fuzz::Menu::ALL);
        let outcome = World::new(plan.clone()).run();
        admitted += outcome.admitted;
        if let Some(excess) = outcome.excess(&plan) {
            panic!("{}", report(&plan, excess.admitted));
        }
    }
    assert!(seeds(shard).is_empty() || admitted > 0, "nothing was admitted in any run");
}

fn report(plan: &Plan, admitted: u64) -> String {
    let small = shrink(plan, fuzz::fails);
    format!(
        "seed {}: {admitted} of {}\n\
         replay: cargo run --release -p weir-simulator --example fuzz -- --replay {}\n\
         plan: {plan:?}\n\
         smallest plan that fails: {small:?}",
        plan.seed, plan.limit, plan.seed
    )
}

#[test]
fn the_bound_holds_in_the_first_quarter_of_the_seeds() {
    check(0);
}

#[test]
fn the_bound_holds_in_the_second_quarter_of_the_seeds() {
    check(1);
}

#[test]
fn the_bound_holds_in_the_third_quarter_of_the_seeds() {
    check(2);
}

#[test]
fn the_bound_holds_in_the_last_quarter_of_the_seeds() {
    check(3);
}

#[test]
fn equal_seeds_give_equal_runs() {
    for seed in [1, 2, 3, 42, 20_372] {
        let plan = Plan { log: true, ..fuzz::plan(seed, fuzz::Menu::ALL) };
        assert_eq!(plan, Plan { log: true, ..fuzz::plan(seed, fuzz::Menu::ALL) });
        let (one, two) = (World::new(plan.clone()).run(), World::new(plan.clone()).run());
        assert!(one.log.len() > 100, "seed {seed} logs what happens");
        assert_eq!(one, two, "seed {seed}");
        let other = World::new(Plan { seed: seed + 1, ..plan }).run();
        assert_ne!(one.log, other.log, "chance follows the seed");
    }
}

#[test]
fn a_broken_bound_is_seen_and_reported() {
    // One agent sees only a manager that the other cannot reach while both found a fleet: outside of
    // the assumptions, and above the limit.
    let mut plan =
        Plan::new(1, 2, 10, std::time::Duration::from_secs(1), std::time::Duration::from_secs(6));
    plan.faults = vec![
        (std::time::Duration::ZERO, weir_simulator::Fault::Cut(0, 1)),
        (std::time::Duration::ZERO, weir_simulator::Fault::Cut(1, 0)),
    ];
    let plan = plan.steady(200.0);
    let excess = World::new(plan.clone()).run().excess(&plan).expect("two fleets, two limits");
    assert!(!fuzz::fails(&plan), "a plan outside of the assumptions is nobody's fault");
    let text = report(&plan, excess.admitted);
    assert!(text.contains("--replay 1\n") && text.contains("Cut(0, 1)"), "{text}");
}
