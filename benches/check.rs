//! One decision: `Checker::check` beside the keyed limiters that people use otherwise.
//!
//! Rows are `keys-spread/threads/who`; figures are CPU time per request. Every contestant knows all
//! keys before the clock starts, admits every request, and reads its own clock unless said otherwise.

use std::{
    hint::black_box,
    num::NonZeroU32,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use gateway_agent_core::Checker;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use throttlecrab::PeriodicStore;
use weir_benches::{
    gateway::Gateway,
    lanes, resident,
    traffic::{ORDER, Spread, Traffic, key, parts},
};
use weir_proto::{request::Request, time::Time};

/// Requests built ahead where only the check is timed: few enough for the second cache, enough to make
/// the reading of CPU time cheap.
const AHEAD: usize = 256;

fn request(key: &str) -> Request<'_> {
    let (tenant, route, user) = parts(key);
    Request::new().tenant(tenant).resource(route).user(user)
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn row(group: &mut Group<'_>, who: &str, threads: usize, lane: impl Fn(usize, usize) + Sync) {
    group.bench_function(format!("{threads}/{who}"), |bench| {
        bench.iter_custom(|iterations| lanes::run(threads, iterations, &lane));
    });
}

fn weir(group: &mut Group<'_>, traffic: &Traffic, threads: usize) {
    let gateway = Gateway::start(traffic.keys() + 1);
    let (checker, clock) = (&*gateway.checker, gateway.clock);
    for n in 0..traffic.keys() {
        assert!(checker.check(&request(&key(n)), 1, clock.now()).allowed());
    }
    let now = clock.now();
    row(group, "weir", threads, |from, to| {
        for i in from..to {
            black_box(&checker.check(&request(traffic.at(i)), 1, clock.now()));
        }
    });
    group.bench_function(format!("{threads}/weir, time given, request built before"), |bench| {
        bench.iter_custom(|iterations| ahead(checker, traffic, threads, iterations, now));
    });
    if traffic.keys() == 100_000 {
        let (checker, _owner) = (gateway.checker.clone(), gateway.run());
        row(group, "weir, owner reporting", threads, |from, to| {
            for i in from..to {
                black_box(&checker.check(&request(traffic.at(i)), 1, clock.now()));
            }
        });
    }
}

/// Times the checks alone: key, look-up, decision. The rest happens while the clock stands.
fn ahead(
    checker: &Checker,
    traffic: &Traffic,
    threads: usize,
    iterations: u64,
    now: Time,
) -> Duration {
    let total = Mutex::new(Duration::ZERO);
    lanes::run(threads, iterations, |from, to| {
        let mut checked = Duration::ZERO;
        let mut at = from;
        while at < to {
            let until = to.min(at + AHEAD);
            let requests: Vec<_> = (at..until).map(|i| request(traffic.at(i))).collect();
            let begun = lanes::cpu();
            for request in &requests {
                black_box(&checker.check(request, 1, now));
            }
            checked += lanes::cpu().saturating_sub(begun);
            at = until;
        }
        *total.lock().expect("no lane panics") += checked;
    });
    total.into_inner().expect("no lane panics") / u32::try_from(threads).unwrap_or(1)
}

fn governor(group: &mut Group<'_>, traffic: &Traffic, threads: usize) {
    let rate = NonZeroU32::new(10_000_000).expect("above 0");
    let quota = Quota::per_second(rate).allow_burst(NonZeroU32::MAX);
    let limiter: DefaultKeyedRateLimiter<String> = RateLimiter::keyed(quota);
    for n in 0..traffic.keys() {
        assert!(limiter.check_key(&key(n)).is_ok());
    }
    let strings = traffic.strings();
    row(group, "governor, key built before", threads, |from, to| {
        for i in from..to {
            black_box(limiter.check_key(&strings[i % ORDER]).is_ok());
        }
    });
    drop(strings);
    row(group, "governor", threads, |from, to| {
        let mut built = String::new();
        for i in from..to {
            build(traffic.at(i), &mut built);
            black_box(limiter.check_key(&built).is_ok());
        }
    });
}

/// A key from its parts, into memory that is there already.
fn build(key: &str, built: &mut String) {
    let (tenant, route, user) = parts(key);
    built.clear();
    for part in [tenant, "/", route, "/", user] {
        built.push_str(part);
    }
}

#[expect(clippy::disallowed_methods, reason = "it asks for the wall clock with every request")]
fn throttlecrab(group: &mut Group<'_>, traffic: &Traffic, threads: usize) {
    const BURST: i64 = 1_000_000_000;
    const PERIOD: i64 = 60;
    let limiter = throttlecrab::RateLimiter::new(PeriodicStore::with_capacity(traffic.keys()));
    // It wants to be borrowed alone: threads must take turns.
    let limiter = Mutex::new(limiter);
    let check = |key: &str| {
        let mut limiter = limiter.lock().expect("no lane panics");
        let answer = limiter.rate_limit(key, BURST, BURST, PERIOD, 1, SystemTime::now());
        answer.expect("the limits are valid").0
    };
    for n in 0..traffic.keys() {
        assert!(check(&key(n)));
    }
    row(group, "throttlecrab in a mutex", threads, |from, to| {
        let mut built = String::new();
        for i in from..to {
            build(traffic.at(i), &mut built);
            black_box(check(&built));
        }
    });
}

/// What the rows share and what can be subtracted.
fn parts_of_a_check(criterion: &mut Criterion) {
    let traffic = Traffic::new(100_000, Spread::Uniform);
    let clock = weir_benches::gateway::Clock::start();
    let mut group = criterion.benchmark_group("check/alone");
    row(&mut group, "request", 1, |from, to| {
        for i in from..to {
            black_box(request(traffic.at(i)));
        }
    });
    row(&mut group, "clock", 1, |from, to| {
        for _ in from..to {
            black_box(clock.now());
        }
    });
    group.finish();
}

/// Bytes per counter of an agent with a million counters that it has reported once, its last batches
/// for managers included. In a process of its own, which has freed next to nothing before.
fn memory() {
    const COUNT: usize = 1_000_000;
    let mut gateway = Gateway::start(COUNT + 1);
    let (checker, clock) = (gateway.checker.clone(), gateway.clock);
    assert!(checker.check(&request(&key(COUNT)), 1, clock.now()).allowed());
    let before = resident();
    for n in 0..COUNT {
        assert!(checker.check(&request(&key(n)), 1, clock.now()).allowed());
    }
    let checked = resident().saturating_sub(before);
    let end = clock.now() + Duration::from_millis(400);
    while clock.now() < end {
        gateway.turn();
    }
    let reported = resident().saturating_sub(before);
    println!("{} bytes per counter, {} once reported", checked / COUNT, reported / COUNT);
}

fn main() {
    if std::env::args().any(|arg| arg == "memory") {
        return memory();
    }
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    parts_of_a_check(&mut criterion);
    for (name, keys, spread) in [
        ("1", 1, Spread::Uniform),
        ("100k-uniform", 100_000, Spread::Uniform),
        ("100k-zipf", 100_000, Spread::Zipf(1.1)),
        ("1M-uniform", 1_000_000, Spread::Uniform),
        ("1M-zipf", 1_000_000, Spread::Zipf(1.1)),
    ] {
        let traffic = Traffic::new(keys, spread);
        let mut group = criterion.benchmark_group(format!("check/{name}"));
        for threads in [1, 2] {
            weir(&mut group, &traffic, threads);
            governor(&mut group, &traffic, threads);
            throttlecrab(&mut group, &traffic, threads);
        }
        group.finish();
    }
    criterion.final_summary();
}
