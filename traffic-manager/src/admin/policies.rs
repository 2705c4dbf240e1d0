//! Reading and writing policies.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use traffic_manager_core::{
    manager::keep_resets,
    policies::StoredPolicy,
    replica::{Change, Replica},
    view::BoundView,
};
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
    query::{Name, Params},
    schema::{Outcome, PolicyDocument, PolicyList, Validation},
    views::bound,
    write::Writer,
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
    _: Params<()>,
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
    _: Params<()>,
    Name(name): Name,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let conditions = Conditions::of(&headers)?;
    let (stored, bound) = admin.find(&name).await?.ok_or_else(|| Problem::no_policy(&name))?;
    if conditions.unchanged(Some(&etag(&stored.tag))) {
        return Ok(tagged(StatusCode::NOT_MODIFIED.into_response(), &stored));
    }
    Ok(one(&headers, StatusCode::OK, &stored, bound))
}

/// Create a policy.
#[utoipa::path(
    post, path = "/api/v1/policies", tag = "policies", operation_id = "createPolicy",
    params(
        ("wait" = Option<String>, Query, description = "`all`, or how many peers must have it before the answer"),
    ),
    request_body(content((PolicyDocument = "application/json"), (PolicyDocument = "application/yaml"))),
    responses(
        (status = 201, description = "Created", body = PolicyDocument, headers(("weir-replicas" = Option<u64>, description = "With `wait`: so many peers have it"))),
        (status = 400, description = "The body is not JSON or YAML; the position is named", body = Problem),
        (status = 409, description = "There is a policy of that name", body = Problem),
        (status = 413, description = "The body is larger than 4 MiB", body = Problem),
        (status = 415, description = "Neither JSON nor YAML", body = Problem),
        (status = 422, description = "The policy is not valid; every field at fault is named", body = Problem),
        (status = 504, description = "Done here; so many peers do not have it yet", body = Problem),
        (status = 507, description = "The store is full; nothing was changed", body = Problem),
    ),
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    writer: Writer,
    headers: HeaderMap,
    Document(body): Document,
) -> Result<Response, Problem> {
    let policy = policy_of(body)?;
    let by = writer.clone();
    let made = admin.write(&writer, move |replica, now| {
        let name = policy.name.to_string();
        parents::check(replica, &policy, &[])?;
        if let Some(winner) = replica.winner(&name) {
            return Err(Problem::exists(&name, &winner.tag));
        }
        let change = put(replica, &policy, "create", &by, now)?;
        Ok((Some(change), name))
    });
    let made = made.await?;
    let (stored, bound) = admin.stored(&made.result).await?;
    Ok(made.tell(created(&headers, &stored, bound)))
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
        ("wait" = Option<String>, Query, description = "`all`, or how many peers must have it before the answer"),
    ),
    request_body(content((PolicyDocument = "application/json"), (PolicyDocument = "application/yaml"))),
    responses(
        (status = 200, description = "Replaced, or equal already", body = PolicyDocument),
        (status = 201, description = "Created", body = PolicyDocument),
        (status = 404, description = "No such policy", body = Problem),
        (status = 412, description = "The policy was changed since you read it", body = Problem),
        (status = 422, description = "The policy is not valid; every field at fault is named", body = Problem),
        (status = 504, description = "Done here; so many peers do not have it yet", body = Problem),
        (status = 507, description = "The store is full; nothing was changed", body = Problem),
    ),
)]
pub(super) async fn replace(
    State(admin): State<Admin>,
    writer: Writer,
    Name(name): Name,
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
    let by = writer.clone();
    let written = admin.write(&writer, move |replica, now| {
        let name = policy.name.to_string();
        let (change, is_new) = write(replica, policy, &conditions, &by, now)?;
        Ok((change, (name, is_new)))
    });
    let written = written.await?;
    let (name, is_new) = &written.result;
    let (stored, bound) = admin.stored(name).await?;
    let answer = if *is_new {
        created(&headers, &stored, bound)
    } else {
        one(&headers, StatusCode::OK, &stored, bound)
    };
    Ok(written.tell(answer))
}

/// Runs where the replica is, so that nothing comes between the look and the write. Tells whether the
/// policy is new.
fn write(
    replica: &Replica,
    mut policy: Policy,
    conditions: &Conditions,
    by: &Writer,
    now: Time,
) -> Result<(Option<Change>, bool), Problem> {
    let name = policy.name.to_string();
    parents::check(replica, &policy, &[])?;
    let current = replica.winner(&name);
    let tag = current.map(|winner| etag(&winner.tag));
    if !conditions.allow(tag.as_deref()) {
        return Err(Problem::stale(tag));
    }
    match current {
        Some(winner) => {
            keep_resets(&winner.policy, &mut policy);
            // An equal policy is no new version: nothing to send, nothing to conflict with.
            let equal = *winner.policy == policy;
            let change = (!equal).then(|| put(replica, &policy, "replace", by, now));
            Ok((change.transpose()?, false))
        }
        None if conditions.want_absent() => {
            Ok((Some(put(replica, &policy, "create", by, now)?), true))
        }
        None => {
            let advice = "create it with POST, or with PUT and If-None-Match: *";
            Err(Problem::no_policy(&name).advise(advice))
        }
    }
}

/// A version and its audit record.
fn put(
    replica: &Replica,
    policy: &Policy,
    action: &str,
    by: &Writer,
    now: Time,
) -> Result<Change, Problem> {
    let change = replica.put(policy, &by.actor, now)?;
    let record = by.audit(action, policy.name.as_str(), &change, String::new(), now);
    Ok(change.and(replica.record(vec![record], now)))
}

/// Delete a policy.
#[utoipa::path(
    delete, path = "/api/v1/policies/{name}", tag = "policies", operation_id = "deletePolicy",
    params(
        ("name" = String, Path, description = "The policy's name"),
        ("If-Match" = Option<String>, Header, description = "The ETag of the version to delete"),
        ("wait" = Option<String>, Query, description = "`all`, or how many peers must have it before the answer"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "No such policy", body = Problem),
        (status = 409, description = "It is the parent of another policy", body = Problem),
        (status = 412, description = "The policy was changed since you read it", body = Problem),
        (status = 504, description = "Done here; so many peers do not have it yet", body = Problem),
        (status = 507, description = "The store is full; nothing was changed", body = Problem),
    ),
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    writer: Writer,
    Name(name): Name,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let conditions = Conditions::of(&headers)?;
    let by = writer.clone();
    let deleted = admin.write(&writer, move |replica, now| {
        let tag = replica.winner(&name).map(|winner| etag(&winner.tag));
        if tag.is_none() && !conditions.want_present() {
            return Err(Problem::no_policy(&name));
        }
        if !conditions.allow(tag.as_deref()) {
            return Err(Problem::stale(tag));
        }
        if let Some(child) = parents::children(replica, &name).first() {
            let detail = format!("{child} has {name} as its parent; change or delete that first");
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        let change =
            replica.delete(&name, &by.actor, now).ok_or_else(|| Problem::no_policy(&name))?;
        let record = by.audit("delete", &name, &change, String::new(), now);
        Ok((Some(change.and(replica.record(vec![record], now))), ()))
    });
    let deleted = deleted.await?;
    Ok(deleted.tell(StatusCode::NO_CONTENT.into_response()))
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
    _: Params<()>,
    headers: HeaderMap,
    Document(body): Document,
) -> Result<Response, Problem> {
    let policies = parse_document(&without_computed(body).to_string()).map_err(Problem::invalid)?;
    let outcomes = admin.ask(move |replica, _| {
        let outcome = |mut policy: Policy| {
            let current = replica.winner(policy.name.as_str());
            if let Some(winner) = current {
                keep_resets(&winner.policy, &mut policy);
            }
            Outcome::of(policy.name.as_str(), current.map(|winner| *winner.policy == policy))
        };
        for policy in &policies {
            parents::check(replica, policy, &policies)?;
        }
        Ok::<_, Problem>(policies.into_iter().map(outcome).collect())
    });
    let validation = Validation { valid: true, policies: outcomes.await?? };
    Ok(Format::accepted(&headers).answer(StatusCode::OK, &validation))
}

impl Admin {
    /// A policy that was just written, and its bound.
    pub(super) async fn stored(
        &self,
        name: &str,
    ) -> Result<(StoredPolicy, Option<BoundView>), Problem> {
        self.find(name).await?.ok_or_else(|| {
            let detail = format!("the policy {name:?} was written, and deleted meanwhile");
            Problem::new(StatusCode::CONFLICT, detail)
        })
    }

    /// A policy, and its bound.
    pub(super) async fn find(
        &self,
        name: &str,
    ) -> Result<Option<(StoredPolicy, Option<BoundView>)>, Problem> {
        let wanted = name.to_owned();
        let found = self.with(move |manager, _, _| {
            let stored = manager.policy(&wanted)?;
            Some((stored, manager.bound(&wanted)))
        });
        found.await
    }
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

pub(super) fn one(
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
