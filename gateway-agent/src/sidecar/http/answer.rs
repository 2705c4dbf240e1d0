//! A verdict as an HTTP answer.

use axum::{
    Json,
    http::{HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use weir_proto::{amount::Unit, policy::Limit, window::Algorithm};

use super::problem::{Problem, QUOTA_EXCEEDED};
use crate::{
    HeaderStyle, LimitStatus, Outcome, RateLimitHeaders, Reason, Verdict,
    headers::{policy_name, retry_after, whole_seconds},
    sidecar::gate::shadows,
};

/// The body of an allowed check. What is absent was not met: a request that meets no limit is just
/// allowed.
#[derive(Debug, Serialize)]
struct Allowed<'a> {
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_seconds: Option<u64>,
    /// The name of a fixed window: its start by the managers' clock, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    window_start: Option<u64>,
    /// Over a limit that only reports.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    over_quota: bool,
    /// Names the request in the report that ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    /// Policies in shadow mode that would have refused.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    shadow: Vec<&'a str>,
}

/// The whole answer to a check.
pub(super) fn answer(verdict: &Verdict, style: HeaderStyle) -> Response {
    let response = match refusal(verdict) {
        Some(problem) => problem.into_response(),
        None => Json(allowed(verdict)).into_response(),
    };
    with_headers(response, verdict, style)
}

/// Adds what the client should know of its limits.
pub(super) fn with_headers(
    mut response: Response,
    verdict: &Verdict,
    style: HeaderStyle,
) -> Response {
    for (name, value) in RateLimitHeaders::of(verdict).iter(style) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn allowed(verdict: &Verdict) -> Allowed<'_> {
    let limit = verdict.limit.as_ref();
    Allowed {
        allowed: true,
        policy: policy_name(verdict),
        limit: limit.map(|limit| limit.amount),
        remaining: limit.map(|limit| limit.remaining),
        reset_seconds: limit.map(|limit| whole_seconds(limit.reset)),
        window_seconds: limit.map(|limit| limit.window.as_secs()),
        window_start: limit.and_then(window_start),
        over_quota: verdict.over_quota,
        lease: verdict.lease.map(|lease| lease.to_string()),
        shadow: shadows(verdict),
    }
}

/// Rolling windows have no start.
fn window_start(limit: &LimitStatus) -> Option<u64> {
    (!limit.limit()?.limit.rolling()).then_some(limit.start.0)
}

/// Why a request is refused; `None` for an allowed one.
pub(super) fn refusal(verdict: &Verdict) -> Option<Problem> {
    let limit = verdict.limit.as_ref();
    let name = policy_name(verdict).map_or_else(String::new, |name| format!(" {name:?}"));
    let mut problem = match verdict.outcome {
        Outcome::Allowed => return None,
        Outcome::Refused(Reason::Limit) | Outcome::Pending { .. } => limited(verdict, limit),
        Outcome::Refused(Reason::Denied) => {
            Problem::new(StatusCode::FORBIDDEN, format!("Policy{name} denies this request."))
        }
        Outcome::Refused(Reason::Disconnected) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "No traffic manager is reachable, and policy{name} lets nothing pass meanwhile \
                 (on_disconnect: closed)."
            ),
        ),
    };
    problem.policy = policy_name(verdict).map(str::to_owned);
    Some(problem)
}

/// `60 s`, or the period of a calendar.
fn span(limit: &LimitStatus) -> String {
    match limit.limit().and_then(|limit| limit.limit.window.as_calendar()) {
        Some(calendar) => format!("{} in {}", calendar.period(), calendar.zone()),
        None => format!("{} s", limit.window.as_secs()),
    }
}

/// What the policy allows.
fn allowance(limit: &LimitStatus) -> String {
    let (policy, id) = (limit.policy.policy.name.as_str(), limit.limit_id());
    let (amount, span) = (limit.amount, span(limit));
    match limit.limit().map(|counted| &counted.limit) {
        Some(Limit { unit: Unit::Concurrency, .. }) => {
            format!("Policy {policy:?} allows {amount} at a time ({id})")
        }
        Some(counted) if counted.algorithm == Algorithm::TokenBucket => {
            let burst = counted.capacity();
            format!("Policy {policy:?} allows {amount} per {span}, {burst} at once ({id})")
        }
        _ => format!("Policy {policy:?} allows {amount} per {span} ({id})"),
    }
}

/// What is the matter, and what to do.
fn advice(limit: &LimitStatus, retry_after: u64) -> String {
    let most = limit.limit().map_or(limit.amount, |counted| counted.capacity);
    if limit.cost > most {
        return format!("; this request counts as {}, which never passes.", limit.cost);
    }
    let why = if limit.alone {
        ", no manager is reachable, and what this agent may use of that alone is used up: its share, or \
         nothing of windows that began before it had one"
    } else if limit.uncertain {
        ", and no manager said in time how much of that is left"
    } else {
        ", and that is used up"
    };
    format!("{why}. Try again in {retry_after} s.")
}

fn limited(verdict: &Verdict, limit: Option<&LimitStatus>) -> Problem {
    let retry_after = retry_after(verdict).unwrap_or(1);
    let detail = match limit {
        Some(limit) => format!("{}{}", allowance(limit), advice(limit, retry_after)),
        None => format!("A limit is used up. Try again in {retry_after} s."),
    };
    Problem {
        kind: QUOTA_EXCEEDED,
        title: "Request cannot be satisfied as assigned quota has been exceeded",
        limit: limit.map(|limit| limit.amount),
        window_seconds: limit.map(|limit| limit.window.as_secs()),
        window_start: limit.and_then(window_start),
        retry_after_seconds: Some(retry_after),
        violated: policy_name(verdict).map(str::to_owned).into_iter().collect(),
        ..Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
    }
}
