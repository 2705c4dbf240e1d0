//! Windows around everything that people do to their clocks.

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::select};

use super::*;

fn calendar(text: &str) -> Calendar {
    let (period, zone) = text.split_once('@').unwrap();
    Calendar::new(Period::parse(period).unwrap(), Zone::named(zone).unwrap())
}

/// Of an instant like `2027-03-28T00:00+01:00`.
fn at(text: &str) -> Time {
    let instant: jiff::Timestamp = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    Time::from_secs(instant.as_second().cast_unsigned())
}

/// The windows that follow one another from the one that holds `from`: where each begins, by the
/// clocks there, and how many minutes it lasts.
fn windows(name: &str, from: &str, count: usize) -> Vec<(String, u64)> {
    let calendar = calendar(name);
    let mut start = calendar.start_at(at(from));
    let mut found = Vec::new();
    for _ in 0..count {
        let end = calendar.end(start);
        let local = calendar.zone().local(start.0.cast_signed());
        let length = end.since(start.time()).as_secs();
        assert_eq!(length % 60, 0);
        found.push((local.strftime("%Y-%m-%d %H:%M").to_string(), length / 60));
        start = WindowStart(end.as_secs());
    }
    found
}

fn expect(name: &str, from: &str, expected: &[(&str, u64)]) {
    let found = windows(name, from, expected.len());
    let found: Vec<_> = found.iter().map(|(begin, minutes)| (begin.as_str(), *minutes)).collect();
    assert_eq!(found, expected, "{name}");
}

#[test]
fn a_day_in_berlin_has_23_hours_in_spring_and_25_in_autumn() {
    expect(
        "day@Europe/Berlin",
        "2027-03-27T12:00+01:00",
        &[("2027-03-27 00:00", 1_440), ("2027-03-28 00:00", 1_380), ("2027-03-29 00:00", 1_440)],
    );
    expect(
        "day@Europe/Berlin",
        "2027-10-30T12:00+02:00",
        &[("2027-10-30 00:00", 1_440), ("2027-10-31 00:00", 1_500), ("2027-11-01 00:00", 1_440)],
    );
    expect("week@Europe/Berlin", "2027-03-22T00:00+01:00", &[("2027-03-22 00:00", 7 * 1_440 - 60)]);
    expect(
        "month@Europe/Berlin",
        "2027-10-01T00:00+02:00",
        &[("2027-10-01 00:00", 31 * 1_440 + 60)],
    );
    expect("year@Europe/Berlin", "2027-10-01T00:00+02:00", &[("2027-01-01 00:00", 365 * 1_440)]);
}

#[test]
fn a_day_in_new_york_has_23_hours_in_spring_and_25_in_autumn() {
    expect(
        "day@America/New_York",
        "2027-03-13T12:00-05:00",
        &[("2027-03-13 00:00", 1_440), ("2027-03-14 00:00", 1_380), ("2027-03-15 00:00", 1_440)],
    );
    expect(
        "day@America/New_York",
        "2027-11-07T00:30-04:00",
        &[("2027-11-07 00:00", 1_500), ("2027-11-08 00:00", 1_440)],
    );
}

#[test]
fn each_hour_lasts_an_hour_also_those_that_the_clock_skips_or_repeats() {
    expect(
        "hour@Europe/Berlin",
        "2027-03-28T01:10+01:00",
        &[("2027-03-28 01:00", 60), ("2027-03-28 03:00", 60), ("2027-03-28 04:00", 60)],
    );
    expect(
        "hour@Europe/Berlin",
        "2027-10-31T01:59+02:00",
        &[
            ("2027-10-31 01:00", 60),
            ("2027-10-31 02:00", 60),
            ("2027-10-31 02:00", 60),
            ("2027-10-31 03:00", 60),
        ],
    );
    // The clock shows 00:00 to 01:00, then 00:00 to 01:00 again.
    expect(
        "hour@America/Havana",
        "2027-11-07T00:00-04:00",
        &[("2027-11-07 00:00", 60), ("2027-11-07 00:00", 60), ("2027-11-07 01:00", 60)],
    );
}

#[test]
fn lord_howe_changes_its_clocks_by_half_an_hour() {
    // Put forward from 02:00 to 02:30, and back from 02:00 to 01:30.
    expect(
        "hour@Australia/Lord_Howe",
        "2027-10-03T01:00+10:30",
        &[("2027-10-03 01:00", 60), ("2027-10-03 02:30", 30), ("2027-10-03 03:00", 60)],
    );
    expect(
        "hour@Australia/Lord_Howe",
        "2027-04-04T01:00+11:00",
        &[("2027-04-04 01:00", 60), ("2027-04-04 01:30", 30), ("2027-04-04 02:00", 60)],
    );
    expect("day@Australia/Lord_Howe", "2027-10-03T01:00+10:30", &[("2027-10-03 00:00", 1_410)]);
    expect("day@Australia/Lord_Howe", "2027-04-04T01:00+11:00", &[("2027-04-04 00:00", 1_470)]);
}

#[test]
fn kathmandu_is_a_quarter_of_an_hour_off_and_its_hours_are_its_own() {
    expect(
        "hour@Asia/Kathmandu",
        "2027-06-01T00:00Z",
        &[("2027-06-01 05:00", 60), ("2027-06-01 06:00", 60)],
    );
    let day = calendar("day@Asia/Kathmandu");
    assert_eq!(day.start_at(at("2027-06-01T00:00Z")).time(), at("2027-05-31T18:15Z"));
}

#[test]
fn a_leap_day_is_a_day_and_makes_its_month_and_year_longer() {
    expect(
        "day@UTC",
        "2028-02-28T00:00Z",
        &[("2028-02-28 00:00", 1_440), ("2028-02-29 00:00", 1_440), ("2028-03-01 00:00", 1_440)],
    );
    expect(
        "month@UTC",
        "2028-02-29T23:59Z",
        &[("2028-02-01 00:00", 29 * 1_440), ("2028-03-01 00:00", 31 * 1_440)],
    );
    expect(
        "year@UTC",
        "2028-02-29T12:00Z",
        &[("2028-01-01 00:00", 366 * 1_440), ("2029-01-01 00:00", 365 * 1_440)],
    );
}

#[test]
fn months_end_where_they_end() {
    let days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let year = windows("month@UTC", "2027-01-31T23:59Z", 12);
    assert_eq!(year.iter().map(|(_, minutes)| minutes / 1_440).collect::<Vec<_>>(), days);
}

#[test]
fn years_end_at_midnight_of_their_zone() {
    let new_year = at("2027-12-31T14:00Z");
    let year = calendar("year@Asia/Vladivostok");
    assert_eq!(year.start_at(new_year).time(), new_year);
    let before = year.start_at(new_year - std::time::Duration::from_micros(1));
    assert_eq!((before.time(), year.end(before)), (at("2026-12-31T14:00Z"), new_year));
}

#[test]
fn weeks_begin_on_monday() {
    expect(
        "week@Europe/Berlin",
        "2027-01-03T23:59+01:00",
        &[("2026-12-28 00:00", 7 * 1_440), ("2027-01-04 00:00", 7 * 1_440)],
    );
}

#[test]
fn a_date_that_a_zone_skipped_has_no_window() {
    // Samoa went from the 29th to the 31st.
    expect(
        "day@Pacific/Apia",
        "2011-12-29T12:00-10:00",
        &[("2011-12-29 00:00", 1_440), ("2011-12-31 00:00", 1_440), ("2012-01-01 00:00", 1_440)],
    );
    expect("week@Pacific/Apia", "2011-12-29T12:00-10:00", &[("2011-12-26 00:00", 6 * 1_440)]);
    expect("month@Pacific/Apia", "2011-12-29T12:00-10:00", &[("2011-12-01 00:00", 30 * 1_440)]);
}

#[test]
fn a_date_that_was_reached_stays_when_clocks_are_put_back_over_midnight() {
    // A minute past midnight of the 7th, the clocks in Newfoundland showed 23:01 of the 6th again.
    expect(
        "day@America/St_Johns",
        "2010-11-06T12:00-02:30",
        &[("2010-11-06 00:00", 1_440), ("2010-11-07 00:00", 1_500), ("2010-11-08 00:00", 1_440)],
    );
    // Midnight itself was skipped: the day began at one.
    expect(
        "day@America/Sao_Paulo",
        "2018-11-03T12:00-03:00",
        &[("2018-11-03 00:00", 1_440), ("2018-11-04 01:00", 1_380), ("2018-11-05 00:00", 1_440)],
    );
}

#[test]
fn a_microsecond_decides_at_a_boundary() {
    let micro = std::time::Duration::from_micros(1);
    for (name, boundary) in [
        ("day@Europe/Berlin", "2027-03-28T00:00+01:00"),
        ("day@Europe/Berlin", "2027-03-29T00:00+02:00"),
        ("hour@Europe/Berlin", "2027-10-31T02:00+01:00"),
        ("month@America/New_York", "2027-11-01T00:00-04:00"),
        ("year@UTC", "2029-01-01T00:00Z"),
    ] {
        let (calendar, boundary) = (calendar(name), at(boundary));
        let before = calendar.start_at(boundary - micro);
        assert_eq!(calendar.end(before), boundary, "{name}");
        assert_eq!(calendar.start_at(boundary).time(), boundary, "{name}");
        assert_eq!(calendar.start_at(boundary + micro).time(), boundary, "{name}");
    }
}

#[test]
fn the_first_window_begins_at_the_epoch_and_the_last_never_ends() {
    for period in Period::ALL {
        let calendar = Calendar::new(period, Zone::named("America/New_York").unwrap());
        assert_eq!(calendar.start_at(Time::ZERO), WindowStart(0), "{period}");
        for far in [LAST - 1, LAST, LAST + 1, 1 << 40, u64::MAX / 1_000_000] {
            let start = calendar.start_at(Time::from_secs(far));
            assert!(start.0 <= far && Time::from_secs(far) < calendar.end(start), "{period} {far}");
        }
        let last = calendar.start_at(Time::from_secs(LAST));
        assert_eq!(calendar.end(last), Time::MAX);
        assert_eq!(calendar.start_at(Time::MAX), last);
    }
}

#[test]
fn equal_calendars_are_one_and_are_ordered_by_period_and_zone() {
    assert_eq!(calendar("day@europe/berlin"), calendar("day@Europe/Berlin"));
    assert_eq!(calendar("day@Europe/Berlin").to_string(), "day@Europe/Berlin");
    assert_ne!(calendar("day@Europe/Berlin"), calendar("day@Europe/Paris"));
    let all = ["week@UTC", "day@UTC", "day@Europe/Paris", "day@UTC"].map(calendar);
    let sorted: Vec<_> = BTreeSet::from(all).into_iter().map(|c| c.to_string()).collect();
    assert_eq!(sorted, ["day@Europe/Paris", "day@UTC", "week@UTC"]);
}

/// The year of the Samoan jump is among them.
#[test]
fn in_every_zone_no_window_is_longer_than_its_bound() {
    for name in Zone::names().filter(|name| Zone::named(name).is_some()) {
        let zone = Zone::named(&name).unwrap();
        let years = [
            (Period::Day, 2_011..2_012_u64),
            (Period::Day, 2_027..2_028),
            (Period::Month, 1_970..2_060),
        ];
        for (period, years) in years {
            let calendar = Calendar::new(period, zone);
            let until = Time::from_secs((years.end - 1_970) * 31_557_600);
            let mut t = Time::from_secs((years.start - 1_970) * 31_557_600);
            while t < until {
                let start = calendar.start_at(t);
                let end = calendar.end(start);
                assert!(start.time() <= t && t < end, "{calendar} {t:?}");
                assert!(calendar.length(start) <= calendar.longest(), "{calendar} {start:?}");
                t = end;
            }
        }
    }
}

impl Calendar {
    fn length(self, start: WindowStart) -> u64 {
        self.end(start).as_secs() - start.0
    }
}

/// Between the years 1990 and 2060, half of them close to a change of clocks.
fn times() -> impl Strategy<Value = u64> {
    let changes =
        ["2027-03-28T01:00Z", "2027-10-31T01:00Z", "2011-12-30T10:00Z", "2027-04-03T15:00Z"];
    let near = (select(changes.to_vec()), 0..200_000_000_000_u64)
        .prop_map(|(change, around)| at(change).as_micros() - 100_000_000_000 + around);
    prop_oneof![near, 631_152_000_000_000..2_840_140_800_000_000_u64]
}

fn some() -> impl Strategy<Value = Calendar> {
    let zones = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "America/St_Johns",
        "America/Sao_Paulo",
        "Africa/Casablanca",
        "Antarctica/Troll",
        "Africa/Monrovia",
    ];
    (select(Period::ALL.to_vec()), select(zones.to_vec()))
        .prop_map(|(period, zone)| Calendar::new(period, Zone::named(zone).unwrap()))
}

proptest! {
    #[test]
    fn a_window_holds_its_time_and_ends_where_the_next_begins(calendar in some(), t in times()) {
        let t = Time::from_micros(t);
        let start = calendar.start_at(t);
        let end = calendar.end(start);
        prop_assert!(start.time() <= t && t < end);
        prop_assert_eq!(calendar.start_at(start.time()), start);
        prop_assert_eq!(calendar.start_at(end).time(), end);
        if start.0 > 0 {
            let before = calendar.start_at(start.time() - std::time::Duration::from_micros(1));
            prop_assert_eq!(calendar.end(before), start.time());
        }
    }

    #[test]
    fn what_is_remembered_never_changes_an_answer(
        calendar in some(),
        times in prop::collection::vec(times(), 1..40),
    ) {
        for micros in times {
            let t = Time::from_micros(micros);
            let fresh = calendar.work_out(t.as_secs());
            let start = calendar.start_at(t);
            prop_assert_eq!((start.0, calendar.end(start)), (fresh.from, Time::from_secs(fresh.until)));
        }
    }
}
