//! Rules: how they are written, and which one a descriptor meets.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::json;

use super::*;

/// A policy for each rule; those that begin with `off ` are off.
fn rules(rules: &[&str]) -> Rules {
    let policy = |(n, rule): (usize, &&str)| {
        let (mode, rule) = rule.strip_prefix("off ").map_or(("enforce", *rule), |r| ("off", r));
        let condition = format!("request.rule == {}", json!(rule));
        Arc::new(
            Policy::from_json(&json!({
                "name": format!("p{n}"), "level": "custom", "match": condition, "mode": mode,
                "limits": [{ "requests": 1, "window": "1m" }],
            }))
            .unwrap(),
        )
    };
    Rules::of(&PolicySet::compile(1, rules.iter().enumerate().map(policy)))
}

fn find<'r>(rules: &'r Rules, descriptor: &[(&str, &str)]) -> Option<&'r str> {
    rules.find("d", descriptor.iter().copied())
}

#[test]
fn all_entries_must_fit_and_no_more() {
    let rules = rules(&["d|a=1|b", "d|b=2", "e|a"]);
    for (descriptor, met) in [
        (&[("a", "1"), ("b", "x")][..], Some("d|a=1|b")),
        (&[("a", "1"), ("b", "")], Some("d|a=1|b")),
        (&[("b", "2")], Some("d|b=2")),
        (&[("a", "1")], None),
        (&[("a", "1"), ("b", "x"), ("c", "")], None),
        (&[("b", "x"), ("a", "1")], None),
        (&[("a", "2"), ("b", "x")], None),
        (&[("b", "3")], None),
        (&[], None),
    ] {
        assert_eq!(find(&rules, descriptor), met, "{descriptor:?}");
    }
    assert_eq!(rules.find("e", [("a", "1")]), Some("e|a"));
    assert_eq!(rules.find("f", [("a", "1")]), None);
}

#[test]
fn values_beat_patterns_and_patterns_beat_bare_keys() {
    let rules =
        rules(&["d|k", "d|k=ab*", "d|k=a*", "d|k=abc", "d|k=*c", "d|k=off*", "off d|k=free"]);
    for (value, met) in [
        ("abc", Some("d|k=abc")),
        ("abd", Some("d|k=ab*")),
        ("ab", Some("d|k=ab*")),
        ("ad", Some("d|k=a*")),
        ("xc", Some("d|k=*c")),
        ("ac", Some("d|k=*c")),
        ("x", Some("d|k")),
        ("", Some("d|k")),
        ("free", Some("d|k=free")),
    ] {
        assert_eq!(find(&rules, &[("k", value)]), met, "{value}");
    }
}

#[test]
fn there_is_no_way_back_from_a_better_entry() {
    let rules = rules(&["d|k=v|x", "d|k|y", "d|k=v*|z"]);
    assert_eq!(find(&rules, &[("k", "v"), ("x", "1")]), Some("d|k=v|x"));
    assert_eq!(find(&rules, &[("k", "v"), ("y", "1")]), None, "v is better, and has no y");
    assert_eq!(find(&rules, &[("k", "w"), ("y", "1")]), Some("d|k|y"));
    assert_eq!(find(&rules, &[("k", "vw"), ("y", "1")]), None, "v* is better, and has no y");
}

#[test]
fn stars_stand_for_any_text() {
    for (pattern, fits, other) in [
        ("foo*", &["foo", "foobar"][..], &["fo", "xfoo"][..]),
        ("/api/*/action", &["/api/1/action", "/api//action", "/api/a/b/action"], &["/api/action"]),
        ("a*b*c", &["abc", "axbxc", "abbc"], &["ac", "acb", "abcd"]),
        ("*", &["", "x"], &[]),
        ("aa*aa", &["aaaa", "aabaa"], &["aaa"]),
    ] {
        let pattern = Pattern::like(pattern);
        fits.iter().for_each(|value| assert!(pattern.matches(value), "{pattern:?} {value}"));
        other.iter().for_each(|value| assert!(!pattern.matches(value), "{pattern:?} {value}"));
    }
}

#[test]
fn what_is_no_rule_is_refused() {
    for (text, error) in [
        ("", RuleError::Entries),
        ("d", RuleError::Entries),
        ("d|", RuleError::Empty),
        ("|a", RuleError::Empty),
        ("d|=v", RuleError::Empty),
        ("d|a\\", RuleError::Escape),
        (&format!("d{}", "|a".repeat(65)), RuleError::Entries),
        (&format!("d|{}", "a".repeat(1_023)), RuleError::TooLong),
    ] {
        assert_eq!(text.parse::<Rule>(), Err(error), "{text}");
    }
    assert!(rules(&["x|a"]).find("d", []).is_none());
}

#[test]
fn rules_in_all_comparisons_are_known() {
    let condition =
        "request.rule in ['d|a', 'd|b'] || request.rule != 'd|c' || 'd|x' in request.rules";
    let group =
        json!({ "when": "request.rule == 'd|e'", "limits": [{ "requests": 2, "window": "1m" }] });
    let policy = Policy::from_json(&json!({
        "name": "p", "level": "custom", "match": condition, "groups": [group],
        "limits": [{ "requests": 1, "window": "1m" }],
    }));
    let rules = Rules::of(&PolicySet::compile(1, [Arc::new(policy.unwrap())]));
    for key in ["a", "b", "c", "e"] {
        assert_eq!(find(&rules, &[(key, "1")]), Some(&*format!("d|{key}")));
    }
    assert!(rules.is_asked("d|x") && !rules.is_asked("d|a"));
    assert!(!rules.is_empty() && Rules::default().is_empty());
}

/// Some values that need escapes.
fn text() -> impl Strategy<Value = String> {
    vec(select(&["a", "b", "|", "=", "*", "\\", " ", "ü"][..]), 1..5)
        .prop_map(|parts| parts.concat())
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        Just(Pattern::any()),
        text().prop_map(|text| Pattern::exact(&text)),
        text().prop_map(|text| Pattern::like(&text)),
    ];
    (text(), value).prop_map(|(key, value)| Step { key, value })
}

proptest! {
    #[test]
    fn a_rule_reads_back_as_itself(domain in text(), steps in vec(step(), 1..4)) {
        let rule = Rule { domain, steps };
        prop_assert_eq!(rule.to_string().parse(), Ok(rule));
    }

    #[test]
    fn no_text_panics(text in "[ab|=*\\\\]{0,12}") {
        let _ = text.parse::<Rule>().map(|rule| rule.to_string());
        let policy = json!({
            "name": "p", "level": "deny", "match": format!("request.rule == {}", json!(text)),
        });
        if let Ok(policy) = Policy::from_json(&policy) {
            let _ = Rules::of(&PolicySet::compile(1, [Arc::new(policy)])).find("a", [("b", "a")]);
        }
    }

    #[test]
    fn a_pattern_fits_as_a_regular_expression_does(pattern in "[ab*]{0,6}", value in "[ab]{0,8}") {
        let regex = format!("^{}$", pattern.replace('*', ".*"));
        let expected = regex::Regex::new(&regex).unwrap().is_match(&value);
        prop_assert_eq!(Pattern::like(&pattern).matches(&value), expected);
    }
}
