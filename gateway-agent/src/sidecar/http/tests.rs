//! The HTTP API against an agent with policies.

use std::process::{Command, Stdio};

use axum::{body::Body, http::Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::{Agent, Config, HeaderStyle, fake_manager::FakeManager};

const POLICIES: &str = "
- { name: two, level: application, key: [application], limits: [{ requests: 2, window: 365d }] }
- { name: block, level: deny, match: 'cidr(\"203.0.113.0/24\").contains(request.ip)' }
- name: watched
  level: custom
  match: 'request.application == \"seen\"'
  mode: shadow
  limits: [{ requests: 1, window: 365d }]
- name: closed
  level: custom
  match: 'request.application == \"kiosk\"'
  limits: [{ requests: 0, calendar: year, timezone: Europe/Berlin }]
";

struct Reply {
    status: u16,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

async fn send(router: &Router, request: Request<Body>) -> Reply {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    Reply { status: parts.status.as_u16(), headers: parts.headers, text }
}

async fn get_path(router: &Router, path: &str) -> Reply {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn check(router: &Router, body: impl Into<Body>) -> Reply {
    send(router, Request::post("/v1/check").body(body.into()).unwrap()).await
}

async fn started() -> (FakeManager, Router) {
    let manager = FakeManager::start("tm-1", POLICIES).await;
    let agent = FakeManager::agent(&[&manager]).await;
    (manager, router(Gate::new(agent)))
}

fn lonely() -> Router {
    let config = Config::new("gw", ["http://127.0.0.1:1"]).unwrap();
    router(Gate::new(Agent::connect(config).unwrap()))
}

#[tokio::test]
async fn a_descriptor_meets_its_rule_here_too() {
    let policies = r#"
- name: all
  level: custom
  match: 'request.rule == "d|k"'
  key: ['descriptors[0].k']
  limits: [{ requests: 1, window: 365d }]
- { name: free, level: custom, match: 'request.rule == "d|k=free"', limits: [{ requests: unlimited, window: 1d }] }
"#;
    let manager = FakeManager::start("tm-1", policies).await;
    let agent = FakeManager::agent(&[&manager]).await;
    let router = router(Gate { headers: HeaderStyle::Both, ..Gate::new(agent) });
    let ask = async |value: &str| {
        let attributes = serde_json::json!({
            "domain": "d", "descriptors": [[{ "key": "k", "value": value }]],
        });
        check(&router, serde_json::json!({ "attributes": attributes }).to_string()).await
    };
    for (value, status) in [("a", 200), ("a", 429), ("b", 200), ("free", 200), ("free", 200)] {
        assert_eq!(ask(value).await.status, status, "{value}");
    }
    let refused = ask("a").await.headers;
    assert_eq!(refused["x-ratelimit-limit"], "1");
    assert_eq!(refused["x-ratelimit-remaining"], "0");
    assert!(refused.contains_key("ratelimit") && refused.contains_key("retry-after"));
    assert!(!ask("free").await.headers.contains_key("x-ratelimit-limit"), "nothing to tell");
}

const SHOP: &str = r#"{"attributes": {"application": "shop"}}"#;

#[tokio::test]
async fn a_check_is_allowed_until_the_limit_and_then_says_why_not() {
    let (_manager, router) = started().await;
    let allowed = check(&router, SHOP).await;
    assert_eq!(allowed.status, 200, "{}", allowed.text);
    let body = allowed.json();
    assert_eq!(
        (&body["allowed"], &body["policy"], &body["limit"], &body["remaining"]),
        (&json!(true), &json!("two"), &json!(2), &json!(1))
    );
    assert_eq!(body.get("shadow"), None);
    assert_eq!(allowed.header("ratelimit-policy"), Some(r#""two";q=2;w=31536000"#));
    assert!(allowed.header("ratelimit").unwrap().starts_with(r#""two";r=1;t="#));
    assert_eq!(allowed.header("retry-after"), None);

    assert_eq!(check(&router, SHOP).await.status, 200);
    let refused = check(&router, SHOP).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert!(refused.header("ratelimit").unwrap().starts_with(r#""two";r=0;t="#));
    let problem = refused.json();
    assert_eq!((&problem["status"], &problem["policy"]), (&json!(429), &json!("two")));
    assert_eq!(problem["violated-policies"], json!(["two"]));
    assert!(problem["retry_after_seconds"].as_u64().unwrap() >= 1);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(r#""two" allows 2 per 31536000 s"#), "{detail}");
}

#[tokio::test]
async fn a_calendar_is_told_by_its_period_and_the_length_of_this_very_window() {
    let (_manager, router) = started().await;
    let refused = check(&router, r#"{"attributes": {"application": "kiosk"}}"#).await;
    let problem = refused.json();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(r#""closed" allows 0 per year in Europe/Berlin"#), "{detail}");
    let days = problem["window_seconds"].as_u64().unwrap() / 86_400;
    assert!((365..=366).contains(&days), "{problem}");
    let left = problem["retry_after_seconds"].as_u64().unwrap();
    assert!(left <= problem["window_seconds"].as_u64().unwrap(), "{problem}");
}

#[tokio::test]
async fn shadow_policies_only_report() {
    let (_manager, router) = started().await;
    let seen = r#"{"attributes": {"application": "seen"}}"#;
    assert_eq!(check(&router, seen).await.json().get("shadow"), None);
    let second = check(&router, seen).await;
    assert_eq!((second.status, &second.json()["shadow"]), (200, &json!(["watched"])));
    let metrics = get_path(&router, "/metrics").await.text;
    assert!(metrics.contains(r#"weir_agent_shadow_refusals_total{policy="watched"} 1"#));
}

#[tokio::test]
async fn a_denied_check_is_forbidden() {
    let (_manager, router) = started().await;
    let denied = check(&router, r#"{"attributes": {"ip": "203.0.113.9"}}"#).await;
    assert_eq!(denied.status, 403);
    assert_eq!(denied.json()["policy"], json!("block"));
    assert_eq!(denied.header("ratelimit"), None);
    let other = check(&router, r#"{"attributes": {"ip": "203.0.114.9"}}"#).await;
    assert_eq!((other.status, other.json()), (200, json!({ "allowed": true })));
}

#[tokio::test]
async fn bad_bodies_are_refused_with_a_reason() {
    let router = lonely();
    for (body, status, detail) in [
        (r#"{"attributes": {"user": 1}}"#.to_owned(), 400, "attributes.user"),
        (r#"{"attributes": {"ip": "x"}}"#.to_owned(), 400, "request.ip"),
        ("not json".to_owned(), 400, "The body is refused"),
        (
            r#"{"limit": {"requests": 5, "window": "1m"}}"#.to_owned(),
            400,
            "limit: this agent does not let requests bring limits along",
        ),
        (" ".repeat((64 << 10) + 1), 413, "65536"),
    ] {
        let reply = check(&router, body).await;
        assert_eq!(reply.status, status, "{}", reply.text);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert!(reply.json()["detail"].as_str().unwrap().contains(detail), "{}", reply.text);
    }
    assert_eq!(get_path(&router, "/v1/check").await.status, 405);
    assert_eq!(get_path(&router, "/v2").await.status, 404);
}

#[tokio::test]
async fn amounts_and_limits_that_are_none_are_refused_with_what_is_known() {
    let policies = "
- { name: b, level: api, limits: [{ amount: { name: books, value: 9 }, window: 365d }, { requests: 1, window: 1h }] }
- { name: p, level: api, mode: 'off', limits: [{ amount: { name: pages, value: 9 }, window: 365d }] }
";
    let manager = FakeManager::start("tm-1", policies).await;
    let agent = FakeManager::agent(&[&manager]).await;
    let router = router(Gate { request_limits: true, ..Gate::new(agent) });
    for (body, detail) in [
        (r#"{"amounts": {"boks": 1}}"#, "amounts.boks: no policy counts it; known are requests, "),
        (r#"{"amounts": {"boks": 1}}"#, "; policies name books, pages"),
        (r#"{"limit": {"requests": 5, "window": "1y"}}"#, "limit.window: \"1y\" is not a duration"),
        (r#"{"limit": {"requests": 281474976710656, "window": "1s"}}"#, "limit.requests: 2814"),
        (r#"{"limit": {"requests": 5}}"#, "limit: missing field `window`"),
        (r#"{"limit": {"requests": 5, "window": "1s", "unit": 1}}"#, "limit.unit: unknown field"),
    ] {
        let reply = check(&router, body).await;
        assert_eq!(reply.status, 400, "{}", reply.text);
        assert!(reply.json()["detail"].as_str().unwrap().contains(detail), "{}", reply.text);
    }
    let report = Request::post("/v1/report").body(r#"{"amounts": {"boks": 1}}"#.into()).unwrap();
    assert_eq!(send(&router, report).await.status, 400);
    assert_eq!(check(&router, r#"{"amounts": {"books": 1, "pages": 1}}"#).await.status, 200);
}

#[tokio::test]
async fn proxies_are_answered_by_status_and_headers() {
    let (_manager, router) = started().await;
    let ask = async |path: &str, header: (&str, &str)| {
        let request = Request::get(path).header(header.0, header.1);
        send(&router, request.body(Body::empty()).unwrap()).await
    };
    let shop = ("x-weir-application", "shop");
    for _ in 0..2 {
        let passed = ask("/v1/auth", shop).await;
        assert_eq!((passed.status, passed.header("x-weir-verdict")), (200, Some("allowed")));
        assert!(passed.header("ratelimit").is_some());
    }
    let limited = ask("/v1/auth", shop).await;
    assert_eq!((limited.status, limited.header("x-weir-verdict")), (429, Some("limited")));
    assert!(limited.header("retry-after").is_some());
    let for_nginx = ask("/v1/auth?refuse=403", shop).await;
    assert_eq!((for_nginx.status, for_nginx.header("x-weir-verdict")), (403, Some("limited")));
    let denied = ask("/v1/auth", ("x-real-ip", "203.0.113.9")).await;
    assert_eq!((denied.status, denied.header("x-weir-verdict")), (403, Some("denied")));
}

#[tokio::test]
async fn readiness_waits_for_policies() {
    let router = lonely();
    assert_eq!(get_path(&router, "/healthz").await.status, 200);
    let reply = get_path(&router, "/readyz").await;
    assert_eq!(reply.status, 503);
    assert!(reply.json()["detail"].as_str().unwrap().contains("No traffic manager"));

    let (_manager, router) = started().await;
    assert_eq!(get_path(&router, "/readyz").await.status, 200);
    let status = get_path(&router, "/v1/status").await.json();
    assert_eq!(status["active_manager"]["name"], json!("tm-1"));
    assert_eq!((&status["policies"], &status["policies_revision"]), (&json!(4), &json!(7)));
    assert_eq!(status["managers"][0]["decisions"], json!("up"));
}

#[tokio::test]
async fn metrics_are_what_dashboards_expect() {
    let (_manager, router) = started().await;
    for _ in 0..3 {
        check(&router, SHOP).await;
    }
    let reply = get_path(&router, "/metrics").await;
    for line in [
        r#"weir_agent_checks_total{verdict="allowed",policy="two"} 2"#,
        r#"weir_agent_checks_total{verdict="limited",policy="two"} 1"#,
        "weir_agent_check_duration_seconds_count 3",
        "weir_agent_usage_unsent ",
        "weir_agent_usage_dropped_total{manager=",
        r#"link="decisions"} 1"#,
        "weir_agent_failovers_total 0",
        "weir_agent_decision_age_seconds ",
        "weir_build_info{version=",
    ] {
        assert!(reply.text.contains(line), "{line} is missing in\n{}", reply.text);
    }
    promtool(&reply.text);
}

/// Prometheus' own opinion, where its tool is installed.
fn promtool(text: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = command.stderr(Stdio::piped()).spawn() else {
        return;
    };
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}\n{text}");
}
