//! Other ways to share a limit among agents, as simplified models, for comparison.
//!
//! What they share with Weir's run: requests, delays, loss, faults, clocks. What is modelled: agents
//! report what they were asked and what they admitted, as numbers since the last report, each 100 ms
//! to every manager; managers add up by window and send words to the agents that follow them; agents
//! follow the first manager in the list that they can reach, leave it after 700 ms of silence and
//! return 3 s after it is well, as Weir's do. What is in their favour: window names are those of the
//! followed manager's clock without any error, and never fall; agents need no time to connect, and a
//! report counts in the window in which it was made. A [`Strategy`] says what agents and managers make
//! of it. Sliding windows are counted as fixed ones.

mod flag;
mod fleet;
mod nodes;
mod ratio;
mod static_share;

use std::time::Duration;

pub use self::{flag::Flag, fleet::Fleet, ratio::Ratio, static_share::StaticShare};

/// What a manager tells agents about a counter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Word {
    /// Name of the window that it is about.
    pub window: u64,
    /// Part of the requests to refuse.
    pub refuse: f64,
}

/// What an agent knows when a request comes.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    /// Amount per window.
    pub limit: u64,
    /// Name of the present window.
    pub window: u64,
    /// Admitted here in this window.
    pub used: u64,
    /// Agents that live, and the place of this one among them.
    pub fleet: (u64, u64),
    /// The newest word, if any came.
    pub word: Option<Word>,
    /// A random number in [0, 1).
    pub dice: f64,
}

/// What a manager knows of a counter.
#[derive(Debug, Clone, Copy)]
pub struct Tally {
    /// Amount per window.
    pub limit: u64,
    /// Name of the present window.
    pub window: u64,
    /// Until it ends.
    pub left: Duration,
    /// Admitted by all agents in it, as far as reported.
    pub used: u64,
    /// Requests per second, admitted or not, averaged over about a second.
    pub rate: f64,
}

/// How agents decide and what managers say.
pub trait Strategy {
    /// Whether the agent admits the request.
    fn admits(&self, sight: &Sight) -> bool;
    /// What is to be said of a counter after a report (`tick` = false) or on the managers' clock,
    /// each 100 ms (`tick` = true). What was said last is not said again.
    fn word(&self, tally: &Tally, tick: bool) -> Option<Word>;
}
