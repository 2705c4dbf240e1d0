//! The agent's state, for operators.

use std::{sync::atomic::Ordering, time::Duration};

use weir_proto::{
    id::AgentLife,
    key::CounterKey,
    time::{Time, WindowStart},
    usage::AgentIdentity,
};

use super::{Agent, Risk};
use crate::message::ManagerIndex;

/// One manager's links.
#[derive(Debug, Clone)]
pub struct ManagerStatus {
    /// Its name, once it has said it.
    pub name: Option<String>,
    /// The usage stream is open.
    pub usage_up: bool,
    /// Decisions come from it.
    pub decisions_up: bool,
    /// Newest usage frame acknowledged.
    pub usage_acked: u64,
    /// Batches that it has still to get.
    pub usage_behind: u64,
    /// Why there is no usage link that works; `None` while there is, or nothing is known yet.
    pub problem: Option<String>,
}

/// The whole agent.
#[derive(Debug, Clone)]
pub struct Status {
    /// Who it is.
    pub identity: AgentIdentity,
    /// Place of the manager that it follows.
    pub active: Option<ManagerIndex>,
    /// Its name, once it has said it.
    pub active_name: String,
    /// It has policies and is part of the fleet.
    pub ready: bool,
    /// Managers refuse it for the sake of another agent with its id: what one of them says of that.
    pub same_id: Option<String>,
    /// No manager is reachable: `on_disconnect` applies.
    pub isolated: bool,
    /// Number of the fleet view.
    pub view: u64,
    /// Agents that share each limit.
    pub fleet: u32,
    /// Revision of the policies in force.
    pub policies_revision: u64,
    /// Policies in force.
    pub policies: usize,
    /// Since the last word from the manager.
    pub decision_age: Option<Duration>,
    /// Counters changed since the last batch.
    pub unsent: u64,
    /// What a crash may lose of one counter.
    pub at_risk: Risk,
    /// For how long the oldest change has not been reported.
    pub unsent_for: Duration,
    /// Live counters.
    pub counters: usize,
    /// Changes of the manager that it follows.
    pub failovers: u64,
    /// Requests counted in an overflow counter.
    pub overflowed: u64,
    /// Ended windows that were forgotten before every manager had them.
    pub dropped: u64,
    /// Checks answered.
    pub checks: u64,
    /// In list order.
    pub managers: Vec<ManagerStatus>,
    /// Manager time minus local time.
    pub manager_time_offset_us: i64,
}

impl Agent {
    /// Which life this is.
    pub fn life(&self) -> AgentLife {
        self.config.identity.life.clone()
    }

    /// Counters, their present windows (or when they were opened), and what was admitted in them.
    pub fn uses(&self) -> Vec<(CounterKey, WindowStart, u64)> {
        let slots = 0..self.table.slots();
        let used = slots.filter_map(|slot| {
            let counter = self.table.at(slot)?;
            (counter.used > 0).then_some((counter.key()?, counter.window, counter.used))
        });
        used.collect()
    }

    /// The state at local time `now`.
    pub fn status(&self, now: Time) -> Status {
        let active = self.session.as_ref().map(|s| s.manager);
        let name = |s: &crate::credit::Session| s.life.as_ref().map(|l| l.id.to_string());
        let share = self.standing.history.current();
        let manager = |(i, link): (usize, &crate::usage::Link)| ManagerStatus {
            name: link.life.as_ref().map(|l| l.id.to_string()),
            usage_up: link.connection.is_some(),
            decisions_up: active == Some(i)
                && self.session.as_ref().is_some_and(|s| s.life.is_some()),
            usage_acked: link.acked,
            usage_behind: if link.connection.is_some() { link.behind(&self.outbox) } else { 0 },
            problem: self.refusals.of(i).map(str::to_owned),
        };
        Status {
            identity: self.config.identity.clone(),
            active,
            active_name: self.session.as_ref().and_then(name).unwrap_or_default(),
            ready: self.revision_known() && share.fleet > 0 && self.refusals.rival().is_none(),
            same_id: self.refusals.rival().map(str::to_owned),
            isolated: self.standing.isolated,
            view: self.view.number,
            fleet: share.fleet,
            policies_revision: self.revision,
            policies: self.policies.len(),
            decision_age: self.receiver.heard().map(|at| now.since(at)),
            unsent: self.unsent(),
            at_risk: self.at_risk,
            unsent_for: self.unsent_for(now),
            counters: self.table.len(),
            failovers: self.receiver.failovers,
            overflowed: self.table.overflowed.load(Ordering::Relaxed),
            dropped: self.outbox.dropped,
            checks: self.table.checks.sum(),
            managers: self.links.iter().enumerate().map(manager).collect(),
            manager_time_offset_us: self.standing.offset,
        }
    }

    fn revision_known(&self) -> bool {
        self.synced && (self.revision > 0 || self.session.as_ref().is_some_and(|s| s.ready))
    }
}
