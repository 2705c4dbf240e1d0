//! Whatever policy there is, it is written and read back.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::{
    amount::Unit,
    calendar::{Calendar, Period},
    schedule::{Dates, Hours, Schedule, WEEKDAYS, Weekdays},
    window::Window,
    zone::Zone,
};

fn limits() -> impl Strategy<Value = Vec<Limit>> {
    let unit = prop_oneof![
        select(&["requests", "bandwidth", "tokens", "concurrency"][..]).prop_map(str::to_owned),
        "[a-z][a-z0-9_]{0,60}",
    ];
    let length = (1..=31_536_000u64, select(&Algorithm::ALL[..]))
        .prop_map(|(secs, algorithm)| (Window::from_secs(secs).unwrap(), algorithm));
    let zone = select(vec!["UTC", "Europe/Berlin", "America/New_York"]);
    let calendar = (select(Period::ALL.to_vec()), zone).prop_map(|(period, zone)| {
        let zone = Zone::named(zone).unwrap();
        (Window::calendar(Calendar::new(period, zone)), Algorithm::FixedWindow)
    });
    let window = prop_oneof![length, calendar];
    let limit = (unit, 0..=MAX_AMOUNT, window, option::of(1..=1_000_000u64));
    let limit = limit.prop_map(|(unit, amount, (window, algorithm), burst)| {
        let unit = Unit::named(&unit).unwrap();
        let gauge = unit == Unit::Concurrency;
        let algorithm = if gauge { Algorithm::default() } else { algorithm };
        let lease = Window::from_secs(60).unwrap();
        let window = if gauge && window.as_calendar().is_some() { lease } else { window };
        let burst = burst.filter(|_| algorithm == Algorithm::TokenBucket);
        Limit { unit, amount, window, algorithm, burst }
    });
    let fills = |limit: &Limit| limit.horizon().secs() < 31_536_000;
    let limit = limit.prop_filter("the bucket fills in time", fills);
    vec(limit, 1..5).prop_filter("twins", |limits| {
        let ids: std::collections::BTreeSet<String> = limits.iter().map(Limit::id).collect();
        ids.len() == limits.len()
    })
}

fn name() -> impl Strategy<Value = PolicyName> {
    "[A-Za-z0-9._-]{1,128}".prop_map(|name| PolicyName::new(&name).unwrap())
}

fn expr() -> impl Strategy<Value = Expr> {
    let texts = ["true", "request.api == 'x'", "has(request.user) || request.ip in ['1.1.1.1']"];
    select(texts.to_vec()).prop_map(|text| Expr::parse(text).unwrap())
}

fn group() -> impl Strategy<Value = Group> {
    let either = (option::of(expr()), option::of(schedule()))
        .prop_filter("one of both", |(when, during)| when.is_some() || during.is_some());
    let group = |((when, during), limits)| Group { name: None, when, during, limits };
    (either, limits()).prop_map(group)
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let weekdays = vec(select(WEEKDAYS.to_vec()), 1..4).prop_map(|names| {
        let mut days = Weekdays::default();
        assert!(names.iter().all(|name| days.add(name)));
        days
    });
    let hours = (0..24_u32, 0..60_u32, 1..24_u32).prop_map(|(hour, minute, more)| {
        let text = format!("{hour:02}:{minute:02}-{:02}:{minute:02}", (hour + more) % 24);
        Hours::parse(&text).unwrap()
    });
    let dates = vec((1..28_u32, 1..28_u32), 1..4).prop_map(|days| {
        let dates = |(a, b): (u32, u32)| format!("2027-01-{:02}..2027-02-{b:02}", a.min(b));
        days.into_iter().map(|day| Dates::parse(&dates(day)).unwrap()).collect::<Vec<_>>()
    });
    let zone = select(vec!["UTC", "Europe/Berlin"]).prop_map(|name| Zone::named(name).unwrap());
    (zone, option::of(weekdays), hours, option::of(dates)).prop_map(
        |(zone, weekdays, hours, dates)| Schedule {
            zone,
            weekdays,
            hours: Some(hours),
            dates: dates.unwrap_or_default(),
        },
    )
}

fn choices() -> impl Strategy<Value = (Mode, OnLimit, Option<OnDisconnect>, Accuracy)> {
    (
        select(&[Mode::Enforce, Mode::Shadow, Mode::Off][..]),
        select(&[OnLimit::Reject, OnLimit::Allow][..]),
        option::of(select(&[OnDisconnect::Open, OnDisconnect::Closed, OnDisconnect::Local][..])),
        select(&[Accuracy::Auto, Accuracy::Strict, Accuracy::Balanced][..]),
    )
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let key = select(&["application", "headers.x-a", "claims[\"a.b\"]", "request.api + 'x'"][..]);
    let key = vec(key.prop_map(|text| KeyPart::parse(text).unwrap()), 0..4);
    let parts = (name(), option::of(expr()), key, limits(), vec(group(), 0..3));
    let more = (option::of(name()), vec((0..9u8, 0..=MAX_AMOUNT), 0..3), vec(any::<u64>(), 0..3));
    (parts, choices(), 0..=1_000_000u64, more).prop_map(|(parts, choices, wait, more)| {
        let (name, condition, key, limits, groups) = parts;
        let (mode, on_limit, on_disconnect, accuracy) = choices;
        let max_wait = Duration::from_micros(wait);
        let level = Level::Custom;
        let (parent, amounts, resets) = more;
        let other_key = |n: u8| key.iter().map(|_| format!("x{n}")).collect::<Vec<_>>();
        let mut overrides = BTreeMap::new();
        for (n, amount) in amounts {
            let limit = Limit { amount, ..limits[0].clone() };
            if limit.horizon().secs() < 31_536_000 {
                overrides.insert(other_key(n), vec![limit]);
            }
        }
        let overrides = overrides.into_iter().map(|(key, limits)| Override { key, limits });
        let resets = resets.into_iter().map(|at| Reset { key: Some(other_key(1)), at });
        Policy {
            overrides: overrides.collect(),
            parent: parent.filter(|parent| *parent != name),
            request_limits: wait % 2 == 1,
            resets: resets.collect(),
            name,
            level,
            condition,
            key,
            limits,
            groups,
            mode,
            on_limit,
            on_disconnect,
            accuracy,
            max_wait,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn writing_and_reading_gives_the_same_policy(policy in any_policy()) {
        let written = policy.to_json();
        prop_assert_eq!(Policy::from_json(&written).unwrap(), policy.clone());
        prop_assert_eq!(parse_document(&written.to_string()).unwrap(), vec![policy]);
    }
}
