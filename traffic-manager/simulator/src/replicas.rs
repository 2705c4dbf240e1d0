//! Random schedules for the replication among managers: the real replicas, over a virtual network that
//! loses, doubles, delays and cuts, with disks that crash, fill up, are old or empty.
//!
//! [`run`] plays one seed and judges it: all converge, to one winner per policy; no acknowledged write
//! vanishes, unless it was on no disk that survived; votes never change.

mod actions;
mod network;
mod node;
mod oracle;
mod verdict;
mod world;

use std::time::Duration;

use crate::chance::Chance;

/// How a run goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Of all chance in it.
    pub seed: u64,
    /// 2 to 7.
    pub managers: usize,
    /// Different policies.
    pub policies: u64,
    /// What happens before all heals.
    pub actions: u64,
    /// Mean pause between two actions.
    pub pause: Duration,
    /// A frame is lost once in so many; 0 = never.
    pub loss: u64,
    /// A frame is doubled once in so many; 0 = never.
    pub double: u64,
    /// Longest delay of a frame.
    pub delay: Duration,
    /// Largest difference of a clock, each way.
    pub skew: Duration,
    /// Whether disks are replaced by old ones or empty ones.
    pub disks_fail: bool,
    /// Whether links are cut.
    pub cuts: bool,
    /// Whether ends notice cuts. If not, frames vanish silently, and nobody says when it is over.
    pub noticed: bool,
    /// Whether managers have no room for some entries, until all heals.
    pub crowded: bool,
    /// Keep a log.
    pub log: bool,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64) -> Plan {
        let mut chance = Chance::new(seed);
        let skews = [0, 0, 1, 60, 3 * 3_600];
        Plan {
            seed,
            managers: usize::try_from(chance.between(2, 7)).unwrap_or(2).min(2 + seed as usize % 6),
            policies: chance.between(1, 3),
            actions: chance.between(5, 60),
            pause: Duration::from_millis(chance.between(1, 400)),
            loss: *chance.pick(&[0, 0, 3, 10, 50]),
            double: *chance.pick(&[0, 4, 20]),
            delay: Duration::from_millis(*chance.pick(&[2, 50, 500, 3_000])),
            skew: Duration::from_secs(*chance.pick(&skews)),
            disks_fail: chance.one_in(2),
            cuts: !chance.one_in(4),
            noticed: chance.one_in(2),
            crowded: chance.one_in(4),
            log: false,
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What is wrong; empty if nothing is.
    pub failures: Vec<String>,
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Of them, those that were on no disk that survived.
    pub lost_with_disks: u64,
    /// Losers in the conflict log at the end.
    pub conflicts: u64,
    /// From healing until all were equal.
    pub converged_after: Duration,
    /// Frames delivered.
    pub frames: u64,
    /// What happened, if the plan asks for it.
    pub log: Vec<String>,
}

/// Plays the plan and judges it.
pub fn run(plan: &Plan) -> Outcome {
    world::World::new(plan.clone()).run()
}
