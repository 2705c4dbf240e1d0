//! Two threads that ask a calendar about the same times in other orders get the same answers.

#![expect(clippy::disallowed_methods, reason = "threads are what is tested")]

use std::thread;

use proptest::{prelude::*, sample::select};
use weir_proto::{
    calendar::{Calendar, Period},
    time::{Time, WindowStart},
    zone::Zone,
};

fn windows(calendar: Calendar, times: &[u64]) -> Vec<(WindowStart, Time)> {
    let window = |secs: &u64| {
        let start = calendar.start_at(Time::from_secs(*secs));
        (start, calendar.end(start))
    };
    times.iter().map(window).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn threads_do_not_disturb_what_others_remember(
        period in select(Period::ALL.to_vec()),
        zone in select(vec!["Europe/Berlin", "Australia/Lord_Howe", "America/New_York"]),
        times in prop::collection::vec(1_806_000_000..1_830_000_000_u64, 2..60),
    ) {
        let calendar = Calendar::new(period, Zone::named(zone).expect("a zone"));
        let expected = windows(calendar, &times);
        let back: Vec<u64> = times.iter().rev().copied().collect();
        let (one, mut other) = thread::scope(|scope| {
            let one = scope.spawn(|| windows(calendar, &times));
            let other = scope.spawn(|| windows(calendar, &back));
            (one.join().expect("no panic"), other.join().expect("no panic"))
        });
        other.reverse();
        prop_assert_eq!((&one, &other), (&expected, &expected));
    }
}
