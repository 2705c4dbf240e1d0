//! What is wrong is said with its path, all at once.

use super::*;

/// `field|value|message` of each fault of a policy.
fn faults(policy: &serde_json::Value) -> Vec<(String, String, String)> {
    let errors = Policy::from_json(policy).expect_err("must be refused");
    errors.0.into_iter().map(|e| (e.field, e.value, e.message)).collect()
}

/// The one fault of a policy with these changes.
pub(super) fn fault(changes: serde_json::Value) -> (String, String, String) {
    let mut all = faults(&with(changes));
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// Changes to the good policy, then the field, the value and words of the message of their fault.
pub(super) type Case<'a> = (serde_json::Value, &'a str, &'a str, &'a str);

pub(super) fn check(cases: impl IntoIterator<Item = Case<'static>>) {
    for (changes, field, value, words) in cases {
        let (at, excerpt, message) = fault(changes);
        assert_eq!((at.as_str(), excerpt.as_str()), (field, value), "{message}");
        assert!(message.contains(words), "{field}: {message}");
    }
}

/// A change to one limit.
pub(super) fn limit(limit: serde_json::Value) -> serde_json::Value {
    json!({ "limits": [limit] })
}

#[test]
fn each_field_of_a_policy_has_its_own_fault() {
    check([
        (json!({ "name": null }), "name", "", "is missing; give each policy a unique name"),
        (json!({ "name": "a b" }), "name", "\"a b\"", "is not a name; use 1 to 128 letters"),
        (json!({ "name": 7 }), "name", "7", "is not text"),
        (json!({ "level": null }), "level", "", "give one of deny, api, resource"),
        (json!({ "level": "apis" }), "level", "\"apis\"", "did you mean api?"),
        (json!({ "mode": "on" }), "mode", "\"on\"", "allowed are enforce, shadow, off"),
        (json!({ "mode": false }), "mode", "false", "is not text"),
        (json!({ "on_limit": "drop" }), "on_limit", "\"drop\"", "allowed are reject, allow"),
        (json!({ "accuracy": "hybrid" }), "accuracy", "\"hybrid\"", "auto, strict, balanced"),
        (json!({ "on_disconnect": "close" }), "on_disconnect", "\"close\"", "mean closed?"),
        (json!({ "max_wait": "2s" }), "max_wait", "\"2s\"", "is not a wait"),
        (json!({ "max_wait": 5 }), "max_wait", "5", "is not a wait"),
        (json!({ "match": "request.aip == 1" }), "match", "\"request.aip == 1\"", "(column 8)"),
        (json!({ "match": "request.api" }), "match", "\"request.api\"", "is not a condition"),
        (json!({ "limit": [] }), "limit", "[…]", "unknown field; did you mean limits?"),
        (json!({ "colour": 1 }), "colour", "1", "unknown field; known are name, level, match"),
        (json!({ "limits": null }), "limits", "", "is missing; give at least one"),
        (json!({ "limits": [] }), "limits", "[…]", "is empty"),
        (json!({ "limits": {} }), "limits", "{…}", "is not a list"),
        (json!({ "key": "api" }), "key", "\"api\"", "is not a list"),
        (json!({ "key": ["api", "usr"] }), "key[1]", "\"usr\"", "unknown attribute \"usr\"; known"),
        (json!({ "key": ["f(x)"] }), "key[0]", "\"f(x)\"", "unknown function f"),
        (json!({ "key": vec!["api"; 17] }), "key", "[…]", "has 17 entries; at most 16"),
    ]);
}

#[test]
fn each_field_of_a_limit_has_its_own_fault() {
    check([
        (limit(json!(5)), "limits[0]", "5", "is not an object"),
        (limit(json!({ "window": "1m" })), "limits[0].requests", "", "is missing; say how many"),
        (limit(json!({ "requests": 1 })), "limits[0].window", "", "is missing; say in which span"),
        (
            limit(json!({ "requests": -1, "window": "1m" })),
            "limits[0].requests",
            "-1",
            "whole number",
        ),
        (limit(json!({ "requests": 1.5, "window": "1m" })), "limits[0].requests", "1.5", "whole"),
        (
            limit(json!({ "requests": MAX_AMOUNT + 1, "window": "1m" })),
            "limits[0].requests",
            "281474976710656",
            "from 0 to 281474976710655",
        ),
        (
            limit(json!({ "requests": "infinite", "window": "1m" })),
            "limits[0].requests",
            "\"infinite\"",
            "or unlimited",
        ),
        (
            limit(json!({ "requests": 1, "window": "1 m" })),
            "limits[0].window",
            "\"1 m\"",
            "a duration",
        ),
        (
            limit(json!({ "requests": 1, "window": "366d" })),
            "limits[0].window",
            "\"366d\"",
            "1s to 365d",
        ),
        (
            limit(json!({ "requests": 1, "windw": "1m", "window": "1m" })),
            "limits[0].windw",
            "\"1m\"",
            "mean window?",
        ),
    ]);
}

#[test]
fn each_kind_of_limit_has_its_own_faults() {
    let minute = |field: &str, value: serde_json::Value| {
        let mut body = json!({ "window": "1m" });
        body[field] = value;
        limit(body)
    };
    check([
        (
            minute("bandwidth", json!("10 mib")),
            "limits[0].bandwidth",
            "\"10 mib\"",
            "bytes like 10MiB",
        ),
        (minute("tokens", json!("10KB")), "limits[0].tokens", "\"10KB\"", "is not a whole number"),
        (minute("amount", json!("books")), "limits[0].amount", "\"books\"", "is not an object"),
        (
            minute("amount", json!({ "name": "requests", "value": 1 })),
            "limits[0].amount.name",
            "\"requests\"",
            "is not the name of an amount",
        ),
        (
            minute("amount", json!({ "name": "books" })),
            "limits[0].amount.value",
            "",
            "is missing; say how much",
        ),
        (
            limit(json!({ "requests": 1, "tokens": 2, "window": "1m" })),
            "limits[0].tokens",
            "2",
            "comes beside requests; a limit counts one unit",
        ),
        (limit(json!({ "window": "1m" })), "limits[0].requests", "", "is missing; say how many"),
    ]);
}

#[test]
fn leases_and_bursts_have_their_places() {
    let bucket = |burst: serde_json::Value| {
        limit(
            json!({ "requests": 200, "window": "1s", "burst": burst, "algorithm": "token_bucket" }),
        )
    };
    check([
        (
            limit(json!({ "concurrency": 5, "window": "1m" })),
            "limits[0].window",
            "\"1m\"",
            "does not belong to concurrency, which has a lease",
        ),
        (
            limit(json!({ "requests": 5, "window": "1m", "lease": "1m" })),
            "limits[0].lease",
            "\"1m\"",
            "belongs to a limit of concurrency",
        ),
        (
            limit(json!({ "requests": 5, "window": "1m", "burst": 9 })),
            "limits[0].burst",
            "9",
            "belongs to algorithm: token_bucket",
        ),
        (
            limit(json!({ "errors": 5, "window": "1m", "algorithm": "token_bucket" })),
            "limits[0].algorithm",
            "\"token_bucket\"",
            "allowed are fixed_window, sliding_window",
        ),
        (bucket(json!(0)), "limits[0].burst", "0", "holds nothing"),
        (
            bucket(json!(1_000_000_000_000u64)),
            "limits[0].burst",
            "1000000000000",
            "fills within 365d",
        ),
    ]);
}

#[test]
fn overrides_change_limits_that_there_are() {
    let with_key =
        |overrides: serde_json::Value| json!({ "key": ["application"], "overrides": overrides });
    let one = |requests: u64, window: &str| json!([{ "requests": requests, "window": window }]);
    check([
        (
            with_key(json!([{ "key": ["a", "b"], "limits": one(5, "1m") }])),
            "overrides[0].key",
            "[…]",
            "has 2 values; the policy's key has 1",
        ),
        (
            with_key(json!([{ "key": ["a"], "limits": one(5, "2m") }])),
            "overrides[0].limits[0]",
            "{…}",
            "which are requests/1m/fixed_window",
        ),
        (with_key(json!([{ "limits": one(5, "1m") }])), "overrides[0].key", "", "is missing"),
        (
            with_key(
                json!([{ "key": ["a"], "limits": one(5, "1m") }, { "key": ["a"], "limits": [] }]),
            ),
            "overrides[1]",
            "[…]",
            "has the key of an earlier override",
        ),
        (json!({ "parent": "p" }), "parent", "\"p\"", "is this policy itself"),
    ]);
}

#[test]
fn an_override_takes_the_algorithm_of_the_limit_that_it_changes() {
    let sliding = json!({ "requests": 5, "window": "1m", "algorithm": "sliding_window" });
    let other = json!([{ "key": ["a"], "limits": [{ "requests": 7, "window": "1m" }] }]);
    let fields = json!({ "key": ["application"], "limits": [sliding], "overrides": other });
    let policy = Policy::from_json(&with(fields)).unwrap();
    assert_eq!(policy.overrides[0].limits[0].id(), policy.limits[0].id());
    assert_eq!(policy.overrides[0].limits[0].amount, 7);
}

#[test]
fn twins_are_refused() {
    let minute = json!({ "requests": 1, "window": "1m" });
    let same = json!({ "requests": 2, "window": "60s", "algorithm": "fixed_window" });
    let (field, _, message) = fault(json!({ "limits": [minute, same] }));
    assert_eq!(field, "limits[1]");
    assert!(message.contains("requests/1m/fixed_window"), "{message}");

    let group =
        |name: serde_json::Value| json!({ "name": name, "when": "true", "limits": [minute] });
    let (field, ..) = fault(json!({ "groups": [group(json!("a")), group(json!("a"))] }));
    assert_eq!(field, "groups[1]");
    let (field, ..) = fault(json!({ "groups": [group(json!("group-2")), group(json!(null))] }));
    assert_eq!(field, "groups[1]");
    let (field, ..) = fault(json!({ "groups": [{ "when": "true", "limits": [] }] }));
    assert_eq!(field, "groups[0].limits");
    let (field, ..) = fault(json!({ "groups": [{ "limits": [minute] }] }));
    assert_eq!(field, "groups[0].when");
}

#[test]
fn a_deny_policy_counts_nothing() {
    let all = faults(&with(json!({ "level": "deny", "key": ["api"], "groups": [] })));
    let fields: Vec<&str> = all.iter().map(|(field, ..)| field.as_str()).collect();
    assert_eq!(fields, ["key", "limits", "groups"], "{all:?}");
    assert!(Policy::from_json(&json!({ "name": "d", "level": "deny" })).is_ok());
}

#[test]
fn every_fault_of_a_document_is_reported() {
    let text = r"
apiVersion: weir/v1
policies:
  - { name: a, level: api, limits: [{ requests: 1, window: 1m }] }
  - { name: a, level: apy, limits: [{ requests: 1, window: 1x }, { requests: x, window: 1m }] }
  - 17
  - { name: b, level: api, limits: [{ requests: 1, window: 1m }], groups: [{ when: '((', limits: 3 }] }
";
    let errors = parse_document(text).unwrap_err();
    let fields: Vec<&str> = errors.0.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "policies[1].level",
            "policies[1].limits[0].window",
            "policies[1].limits[1].requests",
            "policies[1].name",
            "policies[2]",
            "policies[3].groups[0].when",
            "policies[3].groups[0].limits",
        ]
    );
    let printed = errors.to_string();
    let line = "policies[1].limits[0].window = \"1x\" is not a duration; write it like 1s, 90s, 5m";
    assert!(printed.lines().any(|l| l.starts_with(line)), "{printed}");
    assert!(printed.contains("is the name of policies[0], too"), "{printed}");
}

#[test]
fn envelopes_are_checked() {
    for (text, field, words) in [
        ("policies: []", "apiVersion", "is missing; give weir/v1"),
        ("{apiVersion: weir/v2, policies: []}", "", "is not valid JSON"),
        ("apiVersion: weir/v2\npolicies: []", "apiVersion", "is unknown; give weir/v1"),
        ("apiVersion: weir/v1", "policies", "is missing"),
        ("apiVersion: weir/v1\npolicies: 1", "policies", "is not a list of policies"),
        ("apiVersion: weir/v1\npolicies: []\nkind: x", "kind", "is an unknown field"),
        ("[1, 2]", "", "is not an object"),
        ("", "", "is not an object"),
        ("a: [", "", "is not valid YAML"),
        ("name: a\nname: b", "", "duplicate"),
        (
            "name: a\nlevel: !tag a",
            "",
            "level: a tag, like !this, which JSON cannot express at line 2",
        ),
        ("? [a]\n: b", "", "JSON cannot express"),
        ("a: .nan", "", "a: NaN is no number that JSON can express at line 1 column 4"),
    ] {
        let errors = parse_document(text).expect_err(text);
        let [first, ..] = errors.0.as_slice() else { panic!("{text}") };
        assert_eq!(first.field, field, "{text}: {first}");
        assert!(first.to_string().contains(words), "{text}: {first}");
    }
    let mut bomb = "x0: &x0 [x]\n".to_owned();
    for n in 1..30 {
        bomb += &format!("x{n}: &x{n} [{}]\n", vec![format!("*x{}", n - 1); 9].join(","));
    }
    assert!(parse_document(&bomb).unwrap_err().to_string().contains("not valid YAML"));
    let deep = "[".repeat(100_000);
    let nested = "- ".repeat(20_000);
    assert!(parse_document(&nested).unwrap_err().to_string().contains("not valid YAML"));
    assert!(parse_document(&deep).unwrap_err().to_string().contains("not valid YAML"));
    let too_long = " ".repeat(MAX_DOCUMENT_BYTES + 1);
    assert!(parse_document(&too_long).unwrap_err().to_string().contains("at most"));
}

#[test]
fn aliases_count_as_what_they_repeat() {
    let repeated = |item: &str, times: usize| {
        let list = |item: &str| vec![item; times].join(",");
        format!("a: &a [{}]\nb: [{}]\n", list(item), list("*a"))
    };
    // 10,000 jumps to 5,000 values, which would take gigabytes.
    let long = vec!["1"; 5_000].join(",");
    let wide = format!("a: &a [{long}]\nb: [{}]\n", vec!["*a"; 10_000].join(","));
    let texts = repeated(&"x".repeat(1_000), 100);
    let cycle = format!("&a [{}]", vec!["*a"; 100].join(","));
    for text in [repeated("1", 5_000), wide, texts] {
        let fault = parse_document(&text).unwrap_err().to_string();
        assert!(fault.contains("aliases repeat more"), "{fault}");
        assert!(fault.contains(" at line 1 column "), "it says where: {fault}");
    }
    assert!(read_yaml(&cycle).unwrap_err().contains("recursion limit"));
    let once = "name: a\nlevel: api\nlimits: &few [{requests: 1, window: 1m}]\n\
                groups: [{when: request.api == 'a', limits: *few}]\n";
    assert_eq!(parse_document(once).unwrap()[0].groups.len(), 1, "they may be used");
    let many = read_yaml(&repeated("1", 400)).unwrap();
    assert_eq!(many["b"][399][399], 1);
    // What costs the most for its length.
    for part in ["{},", "a: ,", "'',", "\"\\L\",", "~,"] {
        let read = read_yaml(&format!("[{}]", part.repeat(300_000)));
        assert!(read.is_ok(), "no aliases, no bound: {part} {read:?}");
    }
}

#[test]
fn messages_about_yaml_are_short() {
    let name = "n".repeat(100_000);
    let fault = read_yaml(&format!("? {name}\n: 1\n? {name}\n: 2\n")).unwrap_err();
    assert!(fault.chars().count() < 400, "{} characters", fault.chars().count());
    assert!(fault.ends_with(" at line 1 column 1"), "it still says where: {fault}");
}

#[test]
fn faults_are_cut_to_a_hundred_lines() {
    let policies = vec![json!({ "x".repeat(500): "é".repeat(500) }); 500];
    let document = json!({ "apiVersion": "weir/v1", "policies": policies });
    let errors = parse_document(&document.to_string()).unwrap_err();
    assert_eq!(errors.0.len(), 100);
    assert!(errors.0.iter().all(|e| e.value.chars().count() <= 81));
}
