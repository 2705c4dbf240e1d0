//! What a manager knows of windows that go on, for a manager that starts and for checkpoints.
//!
//! The amounts are those that agents told, with the agents' own stamps: whoever has heard an agent
//! itself loses nothing by an older word, and a newer one only adds.

use std::time::Duration;

use crate::{
    key::CounterKey,
    time::{Time, WindowStart},
    usage::AgentIdentity,
};

/// Asks for a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CountersAsk {
    /// Only windows that are longer than this.
    pub min_window: Duration,
    /// Where the piece before ended; `None` = from the beginning.
    pub cursor: Option<CountersCursor>,
}

/// Where a piece ended: a place, and the last part of its counter that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CountersCursor {
    /// The counter's place at the sender.
    pub place: u32,
    /// The part's window.
    pub window: WindowStart,
    /// The part's agent, by the sender's number.
    pub agent: u32,
}

/// One piece of what a manager knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Whose amounts these are; parts refer to them by place.
    pub agents: Vec<CounterAgent>,
    /// Counters with their parts.
    pub states: Vec<CounterState>,
    /// Where to go on; `None` in the last piece.
    pub next: Option<CountersCursor>,
    /// The sender is itself recovering.
    pub starting: bool,
    /// The sender's manager time.
    pub taken_at: Time,
}

/// One life of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterAgent {
    /// Who.
    pub identity: AgentIdentity,
    /// It reports to the sender now.
    pub alive: bool,
}

/// One counter, or some parts of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterState {
    /// Which.
    pub key: CounterKey,
    /// Its windows have no fixed start.
    pub rolling: bool,
    /// Rolling: what was spent and still counts, by age in whole milliseconds when the piece was made.
    pub spent: Vec<(Duration, u64)>,
    /// What each agent's life told of it.
    pub parts: Vec<CounterPart>,
}

/// One agent's amounts in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterPart {
    /// Place among [`Counters::agents`].
    pub agent: u32,
    /// Start of a fixed window, or birth of a rolling counter.
    pub window: WindowStart,
    /// Admitted.
    pub used: u64,
    /// Refused.
    pub rejected: u64,
    /// The agent's stamp of these amounts.
    pub stamp: u64,
    /// Rolling: what it used is among what was spent.
    pub charged: bool,
}

impl Counters {
    /// The piece when so much time has passed since it was made.
    #[must_use]
    pub fn aged(mut self, by: Duration) -> Self {
        for (age, _) in self.states.iter_mut().flat_map(|state| &mut state.spent) {
            *age = age.saturating_add(by);
        }
        self
    }

    /// Parts and spent amounts in all counters.
    pub fn len(&self) -> usize {
        self.states.iter().map(|state| state.parts.len() + state.spent.len()).sum()
    }

    /// Whether it tells nothing of any counter.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }
}
