//! What happens now: counters, decisions, agents.

use axum::{Json, extract::State};
use serde::Serialize;
use traffic_manager_core::view::CounterFilter;
use utoipa::{IntoParams, ToSchema};

use super::{
    Admin,
    problem::Problem,
    query::{Parameters, Params, Query},
    views::{Agent, Counter, Decision, page},
};

const MAX_LIMIT: usize = 1_000;

/// Which counters or decisions to show.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only those of this policy.
    policy: Option<String>,
    /// Only those with this text in a part of their key.
    key: Option<String>,
    /// At most this many, 1 to 1000; 100 if not given.
    #[param(value_type = Option<usize>)]
    limit: usize,
}

impl Parameters for Filter {
    const NAMES: &'static [&'static str] = &["policy", "key", "limit"];

    fn read(query: &mut Query) -> Self {
        let (policy, key) = (query.text("policy"), query.text("key"));
        Filter { policy, key, limit: query.limit(MAX_LIMIT) }
    }
}

/// Some counters.
#[derive(Serialize, ToSchema)]
pub(super) struct Counters {
    counters: Vec<Counter>,
    /// There are more; narrow the filter.
    truncated: bool,
}

/// Live usage.
#[utoipa::path(
    get, path = "/api/v1/counters", tag = "live", operation_id = "listCounters", params(Filter),
    responses((status = 200, body = Counters), (status = 400, description = "A parameter is not valid", body = Problem), (status = 404, description = "Nothing is known of the policy that is named", body = Problem)),
)]
pub(super) async fn counters(
    State(admin): State<Admin>,
    Params(filter): Params<Filter>,
) -> Result<Json<Counters>, Problem> {
    let limit = filter.limit;
    admin.known_policy(filter.policy.as_deref()).await?;
    // One more than wanted tells whether there are more.
    let filter = CounterFilter { policy: filter.policy, key: filter.key, limit: limit + 1 };
    let found = admin.with(move |manager, now, _| manager.counters(&filter, now)).await?;
    let (found, truncated) = page(found, limit);
    Ok(Json(Counters { counters: found.into_iter().map(Counter::from).collect(), truncated }))
}

/// Some decisions.
#[derive(Serialize, ToSchema)]
pub(super) struct Decisions {
    decisions: Vec<Decision>,
    /// There are more; narrow the filter.
    truncated: bool,
}

/// Who is throttled now, until when, by which policy.
#[utoipa::path(
    get, path = "/api/v1/decisions", tag = "live", operation_id = "listDecisions", params(Filter),
    responses((status = 200, body = Decisions), (status = 400, description = "A parameter is not valid", body = Problem), (status = 404, description = "Nothing is known of the policy that is named", body = Problem)),
)]
pub(super) async fn decisions(
    State(admin): State<Admin>,
    Params(filter): Params<Filter>,
) -> Result<Json<Decisions>, Problem> {
    let limit = filter.limit;
    admin.known_policy(filter.policy.as_deref()).await?;
    let found = admin.with(move |manager, now, _| {
        let all = manager.decisions(now).into_iter();
        all.filter(|view| filter.policy.as_deref().is_none_or(|name| view.key.policy() == name))
            .filter(|view| {
                filter.key.as_deref().is_none_or(|part| view.key.parts().any(|p| p.contains(part)))
            })
            .take(limit + 1)
            .collect::<Vec<_>>()
    });
    let (found, truncated) = page(found.await?, limit);
    Ok(Json(Decisions { decisions: found.into_iter().map(Decision::from).collect(), truncated }))
}

/// The agents.
#[derive(Serialize, ToSchema)]
pub(super) struct Agents {
    agents: Vec<Agent>,
}

/// The agents that this manager has heard of.
#[utoipa::path(
    get, path = "/api/v1/agents", tag = "fleet", operation_id = "listAgents",
    responses((status = 200, body = Agents)),
)]
pub(super) async fn agents(
    State(admin): State<Admin>,
    _: Params<()>,
) -> Result<Json<Agents>, Problem> {
    let found = admin.with(|manager, now, _| manager.agents(now)).await?;
    Ok(Json(Agents { agents: found.into_iter().map(Agent::from).collect() }))
}
