//! Roles of a group of managers, and records of usage on top of them, under random schedules: deaths,
//! restarts, managers that stand still, cuts one way or both, even splits, lost and late heartbeats.
//!
//! `judge` holds the rules at each step; `books` what the records come to in the end. `WEIR_SIM_RUNS` and
//! `WEIR_SIM_SEED` choose the seeds, as in `fuzz.rs`.

#[path = "roles/books.rs"]
mod books;
#[path = "roles/judge.rs"]
mod judge;
#[path = "roles/plan.rs"]
mod plan;
#[path = "roles/world.rs"]
mod world;

use std::ops::Range;

use traffic_manager_core::roles::Role;

use self::{
    plan::{Disk, Fault, Plan},
    world::World,
};

/// Seeds by default, of each kind.
const RUNS: u64 = 1_000;

fn seeds(part: u64) -> Range<u64> {
    let (first, runs) =
        (crate::fuzz::number("WEIR_SIM_SEED", 0), crate::fuzz::number("WEIR_SIM_RUNS", RUNS));
    first..first + runs.div_ceil(part)
}

/// Runs them all; the first that breaks a rule is told with its schedule.
fn check(part: u64, books: bool) {
    for seed in seeds(part) {
        let plan = Plan::random(seed, books);
        let copy = plan.clone();
        let outcome =
            std::panic::catch_unwind(|| World::new(copy).run().gained(Role::Ledger).len());
        match outcome {
            Ok(gains) => assert!(gains > 0, "seed {seed}: nobody ever held the ledger"),
            Err(_) => panic!("WEIR_SIM_SEED={seed} WEIR_SIM_RUNS=1 fails (above); {plan:?}"),
        }
    }
}

#[test]
fn one_manager_holds_a_role_whatever_happens() {
    check(1, false);
}

#[test]
fn every_window_has_one_record_and_its_amounts_are_exact() {
    check(10, true);
}

#[test]
fn a_standby_takes_over_within_two_seconds_of_a_death() {
    for seed in 0..50 {
        let plan = Plan::new(seed, 3, 12_000);
        let holder = World::new(plan.clone()).run().holder(Role::Ledger).expect("one holds it");
        let world = World::new(plan.fault(5_000, Fault::Kill(holder))).run();
        let gained = world.gained(Role::Ledger);
        let (at, next) = *gained.last().expect("somebody held it");
        assert!(next != holder && (5_900..=7_000).contains(&at), "seed {seed}: {gained:?}");
    }
}

#[test]
fn who_comes_back_does_not_take_its_roles_back() {
    for seed in 0..50 {
        let mut plan = Plan::new(seed, 3, 20_000);
        plan.priorities = vec![1, 2, 3];
        let plan = plan
            .fault(5_000, Fault::Kill(0))
            .fault(9_000, Fault::Start(0, Disk::Kept))
            .fault(15_000, Fault::HealAll);
        assert_eq!(World::new(plan.clone()).run().holder(Role::Janitor), Some(1), "seed {seed}");
        let home = World::new(Plan { fail_back: true, ..plan }).run();
        assert_eq!(home.holder(Role::Janitor), Some(0), "seed {seed}: unless it is told to");
    }
}

#[test]
fn who_stood_still_beyond_its_lease_has_been_replaced() {
    for seed in 0..50 {
        let plan = Plan::new(seed, 2, 15_000);
        let holder = World::new(plan.clone()).run().holder(Role::Ledger).expect("one holds it");
        let world = World::new(plan.fault(5_000, Fault::Pause(holder, 3_000))).run();
        assert_eq!(world.holder(Role::Ledger), Some(1 - holder), "seed {seed}");
        assert_eq!(world.gained(Role::Ledger).len(), 2, "seed {seed}: one takeover, and it stays");
    }
}

#[test]
fn both_sides_of_an_even_split_go_on_and_one_stays_when_they_meet() {
    for seed in 0..50 {
        let plan = Plan::new(seed, 4, 25_000);
        let plan = plan.fault(5_000, Fault::Split(0b0011)).fault(15_000, Fault::HealAll);
        let apart = World::new(Plan { length: 14_000, ..plan.clone() }).run();
        assert_eq!(apart.gained(Role::Ledger).len(), 2, "seed {seed}: one on each side");
        let world = World::new(plan).run();
        assert_eq!(world.gained(Role::Ledger).len(), 2, "seed {seed}: nobody takes over");
        assert!(world.holder(Role::Ledger).is_some(), "seed {seed}");
    }
}
