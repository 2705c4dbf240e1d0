//! Tests of the header fields.

use std::sync::Arc;

use gateway_agent_core::{PolicyRef, Reason};
use weir_proto::{matcher::PolicySet, policy::parse_document, time::WindowStart};

use super::*;

fn policy(name: &str) -> PolicyRef {
    let text = format!(
        "apiVersion: weir/v1\npolicies: [{{name: {name}, level: api, limits: [{{requests: 100, window: 1m}}]}}]"
    );
    let policies = parse_document(&text).unwrap();
    let set = Arc::new(PolicySet::compile(1, policies.into_iter().map(Arc::new)));
    PolicyRef::named(&set, name).unwrap()
}

fn limit(name: &str, remaining: u64) -> LimitStatus {
    LimitStatus {
        brought: None,
        alone: false,
        policy: policy(name),
        index: 0,
        amount: 100,
        window: Duration::from_secs(60),
        start: WindowStart(60),
        remaining,
        reset: Duration::from_millis(20_300),
        retry_after: None,
        cost: 1,
        uncertain: false,
    }
}

fn verdict(outcome: Outcome, limit: Option<LimitStatus>) -> Verdict {
    Verdict { outcome, denied_by: None, limit, shadow: Vec::new(), over_quota: false, lease: None }
}

#[test]
fn an_allowed_request_learns_what_is_left() {
    let headers = RateLimitHeaders::of(&verdict(Outcome::Allowed, Some(limit("gold", 73))));
    assert_eq!(headers.policy, r#""gold";q=100;w=60"#);
    assert_eq!(headers.limit, r#""gold";r=73;t=21"#);
    assert_eq!(headers.retry_after, None);
}

#[test]
fn a_refused_request_learns_when_to_come_back() {
    let refused = |retry_after| {
        let limit = LimitStatus { retry_after, ..limit("gold", 0) };
        RateLimitHeaders::of(&verdict(Outcome::Refused(Reason::Limit), Some(limit))).retry_after
    };
    assert_eq!(refused(None), Some(21), "the window's end, rounded up");
    assert_eq!(refused(Some(Duration::from_millis(1_001))), Some(2));
    assert_eq!(refused(Some(Duration::ZERO)), Some(1), "never a busy loop");

    let pending = Outcome::Pending { wait: Duration::from_millis(5) };
    assert_eq!(RateLimitHeaders::of(&verdict(pending, None)).retry_after, Some(1));
    let denied = Outcome::Refused(Reason::Denied);
    assert_eq!(RateLimitHeaders::of(&verdict(denied, None)), RateLimitHeaders::default());
}

#[test]
fn several_verdicts_share_the_headers() {
    let verdicts = [
        verdict(Outcome::Allowed, Some(limit("gold", 73))),
        verdict(Outcome::Allowed, None),
        verdict(Outcome::Allowed, Some(limit("gold", 72))),
        verdict(Outcome::Refused(Reason::Limit), Some(limit("backend", 0))),
    ];
    let headers = RateLimitHeaders::of_all(&verdicts);
    assert_eq!(headers.limit, r#""gold";r=73;t=21, "backend";r=0;t=21"#);
    assert_eq!(headers.policy, r#""gold";q=100;w=60, "backend";q=100;w=60"#);
    assert_eq!(headers.retry_after, Some(21));
    assert_eq!(headers.iter(HeaderStyle::Ietf).count(), 3);
}

#[test]
fn nothing_met_means_no_headers() {
    let headers = RateLimitHeaders::of(&verdict(Outcome::Allowed, None));
    assert_eq!(headers.iter(HeaderStyle::Ietf).count(), 0);
}

#[test]
fn names_become_structured_strings_and_numbers_stay_in_range() {
    let mut text = String::new();
    push_quoted(r#"a"b\c é"#, &mut text);
    assert_eq!(text, r#""a\"b\\c ?""#);
    for (value, expected) in [
        (0, "q=0"),
        (9, "q=9"),
        (10, "q=10"),
        (100_005, "q=100005"),
        (u64::MAX, "q=999999999999999"),
    ] {
        let mut text = String::new();
        push_number("q=", value, &mut text);
        assert_eq!(text, expected);
    }
}

#[test]
fn each_style_sends_its_own_headers() {
    let refused = Outcome::Refused(Reason::Limit);
    let verdicts = [
        verdict(Outcome::Allowed, Some(limit("gold", 9))),
        verdict(refused, Some(limit("burst", 5))),
        verdict(Outcome::Allowed, Some(limit("silver", 3))),
    ];
    let headers = RateLimitHeaders::of_all(&verdicts);
    let ietf = ["ratelimit-policy", "ratelimit"];
    let older = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];
    let wait = ["retry-after"];
    for (name, expected) in [
        ("ietf", [&ietf[..], &wait].concat()),
        ("x-ratelimit", [&older[..], &wait].concat()),
        ("both", [&ietf[..], &older, &wait].concat()),
        ("none", Vec::new()),
    ] {
        let style = HeaderStyle::parse(name).unwrap();
        assert_eq!(style.as_str(), name);
        let sent: Vec<&str> = headers.iter(style).map(|(name, _)| name).collect();
        assert_eq!(sent, expected, "{name}");
    }
    assert_eq!(HeaderStyle::parse("draft"), None);
}

#[test]
fn the_older_headers_tell_of_the_limit_that_is_closest() {
    let of = |verdicts: &[Verdict]| RateLimitHeaders::of_all(verdicts).tightest;
    let allowed = |left| verdict(Outcome::Allowed, Some(limit("a", left)));
    let tightest = |remaining| Some(Tightest { limit: 100, remaining, reset: 21 });
    assert_eq!(of(&[allowed(9), allowed(3), allowed(4)]), tightest(3));
    let refused = verdict(Outcome::Refused(Reason::Limit), Some(limit("b", 7)));
    assert_eq!(of(&[allowed(0), refused, allowed(0)]), tightest(0), "nothing is left");
    assert_eq!(of(&[verdict(Outcome::Allowed, None)]), None);
}

#[test]
fn there_is_nothing_to_say_of_the_unlimited() {
    let limit = LimitStatus { amount: MAX_AMOUNT, ..limit("free", MAX_AMOUNT) };
    let headers = RateLimitHeaders::of(&verdict(Outcome::Allowed, Some(limit)));
    assert_eq!(headers, RateLimitHeaders::default());
}
