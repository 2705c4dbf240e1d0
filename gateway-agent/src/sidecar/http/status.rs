//! `GET /v1/status`: what the agent knows of itself.

use axum::{Json, extract::State};
use serde::Serialize;

use crate::{Status, sidecar::gate::Gate};

#[derive(Debug, Serialize)]
pub(super) struct StatusBody {
    id: String,
    /// Differs from start to start.
    incarnation: u64,
    gateway_group: String,
    version: String,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ready_because: Option<String>,
    /// No manager has been reachable for a while.
    isolated: bool,
    active_manager: Option<ActiveManager>,
    decision_age_seconds: Option<f64>,
    policies_revision: u64,
    policies: usize,
    /// Number of the fleet view, and how many agents share each limit in it.
    view: u64,
    fleet: u32,
    counters: usize,
    unsent_usage: u64,
    at_risk: AtRisk,
    /// Usage of ended windows given up before every manager had it.
    dropped_usage: u64,
    /// Checks counted in a shared counter because the table was full.
    overflowed_checks: u64,
    checks: u64,
    failovers: u64,
    manager_time_offset_ms: i64,
    managers: Vec<ManagerBody>,
}

/// What a crash of the agent may lose.
#[derive(Debug, Serialize)]
struct AtRisk {
    /// The most that one counter used, in the last second or two, before it was reported.
    amount: u64,
    /// For how long the oldest change has not been reported.
    age_seconds: f64,
}

#[derive(Debug, Serialize)]
struct ActiveManager {
    url: String,
    name: String,
}

/// One manager of the list, in its order.
#[derive(Debug, Serialize)]
struct ManagerBody {
    url: String,
    /// As it names itself; unknown before it answered once.
    name: Option<String>,
    usage: Link,
    decisions: Link,
    /// The newest usage frame that it merged, and how many frames it is behind.
    usage_acknowledged: u64,
    usage_behind: u64,
    /// Why there is no usage link, or none that works.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Link {
    Up,
    Down,
}

impl From<bool> for Link {
    fn from(up: bool) -> Self {
        if up { Link::Up } else { Link::Down }
    }
}

pub(super) async fn status(State(gate): State<Gate>) -> Json<StatusBody> {
    let urls: Vec<String> = gate.agent.managers().iter().map(ToString::to_string).collect();
    Json(body(gate.agent.status(), gate.agent.ended(), &urls))
}

/// Why the agent is not ready; `None` when it is.
pub(super) fn unready(status: &Status, ended: bool) -> Option<String> {
    if let Some(rival) = status.same_id.as_ref().filter(|_| !ended) {
        return Some(format!(
            "The traffic managers refuse this agent until the other one with its id is gone; then it \
             joins by itself. They say: {rival}."
        ));
    }
    let reason = if ended {
        "The agent has ended and speaks with no traffic manager; the log tells why."
    } else if status.ready {
        return None;
    } else if status.active.is_none() {
        "No traffic manager has been reached yet: checks pass unlimited."
    } else if status.policies_revision == 0 {
        "The policies have not arrived yet: checks pass unlimited."
    } else {
        "This agent is not yet part of the fleet: it has no share of the limits."
    };
    let problem = status.managers.iter().find_map(|manager| manager.problem.as_ref());
    Some(match problem.filter(|_| !ended && status.active.is_none()) {
        Some(problem) => format!("{reason} The last attempt: {problem}."),
        None => reason.to_owned(),
    })
}

fn body(status: Status, ended: bool, urls: &[String]) -> StatusBody {
    let not_ready_because = unready(&status, ended);
    let url = |index: usize| urls.get(index).cloned().unwrap_or_default();
    let active =
        status.active.map(|index| ActiveManager { url: url(index), name: status.active_name });
    let managers = status.managers.into_iter().enumerate().map(|(index, manager)| ManagerBody {
        url: url(index),
        name: manager.name,
        usage: manager.usage_up.into(),
        decisions: manager.decisions_up.into(),
        usage_acknowledged: manager.usage_acked,
        usage_behind: manager.usage_behind,
        problem: manager.problem,
    });
    StatusBody {
        id: status.identity.life.id.to_string(),
        incarnation: status.identity.life.incarnation,
        gateway_group: status.identity.gateway_group,
        version: status.identity.version,
        ready: not_ready_because.is_none(),
        not_ready_because,
        isolated: status.isolated,
        active_manager: active,
        decision_age_seconds: status.decision_age.map(|age| age.as_secs_f64()),
        policies_revision: status.policies_revision,
        policies: status.policies,
        view: status.view,
        fleet: status.fleet,
        counters: status.counters,
        unsent_usage: status.unsent,
        at_risk: AtRisk {
            amount: status.at_risk.amount(),
            age_seconds: status.unsent_for.as_secs_f64(),
        },
        dropped_usage: status.dropped,
        overflowed_checks: status.overflowed,
        checks: status.checks,
        failovers: status.failovers,
        manager_time_offset_ms: status.manager_time_offset_us / 1_000,
        managers: managers.collect(),
    }
}
