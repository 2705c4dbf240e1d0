//! Reading and writing policies.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use traffic_manager_core::{Manager, Output, policies::StoredPolicy, view::BoundView};
use weir_proto::{
    policy::{API_VERSION, Policy, parse_document},
    time::Time,
};

use super::{
    Admin,
    body::{Document, Format},
    conditions::{Conditions, etag},
    parents,
    problem::Problem,
    schema::{Outcome, PolicyDocument, PolicyList, Validation},
    views::bound,
};

/// Part of an answer about one policy that is computed, and ignored when it comes back.
const COMPUTED: &str = "bound";

/// Every policy, as a document that the policies file and `apply` take.
#[utoipa::path(
    get, path = "/api/v1/policies", tag = "policies", operation_id = "listPolicies",
    responses((status = 200, description = "All policies, by name", body = PolicyList)),
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let policies = admin.with(|manager, _, _| manager.policies()).await?;
    let policies: Vec<Value> = policies.iter().map(|stored| stored.policy.to_json()).collect();
    let document = json!({ "apiVersion": API_VERSION, "policies": policies });
    Ok(Format::accepted(&headers).answer(StatusCode::OK, &document))
}

/// One policy, with the bound that holds for it now.
#[utoipa::path(
    get, path = "/api/v1/policies/{name}", tag = "policies", operation_id = "readPolicy",
    params(
        ("name" = String, Path, description = "The policy's name"),
        ("If-None-Match" = Option<String>, Header, description = "An ETag that you have: 304 if it is the newest"),
    ),
    responses(
        (status = 200, description = "The policy", body = PolicyDocument, headers(("ETag" = String, description = "Changes with every version"))),
        (status = 304, description = "You have the newest version"),
        (status = 404, description = "No such policy", body = Problem),
    ),
)]
pub(super) async fn read(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let conditions = Conditions::of(&headers)?;
    let wanted = name.clone();
    let found = admin.with(move |manager, _, _| {
        let stored = manager.policy(&wanted)?;
        Some((stored, manager.bound(&wanted)))
    });
    let (stored, bound) = found.await?.ok_or_else(|| Problem::no_policy(&name))?;
    if conditions.unchanged(Some(&etag(&stored.tag))) {
        return Ok(tagged(StatusCode::NOT_MODIFIED.into_response(), &stored));
    }
    Ok(one(&headers, StatusCode::OK, &stored, bound))
}

/// Create a policy.
#[utoipa::path(
    post, path = "/api/v1/policies", tag = "policies", operation_id = "createPolicy",
    request_body(content((PolicyDocument = "application/json"), (PolicyDocument = "application/yaml"))),
    responses(
        (status = 201, description = "Created", body = PolicyDocument),
        (status = 400, description = "The body is not JSON or YAML; the position is named", body = Problem),
        (status = 409, description = "There is a policy of that name", body = Problem),
        (status = 413, description = "The body is larger than 4 MiB", body = Problem),
        (status = 415, description = "Neither JSON nor YAML", body = Problem),
        (status = 422, description = "The policy is not valid; every field at fault is named", body = Problem),
    ),
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    headers: HeaderMap,
    Document(body): Document,
) -> Result<Response, Problem> {
    let policy = policy_of(body)?;
    let name = policy.name.to_string();
    let made = admin.with(move |manager, now, outputs| {
        parents::check(manager, &policy, &[])?;
        let stored = manager.create_policy(policy, now, outputs);
        let stored = stored.map_err(|error| Problem::refused(&name, error))?;
        let bound = manager.bound(stored.policy.name.as_str());
        Ok::<_, Problem>((stored, bound))
    });
    let (stored, bound) = made.await??;
    Ok(created(&headers, &stored, bound))
}

/// Replace a policy.
///
/// With `If-Match` only the version that you read is replaced; with `If-None-Match: *` the policy
/// is created, and only if there is none.
#[utoipa::path(
    put, path = "/api/v1/policies/{name}", tag = "policies", operation_id = "replacePolicy",
    params(
        ("name" = String, Path, description = "The policy's name"),
        ("If-Match" = Option<String>, Header, description = "The ETag of the version to replace"),
        ("If-None-Match" = Option<String>, Header, description = "* to create, and never replace"),
    ),
    request_body(content((PolicyDocument = "application/json"), (PolicyDocument = "application/yaml"))),
    responses(
        (status = 200, description = "Replaced, or equal already", body = PolicyDocument),
        (status = 201, description = "Created", body = PolicyDocument),
        (status = 404, description = "No such policy", body = Problem),
        (status = 412, description = "The policy was changed since you read it", body = Problem),
        (status = 422, description = "The policy is not valid; every field at fault is named", body = Problem),
    ),
)]
pub(super) async fn replace(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Document(mut body): Document,
) -> Result<Response, Problem> {
    let conditions = Conditions::of(&headers)?;
    if let Some(fields) = body.as_object_mut() {
        fields.entry("name").or_insert_with(|| Value::from(name.as_str()));
    }
    let policy = policy_of(body)?;
    if policy.name.as_str() != name {
        let message = format!("is not the name in the path, {name:?}; a policy keeps its name");
        return Err(Problem::invalid_field("name", policy.name.as_str(), message));
    }
    let written = admin.with(move |manager, now, outputs| {
        let stored = write(manager, policy, &conditions, now, outputs)?;
        let bound = manager.bound(stored.0.policy.name.as_str());
        Ok::<_, Problem>((stored, bound))
    });
    let ((stored, is_new), bound) = written.await??;
    if is_new {
        return Ok(created(&headers, &stored, bound));
    }
    Ok(one(&headers, StatusCode::OK, &stored, bound))
}

/// Runs where the core is, so that nothing comes between the look and the write.
fn write(
    manager: &mut Manager,
    mut policy: Policy,
    conditions: &Conditions,
    now: Time,
    outputs: &mut Vec<Output>,
) -> Result<(StoredPolicy, bool), Problem> {
    let name = policy.name.to_string();
    parents::check(manager, &policy, &[])?;
    manager.keep_resets(&mut policy);
    let current = manager.policy(&name);
    let tag = current.as_ref().map(|stored| etag(&stored.tag));
    if !conditions.allow(tag.as_deref()) {
        return Err(Problem::stale(tag));
    }
    let written = match current {
        // An equal policy is no new version: nothing to send, nothing to conflict with.
        Some(stored) if *stored.policy == policy => return Ok((stored, false)),
        Some(_) => manager.replace_policy(policy, None, now, outputs).map(|it| (it, false)),
        None if conditions.want_absent() => {
            manager.create_policy(policy, now, outputs).map(|it| (it, true))
        }
        None => {
            let advice = "create it with POST, or with PUT and If-None-Match: *";
            return Err(Problem::no_policy(&name).advise(advice));
        }
    };
    written.map_err(|error| Problem::refused(&name, error))
}

/// Delete a policy.
#[utoipa::path(
    delete, path = "/api/v1/policies/{name}", tag = "policies", operation_id = "deletePolicy",
    params(
        ("name" = String, Path, description = "The policy's name"),
        ("If-Match" = Option<String>, Header, description = "The ETag of the version to delete"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "No such policy", body = Problem),
        (status = 409, description = "It is the parent of another policy", body = Problem),
        (status = 412, description = "The policy was changed since you read it", body = Problem),
    ),
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let conditions = Conditions::of(&headers)?;
    let deleted = admin.with(move |manager, now, outputs| {
        let tag = manager.policy(&name).map(|stored| etag(&stored.tag));
        if tag.is_none() && !conditions.want_present() {
            return Err(Problem::no_policy(&name));
        }
        if !conditions.allow(tag.as_deref()) {
            return Err(Problem::stale(tag));
        }
        if let Some(child) = parents::children(manager, &name).first() {
            let detail = format!("{child} has {name} as its parent; change or delete that first");
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        let deleted = manager.delete_policy(&name, None, now, outputs);
        deleted.map_err(|error| Problem::refused(&name, error))
    });
    deleted.await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Dry run: check a policy or a whole document, and tell what writing it would do.
#[utoipa::path(
    post, path = "/api/v1/policies:validate", tag = "policies", operation_id = "validatePolicies",
    request_body(
        content((PolicyDocument = "application/json"), (PolicyList = "application/yaml")),
        description = "One policy, or a document with `apiVersion` and `policies`",
    ),
    responses(
        (status = 200, description = "Valid; nothing was changed", body = Validation),
        (status = 422, description = "Not valid; every field at fault is named", body = Problem),
    ),
)]
pub(super) async fn validate(
    State(admin): State<Admin>,
    headers: HeaderMap,
    Document(body): Document,
) -> Result<Response, Problem> {
    let policies = parse_document(&without_computed(body).to_string()).map_err(Problem::invalid)?;
    let outcomes = admin.with(move |manager, _, _| {
        let outcome = |mut policy: Policy| {
            manager.keep_resets(&mut policy);
            let current = manager.policy(policy.name.as_str());
            Outcome::of(policy.name.as_str(), current.map(|stored| *stored.policy == policy))
        };
        for policy in &policies {
            parents::check(manager, policy, &policies)?;
        }
        Ok::<_, Problem>(policies.into_iter().map(outcome).collect())
    });
    let validation = Validation { valid: true, policies: outcomes.await?? };
    Ok(Format::accepted(&headers).answer(StatusCode::OK, &validation))
}

fn policy_of(body: Value) -> Result<Policy, Problem> {
    Policy::from_json(&without_computed(body)).map_err(Problem::invalid)
}

/// What was read can be written back.
fn without_computed(mut body: Value) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.shift_remove(COMPUTED);
    }
    body
}

fn created(headers: &HeaderMap, stored: &StoredPolicy, bound: Option<BoundView>) -> Response {
    let mut response = one(headers, StatusCode::CREATED, stored, bound);
    // A policy's name needs no escaping in a URL.
    let location = format!("/api/v1/policies/{}", stored.policy.name);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn one(
    headers: &HeaderMap,
    status: StatusCode,
    stored: &StoredPolicy,
    limits: Option<BoundView>,
) -> Response {
    let mut document = stored.policy.to_json();
    if let (Some(limits), Some(fields)) = (limits, document.as_object_mut()) {
        fields.insert(COMPUTED.to_owned(), bound(&limits));
    }
    tagged(Format::accepted(headers).answer(status, &document), stored)
}

fn tagged(mut response: Response, stored: &StoredPolicy) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&etag(&stored.tag)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
