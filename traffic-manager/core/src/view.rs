//! Answers to operators' questions, taken from the core's state.

use std::time::Duration;

use weir_proto::{
    amount::Charging,
    id::{AgentId, AgentLife, ManagerId},
    key::CounterKey,
    policy::{Accuracy, OnLimit},
    time::{Time, WindowStart},
    usage::AgentStatus,
};

use crate::{manager::Manager, policies::StoredPolicy};

mod live;

/// Which counters to show: the first in the order of their keys, which is the same at all managers.
#[derive(Debug, Clone, Default)]
pub struct CounterFilter {
    /// Of this policy only.
    pub policy: Option<String>,
    /// Only keys with a part that contains this text.
    pub key: Option<String>,
    /// At most so many windows.
    pub limit: usize,
}

/// One counter in one window.
#[derive(Debug, Clone)]
pub struct CounterView {
    /// The counter.
    pub key: CounterKey,
    /// The window; 0 for rolling ones.
    pub window: WindowStart,
    /// When a fixed window ends.
    pub ends: Option<Time>,
    /// The limit, unless the policy is unknown here.
    pub limit: Option<u64>,
    /// Admitted, all agents; for a rolling window within its last length.
    pub used: u64,
    /// Refused, all agents.
    pub rejected: u64,
    /// As much was used as the limit allows, by this manager's count.
    pub exhausted: bool,
    /// Something is left, but this manager governs, and told agents that they cannot have it: others hold it, or it is too
    /// little for what was asked.
    pub held_back: bool,
    /// Each agent's part.
    pub agents: Vec<AgentUse>,
}

/// One agent's part of a counter.
#[derive(Debug, Clone)]
pub struct AgentUse {
    /// Who.
    pub agent: AgentId,
    /// Admitted.
    pub used: u64,
    /// Refused.
    pub rejected: u64,
    /// May admit up to here, if ever set by a manager.
    pub ceiling: Option<u64>,
    /// It was told that nothing is left.
    pub throttled: bool,
}

/// A counter that is throttled now.
#[derive(Debug, Clone)]
pub struct DecisionView {
    /// The counter.
    pub key: CounterKey,
    /// The window.
    pub window: WindowStart,
    /// Until when, at the latest.
    pub until: Time,
    /// The limit.
    pub limit: u64,
    /// Admitted.
    pub used: u64,
    /// Something is left: see [`CounterView::held_back`].
    pub held_back: bool,
}

/// One agent.
#[derive(Debug, Clone)]
pub struct AgentView {
    /// Name and incarnation.
    pub life: AgentLife,
    /// Operators' label.
    pub gateway_group: String,
    /// Version of its build.
    pub version: String,
    /// What it says of itself.
    pub status: Option<AgentStatus>,
    /// It takes decisions from this manager.
    pub following_me: bool,
    /// Its usage stream is open.
    pub usage_connected: bool,
    /// Last sign of life.
    pub last_heard: Time,
    /// Member of the newest view known here.
    pub member: bool,
    /// When another agent that has its id was last refused.
    pub rival_at: Option<Time>,
}

/// The fleet view.
#[derive(Debug, Clone)]
pub struct FleetView {
    /// Number of the view; 0 = none.
    pub number: u64,
    /// Agents that share each limit.
    pub fleet: u32,
    /// The members.
    pub members: Vec<AgentLife>,
    /// Whether this manager grants whole limits now.
    pub incumbent: bool,
}

/// The bound that holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundView {
    /// `strict` or `balanced`.
    pub accuracy: &'static str,
    /// Agents that share the limits.
    pub fleet: u32,
    /// Limit id, limit, most that all agents together admit in a window (of a token bucket: at once);
    /// `None` where what is told after the response, or let pass over the limit, comes on top.
    pub limits: Vec<(String, u64, Option<u64>)>,
}

/// Totals since start, and sizes now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Usage frames merged.
    pub usage_frames: u64,
    /// Usage entries merged.
    pub usage_entries: u64,
    /// Ceilings raised.
    pub decisions_grant: u64,
    /// Ceilings lowered.
    pub decisions_recall: u64,
    /// "Nothing left" told.
    pub decisions_exhausted: u64,
    /// Live counters.
    pub counters: usize,
    /// Policies.
    pub policies: usize,
    /// Agents connected in any way.
    pub agents: usize,
    /// Agents that follow this manager.
    pub decision_sessions: usize,
    /// Counters refused because the ledger was full.
    pub refused_counters: u64,
    /// Frames refused because they broke the protocol.
    pub refused_frames: u64,
}

impl Manager {
    /// Its name.
    pub fn id(&self) -> &ManagerId {
        &self.config.life.id
    }

    /// All policies in name order.
    pub fn policies(&self) -> Vec<StoredPolicy> {
        self.policies.iter().cloned().collect()
    }

    /// One policy.
    pub fn policy(&self, name: &str) -> Option<StoredPolicy> {
        self.policies.get(name).cloned()
    }

    /// Revision of the policy set.
    pub fn revision(&self) -> u64 {
        self.policies.revision()
    }

    /// Every agent heard of lately.
    pub fn agents(&self, now: Time) -> Vec<AgentView> {
        self.fleet
            .agents()
            .filter(|(_, a)| a.rumoured.is_none())
            .filter(|(_, a)| a.gone.is_none_or(|at| at + Duration::from_secs(60) > now))
            .map(|(_, a)| AgentView {
                life: a.identity.life.clone(),
                gateway_group: a.identity.gateway_group.clone(),
                version: a.identity.version.clone(),
                status: a.status.clone(),
                following_me: a.attached(),
                usage_connected: a.usage.is_some(),
                last_heard: a.last_heard,
                member: self.fleet.is_member(&a.identity.life),
                rival_at: a.rival_at,
            })
            .collect()
    }

    /// The fleet.
    pub fn fleet(&self) -> FleetView {
        let view = self.fleet.view();
        FleetView {
            number: view.number,
            fleet: view.fleet,
            members: view.members.clone(),
            incumbent: self.fleet.incumbent(),
        }
    }

    /// The bound on what the policy admits, as things stand.
    pub fn bound(&self, policy: &str) -> Option<BoundView> {
        let stored = self.policies.get(policy)?;
        let fleet = self.fleet.view().fleet;
        let extra = |amount| u64::from(fleet) * stored.policy.floor(amount, fleet);
        let limits: Vec<_> = stored
            .policy
            .all_limits()
            .map(|(id, limit)| {
                let most = limit.capacity();
                let bound = match limit.unit.charging() {
                    _ if stored.policy.on_limit == OnLimit::Allow => None,
                    Charging::Ahead => Some(most + extra(most)),
                    Charging::Held => Some(most),
                    Charging::After | Charging::Flagged => None,
                };
                (id, most, bound)
            })
            .collect();
        let exceeds = limits.iter().any(|(_, limit, bound)| bound.is_some_and(|b| b > *limit));
        let balanced = stored.policy.accuracy == Accuracy::Balanced || exceeds;
        let accuracy = if balanced { "balanced" } else { "strict" };
        Some(BoundView { accuracy, fleet, limits })
    }

    /// Totals and sizes.
    pub fn stats(&self) -> Stats {
        Stats {
            usage_frames: self.totals.usage_frames,
            usage_entries: self.totals.usage_entries,
            decisions_grant: self.totals.tally.grants,
            decisions_recall: self.totals.tally.recalls,
            decisions_exhausted: self.totals.tally.exhausted,
            counters: self.ledger.len(),
            policies: self.policies.len(),
            agents: self
                .fleet
                .agents()
                .filter(|(_, a)| a.usage.is_some() || a.session.is_some())
                .count(),
            decision_sessions: self.fleet.sessions().count(),
            refused_counters: self.ledger.refused,
            refused_frames: self.totals.refused_frames,
        }
    }
}
