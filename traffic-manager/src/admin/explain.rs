//! What a request would meet, and why it would be refused.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::Value;
use traffic_manager_core::explain::{Count, Explained, Judgement, judge};
use utoipa::ToSchema;
use weir_proto::{
    amount::Amounts,
    matcher::{
        PolicySet,
        explain::{Finding, Met, explain as look},
    },
    policy::Policy,
    rule::Rules,
    time::Time,
};

use self::question::Question;
use super::{
    Admin,
    body::Document,
    problem::Problem,
    query::Params,
    views::{Voice, instant},
};

mod question;

/// Most policies that are listed as not met.
const MAX_UNMET: usize = 1_000;

/// A request to explain.
#[derive(ToSchema)]
#[schema(example = json!({
    "attributes": { "application": "shop", "api": "orders", "headers": { "x-tier": "gold" } },
    "amounts": { "requests": 1 },
    "at": "2026-12-24T20:00:00Z"
}))]
#[expect(dead_code, reason = "fields of a description are only named")]
pub(super) struct ExplainRequest {
    /// As for the agents' `/v1/check`.
    attributes: Option<Value>,
    /// What the request counts as; one request if absent.
    amounts: Option<BTreeMap<String, u64>>,
    /// At which time (RFC 3339): it decides about schedules and windows. Now if absent.
    at: Option<String>,
}

/// What a request would meet, as this manager knows it. Agents admit on what they hold already, so that
/// close to a limit they may know better.
#[derive(Serialize, ToSchema)]
pub(super) struct Explanation {
    #[serde(flatten)]
    voice: Voice,
    /// The time that was looked at.
    at: String,
    /// `allowed`, `denied` (by a deny policy) or `limited`.
    verdict: &'static str,
    /// The same in words.
    detail: String,
    /// The policy that would refuse.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    /// The limit in it that has no room.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_id: Option<String>,
    /// The policies that the request meets, in the order in which they are asked.
    met: Vec<MetPolicy>,
    /// The others, by level and name; the first 1000.
    not_met: Vec<UnmetPolicy>,
    /// How many there are.
    not_met_total: usize,
}

/// A policy that the request meets.
#[derive(Serialize, ToSchema)]
pub(super) struct MetPolicy {
    /// The policy.
    policy: String,
    /// Its place in the evaluation order.
    level: &'static str,
    /// `enforce`, or `shadow`: it refuses nothing.
    mode: &'static str,
    /// `reject`, or `allow`: over quota passes.
    on_limit: &'static str,
    /// The group whose limits count; absent = the policy's own do.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// The groups before it that do not apply.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups_not_met: Vec<UnmetGroup>,
    /// The counters that the request counts in.
    counters: Vec<ExplainedCounter>,
}

/// A group that does not apply.
#[derive(Serialize, ToSchema)]
pub(super) struct UnmetGroup {
    /// Its name, or `group-1` for the first.
    group: String,
    /// Why it does not.
    reason: String,
}

/// A policy that the request does not meet.
#[derive(Serialize, ToSchema)]
pub(super) struct UnmetPolicy {
    /// The policy.
    policy: String,
    /// `off`, `condition_false`, `attribute_absent` or `error`.
    cause: &'static str,
    /// The same in words.
    #[schema(example = "key[0] has no value: request.application is absent")]
    reason: String,
}

/// A counter that the request counts in.
#[derive(Serialize, ToSchema)]
pub(super) struct ExplainedCounter {
    /// The limit in its policy.
    #[schema(example = "requests/day@Europe/Berlin/fixed_window")]
    limit_id: String,
    /// The values of the policy's key.
    key: Vec<String>,
    /// The limit.
    limit: u64,
    /// Its span.
    #[schema(example = "1m")]
    window: String,
    /// Start of the window, where it has one: a sliding one is always the last span.
    #[serde(skip_serializing_if = "Option::is_none")]
    window_start: Option<String>,
    /// End of the window, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    window_end: Option<String>,
    /// Admitted by all agents, as far as reported; absent where the window is over and forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<u64>,
    /// What is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<u64>,
    /// What the request adds.
    cost: u64,
    /// The request is too much for it.
    refuses: bool,
    /// Agents that were told that nothing is left, as far as they follow the manager that answers.
    throttled_agents: Vec<String>,
}

/// Which policies a request meets and why not the others, the counters that it counts in, and why it
/// would be refused. Nothing is counted.
#[utoipa::path(
    post, path = "/api/v1/explain", tag = "live", operation_id = "explain",
    request_body(content = ExplainRequest, content_type = "application/json"),
    responses(
        (status = 200, body = Explanation),
        (status = 400, description = "The body is not valid", body = Problem),
    ),
)]
pub(super) async fn explain(
    State(admin): State<Admin>,
    _: Params<()>,
    Document(body): Document,
) -> Result<Json<Explanation>, Problem> {
    let asked_for = Question::read(&body)?.at;
    let (policies, now) = admin
        .with(|manager, now, _| {
            let policies = manager.policies().into_iter().map(|stored| stored.policy);
            (policies.collect::<Vec<Arc<Policy>>>(), now)
        })
        .await?;
    let at = asked_for.unwrap_or(now);
    // Thousands of policies take a while: neither the core nor the other requests wait for it.
    let (findings, amounts) = tokio::task::spawn_blocking(move || findings(&body, policies, at))
        .await
        .map_err(|_| Problem::unavailable("the explanation was interrupted"))??;
    let (explained, voice) = admin
        .with(move |manager, now, _| {
            (manager.explain(findings, &amounts, at, now), Voice::of(manager))
        })
        .await?;
    Ok(Json(answer(&explained, at, voice)))
}

fn findings(
    body: &Value,
    policies: Vec<Arc<Policy>>,
    at: Time,
) -> Result<(Vec<Finding>, Amounts), Problem> {
    let Question { attributes, amounts, .. } = Question::read(body)?;
    let set = PolicySet::compile(0, policies);
    let rules = Rules::of(&set);
    let request = attributes.request(Some(&rules));
    let request = request.map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok((look(&set, &request, at), amounts))
}

fn answer(explained: &[Explained], at: Time, voice: Voice) -> Explanation {
    let judgement = judge(explained);
    let (verdict, place, limit) = match judgement {
        Judgement::Allowed => ("allowed", None, None),
        Judgement::Denied(place) => ("denied", explained.get(place), None),
        Judgement::Limited(place, limit) => {
            let policy = explained.get(place);
            ("limited", policy, policy.and_then(|policy| policy.counts.get(limit)))
        }
    };
    let policy = place.map(|place| place.finding.policy.name.to_string());
    let (mut met, mut not_met, mut not_met_total) = (Vec::new(), Vec::new(), 0);
    for Explained { finding, counts } in explained {
        match &finding.outcome {
            Ok(found) => met.push(MetPolicy::new(&finding.policy, found, counts)),
            Err(why) => {
                not_met_total += 1;
                if not_met.len() < MAX_UNMET {
                    let policy = finding.policy.name.to_string();
                    not_met.push(UnmetPolicy {
                        policy,
                        cause: why.cause(),
                        reason: why.to_string(),
                    });
                }
            }
        }
    }
    Explanation {
        voice,
        at: instant(at),
        verdict,
        detail: detail(judgement, policy.as_deref(), limit, met.len()),
        policy,
        limit_id: limit.map(|limit| limit.limit_id.clone()),
        met,
        not_met,
        not_met_total,
    }
}

fn detail(judgement: Judgement, policy: Option<&str>, limit: Option<&Count>, met: usize) -> String {
    let policy = policy.unwrap_or_default();
    match (judgement, limit) {
        (Judgement::Allowed, _) if met == 0 => "No policy is met.".to_owned(),
        (Judgement::Allowed, _) => "Every limit that is met has room.".to_owned(),
        (Judgement::Denied(_), _) => format!("Policy {policy:?} denies this request."),
        (Judgement::Limited(..), limit) => {
            let Some(limit) = limit else { return String::new() };
            let end = limit.end.map(|end| format!(" until {}", instant(end))).unwrap_or_default();
            format!(
                "Policy {policy:?} allows {} per {}; {} are left{end}, and the request adds {}.",
                limit.limit.capacity(),
                limit.limit.window,
                limit.remaining().unwrap_or_default(),
                limit.cost,
            )
        }
    }
}

impl MetPolicy {
    fn new(policy: &Policy, met: &Met, counts: &[Count]) -> MetPolicy {
        let unmet = met.passed_over.iter();
        MetPolicy {
            policy: policy.name.to_string(),
            level: policy.level.as_str(),
            mode: policy.mode.as_str(),
            on_limit: policy.on_limit.as_str(),
            group: met.group.clone(),
            groups_not_met: unmet
                .map(|(group, why)| UnmetGroup { group: group.clone(), reason: why.to_string() })
                .collect(),
            counters: counts.iter().map(ExplainedCounter::from).collect(),
        }
    }
}

impl From<&Count> for ExplainedCounter {
    fn from(count: &Count) -> Self {
        let agents = count.counter.iter().flat_map(|counter| &counter.agents);
        ExplainedCounter {
            limit_id: count.limit_id.clone(),
            key: count.parts.clone(),
            limit: count.limit.capacity(),
            window: count.limit.window.to_string(),
            window_start: count.start.map(|start| instant(start.time())),
            window_end: count.end.map(instant),
            used: count.used,
            remaining: count.remaining(),
            cost: count.cost,
            refuses: count.refuses(),
            throttled_agents: agents
                .filter(|agent| agent.throttled)
                .map(|agent| agent.agent.to_string())
                .collect(),
        }
    }
}
