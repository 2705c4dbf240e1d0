//! Windows of a calendar, and groups with a schedule, in both cores: over a change of the clocks no
//! window is lost, and none is given twice.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use traffic_manager_core::view::CounterFilter;
use weir_proto::{policy::Policy, request::Request, time::Time};

use crate::pair::Pair;

const LIMIT: u64 = 5;
const MINUTE: Duration = Duration::from_secs(60);
/// Both changes of 2027 in Berlin, where clocks then show 03:00 and 02:00.
const SPRING: Time = Time::from_secs(1_806_195_600);
const AUTUMN: Time = Time::from_secs(1_824_944_400);

fn policy(calendar: &str) -> Policy {
    let limit = json!({ "requests": LIMIT, "calendar": calendar, "timezone": "Europe/Berlin" });
    let document = json!({ "name": "p", "level": "api", "limits": [limit] });
    Policy::from_json(&document).unwrap_or_else(|e| panic!("{document}: {e}"))
}

/// More requests than any window admits, in every minute from `from` on. Admitted by the begin of
/// their window, which is told before (negative) or after the change of the clocks.
fn admitted(calendar: &str, change: Time, from: i64, minutes: u64) -> BTreeMap<i64, u64> {
    let begin = change.as_secs().saturating_add_signed(from * 60);
    let mut pair = Pair::at(Time::from_secs(begin), &[policy(calendar)]);
    let mut admitted = BTreeMap::new();
    for _ in 0..minutes {
        for _ in 0..LIMIT + 1 {
            let verdict = pair.check(&Request::new(), 1);
            let limit = verdict.limit.as_ref().expect("the limit was met");
            // Both say when the window ends.
            let end = limit.start.time() + limit.window;
            assert_eq!(pair.now() + limit.reset, end);
            let minute = (limit.start.0.cast_signed() - change.as_secs().cast_signed()) / 60;
            *admitted.entry(minute).or_default() += u64::from(verdict.allowed());
        }
        pair.pass(MINUTE);
    }
    let filter = CounterFilter { limit: usize::MAX, ..CounterFilter::default() };
    for counter in pair.manager().counters(&filter, pair.now()) {
        assert_eq!(counter.used, LIMIT, "the manager counts in the same windows");
    }
    admitted
}

#[test]
fn a_day_of_23_hours_is_one_window() {
    let full = |begins: &[i64]| begins.iter().map(|begin| (*begin, LIMIT)).collect();
    // The day began two hours before the clocks changed, and ends 21 hours after.
    assert_eq!(admitted("day", SPRING, -125, 10), full(&[-120 - 24 * 60, -120]));
    assert_eq!(admitted("day", SPRING, -5, 10), full(&[-120]));
    assert_eq!(admitted("day", SPRING, 21 * 60 - 5, 10), full(&[-120, 21 * 60]));
}

#[test]
fn a_day_of_25_hours_is_one_window() {
    let full = |begins: &[i64]| begins.iter().map(|begin| (*begin, LIMIT)).collect();
    assert_eq!(admitted("day", AUTUMN, -185, 10), full(&[-180 - 24 * 60, -180]));
    assert_eq!(admitted("day", AUTUMN, -65, 130), full(&[-180]));
    assert_eq!(admitted("day", AUTUMN, 22 * 60 - 65, 130), full(&[-180, 22 * 60]));
}

#[test]
fn each_hour_is_a_window_over_a_change_of_the_clocks() {
    for change in [SPRING, AUTUMN] {
        let hours = admitted("hour", change, -120, 240);
        let expected = [-120, -60, 0, 60].map(|begin| (begin, LIMIT));
        assert_eq!(hours, BTreeMap::from(expected), "{change:?}");
    }
}

#[test]
fn a_year_begun_long_ago_counts_to_its_end() {
    let new_year = Time::from_secs(1_830_294_000); // 2028 in Berlin
    let years = admitted("year", new_year, -3, 6);
    assert_eq!(years, BTreeMap::from([(-365 * 24 * 60, LIMIT), (0, LIMIT)]));
}

#[test]
fn a_group_with_a_schedule_counts_apart_while_it_holds() {
    // The agent's own clock is far off: the managers' decides.
    let document = json!({
        "name": "p", "level": "api", "limits": [{ "requests": 2, "calendar": "day" }],
        "groups": [{
            "name": "office",
            "during": { "timezone": "Europe/Berlin", "hours": "08:00-08:10" },
            "limits": [{ "requests": 3, "calendar": "day" }],
        }],
    });
    let policy = Policy::from_json(&document).unwrap_or_else(|e| panic!("{document}: {e}"));
    let eight = SPRING.as_secs() + 5 * 3_600;
    let mut pair = Pair::at(Time::from_secs(eight - 120), &[policy]);
    let mut admitted = BTreeMap::new();
    for _ in 0..15 {
        for _ in 0..5 {
            let verdict = pair.check(&Request::new(), 1);
            let limit = verdict.limit.as_ref().expect("a limit was met").limit_id().to_owned();
            let minutes = admitted.entry(limit).or_insert_with(Vec::new);
            let minute = (pair.now().as_secs() + 120 - eight) / 60;
            minutes.extend(verdict.allowed().then_some(minute));
        }
        pair.pass(MINUTE);
    }
    // The window is the day in both, but the group has a counter of its own, which was empty at eight;
    // what was used before is used after.
    let own = ("requests/day@UTC/fixed_window".to_owned(), vec![0, 0]);
    let office = ("office:requests/day@UTC/fixed_window".to_owned(), vec![2, 2, 2]);
    assert_eq!(admitted, BTreeMap::from([own, office]));
}
