//! The index finds the same as a walk over all policies, and touches only what it must.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// How many policies a request makes the set evaluate.
fn candidates(set: &PolicySet, request: &Request<'_>) -> usize {
    let mut out = Vec::new();
    set.index.candidates(request, &mut out).len()
}

#[test]
fn ten_thousand_policies_cost_a_request_two() {
    let application = |n: usize| {
        let condition =
            format!(r#"request.api_version == "v1" && request.application == "app-{n}""#);
        policy(&format!("app-{n}"), "application", json!({ "match": condition }))
    };
    let network = |n: usize| {
        let condition = format!(r#"cidr("10.{}.{}.0/24").contains(request.ip)"#, n / 250, n % 250);
        policy(&format!("net-{n}"), "deny", json!({ "match": condition }))
    };
    let set = set((0..5_000).map(application).chain((0..5_000).map(network)));
    let request = Request::new().api_version("v1").application("app-4321").ip(ip("10.3.77.9"));
    assert_eq!(candidates(&set, &request), 2);
    assert_eq!(keys(&set, &request), ["net-827", "app-4321 requests/1m/fixed_window []"]);
}

#[test]
fn covers_are_found_in_conjunctions_disjunctions_and_lists() {
    for (condition, touched) in [
        ("request.api == 'a'", 0),
        ("request.api in ['a', 'b']", 0),
        ("request.api == 'a' || request.user in ['x']", 0),
        ("request.path.startsWith('/') && (request.api == 'a' || request.api == 'b')", 0),
        ("cidr('10.0.0.0/8').contains(request.ip) || cidr('::/0').contains(request.ip)", 0),
        ("false", 0),
        ("request.api == 'other'", 1),
        ("request.api != 'a'", 1),
        ("!(request.api == 'a')", 1),
        ("request.api == 'a' || request.path == '/' || true", 1),
        ("cidr('10.0.0.0/8').contains(request.headers.fwd)", 1),
        ("size(request.api) == 1", 1),
    ] {
        let set = set([policy("p", "api", json!({ "match": condition }))]);
        let request = Request::new().api("other").path("/x").ip(ip("192.0.2.1"));
        assert_eq!(candidates(&set, &request), touched, "{condition}");
    }
}

const FIELDS: [&str; 2] = ["api", "user"];
const TEXTS: [&str; 3] = ["a", "b", "c"];

fn test() -> impl Strategy<Value = String> {
    let pair = || (select(&FIELDS[..]), select(&TEXTS[..]));
    let network = select(&["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "0.0.0.0/0"][..]);
    prop_oneof![
        4 => pair().prop_map(|(f, t)| format!("request.{f} == '{t}'")),
        1 => pair().prop_map(|(f, t)| format!("request.{f} != '{t}'")),
        2 => (pair(), select(&TEXTS[..])).prop_map(|((f, t), u)| format!("request.{f} in ['{t}', '{u}']")),
        2 => network.prop_map(|net| format!("cidr('{net}').contains(request.ip)")),
        1 => select(&["true", "false"][..]).prop_map(str::to_owned),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    test().prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_index_misses_nothing(
        conditions in vec(condition(), 1..12),
        texts in [proptest::option::of(select(&TEXTS[..])), proptest::option::of(select(&TEXTS[..]))],
        client in proptest::option::of(select(&["10.0.0.1", "10.1.0.1", "2001:db8::1", "::1"][..])),
    ) {
        let policies = conditions.iter().enumerate().map(|(n, condition)| {
            policy(&format!("p{n:02}"), "api", json!({ "match": condition }))
        });
        let set = set(policies);
        let mut request = Request::new();
        for (field, text) in FIELDS.iter().zip(texts) {
            text.map(|text| request.set(field, text));
        }
        client.map(|client| request.set("ip", client));
        let walked: Vec<String> = set
            .policies()
            .filter(|p| p.condition.as_ref().is_some_and(|c| c.matches(&request) == Ok(true)))
            .map(|p| format!("{} requests/1m/fixed_window []", p.name))
            .collect();
        let explained: Vec<String> = explain::explain(&set, &request, Time::ZERO)
            .into_iter()
            .filter_map(|finding| finding.outcome.ok())
            .flat_map(|met| met.limits.into_iter().map(|(_, key)| key.to_string()))
            .collect();
        prop_assert_eq!(&explained, &walked);
        prop_assert_eq!(keys(&set, &request), walked);
    }
}
