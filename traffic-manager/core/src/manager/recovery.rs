//! A manager that starts beside others: what it waits for before it is ready.
//!
//! Its peers may know what agents used that are gone. Until they have told it grants nobody a whole
//! limit: it serves like any manager that does not govern, out of what its agents pledge.

use std::{collections::BTreeSet, fmt, time::Duration};

use weir_proto::{id::AgentLife, time::Time};

use super::Manager;

/// Most agents that are waited for.
const MOST: usize = 50_000;

/// Whom a manager that starts still waits for.
#[derive(Debug, Clone, Default)]
pub(super) struct Recovery {
    peers: BTreeSet<String>,
    agents: BTreeSet<AgentLife>,
    until: Time,
    /// Budgets are to be looked at again.
    told: bool,
}

/// What is still missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// These peers have not told yet what they know.
    Peers(Vec<String>),
    /// So many agents that report to a peer have not reported everything here yet.
    Agents(usize),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Peers(peers) => {
                write!(f, "recovering counters: waiting for {}", peers.join(", "))
            }
            Missing::Agents(count) => {
                write!(f, "recovering counters: waiting for the state of {count} agents")
            }
        }
    }
}

impl Manager {
    /// This manager starts, and asks these peers for what they know. It waits until each has told
    /// everything ([`Manager::peer_told`]), and for the agents that they hear, but no longer than
    /// `patience`.
    pub fn recover(
        &mut self,
        peers: impl IntoIterator<Item = String>,
        patience: Duration,
        now: Time,
    ) {
        let peers: BTreeSet<String> = peers.into_iter().collect();
        self.fleet.set_recovering(!peers.is_empty());
        self.recovery =
            Recovery { peers, agents: BTreeSet::new(), until: now + patience, told: false };
    }

    /// The peer has told everything, has nothing, is itself starting, or cannot be reached.
    pub fn peer_told(&mut self, peer: &str) {
        self.recovery.told |= self.recovery.peers.remove(peer);
    }

    /// What this manager still waits for before it is ready; `None` = nothing.
    pub fn recovery(&self, now: Time) -> Option<Missing> {
        if self.recovery.until <= now {
            return None;
        }
        if !self.recovery.peers.is_empty() {
            return Some(Missing::Peers(self.recovery.peers.iter().cloned().collect()));
        }
        let missing = self.recovery.agents.iter().filter(|life| !self.has_spoken(life)).count();
        (missing > 0).then_some(Missing::Agents(missing))
    }

    /// Whether this manager knows what can be known: it may say that it is ready.
    pub fn recovered(&self, now: Time) -> bool {
        self.recovery(now).is_none()
    }

    /// Whether the agent has told here all that it counts, or is known to be gone.
    fn has_spoken(&self, life: &AgentLife) -> bool {
        let Some(ix) = self.fleet.find(life) else { return true };
        let record = self.fleet.agent(ix);
        let stream = record.usage.and_then(|stream| self.usage.get(&stream));
        record.gone.is_some() || stream.is_some_and(|stream| stream.live)
    }

    /// A peer hears this agent.
    pub(super) fn expect(&mut self, life: &AgentLife, alive: bool) {
        let asks = !self.recovery.peers.is_empty() && self.recovery.agents.len() < MOST;
        if alive && asks {
            self.recovery.agents.insert(life.clone());
        }
    }

    /// When nobody is waited for any longer: at once, if that was just told.
    pub(super) fn recovery_deadline(&self) -> Option<Time> {
        if self.recovery.told && self.recovery.peers.is_empty() {
            return Some(Time::ZERO);
        }
        (!self.recovery.peers.is_empty()).then_some(self.recovery.until)
    }

    /// Begins to grant once the peers have told, or had time enough.
    pub(super) fn end_recovery(&mut self, now: Time) {
        if self.recovery.until <= now && !self.recovery.peers.is_empty() {
            self.recovery.peers.clear();
            self.recovery.told = true;
        }
        if self.recovery.peers.is_empty() && std::mem::take(&mut self.recovery.told) {
            self.fleet.set_recovering(false);
            self.reconsider();
        }
    }
}
