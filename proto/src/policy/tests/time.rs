//! Calendar windows in policies.

use super::{
    faults::{check, limit},
    *,
};

fn policy_with(limits: serde_json::Value) -> Policy {
    Policy::from_json(&with(json!({ "limits": limits }))).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn a_calendar_is_read_and_written_with_its_zone() {
    let policy = policy_with(json!([
        { "requests": 1, "calendar": "hour" },
        { "requests": 1, "calendar": "day", "timezone": "europe/berlin" },
        { "requests": 1, "calendar": "month", "algorithm": "fixed_window", "timezone": null },
    ]));
    let ids: Vec<String> = policy.all_limits().map(|(id, _)| id).collect();
    assert_eq!(
        ids,
        [
            "requests/hour@UTC/fixed_window",
            "requests/day@Europe/Berlin/fixed_window",
            "requests/month@UTC/fixed_window",
        ]
    );
    let written = policy.to_json();
    assert_eq!(
        written["limits"][1],
        json!({
            "requests": 1, "calendar": "day", "timezone": "Europe/Berlin", "algorithm": "fixed_window",
        })
    );
    assert_eq!(Policy::from_json(&written), Ok(policy));
}

#[test]
fn days_of_two_zones_and_of_24_hours_are_counted_apart() {
    let policy = policy_with(json!([
        { "requests": 1, "window": "1d" },
        { "requests": 1, "calendar": "day" },
        { "requests": 1, "calendar": "day", "timezone": "Asia/Tokyo" },
    ]));
    assert_eq!(policy.limits.len(), 3);
}

#[test]
fn each_field_of_a_calendar_has_its_own_fault() {
    check([
        (
            limit(json!({ "requests": 1, "calendar": "fortnight" })),
            "limits[0].calendar",
            "\"fortnight\"",
            "allowed are hour, day, week, month, year",
        ),
        (
            limit(json!({ "requests": 1, "calendar": "days" })),
            "limits[0].calendar",
            "\"days\"",
            "did you mean day?",
        ),
        (limit(json!({ "requests": 1, "calendar": 1 })), "limits[0].calendar", "1", "is not text"),
        (
            limit(json!({ "requests": 1, "calendar": "day", "window": "1d" })),
            "limits[0].window",
            "\"1d\"",
            "cannot be given beside calendar",
        ),
        (
            limit(json!({ "requests": 1, "window": "1d", "timezone": "UTC" })),
            "limits[0].timezone",
            "\"UTC\"",
            "belongs to a calendar",
        ),
        (
            limit(json!({ "requests": 1, "calendar": "day", "algorithm": "sliding_window" })),
            "limits[0].algorithm",
            "\"sliding_window\"",
            "does not go with calendar, whose windows begin empty; give fixed_window",
        ),
        (
            limit(json!({ "requests": 1, "calender": "day", "window": "1d" })),
            "limits[0].calender",
            "\"day\"",
            "did you mean calendar?",
        ),
    ]);
}

#[test]
fn near_zones_are_proposed_for_an_unknown_one() {
    let zone =
        |zone: &'static str| limit(json!({ "requests": 1, "calendar": "day", "timezone": zone }));
    for (name, words) in [
        ("Berlin", "did you mean Europe/Berlin?"),
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("New York", "did you mean America/New_York?"),
        ("CEST", "give a name of the IANA time zone database, like Europe/Berlin or UTC"),
        ("+02:00", "give a name of the IANA time zone database"),
    ] {
        let (field, _, message) = faults::fault(zone(name));
        assert_eq!(field, "limits[0].timezone");
        assert!(message.to_lowercase().contains(&words.to_lowercase()), "{name}: {message}");
    }
}
