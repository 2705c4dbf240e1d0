//! Policies: what is read, what is refused and with which words, round trips.

use serde_json::json;

use super::*;
use crate::{amount::MAX_AMOUNT, window::Algorithm};

mod faults;
mod properties;
mod time;

/// The contract's example, without what this version does not support.
const DOCUMENT: &str = r#"
apiVersion: weir/v1
policies:
  - name: gold-subscription            # unique
    level: subscription
    match: 'request.subscription_tier == "gold"'
    key: [application, api, 'request.headers["x-a"]', 'request.api + "!"']
    limits:
      - { requests: 5000, window: 1m, algorithm: sliding_window }
      - { requests: 100000, window: 24h }
    groups:
      - when: 'cidr("10.0.0.0/8").contains(request.ip)'
        limits: [ { requests: 50000, window: 1m } ]
      - name: night
        when: 'has(request.user)'
        limits: [ { requests: 0, window: 1h30m } ]
    mode: off
    on_limit: allow
    on_disconnect: local
    accuracy: strict
    max_wait: 5ms
  - name: block-bad-range
    level: deny
    match: 'cidr("203.0.113.0/24").contains(request.ip)'
    mode: enforce
"#;

/// A small good policy.
fn policy() -> serde_json::Value {
    json!({ "name": "p", "level": "api", "limits": [{ "requests": 1, "window": "1m" }] })
}

/// The same with some fields replaced, or removed by `null`.
fn with(changes: serde_json::Value) -> serde_json::Value {
    let mut policy = policy();
    for (name, value) in changes.as_object().unwrap() {
        policy[name] = value.clone();
    }
    policy
}

#[test]
fn the_contracts_document_is_read() {
    let policies = parse_document(DOCUMENT).unwrap();
    let [gold, deny] = policies.as_slice() else { panic!("{policies:?}") };
    assert_eq!((gold.name.as_str(), gold.level), ("gold-subscription", Level::Subscription));
    let condition = gold.condition.as_ref().map(Expr::source);
    assert_eq!(condition, Some(r#"request.subscription_tier == "gold""#));
    let key: Vec<String> = gold.key.iter().map(KeyPart::to_string).collect();
    assert_eq!(key, ["application", "api", "headers.x-a", r#"request.api + "!""#]);
    assert_eq!(gold.limits[0].algorithm, Algorithm::SlidingWindow);
    assert_eq!((gold.mode, gold.on_limit), (Mode::Off, OnLimit::Allow));
    assert_eq!(gold.on_disconnect, Some(OnDisconnect::Local));
    assert_eq!((gold.accuracy, gold.max_wait), (Accuracy::Strict, Duration::from_millis(5)));
    assert_eq!((deny.level, deny.mode), (Level::Deny, Mode::Enforce));
    assert!(deny.limits.is_empty() && deny.key.is_empty());
}

#[test]
fn limits_are_found_by_ids_that_ignore_the_amount() {
    let gold = parse_document(DOCUMENT).unwrap().remove(0);
    let ids: Vec<String> = gold.all_limits().map(|(id, _)| id).collect();
    assert_eq!(
        ids,
        [
            "requests/1m/sliding_window",
            "requests/1d/fixed_window",
            "group-1:requests/1m/fixed_window",
            "night:requests/90m/fixed_window",
        ]
    );
    assert_eq!(gold.limit("night:requests/90m/fixed_window").unwrap().amount, 0);
    assert_eq!(gold.limit("group-1:requests/1m/fixed_window").unwrap().amount, 50_000);
    assert_eq!(gold.limit("requests/1m/fixed_window"), None);
}

#[test]
fn defaults_are_the_contracts() {
    let policy = Policy::from_json(&policy()).unwrap();
    assert_eq!((policy.mode, policy.on_limit), (Mode::Enforce, OnLimit::Reject));
    assert_eq!((policy.on_disconnect, policy.accuracy), (None, Accuracy::Auto));
    assert_eq!((policy.max_wait, policy.condition.is_none()), (DEFAULT_WAIT, true));
    assert_eq!(policy.limits[0].algorithm, Algorithm::FixedWindow);
}

#[test]
fn a_policy_is_written_in_one_form_that_reads_back() {
    for policy in parse_document(DOCUMENT).unwrap() {
        let written = policy.to_json();
        assert_eq!(Policy::from_json(&written).as_ref(), Ok(&policy), "{written}");
    }
    let written = Policy::from_json(&policy()).unwrap().to_json();
    let limit = json!({ "requests": 1, "window": "1m", "algorithm": "fixed_window" });
    assert_eq!(
        written,
        json!({
            "name": "p", "level": "api", "limits": [limit],
            "mode": "enforce", "on_limit": "reject", "accuracy": "auto", "max_wait": "5ms",
        })
    );
}

#[test]
fn bare_policies_and_json_are_read_too() {
    let bare = policy().to_string();
    assert_eq!(parse_document(&bare).unwrap().len(), 1);
    let yaml = "name: p\nlevel: api\nlimits: [{requests: 1, window: 1m}]\n";
    assert_eq!(parse_document(yaml), parse_document(&bare));
    let document = json!({ "apiVersion": "weir/v1", "policies": [policy()] });
    assert_eq!(parse_document(&document.to_string()), parse_document(&bare));
    let empty = json!({ "apiVersion": "weir/v1", "policies": [] });
    assert_eq!(parse_document(&empty.to_string()), Ok(Vec::new()));
}

#[test]
fn waits_and_amounts_go_up_to_their_bounds() {
    for (text, micros) in [
        (json!("0"), 0),
        (json!(0), 0),
        (json!("0ms"), 0),
        (json!("1us"), 1),
        (json!("1500us"), 1_500),
        (json!("5ms"), 5_000),
        (json!("1s"), 1_000_000),
        (json!("1000ms"), 1_000_000),
    ] {
        let policy = Policy::from_json(&with(json!({ "max_wait": text }))).unwrap();
        assert_eq!(policy.max_wait, Duration::from_micros(micros));
        assert_eq!(Policy::from_json(&policy.to_json()), Ok(policy));
    }
    for amount in [0, MAX_AMOUNT] {
        let limits = json!([{ "requests": amount, "window": "365d" }]);
        let policy = Policy::from_json(&with(json!({ "limits": limits }))).unwrap();
        assert_eq!(policy.limits[0].amount, amount);
    }
}

#[test]
fn levels_are_ordered_as_they_are_evaluated() {
    let names = ["deny", "api", "resource", "subscription", "application", "custom", "backend"];
    let levels: Vec<Level> = names.iter().filter_map(|name| Level::parse(name)).collect();
    assert_eq!(levels.len(), names.len());
    assert!(levels.is_sorted());
}

#[test]
fn a_policy_is_no_longer_than_a_frame_whatever_makes_it_long() {
    let limit = json!({ "requests": 1, "window": "1m" });
    let key = |n: usize| -> Vec<String> { (0..4).map(|_| format!("{n:0>1000}")).collect() };
    let reset = |n| json!({ "key": key(n), "at": n });
    let replaced = |n| json!({ "key": key(n), "limits": [limit] });
    let policy = |resets: usize, overrides: usize| {
        Policy::from_json(&with(json!({
            "key": ["application", "api", "ip", "user"],
            "resets": (0..resets).map(reset).collect::<Vec<_>>(),
            "overrides": (0..overrides).map(replaced).collect::<Vec<_>>(),
        })))
    };
    let longest = policy(770, 0).expect("just short enough").to_json().to_string().len();
    assert!(longest <= MAX_POLICY_BYTES && longest > MAX_POLICY_BYTES - 50_000, "{longest}");
    for (resets, overrides, field) in
        [(1_000, 0, "resets"), (0, 1_000, "overrides"), (700, 100, "resets")]
    {
        let refused = policy(resets, overrides).expect_err("too long").to_string();
        assert!(refused.contains(field) && refused.contains("3145728"), "{refused}");
    }
    // A byte may have six: what is not measured must be short enough for all that.
    let dense = |n: usize| -> Vec<String> { vec!["\u{1f}".repeat(1_000 + n); 16] };
    let dense = |n| json!({ "key": dense(n), "at": n });
    let fields = vec!["application"; 16];
    let few = json!({ "key": fields, "resets": (0..16).map(dense).collect::<Vec<_>>() });
    let few = Policy::from_json(&with(few)).expect("not measured").to_json().to_string().len();
    assert!(few > 1 << 20 && few < MAX_POLICY_BYTES, "{few}");
}
