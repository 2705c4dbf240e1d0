//! Which policies a request meets: `PolicySet::resolve`, keys built, with few and with many policies.
//! Figures are CPU time per request.

use std::{hint::black_box, net::IpAddr, ops::ControlFlow, sync::Arc};

use criterion::{Criterion, Throughput};
use serde_json::{Value, json};
use weir_benches::{lanes, traffic::Random};
use weir_proto::{
    matcher::{PolicySet, Scratch},
    policy::Policy,
    request::Request,
    time::Time,
};

/// Different requests, met in turn.
const REQUESTS: usize = 1_024;

fn set(policies: impl Iterator<Item = Value>) -> PolicySet {
    let read = |value| Arc::new(Policy::from_json(&value).expect("the policy is valid"));
    PolicySet::compile(1, policies.map(read))
}

/// A tenant's policy: found by the application, counted by user.
fn application(n: usize) -> Value {
    json!({
        "name": format!("app-{n}"),
        "level": "application",
        "match": format!(r#"request.api_version == "v1" && request.application == "app-{n}""#),
        "key": ["request.application", "request.user"],
        "limits": [{ "requests": 100, "window": "1m" }],
    })
}

/// Two policies that every call meets, filed like the others.
fn shared(n: usize) -> Value {
    let (name, condition) = match n {
        0 => ("orders", r#"request.api == "orders""#),
        _ => ("reads", r#"request.method in ["GET", "HEAD"]"#),
    };
    json!({
        "name": name,
        "level": "api",
        "match": condition,
        "key": ["request.user"],
        "limits": [{ "requests": 100, "window": "1m" }],
    })
}

/// A banned network.
fn network(n: usize) -> Value {
    json!({
        "name": format!("net-{n}"),
        "level": "deny",
        "match": format!(r#"cidr("10.{}.{}.0/24").contains(request.ip)"#, n / 250, n % 250),
    })
}

/// A policy that no index can file: every request evaluates its condition.
fn unfiled(n: usize) -> Value {
    json!({
        "name": format!("path-{n}"),
        "level": "resource",
        "match": format!(r#"request.path.startsWith("/v{n}/")"#),
        "key": ["request.user"],
        "limits": [{ "requests": 100, "window": "1m" }],
    })
}

/// Calls of these applications, in any order, from an address that nobody banned.
fn calls(names: &[String]) -> Vec<Request<'_>> {
    let mut random = Random::new(7);
    let address: IpAddr = [192, 0, 2, 1].into();
    (0..REQUESTS)
        .map(|_| {
            let application = names[random.below(names.len())].as_str();
            let call = Request::new().api("orders").api_version("v1").method("GET");
            call.path("/v3/orders/17").application(application).user("user-0000000017").ip(address)
        })
        .collect()
}

/// Resolves one request; answers how many policies it met, so that rows can be checked.
fn resolve(
    set: &PolicySet,
    request: &Request<'_>,
    scratch: &mut Scratch,
    key: &mut Vec<u8>,
) -> usize {
    let mut met = 0;
    set.resolve(request, Time::ZERO, scratch, |hit| {
        met += 1;
        for limit in hit.limits {
            hit.key_into(limit, key);
            black_box(&key);
        }
        ControlFlow::Continue(())
    });
    met
}

fn main() {
    let mut criterion = Criterion::default().sample_size(30).configure_from_args();
    let names =
        |prefix: &str, n: usize| (0..n).map(|n| format!("{prefix}-{n}")).collect::<Vec<_>>();
    let catch_all = json!({
        "name": "per-user",
        "level": "api",
        "key": ["request.api", "request.application", "request.user"],
        "limits": [{ "requests": 100, "window": "1m" }],
    });
    let (small, large) = (names("app", 5), names("app", 5_000));
    let unknown = names("other", 5_000);
    let ten = || set((0..5).map(application).chain((0..5).map(network)));
    let thousands = || set((0..5_000).map(application).chain((0..5_000).map(network)));
    let with_shared = |n: usize| {
        let own = (0..n / 2 - 1).map(application);
        set(own.chain((0..n / 2 - 1).map(network)).chain((0..2).map(shared)))
    };
    let four = names("app", 4);
    let rows = [
        ("10 policies, 3 met", with_shared(10), &four, 3),
        ("10000 policies, 3 met, same callers", with_shared(10_000), &four, 3),
        ("10000 policies, 3 met, 5000 callers", with_shared(10_002), &large, 3),
        ("1 policy for all, met", set(std::iter::once(catch_all)), &small, 1),
        ("10 policies, 1 met", ten(), &small, 1),
        ("10 policies, none met", ten(), &unknown, 0),
        ("10 policies that cannot be filed, 1 met", set((0..10).map(unfiled)), &small, 1),
        ("10000 policies, 1 met", thousands(), &large, 1),
        ("10000 policies, none met", thousands(), &unknown, 0),
    ];
    let mut group = criterion.benchmark_group("match");
    group.throughput(Throughput::Elements(1));
    for (name, set, names, expected) in rows {
        let calls = calls(names);
        group.bench_function(name, |bench| {
            bench.iter_custom(|iterations| {
                lanes::run(1, iterations, |from, to| {
                    let (mut scratch, mut key) = (Scratch::default(), Vec::new());
                    let met = (from..to)
                        .map(|i| resolve(&set, &calls[i % REQUESTS], &mut scratch, &mut key))
                        .sum::<usize>();
                    assert_eq!(met, expected * (to - from), "{name}");
                })
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
