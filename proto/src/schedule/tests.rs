//! Schedules, by the clocks of the places that change them.

use proptest::{prelude::*, sample::select};

use super::*;
use crate::zone::memo::Latest;

fn schedule(zone: &str, days: &str, hours: &str, dates: &[&str]) -> Schedule {
    let mut weekdays = Weekdays::default();
    assert!(days.split_whitespace().all(|day| weekdays.add(day)));
    Schedule {
        zone: Zone::named(zone).unwrap(),
        weekdays: (!days.is_empty()).then_some(weekdays),
        hours: (!hours.is_empty()).then(|| Hours::parse(hours).unwrap()),
        dates: dates.iter().map(|dates| Dates::parse(dates).unwrap()).collect(),
    }
}

/// Of an instant like `2027-03-28T00:00+01:00`.
fn at(text: &str) -> Time {
    let instant: jiff::Timestamp = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    Time::from_micros(instant.as_microsecond().cast_unsigned())
}

/// At which of these it holds.
fn holding<'a>(schedule: &Schedule, times: &[&'a str]) -> Vec<&'a str> {
    times.iter().copied().filter(|time| schedule.holds(at(time))).collect()
}

#[test]
fn hours_begin_with_their_first_minute_and_end_before_their_last() {
    let office = schedule("Europe/Berlin", "", "08:00-18:00", &[]);
    let times = [
        "2027-06-01T07:59:59.999999+02:00",
        "2027-06-01T08:00+02:00",
        "2027-06-01T17:59:59.999999+02:00",
        "2027-06-01T18:00+02:00",
        "2027-12-01T08:00+01:00",
        "2027-12-01T07:59+01:00",
    ];
    assert_eq!(holding(&office, &times), [times[1], times[2], times[4]]);
}

#[test]
fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
    let friday_night = schedule("UTC", "fri", "22:00-06:00", &[]);
    let times = [
        "2027-06-04T05:59Z", // Friday morning belongs to Thursday's night
        "2027-06-04T21:59Z",
        "2027-06-04T22:00Z",
        "2027-06-05T00:00Z",
        "2027-06-05T05:59Z",
        "2027-06-05T06:00Z",
        "2027-06-05T22:00Z",
    ];
    assert_eq!(holding(&friday_night, &times), times[2..5]);
    let silvester = schedule("UTC", "", "22:00-02:00", &["2026-12-31"]);
    let times =
        ["2026-12-31T01:00Z", "2026-12-31T22:00Z", "2027-01-01T01:59Z", "2027-01-01T22:00Z"];
    assert_eq!(holding(&silvester, &times), times[1..3]);
    let to_midnight = schedule("UTC", "", "22:00-00:00", &[]);
    let times = ["2027-06-04T21:59Z", "2027-06-04T23:59Z", "2027-06-05T00:00Z"];
    assert_eq!(holding(&to_midnight, &times), [times[1]]);
}

#[test]
fn dates_hold_to_the_end_of_the_last_day_in_their_zone() {
    let christmas = schedule("America/New_York", "", "", &["2026-12-24..2026-12-26", "2027-12-25"]);
    let times = [
        "2026-12-24T04:59:59Z",
        "2026-12-24T05:00Z",
        "2026-12-27T04:59:59Z",
        "2026-12-27T05:00Z",
        "2027-12-24T12:00Z",
        "2027-12-25T12:00Z",
    ];
    assert_eq!(holding(&christmas, &times), [times[1], times[2], times[5]]);
}

#[test]
fn all_that_is_given_must_hold() {
    let both = schedule("UTC", "mon tue", "08:00-18:00", &["2027-06-01..2027-06-07"]);
    let times = [
        "2027-06-01T09:00Z", // Tuesday
        "2027-06-01T19:00Z",
        "2027-06-02T09:00Z",
        "2027-06-07T09:00Z", // Monday
        "2027-06-08T09:00Z",
    ];
    assert_eq!(holding(&both, &times), [times[0], times[3]]);
}

#[test]
fn a_skipped_hour_does_not_hold_and_a_repeated_one_holds_twice() {
    let night = schedule("Europe/Berlin", "", "02:00-03:00", &[]);
    // At 02:00 the clocks were put to 03:00.
    let spring = ["2027-03-28T00:59:59Z", "2027-03-28T01:00Z", "2027-03-28T01:59Z"];
    assert!(holding(&night, &spring).is_empty());
    let autumn = [
        "2027-10-30T23:59Z",
        "2027-10-31T00:00Z", // 02:00, still summer
        "2027-10-31T01:00Z", // 02:00 again
        "2027-10-31T01:59Z",
        "2027-10-31T02:00Z",
    ];
    assert_eq!(holding(&night, &autumn), autumn[1..4]);
    let half = schedule("Australia/Lord_Howe", "", "02:15-02:45", &[]);
    let spring =
        ["2027-10-02T15:29Z", "2027-10-02T15:30Z", "2027-10-02T15:44Z", "2027-10-02T15:45Z"];
    assert_eq!(holding(&half, &spring), spring[1..3], "from 02:30, when the clocks show it");
}

#[test]
fn what_is_written_otherwise_is_not_read() {
    for good in ["00:00-24:00", "08:00-18:00", "22:00-06:00", "23:59-00:01"] {
        assert_eq!(Hours::parse(good).unwrap().to_string(), good);
    }
    assert_eq!(Hours::parse("22:00-00:00").unwrap().to_string(), "22:00-24:00");
    for bad in [
        "",
        "8-18",
        "8:00-18:00",
        "08:00",
        "08:00-08:00",
        "24:00-01:00",
        "00:00-24:01",
        "08:60-09:00",
        "+8:00-09:00",
        "00:00-00:00x",
    ] {
        assert_eq!(Hours::parse(bad), None, "{bad}");
    }
    for good in ["2026-12-24", "2026-12-24..2026-12-26", "2028-02-29"] {
        assert_eq!(Dates::parse(good).unwrap().to_string(), good);
    }
    for bad in [
        "",
        "2026-12",
        "2027-02-29",
        "20261224",
        "2026-12-26..2026-12-24",
        "..",
        "24.12.2026",
        "2026-12-24T00:00",
    ] {
        assert_eq!(Dates::parse(bad), None, "{bad}");
    }
}

#[test]
fn times_far_away_have_an_answer() {
    let office = schedule("Europe/Berlin", "mon", "08:00-18:00", &[]);
    for secs in [0, LAST, LAST + 1, u64::MAX / 1_000_000] {
        office.holds(Time::from_secs(secs));
    }
    office.holds(Time::MAX);
}

fn some() -> impl Strategy<Value = Schedule> {
    let zones = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia"];
    let hours = ["", "08:00-18:00", "22:00-06:00", "02:30-03:30", "00:00-24:00"];
    let dates = prop_oneof![Just(&[][..]), Just(&["2027-03-28", "2027-10-30..2027-11-07"][..])];
    let days = ["", "sat sun", "fri"];
    (select(zones.to_vec()), select(days.to_vec()), select(hours.to_vec()), dates)
        .prop_map(|(zone, days, hours, dates)| schedule(zone, days, hours, dates))
}

proptest! {
    #[test]
    fn an_answer_holds_for_its_span_and_memory_does_not_change_it(
        schedule in some(),
        times in prop::collection::vec(1_806_000_000..1_826_000_000_u64, 1..30),
        steps in prop::collection::vec(0..100_000_u64, 30),
    ) {
        let latest = Latest::default();
        for (secs, step) in times.iter().zip(steps) {
            let (span, answer) = schedule.look(*secs);
            prop_assert!(span.holds(*secs));
            let other = span.from + step % (span.until - span.from);
            prop_assert_eq!(schedule.look(other).1, answer, "{} and {}", secs, other);
            for secs in [*secs, other, secs + step] {
                let remembered = latest.at(secs, || schedule.look(secs));
                prop_assert_eq!(remembered, schedule.look(secs).1);
            }
        }
    }
}
