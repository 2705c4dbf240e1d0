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

/// A group with this `during`, and further fields.
fn group(during: serde_json::Value, fields: serde_json::Value) -> serde_json::Value {
    let mut group = json!({ "during": during, "limits": [{ "requests": 1, "window": "1m" }] });
    for (name, value) in fields.as_object().unwrap() {
        group[name] = value.clone();
    }
    json!({ "groups": [group] })
}

#[test]
fn a_schedule_is_read_and_written() {
    let during = json!({
        "timezone": "europe/berlin", "weekdays": ["fri", "mon", "fri"], "hours": "22:00-06:00",
        "dates": ["2026-12-24..2026-12-26", "2027-01-01"],
    });
    let policy = Policy::from_json(&with(group(during, json!({ "when": "true" })))).unwrap();
    let written = policy.to_json();
    assert_eq!(
        written["groups"][0],
        json!({
            "when": "true",
            "during": {
                "timezone": "Europe/Berlin", "weekdays": ["mon", "fri"], "hours": "22:00-06:00",
                "dates": ["2026-12-24..2026-12-26", "2027-01-01"],
            },
            "limits": [{ "requests": 1, "window": "1m", "algorithm": "fixed_window" }],
        })
    );
    assert_eq!(Policy::from_json(&written), Ok(policy));
    let alone = Policy::from_json(&with(group(json!({ "hours": "08:00-18:00" }), json!({}))));
    let written = alone.unwrap().to_json();
    assert_eq!(
        written["groups"][0]["during"],
        json!({ "timezone": "UTC", "hours": "08:00-18:00" })
    );
}

#[test]
fn each_field_of_a_schedule_has_its_own_fault() {
    for (during, field, words) in [
        (json!("08:00-18:00"), "groups[0].during", "is not an object"),
        (json!({}), "groups[0].during", "at least one of weekdays, hours, dates"),
        (json!({ "timezone": "UTC" }), "groups[0].during", "at least one of weekdays, hours"),
        (
            json!({ "timezone": "Berlin", "hours": "08:00-18:00" }),
            "groups[0].during.timezone",
            "did you mean Europe/Berlin?",
        ),
        (json!({ "hours": "8-18" }), "groups[0].during.hours", "like \"08:00-18:00\""),
        (json!({ "hours": 8 }), "groups[0].during.hours", "is not text; give from when to when"),
        (json!({ "weekdays": "mon" }), "groups[0].during.weekdays", "is not a list"),
        (json!({ "weekdays": [] }), "groups[0].during.weekdays", "is empty"),
        (
            json!({ "weekdays": ["mon", "mondays"] }),
            "groups[0].during.weekdays[1]",
            "allowed are mon, tue, wed, thu, fri, sat, sun",
        ),
        (json!({ "dates": [] }), "groups[0].during.dates", "is empty"),
        (
            json!({ "dates": ["2027-02-29"] }),
            "groups[0].during.dates[0]",
            "the first and the last like 2026-12-24..2026-12-26",
        ),
        (json!({ "dates": vec!["2027-01-01"; 101] }), "groups[0].during.dates", "at most 100"),
        (
            json!({ "hour": "08:00-18:00", "dates": ["2027-01-01"] }),
            "groups[0].during.hour",
            "did you mean hours?",
        ),
    ] {
        let (at, _, message) = faults::fault(group(during.clone(), json!({})));
        assert_eq!(at, field, "{during}: {message}");
        assert!(message.contains(words), "{during}: {message}");
    }
    let (field, _, message) = faults::fault(group(json!(null), json!({})));
    assert_eq!(field, "groups[0].when");
    assert!(message.contains("or give during"), "{message}");
}
