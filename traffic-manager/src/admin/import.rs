//! Taking over another limiter's file.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use traffic_manager_core::{Manager, Output, policies::PolicyWriteError};
use utoipa::{IntoParams, ToSchema};
use weir_proto::{
    policy::{API_VERSION, Policy},
    time::Time,
};

use super::{
    Admin,
    body::{Format, Params, Text},
    problem::Problem,
    schema::{Outcome, PolicyList},
};
use crate::import::{self, Finding, Source, Translation, translate};

/// Policies that are written at a time.
const PIECE: usize = 100;
/// What findings call the body.
const BODY: &str = "body";

/// What to do with the file.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// Whose file it is: `envoy` (envoyproxy/ratelimit) or `limitador`.
    #[param(pattern = "^(envoy|limitador)$")]
    format: String,
    /// Change nothing; only tell what would become of it.
    #[serde(default)]
    dry_run: bool,
    /// Import what can be translated, and leave out what has no equivalent.
    #[serde(default)]
    partial: bool,
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
    Params(wish): Params<Wish>,
    headers: HeaderMap,
    Text(text): Text,
) -> Result<Response, Problem> {
    let Some(format) = import::Format::parse(&wish.format) else {
        let message = "is unknown; give envoy or limitador".to_owned();
        return Err(Problem::invalid_field("format", &wish.format, message));
    };
    let Translation { policies, findings } = tokio::task::spawn_blocking(move || {
        let translation = translate(format, &[Source { name: BODY, text: &text }]);
        let faulty = translation.faults(wish.partial).next().is_some();
        let problem = faulty.then(|| Problem::untranslatable(translation.faults(wish.partial)));
        problem.map_or(Ok(translation), Err)
    })
    .await
    .map_err(|_| Problem::unavailable("the file could not be translated"))??;
    let documents: Vec<Value> = policies.iter().map(Policy::to_json).collect();
    let document = json!({ "apiVersion": API_VERSION, "policies": documents });
    let dry_run = wish.dry_run;
    let mut outcomes = Vec::new();
    // In pieces: other work must not wait for thousands of policies.
    for piece in policies.chunks(PIECE) {
        let piece = piece.to_vec();
        let written = admin.with(move |manager, now, outputs| {
            let write = |policy| write(manager, policy, dry_run, now, outputs);
            piece.into_iter().map(write).collect::<Result<Vec<_>, _>>()
        });
        outcomes.extend(written.await??);
    }
    let policies = outcomes;
    let answer = Imported { dry_run, policies, findings, document };
    Ok(Format::accepted(&headers).answer(StatusCode::OK, &answer))
}

/// Runs where the core is, so that nothing comes between the look and the write.
fn write(
    manager: &mut Manager,
    mut policy: Policy,
    dry_run: bool,
    now: Time,
    outputs: &mut Vec<Output>,
) -> Result<Outcome, Problem> {
    let name = policy.name.to_string();
    manager.keep_resets(&mut policy);
    let equal = manager.policy(&name).map(|stored| *stored.policy == policy);
    let outcome = Outcome::of(&name, equal);
    let written: Result<(), PolicyWriteError> = match equal {
        _ if dry_run => Ok(()),
        Some(true) => Ok(()),
        Some(false) => manager.replace_policy(policy, None, now, outputs).map(drop),
        None => manager.create_policy(policy, now, outputs).map(drop),
    };
    let advice = "the policies before it are written; import again to write the others";
    written.map_err(|error| Problem::refused(&name, error).advise(advice))?;
    Ok(outcome)
}
