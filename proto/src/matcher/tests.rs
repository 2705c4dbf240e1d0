//! Matching: order, groups, the index against a walk over all policies.

use std::net::IpAddr;

use serde_json::json;

use super::*;
use crate::key::CounterKey;

mod index;

fn set(policies: impl IntoIterator<Item = serde_json::Value>) -> PolicySet {
    let read = |value| Arc::new(Policy::from_json(&value).unwrap());
    PolicySet::compile(7, policies.into_iter().map(read))
}

/// A policy with one limit and these further fields.
fn policy(name: &str, level: &str, fields: serde_json::Value) -> serde_json::Value {
    let mut policy = json!({ "name": name, "level": level });
    if level != "deny" {
        policy["limits"] = json!([{ "requests": 10, "window": "1m" }]);
    }
    for (field, value) in fields.as_object().unwrap() {
        policy[field] = value.clone();
    }
    policy
}

/// The keys that a request counts in, as people read them; a deny policy gives its name.
fn keys(set: &PolicySet, request: &Request<'_>) -> Vec<String> {
    let (mut scratch, mut bytes, mut met) = (Scratch::default(), Vec::new(), Vec::new());
    set.resolve(request, Time::ZERO, &mut scratch, |hit| {
        if hit.limits.is_empty() {
            met.push(hit.policy.policy.name.to_string());
        }
        for limit in hit.limits {
            hit.key_into(limit, &mut bytes);
            met.push(CounterKey::parse(&bytes).unwrap().to_string());
        }
        ControlFlow::Continue(())
    });
    met
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn policies_are_met_by_level_then_name() {
    let levels = ["backend", "custom", "application", "subscription", "resource", "api", "deny"];
    let policies = levels.iter().flat_map(|level| {
        ["b", "a"].map(|name| policy(&format!("{name}-{level}"), level, json!({})))
    });
    let set = set(policies);
    let (mut scratch, mut met) = (Scratch::default(), Vec::new());
    set.resolve(&Request::new(), Time::ZERO, &mut scratch, |hit| {
        met.push(hit.policy.policy.name.to_string());
        ControlFlow::Continue(())
    });
    let expected: Vec<String> =
        levels.iter().rev().flat_map(|l| [format!("a-{l}"), format!("b-{l}")]).collect();
    assert_eq!(met, expected);
    let compiled: Vec<&str> = set.compiled().map(|p| p.policy.name.as_str()).collect();
    assert_eq!(compiled, expected);
}

#[test]
fn the_visitor_can_stop() {
    let set = set([policy("a", "deny", json!({})), policy("b", "api", json!({}))]);
    let mut met = 0;
    set.resolve(&Request::new(), Time::ZERO, &mut Scratch::default(), |_| {
        met += 1;
        ControlFlow::Break(())
    });
    assert_eq!(met, 1);
}

#[test]
fn keys_are_canonical() {
    let set =
        set([policy("p", "api", json!({ "key": ["application", "ip", "request.api + '!'"] }))]);
    let request = Request::new().application("app-1").api("orders").ip(ip("::ffff:10.0.0.1"));
    assert_eq!(keys(&set, &request), ["p requests/1m/fixed_window [app-1, 10.0.0.1, orders!]"]);
    let (mut scratch, mut bytes) = (Scratch::default(), vec![9; 3]);
    set.resolve(&request, Time::ZERO, &mut scratch, |hit| {
        hit.key_into(&hit.limits[0], &mut bytes);
        ControlFlow::Continue(())
    });
    let key = CounterKey::new("p", "requests/1m/fixed_window", &["app-1", "10.0.0.1", "orders!"]);
    assert_eq!(bytes, key.unwrap().as_bytes());
}

#[test]
fn the_first_group_that_applies_replaces_the_limits() {
    let group = |name: Option<&str>, when: &str, window: &str| json!({ "name": name, "when": when, "limits": [{ "requests": 1, "window": window }] });
    let set = set([policy(
        "p",
        "api",
        json!({ "key": ["api"], "groups": [
            group(None, r#"request.user == "anna""#, "1s"),
            group(Some("inside"), r#"cidr("10.0.0.0/8").contains(request.ip)"#, "2s"),
            group(None, r#"request.api == "orders""#, "3s"),
        ] }),
    )]);
    let request = || Request::new().api("orders").ip(ip("10.0.0.1"));
    let met = |request: Request<'_>| keys(&set, &request).remove(0);
    assert_eq!(met(request().user("anna")), "p group-1:requests/1s/fixed_window [orders]");
    assert_eq!(met(request().user("bert")), "p inside:requests/2s/fixed_window [orders]");
    assert_eq!(met(request().ip(ip("::1"))), "p group-3:requests/3s/fixed_window [orders]");
    assert_eq!(met(request().api("users").ip(ip("::1"))), "p requests/1m/fixed_window [users]");
    // The last two requests have no user, which the first group asks for.
    assert_eq!(set.get("p").unwrap().evaluation_errors(), 2);
    let indexes: Vec<u32> =
        set.compiled().flat_map(|p| p.all_limits().map(|limit| limit.index)).collect();
    assert_eq!((indexes.as_slice(), set.limit_count()), ([0, 1, 2, 3].as_slice(), 4));
    let found = set.get("p").unwrap().limit("inside:requests/2s/fixed_window", &[]);
    assert_eq!(found.map(|limit| limit.index), Some(2));
}

#[test]
fn what_fails_is_not_met_and_counted() {
    let set = set([
        policy("key", "api", json!({ "key": ["user"] })),
        policy("filed", "api", json!({ "match": "request.user == 'anna'" })),
        policy("network", "api", json!({ "match": "cidr('10.0.0.0/8').contains(request.ip)" })),
        policy("native", "api", json!({ "match": "request.user.startsWith('a')" })),
        policy("cel", "api", json!({ "match": "size(request.user) > 3" })),
        policy("saved", "api", json!({ "match": "request.user == 'anna' || true" })),
        policy("expr", "api", json!({ "key": ["request.user + '!'"] })),
    ]);
    assert_eq!(keys(&set, &Request::new()), ["saved requests/1m/fixed_window []"]);
    assert_eq!(keys(&set, &Request::new().user("anna").ip(ip("10.1.1.1"))).len(), 7);
    for policy in set.compiled() {
        let expected = u64::from(policy.policy.name.as_str() != "saved");
        assert_eq!(policy.evaluation_errors(), expected, "{}", policy.policy.name);
    }
}

#[test]
fn the_longest_values_still_make_a_key() {
    // Otherwise a client could stretch a value until no limit counts it any more.
    let headers: Vec<String> = (0..16).map(|n| format!("headers.h{n}")).collect();
    let set = set([policy("p", "api", json!({ "key": headers }))]);
    let request = (0..16).fold(Request::new(), |r, n| r.header(format!("h{n}"), "x".repeat(1_024)));
    assert_eq!(keys(&set, &request).len(), 1);
    assert_eq!(set.get("p").unwrap().evaluation_errors(), 0);
}

#[test]
fn off_is_listed_but_never_met_and_the_later_of_two_wins() {
    let set = set([
        policy("p", "api", json!({ "mode": "off" })),
        policy("q", "api", json!({})),
        policy("q", "backend", json!({ "mode": "shadow" })),
    ]);
    assert_eq!(set.revision(), 7);
    let names: Vec<&str> = set.policies().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["p", "q"]);
    assert!(set.get("p").is_none() && set.get("none").is_none());
    assert_eq!(set.get("q").unwrap().policy.level.as_str(), "backend");
    assert_eq!(keys(&set, &Request::new()).len(), 1);
}

#[test]
fn a_group_applies_while_its_schedule_holds() {
    let group = |fields: serde_json::Value| {
        let mut group = json!({ "limits": [{ "requests": 1, "window": "1h" }] });
        for (field, value) in fields.as_object().unwrap() {
            group[field] = value.clone();
        }
        group
    };
    let office = json!({ "timezone": "Europe/Berlin", "hours": "08:00-18:00" });
    let set = set([policy(
        "p",
        "api",
        json!({ "groups": [
            group(json!({ "name": "anna", "when": "request.user == 'anna'", "during": office })),
            group(json!({ "name": "office", "during": office })),
        ] }),
    )]);
    let met = |user: Option<&'static str>, time: u64| {
        let request = user.map_or_else(Request::new, |user| Request::new().user(user));
        let mut met = Vec::new();
        set.resolve(&request, Time::from_secs(time), &mut Scratch::default(), |hit| {
            met.extend(hit.limits.iter().map(|limit| limit.id.to_string()));
            ControlFlow::Continue(())
        });
        met.remove(0)
    };
    let noon = 1_811_844_000; // 2027-06-01, 12:00 in Berlin
    let hours = |hours: u64| hours * 3_600;
    for _ in 0..2 {
        assert_eq!(met(Some("anna"), noon), "anna:requests/1h/fixed_window");
        assert_eq!(met(Some("bert"), noon), "office:requests/1h/fixed_window");
        assert_eq!(met(Some("anna"), noon + hours(6)), "requests/1m/fixed_window");
        assert_eq!(met(Some("bert"), noon + hours(6) - 1), "office:requests/1h/fixed_window");
    }
    // Nobody was asked for a user at other times.
    assert_eq!(met(None, noon + hours(6)), "requests/1m/fixed_window");
    assert_eq!(set.get("p").unwrap().evaluation_errors(), 0);
}
