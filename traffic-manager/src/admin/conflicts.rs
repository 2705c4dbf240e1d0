//! The conflict log: versions that lost against one written at the same time elsewhere.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;
use traffic_manager_core::{
    manager::keep_resets,
    replica::{Conflict as Loser, ConflictId, Replica, Won, WriteError},
};
use utoipa::ToSchema;
use weir_proto::policy::Policy;

use super::{
    Admin,
    body::Nothing,
    parents,
    policies::one,
    problem::Problem,
    query::{Name, Params},
    views::instant,
    write::Writer,
};

/// Versions that lost.
#[derive(Serialize, ToSchema)]
pub(super) struct Conflicts {
    conflicts: Vec<Conflict>,
}

/// A version that lost against another one, and is kept.
#[derive(Serialize, ToSchema)]
pub(super) struct Conflict {
    /// Names it: the hash of the version.
    id: String,
    /// The policy's name.
    policy: String,
    /// The policy as the loser had it; absent where it deleted the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Value>,
    /// The loser is a deletion.
    deletion: bool,
    /// Its place in the policy's history.
    ref_number: u64,
    /// Who wrote it.
    author: String,
    /// On which manager.
    manager: String,
    /// When; absent for a version of a start-up file.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// `ETag` of the version that holds, without its quotes; absent where the policy is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    winner: Option<String>,
    /// Where the version that holds comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    won: Option<ConflictWon>,
}

/// The version that won, which holds.
#[derive(Serialize, ToSchema)]
pub(super) struct ConflictWon {
    /// It is a deletion.
    deletion: bool,
    /// Its place in the policy's history.
    ref_number: u64,
    /// Who wrote it.
    author: String,
    /// On which manager.
    manager: String,
    /// When; absent for a version of a start-up file.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

impl From<Won> for ConflictWon {
    fn from(won: Won) -> Self {
        ConflictWon {
            deletion: won.deletion,
            ref_number: won.ref_number,
            author: won.author,
            manager: won.origin.id.to_string(),
            at: (won.stamp.0 > 0).then(|| instant(won.stamp.time())),
        }
    }
}

impl From<Loser> for Conflict {
    fn from(loser: Loser) -> Self {
        let version = loser.body.as_ref().map(|body| {
            let text = || Value::from(String::from_utf8_lossy(body).into_owned());
            serde_json::from_slice(body).unwrap_or_else(|_| text())
        });
        Conflict {
            id: loser.id.to_string(),
            policy: loser.name,
            deletion: version.is_none(),
            version,
            ref_number: loser.ref_number,
            author: loser.author,
            manager: loser.origin.id.to_string(),
            at: (loser.stamp.0 > 0).then(|| instant(loser.stamp.time())),
            winner: loser.winner,
            won: loser.won.map(ConflictWon::from),
        }
    }
}

/// Losers of concurrent edits.
///
/// Two writes of one policy at managers that did not know of each other cannot both hold. Every manager
/// lets the same one win, and keeps the other here until somebody restores or dismisses it, or it
/// is 30 days old.
#[utoipa::path(
    get, path = "/api/v1/conflicts", tag = "policies", operation_id = "listConflicts",
    responses((status = 200, body = Conflicts)),
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    _: Params<()>,
) -> Result<Json<Conflicts>, Problem> {
    let conflicts = admin.ask(|replica, _| replica.conflicts().map(Conflict::from).collect());
    Ok(Json(Conflicts { conflicts: conflicts.await? }))
}

/// Keep the winner, and take the loser out of the log of every manager.
#[utoipa::path(
    post, path = "/api/v1/conflicts/{id}:dismiss", tag = "policies", operation_id = "dismissConflict",
    params(
        ("id" = String, Path, description = "The conflict's id"),
        ("wait" = Option<String>, Query, description = "`all`, or how many peers must have it before the answer"),
    ),
    responses(
        (status = 200, description = "The policy as it is now", body = super::schema::PolicyDocument),
        (status = 204, description = "Dismissed; the policy is deleted"),
        (status = 404, description = "No such conflict (any more)", body = Problem),
        (status = 504, description = "Done here; so many peers do not have it yet", body = Problem),
    ),
)]
#[expect(dead_code, reason = "only describes what `settle` does")]
pub(super) const fn dismiss() {}

/// Make the loser the policy's next version; that takes it out of the log of every manager.
#[utoipa::path(
    post, path = "/api/v1/conflicts/{id}:restore", tag = "policies", operation_id = "restoreConflict",
    params(
        ("id" = String, Path, description = "The conflict's id"),
        ("wait" = Option<String>, Query, description = "`all`, or how many peers must have it before the answer"),
    ),
    responses(
        (status = 200, description = "The policy as it is now", body = super::schema::PolicyDocument),
        (status = 404, description = "No such conflict (any more)", body = Problem),
        (status = 409, description = "The loser is a deletion: delete the policy instead", body = Problem),
        (status = 504, description = "Done here; so many peers do not have it yet", body = Problem),
    ),
)]
pub(super) async fn settle(
    State(admin): State<Admin>,
    writer: Writer,
    Name(target): Name,
    headers: HeaderMap,
    _: Nothing,
) -> Result<Response, Problem> {
    let (id, action) = target.split_once(':').unwrap_or((&target, ""));
    let restores = match action {
        "restore" => true,
        "dismiss" => false,
        _ => {
            let detail = format!("nothing is at /conflicts/{target}; add :restore or :dismiss");
            return Err(Problem::new(StatusCode::NOT_FOUND, detail));
        }
    };
    let Some(id) = ConflictId::parse(id) else {
        let message = "is not the id of a conflict, which has 64 hexadecimal digits".to_owned();
        return Err(Problem::invalid_field("id", id, message));
    };
    let (by, action) = (writer.clone(), action.to_owned());
    let written = admin.write(&writer, move |replica, now| {
        let name = replica.conflict(id).map(|loser| loser.name).unwrap_or_default();
        let change = if restores {
            let policy = as_it_must_be_now(replica, id, &name)?;
            replica.restore(id, &policy, &by.actor, now)?
        } else {
            replica.dismiss(id, &by.actor, now)?
        };
        let record = by.audit(&action, &name, &change, format!("conflict {id}"), now);
        Ok((Some(change.and(replica.record(vec![record], now))), name))
    });
    let written = written.await?;
    let answer = match admin.find(&written.result).await? {
        Some((stored, bound)) => one(&headers, StatusCode::OK, &stored, bound),
        // Dismissed, and the winner is a deletion.
        None => StatusCode::NO_CONTENT.into_response(),
    };
    Ok(written.tell(answer))
}

/// The loser's document, checked like one that is written now: its parent may be gone since, and counters
/// that were reset since must not get their former names back.
fn as_it_must_be_now(replica: &Replica, id: ConflictId, name: &str) -> Result<Policy, Problem> {
    let loser = replica.conflict(id).ok_or(WriteError::NoConflict)?;
    let body = loser.body.ok_or(WriteError::Deletion)?;
    let document: Value = serde_json::from_slice(&body).map_err(|error| {
        let detail = format!("the losing version cannot be read by this manager: {error}");
        Problem::new(StatusCode::CONFLICT, detail)
    })?;
    let mut policy = Policy::from_json(&document).map_err(Problem::invalid)?;
    if let Some(winner) = replica.winner(name) {
        policy.resets.clear();
        keep_resets(&winner.policy, &mut policy);
    }
    parents::check(replica, &policy, &[])?;
    Ok(policy)
}
