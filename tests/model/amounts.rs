//! Every kind of amount and of limit, at a fleet of one: what passes is what a naive count says.

use std::time::Duration;

use gateway_agent_core::{LeaseId, Outcome, Reason};
use proptest::prelude::*;
use serde_json::{Value, json};
use weir_proto::{
    amount::{Amounts, Unit},
    policy::Policy,
    request::{Request, RequestLimit},
    time::Time,
};

use crate::pair::Pair;

fn policy(document: &Value) -> Policy {
    Policy::from_json(document).unwrap_or_else(|e| panic!("{document}: {e}"))
}

/// A policy for each application.
fn limited(limit: &Value) -> Policy {
    policy(
        &json!({ "name": "p", "level": "application", "key": ["application"], "limits": [limit] }),
    )
}

fn shop() -> Request<'static> {
    Request::new().application("shop")
}

fn amounts(unit: &str, amount: u64) -> Amounts {
    let mut amounts = Amounts::default();
    amounts.set(Unit::named(unit).expect("a unit"), amount);
    amounts
}

/// How many of `n` requests pass, one after the other.
fn passing(pair: &mut Pair, request: &Request<'_>, n: u64) -> u64 {
    (0..n).filter(|_| pair.check(request, 1).allowed()).count() as u64
}

#[test]
fn amounts_given_with_the_check_are_held_exactly() {
    for unit in ["events", "request_bandwidth", "prompt_tokens", "books"] {
        let limit = match unit {
            "books" => json!({ "amount": { "name": "books", "value": 20 }, "window": "10s" }),
            _ => json!({ unit: 20, "window": "10s" }),
        };
        let mut pair = Pair::new(&[limited(&limit)]);
        assert!(pair.check(&shop(), 1).allowed(), "{unit}: a request without any passes");
        let costs = [7, 7, 7, 6, 1];
        let passed = costs.map(|n| pair.check_amounts(&shop(), &amounts(unit, n)).allowed());
        assert_eq!(passed, [true, true, false, true, false], "{unit}");
        pair.pass(Duration::from_secs(10));
        assert!(pair.check_amounts(&shop(), &amounts(unit, 20)).allowed(), "{unit}: a new window");
    }
}

#[test]
fn what_is_known_after_the_response_is_reported_and_refunded() {
    let mut pair = Pair::new(&[limited(&json!({ "tokens": 100, "window": "10s" }))]);
    assert!(pair.check(&shop(), 1).allowed());
    assert_eq!(pair.report(&shop(), "completion_tokens", 60), 1);
    assert!(pair.check_amounts(&shop(), &amounts("prompt_tokens", 40)).allowed(), "it fits");
    let verdict = pair.check(&shop(), 1);
    assert_eq!(verdict.outcome, Outcome::Refused(Reason::Limit), "all is used");
    assert_eq!(pair.report(&shop(), "tokens", -30), 1);
    assert!(pair.check(&shop(), 1).allowed(), "some came back");
    assert_eq!(pair.report(&shop(), "tokens", -1_000), 1);
    let verdict = pair.check_amounts(&shop(), &amounts("tokens", 101));
    assert!(!verdict.allowed(), "a counter does not fall below nothing");
    assert!(pair.check_amounts(&shop(), &amounts("tokens", 100)).allowed());
    assert_eq!(pair.report(&Request::new().application("other"), "tokens", -5), 0);
}

#[test]
fn so_many_errors_close_the_rest_of_the_window() {
    for algorithm in ["fixed_window", "sliding_window"] {
        let limit = json!({ "errors": 3, "window": "10s", "algorithm": algorithm });
        let mut pair = Pair::new(&[limited(&limit)]);
        for _ in 0..3 {
            assert_eq!(passing(&mut pair, &shop(), 50), 50, "{algorithm}: requests are not errors");
            pair.report(&shop(), "errors", 1);
            pair.pass(Duration::from_millis(50));
        }
        assert!(!pair.check(&shop(), 1).allowed(), "{algorithm}");
        assert!(pair.check(&Request::new().application("other"), 1).allowed());
        pair.pass(Duration::from_secs(4));
        assert!(!pair.check(&shop(), 1).allowed(), "{algorithm}: until the window ends");
        pair.pass(Duration::from_secs(7));
        assert!(pair.check(&shop(), 1).allowed(), "{algorithm}");
    }
}

#[test]
fn alone_a_rolling_limit_of_errors_opens_again_when_they_have_left() {
    let limit = json!({ "errors": 3, "window": "10s", "algorithm": "sliding_window" });
    let mut pair = Pair::new(&[limited(&limit)]);
    pair.pass(Duration::from_secs(20));
    let fail = |pair: &mut Pair| {
        for _ in 0..3 {
            assert!(pair.check(&shop(), 1).allowed());
            pair.report(&shop(), "errors", 1);
            pair.pass(Duration::from_millis(50));
        }
        assert!(!pair.check(&shop(), 1).allowed(), "there were too many");
    };
    fail(&mut pair);
    pair.cut();
    pair.pass(Duration::from_secs(8));
    assert!(!pair.check(&shop(), 1).allowed(), "they still count");
    pair.pass(Duration::from_secs(3));
    fail(&mut pair);
}

#[test]
fn a_key_without_room_has_the_amount_of_no_other_key() {
    let mut document = limited(&json!({ "requests": 3, "window": "10s" })).to_json();
    document["request_limits"] = json!(true);
    document["overrides"] =
        json!([{ "key": ["gold"], "limits": [{ "requests": 70, "window": "10s" }] }]);
    let mut pair = Pair::small(1, &[policy(&document)]);
    assert_eq!(passing(&mut pair, &shop(), 9), 3, "there is room for one");
    let window = "1m".parse().expect("a window");
    let own = RequestLimit::new(90, window).expect("in bounds");
    assert_eq!(passing(&mut pair, &Request::new().application("gold"), 99), 3, "not 70");
    assert_eq!(passing(&mut pair, &shop().limit(own), 99), 0, "they share one counter");
    assert_eq!(passing(&mut pair, &Request::new().application("other"), 99), 0);
}

#[test]
fn a_peek_consumes_nothing() {
    let mut pair = Pair::new(&[limited(&json!({ "requests": 2, "window": "10s" }))]);
    for left in [2, 2, 2] {
        let verdict = pair.peek(&shop(), &Amounts::default());
        assert!(verdict.allowed());
        assert_eq!(verdict.limit.map(|limit| limit.remaining), Some(left));
    }
    assert_eq!(passing(&mut pair, &shop(), 5), 2);
    let verdict = pair.peek(&shop(), &Amounts::default());
    assert_eq!(verdict.outcome, Outcome::Refused(Reason::Limit));
}

#[test]
fn a_key_of_its_own_amount() {
    let mut document = limited(&json!({ "requests": 3, "window": "10s" })).to_json();
    document["overrides"] =
        json!([{ "key": ["gold"], "limits": [{ "requests": 7, "window": "10s" }] }]);
    let mut pair = Pair::new(&[policy(&document)]);
    assert_eq!(passing(&mut pair, &shop(), 20), 3);
    assert_eq!(passing(&mut pair, &Request::new().application("gold"), 20), 7);
    document["overrides"][0]["limits"][0]["requests"] = json!(9);
    pair.replace(policy(&document));
    pair.pass(Duration::from_millis(20));
    let gold = Request::new().application("gold");
    assert_eq!(passing(&mut pair, &gold, 20), 2, "raised, without forgetting what was used");
    document["overrides"][0]["limits"][0]["requests"] = json!("unlimited");
    pair.replace(policy(&document));
    pair.pass(Duration::from_millis(20));
    assert_eq!(passing(&mut pair, &gold, 500), 500);
}

#[test]
fn a_parent_counts_what_its_children_meet() {
    let parent = policy(&json!({
        "name": "org", "level": "custom", "match": "request.api == \"admin\"", "key": ["tenant"],
        "limits": [{ "requests": 5, "window": "10s" }],
    }));
    let mut child = limited(&json!({ "requests": 3, "window": "10s" })).to_json();
    child["parent"] = json!("org");
    let mut pair = Pair::new(&[parent, policy(&child)]);
    let of = |application: &'static str| Request::new().tenant("acme").application(application);
    assert_eq!(passing(&mut pair, &of("a"), 10), 3, "its own limit");
    let verdict = pair.check(&of("b"), 1);
    assert!(verdict.allowed());
    assert_eq!(passing(&mut pair, &of("b"), 10), 1, "what is left of the parent's");
    let verdict = pair.check(&of("b"), 1);
    assert_eq!(verdict.policy().map(|p| p.policy.name.to_string()).as_deref(), Some("org"));
    assert!(pair.check(&Request::new().tenant("other").application("c"), 1).allowed());
}

#[test]
fn a_reset_begins_anew_for_one_key_or_for_all() {
    let mut document = limited(&json!({ "requests": 2, "window": "1h" })).to_json();
    let mut pair = Pair::new(&[policy(&document)]);
    let other = Request::new().application("other");
    assert_eq!((passing(&mut pair, &shop(), 5), passing(&mut pair, &other, 5)), (2, 2));
    document["resets"] = json!([{ "key": ["shop"], "at": pair.now().as_secs() }]);
    pair.replace(policy(&document));
    pair.pass(Duration::from_millis(20));
    assert_eq!((passing(&mut pair, &shop(), 5), passing(&mut pair, &other, 5)), (2, 0));
    document["resets"] = json!([{ "at": pair.now().as_secs() + 1 }]);
    pair.replace(policy(&document));
    pair.pass(Duration::from_millis(20));
    assert_eq!((passing(&mut pair, &shop(), 5), passing(&mut pair, &other, 5)), (2, 2));
}

#[test]
fn resets_of_long_ago_do_not_come_back() {
    let mut pair = Pair::new(&[limited(&json!({ "requests": 2, "window": "10s" }))]);
    let other = Request::new().application("other");
    assert_eq!(passing(&mut pair, &other, 5), 2);
    pair.reset("p", None);
    pair.pass(Duration::from_millis(20));
    assert_eq!(passing(&mut pair, &other, 5), 2);
    pair.pass(Duration::from_secs(1_000));
    assert_eq!((passing(&mut pair, &shop(), 5), passing(&mut pair, &other, 5)), (2, 2));
    pair.reset("p", Some("shop"));
    pair.pass(Duration::from_millis(20));
    assert_eq!(passing(&mut pair, &other, 5), 0, "the other goes on in its window");
    assert_eq!(passing(&mut pair, &shop(), 5), 2);
    pair.pass(Duration::from_secs(1_000));
    assert_eq!(passing(&mut pair, &shop(), 5), 2);
    pair.reset("p", Some("third"));
    pair.pass(Duration::from_millis(20));
    assert_eq!(passing(&mut pair, &shop(), 5), 0);
}

#[test]
fn rolling_counters_take_nothing_back() {
    for algorithm in ["sliding_window", "token_bucket"] {
        let limit = json!({ "requests": 5, "window": "1h", "algorithm": algorithm });
        let mut pair = Pair::new(&[limited(&limit)]);
        assert_eq!(passing(&mut pair, &shop(), 9), 5, "{algorithm}");
        assert_eq!(pair.report(&shop(), "requests", -5), 0, "{algorithm}: nothing changed");
        assert_eq!(passing(&mut pair, &shop(), 9), 0, "{algorithm}");
    }
}

#[test]
fn a_deny_policy_is_nobodys_parent() {
    let gate = policy(&json!({ "name": "gate", "level": "deny", "match": "request.user == 'm'" }));
    let mut child = limited(&json!({ "requests": 5, "window": "10s" })).to_json();
    child["parent"] = json!("gate");
    let mut pair = Pair::new(&[gate, policy(&child)]);
    assert!(pair.check(&shop(), 1).allowed());
}

#[test]
fn a_full_bucket_passes_its_burst_and_then_its_rate() {
    let limit =
        json!({ "requests": 100, "window": "10s", "burst": 20, "algorithm": "token_bucket" });
    let mut pair = Pair::new(&[limited(&limit)]);
    assert_eq!(passing(&mut pair, &shop(), 50), 20);
    let mut passed = 0;
    for _ in 0..1_000 {
        pair.pass(Duration::from_millis(10));
        passed += passing(&mut pair, &shop(), 1);
    }
    assert!((95..=100).contains(&passed), "{passed} in 10 s at 10 per second");
    pair.pass(Duration::from_secs(60));
    assert_eq!(passing(&mut pair, &shop(), 50), 20, "it is full again");
}

#[test]
fn a_long_lease_is_given_back_at_once() {
    for lease in ["3s", "10m"] {
        let mut pair = Pair::new(&[limited(&json!({ "concurrency": 2, "lease": lease }))]);
        let mut held = Vec::new();
        while held.len() < 2 {
            // What began before the fleet did is granted.
            held.extend(pair.check(&shop(), 1).lease);
            pair.pass(Duration::from_millis(10));
        }
        assert!(!pair.check(&shop(), 1).allowed(), "{lease}: all are in flight");
        pair.pass(Duration::from_millis(500));
        assert!(pair.release(held[0]));
        assert!(pair.check(&shop(), 1).allowed(), "{lease}");
        assert!(!pair.check(&shop(), 1).allowed(), "{lease}: all are in flight");
        pair.pass(Duration::from_millis(500));
        assert!(pair.release(held[1]));
        pair.pass(Duration::from_millis(500));
        assert!(pair.check(&shop(), 1).allowed(), "{lease}: a while later");
    }
}

/// Something that happens to a limit of concurrency.
#[derive(Debug, Clone)]
enum Event {
    Begin(u64),
    End(usize),
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        5 => (1..=3_u64).prop_map(Event::Begin),
        4 => (0..8_usize).prop_map(Event::End),
        // Leases that are over come back with the agent's beat, each tenth of a second.
        3 => (0..7_u64).prop_map(|tenths| Event::Pass(tenths * 100)),
    ];
    prop::collection::vec(event, 1..80)
}

proptest! {
    #![proptest_config(crate::cases(200))]

    #[test]
    fn no_span_admits_more_than_burst_and_rate(
        burst in 1..30_u64,
        rate in 1..40_u64,
        calls in prop::collection::vec((1..=3_u64, 0..400_u64), 1..200),
    ) {
        let limit = json!({
            "requests": rate, "window": "2s", "burst": burst, "algorithm": "token_bucket",
        });
        let mut pair = Pair::new(&[limited(&limit)]);
        let mut admitted: Vec<(Time, u64)> = Vec::new();
        for (cost, after) in calls {
            pair.pass(Duration::from_millis(after));
            if pair.check(&shop(), cost).allowed() {
                admitted.push((pair.now(), cost));
            }
        }
        for (i, (from, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for (at, cost) in &admitted[i..] {
                sum += cost;
                let refilled = u128::from(rate) * at.since(*from).as_micros() / 2_000_000;
                prop_assert!(u128::from(sum) <= u128::from(burst) + refilled, "{:?}", admitted);
            }
        }
    }

    #[test]
    fn requests_in_flight_are_counted_like_by_hand(most in 1..6_u64, events in events()) {
        let mut pair = Pair::new(&[limited(&json!({ "concurrency": most, "lease": "1s" }))]);
        let mut held: Vec<(LeaseId, u64, Time)> = Vec::new();
        for event in events {
            match event {
                Event::Begin(n) => {
                    let verdict = pair.check_amounts(&shop(), &amounts("concurrency", n));
                    let before: u64 = held.iter().map(|(_, n, _)| n).sum();
                    prop_assert_eq!(verdict.allowed(), before + n <= most, "{:?} and {}", held, n);
                    held.extend(verdict.lease.map(|lease| (lease, n, pair.now())));
                }
                Event::End(i) if i < held.len() => {
                    let (lease, ..) = held.remove(i);
                    prop_assert!(pair.release(lease));
                    prop_assert!(!pair.release(lease), "once");
                }
                Event::End(_) => {}
                Event::Pass(ms) => {
                    pair.pass(Duration::from_millis(ms));
                    held.retain(|(_, _, at)| pair.now() < *at + Duration::from_secs(1));
                }
            }
        }
    }
}
