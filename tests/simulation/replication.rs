//! Random schedules for the replication among managers: for every seed all converge, no acknowledged
//! write vanishes, votes never change.
//!
//! `WEIR_SIM_RUNS=60000` runs more seeds, `WEIR_SIM_SEED=7993 WEIR_SIM_RUNS=1` a certain one.

use weir_simulator::replicas::{Plan, run};

use crate::fuzz::seeds_of;

/// Seeds by default, from 0 on.
const RUNS: u64 = 1_500;

fn check(shard: u64) {
    let (mut writes, mut conflicts, mut lost) = (0, 0, 0);
    let seeds = seeds_of(RUNS, shard);
    for seed in seeds.clone() {
        let outcome = run(&Plan::new(seed));
        assert!(
            outcome.failures.is_empty(),
            "seed {seed}: {:#?}\n\
             replay: cargo run --release -p weir-simulator --example replicate -- --replay {seed}",
            outcome.failures
        );
        writes += outcome.writes;
        conflicts += outcome.conflicts;
        lost += outcome.lost_with_disks;
    }
    if seeds.end - seeds.start > 100 {
        assert!(writes > 0 && conflicts > 0 && lost > 0, "{writes} {conflicts} {lost}");
    }
}

#[test]
fn managers_converge_and_lose_nothing_one() {
    check(0);
}

#[test]
fn managers_converge_and_lose_nothing_two() {
    check(1);
}

#[test]
fn equal_seeds_give_equal_replications() {
    for seed in [1, 2, 3, 42] {
        let plan = Plan { log: true, ..Plan::new(seed) };
        let (one, two) = (run(&plan), run(&plan));
        assert!(one.log.len() > 5, "seed {seed} logs what happens");
        assert_eq!(one, two, "seed {seed}");
    }
}
