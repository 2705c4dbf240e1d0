//! Random schedules of faults: the bound holds for every seed, with fixed and with sliding windows,
//! `strict` and `balanced`.
//!
//! `WEIR_SIM_RUNS=60000` runs more seeds of each, `WEIR_SIM_SEED=7993 WEIR_SIM_RUNS=1` a certain one. One
//! that fails is shrunk, and the message says how to replay it.

use std::ops::Range;

use weir_simulator::{Excess, Plan, World, fuzz, shrink};

/// Seeds by default, from 0 on: about 20 s on two cores, all kinds together.
const RUNS: u64 = 3_000;
/// Tests that share the seeds of one kind, so that cores can.
const SHARDS: u64 = 2;

pub(crate) fn number(variable: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how thorough a run is, is up to who runs it")]
    let value = std::env::var(variable);
    value.map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{variable}={text}: {e}")))
}

/// The seeds of one shard, of so many by default.
pub(crate) fn seeds_of(default: u64, shard: u64) -> Range<u64> {
    let (first, runs) = (number("WEIR_SIM_SEED", 0), number("WEIR_SIM_RUNS", default));
    first + runs * shard / SHARDS..first + runs * (shard + 1) / SHARDS
}

fn seeds(shard: u64) -> Range<u64> {
    seeds_of(RUNS, shard)
}

/// What the policy of a run is like.
#[derive(Clone, Copy)]
struct Kind {
    sliding: bool,
    bucket: bool,
    balanced: bool,
    /// Windows of 8 to 20 s, of which managers that start ask the others.
    long: bool,
}

const FIXED: Kind = Kind { sliding: false, bucket: false, balanced: false, long: false };
/// Of long windows, one seed in so many: they take that much longer.
const SLOWER: u64 = 6;

fn plan(seed: u64, kind: Kind) -> Plan {
    let Kind { sliding, bucket, balanced, long } = kind;
    let menu = fuzz::Menu { long, ..fuzz::Menu::ALL };
    Plan { sliding, bucket, balanced, recall: long, ..fuzz::plan(seed, menu) }
}

fn check(kind: Kind, shard: u64) {
    let mut admitted = 0;
    for seed in seeds(shard).step_by(if kind.long { SLOWER as usize } else { 1 }) {
        let plan = plan(seed, kind);
        let outcome = World::new(plan.clone()).run();
        admitted += outcome.admitted;
        if let Some(excess) = outcome.excess(&plan) {
            panic!("{}", report(&plan, &excess));
        }
    }
    assert!(seeds(shard).is_empty() || admitted > 0, "nothing was admitted in any run");
}

fn report(plan: &Plan, excess: &Excess) -> String {
    let small = shrink(plan, fuzz::fails);
    let flag = |name, on| if on { name } else { "" };
    format!(
        "seed {}: {} of {}\n\
         replay: cargo run --release -p weir-simulator --example fuzz -- --replay {}{}{}{}{}\n\
         plan: {plan:?}\n\
         smallest plan that fails: {small:?}",
        plan.seed,
        excess.admitted,
        excess.bound,
        plan.seed,
        flag(" --sliding", plan.sliding && !plan.bucket),
        flag(" --bucket", plan.bucket),
        flag(" --balanced", plan.balanced),
        flag(" --long", plan.recall),
    )
}

#[test]
fn the_bound_holds_with_fixed_windows_one() {
    check(FIXED, 0);
}

#[test]
fn the_bound_holds_with_fixed_windows_two() {
    check(FIXED, 1);
}

#[test]
fn the_bound_holds_with_sliding_windows_one() {
    check(Kind { sliding: true, ..FIXED }, 0);
}

#[test]
fn the_bound_holds_with_sliding_windows_two() {
    check(Kind { sliding: true, ..FIXED }, 1);
}

#[test]
fn the_bound_holds_with_token_buckets() {
    check(Kind { sliding: true, bucket: true, ..FIXED }, 0);
}

#[test]
fn the_bound_holds_with_a_floor_one() {
    check(Kind { balanced: true, ..FIXED }, 0);
}

#[test]
fn the_bound_holds_with_a_floor_two() {
    check(Kind { balanced: true, ..FIXED }, 1);
}

#[test]
fn the_bound_holds_with_a_floor_and_sliding_windows() {
    check(Kind { balanced: true, sliding: true, ..FIXED }, 0);
}

#[test]
fn the_bound_holds_with_long_windows() {
    check(Kind { long: true, ..FIXED }, 0);
}

#[test]
fn the_bound_holds_with_long_sliding_windows() {
    check(Kind { long: true, sliding: true, ..FIXED }, 1);
}

#[test]
fn the_bound_holds_with_large_token_buckets() {
    check(Kind { long: true, sliding: true, bucket: true, ..FIXED }, 0);
}

/// Seeds that once broke the bound, each for a reason of its own.
#[test]
fn the_bound_holds_where_it_once_broke() {
    let sliding = Kind { sliding: true, ..FIXED };
    let balanced = Kind { balanced: true, ..FIXED };
    let kinds = [
        // A recall crossed with use, and the agent went to another manager and back.
        (18_570, FIXED),
        // A newcomer owned a share in a window begun before it was told of it.
        (55_057, FIXED),
        // An agent left and came back to a manager that did not know it had belonged to a fleet.
        (71_249, FIXED),
        // A manager that had stood still took old words for what its agents held by then.
        (188_102, FIXED),
        // A manager that had lost all of its fleet governed on, while another had founded a new one.
        (576_367, FIXED),
        // An agent came back without what others had been given of its share elsewhere, and left: its
        // goodbye freed that, too.
        (297_668, FIXED),
        (367_087, FIXED),
        (789_868, FIXED),
        (892_337, FIXED),
        (917_592, FIXED),
        // An agent lost its session, was all of a fleet elsewhere, and crashed: the manager that had had
        // it before took that for one event, and governed on.
        (347_767, FIXED),
        // An agent that crashed had followed a manager whose clock was ahead: it had used a window that
        // began, for the manager that governed, in the new view.
        (462_516, FIXED),
        // Alone, agents spent what they held while others paced themselves at their shares.
        (1_926, sliding),
        // A counter was opened anew before the manager, told late, thought that it was idle.
        (741, sliding),
        // What was used between an agent's two words on coming back was in neither.
        (12_292, sliding),
        // An agent came into sight with a counter that it had just opened anew, and crashed before it
        // told how much of it was recent.
        (2_006_510, sliding),
        // A recall guessed when an agent had opened its counter, and so that its default was none: it
        // opened it later.
        (4_017_481, sliding),
        // Alone for the second time, an agent paced itself at the share that it had the first time.
        (49_197, Kind { bucket: true, ..sliding }),
        // A ceiling was raised to what had been used beyond it, and exceeded once more.
        (1_302, balanced),
        (1_412, balanced),
    ];
    for (seed, kind) in kinds {
        let plan = plan(seed, kind);
        let outcome = World::new(plan.clone()).run();
        assert_eq!(outcome.excess(&plan), None, "seed {seed}");
    }
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
    let text = report(&plan, &excess);
    assert!(text.contains("--replay 1\n") && text.contains("Cut(0, 1)"), "{text}");
}
