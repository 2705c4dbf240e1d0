//! The core's views as JSON.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use traffic_manager_core::{
    Manager,
    view::{AgentView, BoundView, CounterView, DecisionView},
};
use utoipa::ToSchema;
use weir_proto::time::Time;

/// A time as people write it: `2026-11-22T09:30:00.25Z`.
pub(super) fn instant(time: Time) -> String {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX).to_string()
}

/// The first `limit` of what was found, and whether there is more.
pub(super) fn page<T>(mut found: Vec<T>, limit: usize) -> (Vec<T>, bool) {
    let truncated = found.len() > limit;
    found.truncate(limit);
    (found, truncated)
}

/// See [`super::schema::Bound`].
pub(super) fn bound(view: &BoundView) -> Value {
    let limits: Vec<Value> = view
        .limits
        .iter()
        .map(|(id, limit, bound)| json!({ "id": id, "limit": limit, "bound": bound }))
        .collect();
    json!({ "accuracy": view.accuracy, "fleet": view.fleet, "limits": limits })
}

/// One counter in its present window.
#[derive(Serialize, ToSchema)]
pub(super) struct Counter {
    /// The policy.
    policy: String,
    /// The limit in it.
    #[schema(example = "requests/1m/sliding_window")]
    limit_id: String,
    /// The values of the policy's key.
    key: Vec<String>,
    /// Start of the window, where it has one: a sliding one is always the last span.
    window_start: Option<String>,
    /// End of the window, where it has one.
    window_end: Option<String>,
    /// The limit; absent if its policy is gone.
    limit: Option<u64>,
    /// Admitted by all agents, as far as reported.
    used: u64,
    /// Refused by all agents.
    rejected: u64,
    /// As much was used as the limit allows: every manager says so of what it has counted.
    exhausted: bool,
    /// Something is left, but the manager that answers told agents that they cannot have it: others hold it, or it is
    /// too little for what was asked. Only the manager that agents follow knows.
    held_back: bool,
    /// Who used how much.
    agents: Vec<AgentUse>,
}

/// One agent's part of a counter.
#[derive(Serialize, ToSchema)]
pub(super) struct AgentUse {
    /// The agent.
    agent: String,
    /// Admitted.
    used: u64,
    /// Refused.
    rejected: u64,
    /// It may admit up to here, if a manager ever said so.
    ceiling: Option<u64>,
}

impl From<CounterView> for Counter {
    fn from(view: CounterView) -> Self {
        let agents = view.agents.into_iter().map(|part| AgentUse {
            agent: part.agent.to_string(),
            used: part.used,
            rejected: part.rejected,
            ceiling: part.ceiling,
        });
        Counter {
            policy: view.key.policy().to_owned(),
            limit_id: view.key.limit().to_owned(),
            key: view.key.parts().map(str::to_owned).collect(),
            window_start: (view.window.0 > 0).then(|| instant(view.window.time())),
            window_end: view.ends.map(instant),
            limit: view.limit,
            used: view.used,
            rejected: view.rejected,
            exhausted: view.exhausted,
            held_back: view.held_back,
            agents: agents.collect(),
        }
    }
}

/// A key that is throttled now.
#[derive(Serialize, ToSchema)]
pub(super) struct Decision {
    /// The policy that throttles.
    policy: String,
    /// The limit in it.
    limit_id: String,
    /// The values of the policy's key.
    key: Vec<String>,
    /// Until when.
    until: String,
    /// The limit.
    limit: u64,
    /// Admitted by all agents.
    used: u64,
    /// `used_up`: every manager says so of what it has counted. `held_back`: something is left, but agents were told that
    /// they cannot have it, as others hold it, or it is too little for what was asked; only the
    /// manager that they follow knows.
    reason: &'static str,
}

/// Who answers, and who governs.
#[derive(Serialize, ToSchema)]
pub(super) struct Voice {
    /// The manager that says this, of what it has counted.
    manager: String,
    /// The managers that agents follow, as far as this one knows: what is held back is known there.
    followed: Vec<String>,
}

impl Voice {
    /// As that manager speaks.
    pub(super) fn of(manager: &Manager) -> Voice {
        let followed = manager.followed();
        Voice {
            manager: manager.id().to_string(),
            followed: followed.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<DecisionView> for Decision {
    fn from(view: DecisionView) -> Self {
        Decision {
            policy: view.key.policy().to_owned(),
            limit_id: view.key.limit().to_owned(),
            key: view.key.parts().map(str::to_owned).collect(),
            until: instant(view.until),
            limit: view.limit,
            used: view.used,
            reason: if view.held_back { "held_back" } else { "used_up" },
        }
    }
}

/// An agent, as this manager sees it.
#[derive(Serialize, ToSchema)]
pub(super) struct Agent {
    /// Its name.
    id: String,
    /// Which life of it.
    incarnation: u64,
    /// Operators' label.
    gateway_group: String,
    /// Its build.
    version: String,
    /// It owns a share of every limit.
    member: bool,
    /// Its usage stream to this manager is open.
    connected: bool,
    /// It follows this manager's decisions.
    follows_this_manager: bool,
    /// The manager whose decisions it follows, as it says; empty = none.
    active_manager: String,
    /// Revision of its policies.
    policies_revision: u64,
    /// Counters that changed since its last report.
    unsent: u64,
    /// Entries that it could not keep, over its life.
    dropped: u64,
    /// Checks that it answered, over its life.
    checks: u64,
    /// Changes of its active manager, over its life.
    failovers: u64,
    /// When it was heard last.
    last_seen: String,
    /// When another agent that has the same id was refused last: give each an id of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    same_id_refused: Option<String>,
}

impl From<AgentView> for Agent {
    fn from(view: AgentView) -> Self {
        let status = view.status.unwrap_or_default();
        Agent {
            id: view.life.id.to_string(),
            incarnation: view.life.incarnation,
            gateway_group: view.gateway_group,
            version: view.version,
            member: view.member,
            connected: view.usage_connected,
            follows_this_manager: view.following_me,
            active_manager: status.active_manager,
            policies_revision: status.policies_revision,
            unsent: status.unsent,
            dropped: status.dropped,
            checks: status.checks,
            failovers: status.failovers,
            last_seen: instant(view.last_heard),
            same_id_refused: view.rival_at.map(instant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(instant(Time::from_millis(1_500)), "1970-01-01T00:00:01.5Z");
        assert!(instant(Time::MAX).starts_with("9999"));
    }
}
