//! Files of Envoy's service.

use super::*;

/// Around a list of descriptors.
fn file(descriptors: &str) -> String {
    format!("domain: d\ndescriptors:\n{descriptors}")
}

const LIMITS: &[Case<'_>] = &[
    // The documentation's second example.
    (
        "domain: messaging
descriptors:
  - key: message_type
    value: marketing
    descriptors:
      - key: to_number
        rate_limit: { unit: day, requests_per_unit: 5 }
  - key: to_number
    rate_limit: { unit: day, requests_per_unit: 100 }
",
        &[
            r#"messaging.message_type.marketing.to_number: request.rule == "messaging|message_type=marketing|to_number" [descriptors[0].to_number] 5/1d"#,
            r#"messaging.to_number: request.rule == "messaging|to_number" [descriptors[0].to_number] 100/1d"#,
        ],
        &[],
    ),
    // Units, in any case; a limit and nested ones beside each other.
    (
        "domain: d
descriptors:
- {key: a, value: '1', rate_limit: {unit: SECOND, requests_per_unit: 1}}
- {key: b, value: '1', rate_limit: {unit: Minute, requests_per_unit: 0}}
- {key: c, value: 1, rate_limit: {unit: hour, requests_per_unit: 4294967295}}
- key: e
  value: 1
  rate_limit: {unit: week, requests_per_unit: 1}
  descriptors: [{key: f, value: 2, rate_limit: {unit: month, requests_per_unit: 2}}]
- {key: g, value: x y, rate_limit: {unit: year, requests_per_unit: 1}}
",
        &[
            r#"d.a.1: request.rule == "d|a=1" [] 1/1s"#,
            r#"d.b.1: request.rule == "d|b=1" [] 0/1m"#,
            r#"d.c.1: request.rule == "d|c=1" [] 4294967295/1h"#,
            r#"d.e.1: request.rule == "d|e=1" [] 1/7d"#,
            r#"d.e.1.f.2: request.rule == "d|e=1|f=2" [] 2/30d"#,
            r#"d.g.x-y-ff342fc0: request.rule == "d|g=x y" [] 1/365d"#,
        ],
        &[],
    ),
    // Unlimited and unlisted values, which keep the bare key's limit away.
    (
        "domain: d
descriptors:
- {key: k, rate_limit: {unit: minute, requests_per_unit: 9}}
- {key: k, value: free, rate_limit: {unlimited: true}}
- {key: k, value: known}
- {key: k, value: deep, descriptors: [{key: x}]}
- {key: alone, value: v}
",
        &[
            r#"d.k: request.rule == "d|k" [descriptors[0].k] 9/1m"#,
            r#"d.k.free: request.rule == "d|k=free" [] unlimited"#,
            r#"d.k.known (off): request.rule == "d|k=known" [] unlimited"#,
            r#"d.k.deep.x (off): request.rule == "d|k=deep|x" [] unlimited"#,
        ],
        &[],
    ),
    // Shadow mode; metrics and metadata are named and change nothing.
    (
        "domain: d
descriptors:
- key: service
  descriptors:
  - {key: user, value: a, shadow_mode: true, rate_limit: {unit: second, requests_per_unit: 10}}
  - {key: user, value: b, detailed_metric: true, value_to_metric: yes, rate_limit: {unit: second, requests_per_unit: 20}}
- key: q
  metadata: {any: [thing, {1: 2}]}
  rate_limit: {unit: second, requests_per_unit: 1}
",
        &[
            r#"d.service.user.a (shadow): request.rule == "d|service|user=a" [descriptors[0].service] 10/1s"#,
            r#"d.service.user.b: request.rule == "d|service|user=b" [descriptors[0].service] 20/1s"#,
            r#"d.q: request.rule == "d|q" [descriptors[0].q] 1/1s"#,
        ],
        &[
            r#"Note 6 descriptors[0].descriptors[1].detailed_metric "true" names a metric"#,
            r#"Note 6 descriptors[0].descriptors[1].value_to_metric"#,
            r#"Note 8 descriptors[1].metadata "{…}" is not sent"#,
        ],
    ),
    // Patterns, shared or for each value; a key that comes twice.
    (
        "domain: d
descriptors:
- {key: files, value: 'files/*', share_threshold: true, rate_limit: {unit: hour, requests_per_unit: 10}}
- {key: path, value: '/api/*/action', rate_limit: {unit: minute, requests_per_unit: 20}}
- key: k
  value: top/*
  share_threshold: true
  descriptors:
  - {key: k, value: nested/*, rate_limit: {unit: minute, requests_per_unit: 300}}
",
        &[
            r#"d.files.files-7e2cc365: request.rule == "d|files=files/*" [] 10/1h"#,
            r#"d.path.api-action-f9c51b2b: request.rule == "d|path=/api/*/action" [descriptors[0].path] 20/1m"#,
            r#"d.k.top.k.nested-5bec5fe6: request.rule == "d|k=top/*|k=nested/*" [descriptors[0]["k[1]"]] 300/1m"#,
        ],
        &[],
    ),
    // A limit that takes the place of others.
    (
        "domain: d
descriptors:
- key: a
  value: 1
  rate_limit: {name: specific, unit: second, requests_per_unit: 5}
- key: b
  value: 2
  rate_limit: {replaces: [{name: specific}, {name: nobody}], unit: second, requests_per_unit: 10}
- key: c
  rate_limit: {unlimited: true, replaces: [{name: specific}]}
",
        &[
            r#"d.a.1: request.rule == "d|a=1" && !("d|b=2" in request.rules) && !("d|c" in request.rules) [] 5/1s"#,
            r#"d.b.2: request.rule == "d|b=2" [] 10/1s"#,
            r#"d.c: request.rule == "d|c" [] unlimited"#,
        ],
        &[],
    ),
    // Characters that rules, CEL and names need care with.
    (
        r#"domain: d|x
descriptors:
- {key: a=b, value: "c\"d\\e", rate_limit: {unit: second, requests_per_unit: 1}}
- {key: 'a.b', rate_limit: {unit: second, requests_per_unit: 2}}
- {key: a, value: b, rate_limit: {unit: second, requests_per_unit: 3}}
- {key: "it's", rate_limit: {unit: second, requests_per_unit: 4}}
"#,
        &[
            r#"d-x.a-b.c-d-e-71d395d4: request.rule == "d\\|x|a\\=b=c\"d\\\\e" [] 1/1s"#,
            r#"d-x.a.b-7386381c: request.rule == "d\\|x|a.b" [descriptors[0]["a.b"]] 2/1s"#,
            r#"d-x.a.b-728c0993: request.rule == "d\\|x|a=b" [] 3/1s"#,
            r#"d-x.it-s-23899ac8 (off): request.rule == "d\\|x|it's" [] unlimited"#,
        ],
        &["NoEquivalent 6 descriptors[3] \"it's\" has no equivalent: a policy cannot name a key"],
    ),
];

#[test]
fn limits_become_policies() {
    check_all(Format::Envoy, LIMITS);
}

/// Descriptors, and what is found; whatever is found, no policy may be wrong.
const FINDINGS: &[(&str, &[&str])] = &[
    (
        "- {key: k, quota_mode: true, rate_limit: {unit: minute, requests_per_unit: 1}}",
        &[
            r#"NoEquivalent 3 descriptors[0].quota_mode "true" has no equivalent: Weir refuses as soon"#,
        ],
    ),
    (
        "- {key: 'k*', rate_limit: {unit: minute, requests_per_unit: 1}}",
        &[r#"NoEquivalent 3 descriptors[0].key "k*" has no equivalent: a pattern for keys"#],
    ),
    (
        "- {key: k, value: 'a*', rate_limit: {unit: minute, requests_per_unit: 1}}
- {key: k, value: 'ab*', rate_limit: {unit: minute, requests_per_unit: 2}}",
        &[r#"Note 4 descriptors[1].value "ab*" is never reached: "a*" in line 3 is asked first"#],
    ),
    (
        "- {key: k, value: 'a*', rate_limit: {unit: minute, requests_per_unit: 1}}
- {key: k, value: '*bbb', rate_limit: {unit: minute, requests_per_unit: 2}}
- {key: k, value: 'c*', rate_limit: {unit: minute, requests_per_unit: 2}}",
        &[
            r#"NoEquivalent 4 descriptors[1].value "*bbb" has no equivalent: values that fit "a*" in line 3"#,
        ],
    ),
    (
        "- {key: k}\n- {key: k_local, rate_limit: {unit: minute, requests_per_unit: 1}}",
        &[r#"Note 4 descriptors[1] "k_local" also fits the entry k=local there"#],
    ),
    (
        "- {key: k, value: v}\n- {key: k, value: v}\n- {key: k_v}",
        &[
            r#"Invalid 4 descriptors[1] "k_v" is there twice"#,
            r#"Invalid 5 descriptors[2] "k_v" is there twice"#,
        ],
    ),
    (
        "- {value: v}\n- {key: ''}\n- a\n- []",
        &[
            "Invalid 3 descriptors[0].key \"\" is missing or empty",
            "Invalid 4 descriptors[1].key \"\" is missing or empty",
            "Invalid 5 descriptors[2] \"a\" is not a map",
            "Invalid 6 descriptors[3] \"[…]\" is not a map",
        ],
    ),
    (
        "- key: k\n  ratelimit: {}\n- key: l\n  rate_limit: {unit: day, requestsperunit: 5}",
        &[
            "Invalid 4 descriptors[0].ratelimit \"{…}\" is an unknown field; known are key, value",
            "Invalid 6 descriptors[1].rate_limit.requestsperunit \"5\" is an unknown field",
            "Note 6 descriptors[1].rate_limit.requests_per_unit \"\" is missing, which counts as 0",
        ],
    ),
    (
        "- key: k\n  rate_limit: {unit: fortnight, requests_per_unit: 5}\n- {key: l, rate_limit: {}}",
        &[
            "Invalid 4 descriptors[0].rate_limit.unit \"fortnight\" is missing or no unit; known are second",
            "Invalid 5 descriptors[1].rate_limit.unit \"\" is missing or no unit",
        ],
    ),
    (
        "- {key: k, rate_limit: {unlimited: true, unit: day, requests_per_unit: 25}}",
        &["Invalid 3 descriptors[0].rate_limit.unit \"day\" must not be given when unlimited is"],
    ),
    (
        "- {key: k, rate_limit: {unit: day, requests_per_unit: -1}}
- {key: l, rate_limit: {unit: day, requests_per_unit: 4294967296}}
- {key: m, rate_limit: {unit: day, requests_per_unit: 1.5}}
- {key: n, rate_limit: {unit: day, requests_per_unit: '7'}}",
        &[
            "Invalid 3 descriptors[0].rate_limit.requests_per_unit \"-1\" is not a whole number from 0 to 4294967295",
            "Invalid 4 descriptors[1].rate_limit.requests_per_unit \"4294967296\"",
            "Invalid 5 descriptors[2].rate_limit.requests_per_unit \"1.5\"",
            "Invalid 6 descriptors[3].rate_limit.requests_per_unit \"7\"",
        ],
    ),
    (
        "- {key: k, rate_limit: {name: self, replaces: [{name: self}, {name: }, {nam: x}], unit: day, requests_per_unit: 1}}",
        &[
            "Invalid 3 descriptors[0].rate_limit.replaces[0].name \"self\" is the name of this very limit",
            "Invalid 3 descriptors[0].rate_limit.replaces[1].name \"\" is missing or empty",
            "Invalid 3 descriptors[0].rate_limit.replaces[2].nam \"x\" is an unknown field",
            "Invalid 3 descriptors[0].rate_limit.replaces[2].name \"\" is missing or empty",
        ],
    ),
    (
        "- {key: k, value: v, share_threshold: true}\n- {key: l, shadow_mode: maybe}",
        &[
            "Invalid 3 descriptors[0].share_threshold \"true\" shares the limit of values",
            "Invalid 4 descriptors[1].shadow_mode \"maybe\" is neither true nor false",
        ],
    ),
    (
        "- {key: k, key: l}\n- {key: [a]}\n- {0.25: x, key: m}",
        &[
            "Invalid 3 descriptors[0].key \"l\" is given twice",
            "Invalid 4 descriptors[1].key \"[…]\" is not text",
            "Invalid 4 descriptors[1].key \"\" is missing",
            "Invalid 5 descriptors[2] \"0.25\" is a field whose name is not text",
        ],
    ),
];

#[test]
fn what_has_no_equivalent_or_no_sense_is_named_with_its_line() {
    let mut faults = Vec::new();
    for (descriptors, findings) in FINDINGS {
        let (_, told) = translate_one(Format::Envoy, &file(descriptors));
        let named = told.iter().zip(*findings).all(|(told, part)| told.contains(part));
        if told.len() != findings.len() || !named {
            faults.push(format!("{descriptors}\n{told:#?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn what_is_left_out_still_keeps_wider_limits_away() {
    let text = file(
        "- {key: k, rate_limit: {unit: day, requests_per_unit: 1}}
- {key: k, value: v, quota_mode: true, rate_limit: {unit: day, requests_per_unit: 5}}",
    );
    let translation = translate(Format::Envoy, &[Source { name: "f", text: &text }]);
    assert_eq!((translation.faults(false).count(), translation.faults(true).count()), (1, 0));
    let lines: Vec<String> = translation.policies.iter().map(summary).collect();
    assert_eq!(lines[1], r#"d.k.v (off): request.rule == "d|k=v" [] unlimited"#);
}

#[test]
fn several_files_are_several_domains_and_one_domain_may_come_in_parts() {
    let limit = "rate_limit: {unit: day, requests_per_unit: 1}";
    let part = |domain: &str, key: &str| {
        format!("domain: {domain}\ndescriptors: [{{key: {key}, {limit}}}]\n")
    };
    let texts =
        [part("a", "x"), part("b", "x"), format!("---\n{}---\n{}", part("a", "y"), part("b", "x"))];
    let names = ["1.yaml", "2.yaml", "3.yaml"];
    let sources: Vec<Source<'_>> =
        names.iter().zip(&texts).map(|(name, text)| Source { name, text }).collect();
    let translation = translate(Format::Envoy, &sources);
    let made: Vec<&str> = translation.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(made, ["a.x", "a.y", "b.x"]);
    let told: Vec<String> = translation.findings.iter().map(ToString::to_string).collect();
    assert!(
        told[0].starts_with("3.yaml:2: domain = \"a\" is the domain of another file"),
        "{told:?}"
    );
    assert!(told[2].starts_with("3.yaml:6: descriptors[0] = \"x\" is there twice"), "{told:?}");
}

#[test]
fn a_domain_is_needed() {
    for text in ["descriptors: []", "domain: ''", "domain: null", "[]", "text", "domain: [a]"] {
        let (policies, told) = translate_one(Format::Envoy, text);
        assert!(policies.is_empty() && told[0].starts_with("Invalid 1 "), "{text}: {told:?}");
    }
    check_all(Format::Envoy, &[("domain: d\ndescriptors:\n", &[], &[])]);
}

#[test]
fn names_are_unique_short_and_do_not_depend_on_the_order() {
    let long = "v".repeat(200);
    let values = ["a b", "a-b", "a.b", &long, "A B", "a  b", "ü"];
    let entry = |value: &&str| {
        format!("- {{key: k, value: '{value}', rate_limit: {{unit: day, requests_per_unit: 1}}}}\n")
    };
    let names = |values: &[&str]| {
        let text = file(&values.iter().map(entry).collect::<String>());
        let translation = translate(Format::Envoy, &[Source { name: "f", text: &text }]);
        assert!(translation.findings.is_empty(), "{:?}", translation.findings);
        let policies = translation.policies.into_iter();
        policies.map(|policy| policy.name.to_string()).collect::<std::collections::BTreeSet<_>>()
    };
    let (all, mut turned) = (names(&values), values);
    assert_eq!(all.len(), values.len(), "{all:?}");
    turned.reverse();
    assert_eq!(names(&turned), all);
}

#[test]
fn anchors_aliases_and_merges_are_followed() {
    check_all(
        Format::Envoy,
        &[(
            "domain: d
descriptors:
- key: a
  value: 1
  rate_limit: &five {unit: day, requests_per_unit: 5}
- {key: b, value: 1, rate_limit: *five}
- {key: c, value: 1, rate_limit: {<<: *five, unit: hour}}
",
            &[
                r#"d.a.1: request.rule == "d|a=1" [] 5/1d"#,
                r#"d.b.1: request.rule == "d|b=1" [] 5/1d"#,
                r#"d.c.1: request.rule == "d|c=1" [] 5/1h"#,
            ],
            &[],
        )],
    );
}
