//! `POST /counters:reset`.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;
use traffic_manager_core::manager::{ResetError, with_reset};
use utoipa::ToSchema;
use weir_proto::policy::PolicyErrors;

use super::{Admin, body::Document, fields::Fields, problem::Problem, write::Writer};

/// How long the answer waits for the agents to say that they have it.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many characters of a key are repeated when it is refused.
const EXCERPT: usize = 80;
/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);

/// Which counters begin anew.
#[derive(ToSchema)]
#[schema(as = ResetOrder, example = json!({ "policy": "per-application", "key": ["shop"] }))]
pub(super) struct Order {
    /// The policy.
    policy: String,
    /// The value of each part of its key; without it all counters of the policy are reset.
    key: Option<Vec<String>>,
}

impl Order {
    fn read(body: &Value) -> Result<Order, Problem> {
        let mut faults = PolicyErrors::default();
        let order = Fields::of(body, "", &["policy", "key"], &mut faults).and_then(|mut fields| {
            let policy = fields.text("policy", "name the policy whose counters begin anew");
            let key = fields.texts("key");
            Some(Order { policy: policy?.to_owned(), key })
        });
        order.filter(|_| faults.0.is_empty()).ok_or_else(|| {
            Problem::faulty(StatusCode::UNPROCESSABLE_ENTITY, "the order is not valid", faults)
        })
    }
}

/// What was reset, and who knows.
#[derive(Serialize, ToSchema)]
#[schema(as = ResetOutcome)]
pub(super) struct Outcome {
    /// The policy.
    policy: String,
    /// The key; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Vec<String>>,
    /// The policies' revision that says so.
    revision: u64,
    /// Agents that count from nothing.
    confirmed: Vec<String>,
    /// Agents that have not said so within two seconds; they will when they are back.
    pending: Vec<String>,
}

/// Set counters back to nothing, at every agent.
#[utoipa::path(
    post, path = "/api/v1/counters:reset", tag = "live", operation_id = "resetCounters",
    request_body = Order,
    responses(
        (status = 200, description = "Reset; the agents that have confirmed it, and the others", body = Outcome),
        (status = 404, description = "No such policy", body = Problem),
        (status = 422, description = "The key does not fit the policy", body = Problem),
    ),
)]
pub(super) async fn reset(
    State(admin): State<Admin>,
    writer: Writer,
    Document(body): Document,
) -> Result<Response, Problem> {
    let Order { policy, key } = Order::read(&body)?;
    let (wanted, parts, by) = (policy.clone(), key.clone(), writer.clone());
    let written = admin.write(&writer, move |replica, now| {
        let known = replica.winner(&wanted).ok_or_else(|| Problem::no_policy(&wanted))?;
        let reset = with_reset(&known.policy, parts.clone(), now)
            .map_err(|error| refused(&wanted, parts.as_ref(), error))?;
        let detail = parts.map_or(String::new(), |key| Value::from(key).to_string());
        let change = replica.put(&reset, &by.actor, now)?;
        let record = by.audit("reset", &wanted, &change, detail, now);
        Ok((Some(change.and(replica.record(vec![record], now))), ()))
    });
    let written = written.await?;
    let (stored, _) = admin.stored(&policy).await?;
    let (confirmed, pending) = told(&admin, stored.revision).await?;
    let outcome = Outcome { policy, key, revision: stored.revision, confirmed, pending };
    Ok(written.tell(Json(outcome).into_response()))
}

fn refused(policy: &str, key: Option<&Vec<String>>, error: ResetError) -> Problem {
    match error {
        ResetError::Key { .. } | ResetError::Long(_) => {
            let key = Value::from(key.cloned().unwrap_or_default()).to_string();
            let key: String = key.chars().take(EXCERPT).collect();
            Problem::invalid_field("key", &key, error.to_string())
        }
        ResetError::Counts | ResetError::Full => {
            Problem::invalid_field("policy", policy, error.to_string())
        }
    }
}

/// Which of the agents have the policies with that revision of ours, and which have not said so: each by
/// the revision of the manager that it follows.
async fn told(admin: &Admin, revision: u64) -> Result<(Vec<String>, Vec<String>), Problem> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let agents = admin.with(|manager, now, _| manager.agents(now)).await?;
        let peers = admin.ask(|replica, now| replica.peers(now)).await?;
        // A peer that has all that is here, this reset among it: which revision its agents have then.
        let peers: BTreeMap<String, u64> = peers
            .into_iter()
            .filter(|peer| peer.up && peer.equal)
            .map(|peer| (peer.id.to_string(), peer.policies_revision))
            .collect();
        let present =
            agents.into_iter().filter(|agent| agent.following_me || agent.usage_connected);
        let (confirmed, pending): (Vec<_>, Vec<_>) = present.partition(|agent| {
            let Some(status) = &agent.status else { return false };
            let wanted = if agent.following_me {
                Some(revision)
            } else {
                peers.get(&status.active_manager).copied()
            };
            wanted.is_some_and(|wanted| status.policies_revision >= wanted)
        });
        if pending.is_empty() || tokio::time::Instant::now() >= deadline {
            let names = |agents: Vec<traffic_manager_core::view::AgentView>| {
                agents.iter().map(|agent| agent.life.id.to_string()).collect()
            };
            return Ok((names(confirmed), names(pending)));
        }
        tokio::time::sleep(LOOK).await;
    }
}
