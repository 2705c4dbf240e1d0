//! Taking over another limiter's file.

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::Serialize;
use serde_json::{Value, json};
use traffic_manager_core::{
    manager::keep_resets,
    replica::{Change, Record, Replica},
};
use utoipa::{IntoParams, ToSchema};
use weir_proto::{
    policy::{API_VERSION, Policy},
    time::Time,
};

use super::{
    Admin,
    body::{Format, Text},
    problem::Problem,
    query::{Parameters, Params, Query},
    schema::{Outcome, PolicyList},
    write::{Wait, Writer},
};
use crate::auth::Actor;
use crate::import::{self, Finding, Source, Translation, translate};

/// Policies that are written at a time.
const PIECE: usize = 100;
/// What findings call the body.
const BODY: &str = "body";

/// What to do with the file.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wish {
    /// Whose file it is: `envoy` (envoyproxy/ratelimit) or `limitador`.
    #[param(pattern = "^(envoy|limitador)$", value_type = String)]
    format: Option<import::Format>,
    /// Change nothing; only tell what would become of it.
    dry_run: bool,
    /// Import what can be translated, and leave out what has no equivalent.
    partial: bool,
    /// `all`, or how many peers must have it before the answer.
    #[param(value_type = Option<String>)]
    wait: Wait,
}

impl Parameters for Wish {
    const NAMES: &'static [&'static str] = &["format", "dry_run", "partial", "wait"];

    fn read(query: &mut Query) -> Self {
        const FORMATS: &str = "give envoy or limitador";
        let given = query.text("format");
        let format = given.as_deref().and_then(import::Format::parse);
        match &given {
            None => query.missing("format", FORMATS),
            Some(text) if format.is_none() => {
                query.refuse("format", text, &format!("is unknown; {FORMATS}"));
            }
            Some(_) => {}
        }
        let (dry_run, partial) = (query.flag("dry_run"), query.flag("partial"));
        Wish { format, dry_run, partial, wait: Wait::read(query) }
    }
}

/// What became of a file.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Imported {
    /// Nothing was changed.
    dry_run: bool,
    /// What was done to each policy, or would be.
    policies: Vec<Outcome>,
    /// Everything that is worth knowing, with its line.
    findings: Vec<Finding>,
    /// The policies, as `POST /policies` takes each of them.
    #[schema(value_type = PolicyList)]
    document: Value,
}

/// Translate another limiter's file into policies, and write them.
///
/// The body is that file, unchanged; several files are documents of one YAML stream. If anything in
/// it has no equivalent, nothing is changed and every such line is named, unless `partial` is set.
/// Policies of an earlier import that the file has no more stay.
#[utoipa::path(
    post, path = "/api/v1/policies:import", tag = "policies", operation_id = "importPolicies",
    params(Wish),
    request_body(content((String = "application/yaml"), (Value = "application/json"))),
    responses(
        (status = 200, description = "Imported, or what an import would do", body = Imported),
        (status = 400, description = "A parameter is missing or unknown", body = Problem),
        (status = 413, description = "The body is larger than 4 MiB", body = Problem),
        (status = 415, description = "Neither JSON nor YAML", body = Problem),
        (status = 422, description = "Not that limiter's file, or something has no equivalent; every line is named", body = Problem),
    ),
)]
pub(super) async fn import(
    State(admin): State<Admin>,
    actor: Option<Extension<Actor>>,
    Params(wish): Params<Wish>,
    headers: HeaderMap,
    Text(text): Text,
) -> Result<Response, Problem> {
    let writer = Writer::new(actor.as_deref(), wish.wait);
    let Some(format) = wish.format else {
        return Err(Problem::bad_request("format is missing; give envoy or limitador"));
    };
    let Translation { policies, findings } = tokio::task::spawn_blocking(move || {
        let translation = translate(format, &[Source { name: BODY, text: &text }]);
        let faulty = translation.faults(wish.partial).next().is_some();
        let problem = faulty.then(|| Problem::untranslatable(translation.faults(wish.partial)));
        problem.map_or(Ok(translation), Err)
    })
    .await
    .map_err(|_| Problem::unavailable("the file could not be translated"))??;
    admin.wanted(&writer)?;
    let documents: Vec<Value> = policies.iter().map(Policy::to_json).collect();
    let document = json!({ "apiVersion": API_VERSION, "policies": documents });
    let dry_run = wish.dry_run;
    let mut outcomes = Vec::new();
    // In pieces: other writes must not wait for thousands of policies.
    for piece in policies.chunks(PIECE) {
        let (piece, by) = (piece.to_vec(), writer.clone());
        let written = admin.write(&writer.at_once(), move |replica, now| {
            let (mut whole, mut outcomes) = (Change::default(), Vec::new());
            let mut records = Vec::new();
            for policy in piece {
                let (change, record, outcome) = write(replica, policy, dry_run, &by, now)?;
                whole = whole.and(change);
                records.extend(record);
                outcomes.push(outcome);
            }
            Ok((Some(whole.and(replica.record(records, now))), outcomes))
        });
        outcomes.extend(written.await?.result);
    }
    let settled = admin.settled(&writer).await?;
    let answer = Imported { dry_run, policies: outcomes, findings, document };
    Ok(settled.tell(Format::accepted(&headers).answer(StatusCode::OK, &answer)))
}

/// Runs where the replica is, so that nothing comes between the look and the write.
fn write(
    replica: &Replica,
    mut policy: Policy,
    dry_run: bool,
    by: &Writer,
    now: Time,
) -> Result<(Change, Option<Record>, Outcome), Problem> {
    let name = policy.name.to_string();
    let current = replica.winner(&name);
    if let Some(winner) = current {
        keep_resets(&winner.policy, &mut policy);
    }
    let equal = current.map(|winner| *winner.policy == policy);
    let outcome = Outcome::of(&name, equal);
    if dry_run || equal == Some(true) {
        return Ok((Change::default(), None, outcome));
    }
    let action = if equal.is_some() { "replace" } else { "create" };
    let advice = "the policies before it are written; import again to write the others";
    let change = replica.put(&policy, &by.actor, now);
    let change = change.map_err(|error| Problem::from(error).advise(advice))?;
    let record = by.audit(action, &name, &change, "imported".to_owned(), now);
    Ok((change, Some(record), outcome))
}
