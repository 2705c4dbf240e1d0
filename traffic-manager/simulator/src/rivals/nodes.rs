//! Agents and managers of a rival.

use std::{collections::BTreeMap, time::Duration};

use weir_proto::time::Time;

use super::Word;

/// A manager is given up after so much silence, and followed again after it was well for so long: as
/// Weir's agents do.
const SILENCE: Duration = Duration::from_millis(700);
const WELL: Duration = Duration::from_secs(3);

/// What an agent has counted of one counter.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Local {
    pub(super) limit: usize,
    pub(super) window: u64,
    pub(super) used: u64,
    pub(super) word: Option<Word>,
}

/// Requests since the last report, for one window of one counter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) counter: usize,
    pub(super) limit: usize,
    pub(super) window: u64,
    pub(super) admitted: u64,
    pub(super) offered: u64,
}

/// An agent.
#[derive(Debug, Default)]
pub(super) struct Agent {
    pub(super) alive: bool,
    pub(super) counters: BTreeMap<usize, Local>,
    pub(super) unsent: BTreeMap<(usize, u64), Entry>,
    /// By manager: since when it can, or cannot, be reached for decisions.
    pub(super) sight: Vec<(bool, Time)>,
    /// The manager that it followed last, for the clock.
    pub(super) last: usize,
    /// Manager time as it sees it: it never falls.
    pub(super) clock: Time,
}

impl Agent {
    pub(super) fn new(alive: bool, managers: usize) -> Self {
        let start = (true, Time::ZERO);
        Agent { alive, sight: vec![start; managers], ..Agent::default() }
    }

    /// Whom it follows at `now`.
    pub(super) fn follows(&self, now: Time) -> Option<usize> {
        let heard = |(reachable, since): &(bool, Time)| {
            if *reachable {
                *since == Time::ZERO || *since + WELL <= now
            } else {
                *since + SILENCE > now
            }
        };
        // Whoever has nobody else takes one that has just come back.
        let any = || self.sight.iter().position(|(reachable, _)| *reachable);
        self.sight.iter().position(heard).or_else(any)
    }
}

/// What a manager has counted of one counter.
#[derive(Debug, Clone, Default)]
pub(super) struct Central {
    pub(super) limit: usize,
    pub(super) window: u64,
    pub(super) used: u64,
    pub(super) offered: u64,
    pub(super) rate: f64,
    /// The last word that each agent was sent.
    pub(super) said: BTreeMap<usize, Word>,
}

/// A manager.
#[derive(Debug, Default)]
pub(super) struct Manager {
    pub(super) alive: bool,
    pub(super) frozen: bool,
    /// Grows with each start: what was on its way to an earlier life is lost.
    pub(super) life: u64,
    pub(super) skew_ms: i64,
    pub(super) counters: BTreeMap<usize, Central>,
    /// Agents that followed it when it last spoke.
    pub(super) listeners: Vec<usize>,
    pub(super) held: Vec<(usize, Vec<Entry>)>,
}
