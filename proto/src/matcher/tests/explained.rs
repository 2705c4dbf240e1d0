//! Why policies are met or not, in words.

use super::{
    explain::{Finding, explain},
    *,
};

fn look(set: &PolicySet, request: &Request<'_>, time: u64) -> Vec<Finding> {
    explain(set, request, Time::from_secs(time))
}

/// `name: cause, reason` of each policy that is not met, and `name: group` of each that is.
fn told(findings: &[Finding]) -> Vec<String> {
    let told = |finding: &Finding| {
        let name = &finding.policy.name;
        match &finding.outcome {
            Ok(met) => format!("{name}: {}", met.group.as_deref().unwrap_or("its own limits")),
            Err(why) => format!("{name}: {}, {why}", why.cause()),
        }
    };
    findings.iter().map(told).collect()
}

#[test]
fn those_that_are_met_come_first_and_the_others_say_why() {
    let set = set([
        policy("off", "api", json!({ "mode": "off" })),
        policy("shadow", "api", json!({ "mode": "shadow" })),
        policy("other", "api", json!({ "match": "request.api == 'users'" })),
        policy("nobody", "custom", json!({ "match": "request.user == 'anna'" })),
        policy("keyless", "custom", json!({ "key": ["api", "user"] })),
        policy("wrong", "custom", json!({ "match": "cidr(\"10.0.0.0/8\").contains(request.api)" })),
        policy("denies", "deny", json!({})),
    ]);
    let findings = look(&set, &Request::new().api("orders"), 0);
    let told = told(&findings);
    assert_eq!(
        told[..6],
        [
            "denies: its own limits",
            "shadow: its own limits",
            "off: off, its mode is off",
            "other: condition_false, match is false",
            "keyless: attribute_absent, key[1] has no value: request.user is absent",
            "nobody: attribute_absent, match has no value: request.user is absent",
        ]
    );
    assert!(told[6].starts_with("wrong: error, match has no value: "), "{}", told[6]);
    let denies = findings[0].outcome.as_ref().unwrap();
    assert!(denies.limits.is_empty());
}

#[test]
fn groups_that_do_not_apply_say_why() {
    let limits = json!([{ "requests": 1, "window": "1h" }]);
    let office = json!({ "hours": "08:00-18:00" });
    let set = set([policy(
        "p",
        "api",
        json!({ "key": ["api"], "groups": [
            { "name": "vip", "when": "request.user == 'anna'", "limits": limits },
            { "name": "office", "during": office, "limits": limits },
            { "when": "request.api == 'users'", "limits": limits },
            { "name": "rest", "when": "true", "limits": limits },
        ] }),
    )]);
    let request = Request::new().api("orders");
    let night = look(&set, &request, 0).remove(0).outcome.unwrap();
    let reasons: Vec<String> =
        night.passed_over.iter().map(|(group, why)| format!("{group}: {why}")).collect();
    assert_eq!(
        reasons,
        [
            "vip: when has no value: request.user is absent",
            "office: it is not the time of during",
            "group-3: when is false",
        ]
    );
    assert_eq!(night.group.as_deref(), Some("rest"));
    assert_eq!(night.limits[0].1.to_string(), "p rest:requests/1h/fixed_window [orders]");
    let noon = look(&set, &request, 12 * 3_600).remove(0).outcome.unwrap();
    assert_eq!((noon.group.as_deref(), noon.passed_over.len()), (Some("office"), 1));
}
