//! Verdicts as Envoy reads them.

use std::time::Duration;

use weir_proto::wire::envoy::{
    config::core::v3::HeaderValue,
    service::ratelimit::v3::{
        RateLimitResponse,
        rate_limit_response::{Code, DescriptorStatus, RateLimit, rate_limit::Unit},
    },
};

use crate::{LimitStatus, RateLimitHeaders, Verdict};

/// The answer to a call: a status per descriptor, in order.
pub(super) fn of(verdicts: &[Verdict]) -> RateLimitResponse {
    let all_allowed = verdicts.iter().all(Verdict::allowed);
    RateLimitResponse {
        overall_code: code(all_allowed).into(),
        statuses: verdicts.iter().map(status).collect(),
        response_headers_to_add: headers(verdicts),
        ..RateLimitResponse::default()
    }
}

fn code(allowed: bool) -> Code {
    if allowed { Code::Ok } else { Code::OverLimit }
}

fn status(verdict: &Verdict) -> DescriptorStatus {
    let code = code(verdict.allowed()).into();
    let Some(limit) = &verdict.limit else {
        return DescriptorStatus { code, ..DescriptorStatus::default() };
    };
    DescriptorStatus {
        code,
        current_limit: current_limit(limit),
        limit_remaining: saturated(limit.remaining),
        duration_until_reset: prost_types::Duration::try_from(limit.reset).ok(),
        ..DescriptorStatus::default()
    }
}

/// The limit, where Envoy has a word for its window.
fn current_limit(limit: &LimitStatus) -> Option<RateLimit> {
    let unit = unit(limit.window)?;
    Some(RateLimit {
        name: format!("{}/{}", limit.policy.policy.name, limit.limit_id()),
        requests_per_unit: saturated(limit.amount),
        unit: unit.into(),
    })
}

fn unit(window: Duration) -> Option<Unit> {
    const DAY: u64 = 86_400;
    match window.as_secs() {
        1 => Some(Unit::Second),
        60 => Some(Unit::Minute),
        3_600 => Some(Unit::Hour),
        DAY => Some(Unit::Day),
        secs if secs == 7 * DAY => Some(Unit::Week),
        // As long as the reference service's.
        secs if secs == 30 * DAY => Some(Unit::Month),
        secs if secs == 365 * DAY => Some(Unit::Year),
        _ => None,
    }
}

fn headers(verdicts: &[Verdict]) -> Vec<HeaderValue> {
    RateLimitHeaders::of_all(verdicts)
        .iter()
        .map(|(name, value)| HeaderValue { key: name.to_owned(), value, ..HeaderValue::default() })
        .collect()
}

fn saturated(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
