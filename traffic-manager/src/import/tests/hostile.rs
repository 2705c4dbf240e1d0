//! Files that mean harm. None may cost more than its bytes.

use super::*;

fn first(text: &str) -> String {
    let (policies, told) = translate_one(Format::Envoy, text);
    assert!(policies.is_empty());
    told.first().cloned().unwrap_or_else(|| panic!("nothing is said of {:.40}", text))
}

#[test]
fn unreadable_files_say_where() {
    for (text, words) in [
        (String::new(), "Invalid 1  \"\" is empty"),
        ("\u{feff}".to_owned(), "is empty"),
        ("# only a comment\n".to_owned(), "is empty"),
        ("null".to_owned(), "is empty"),
        ("'''".to_owned(), "is not valid YAML"),
        ("domain: d\n\tdescriptors: []".to_owned(), "found a tab"),
        ("domain: d\ndescriptors: [".to_owned(), "is not valid YAML"),
        ("domain: *nobody".to_owned(), "is not valid YAML"),
        ("domain: &a [*a]".to_owned(), "part of"),
        ("[".repeat(1 << 20), "is "),
        ("{a: ".repeat(1 << 18), "is "),
        ("- ".repeat(1 << 19), "is nested deeper than 128 levels"),
        (format!("a: {}", "- ".repeat(300)), "is "),
        ("a".repeat(MAX_FILE_BYTES + 1), "at most 16777216 are read"),
        ("- a\n".repeat(1_100_000), "more than 1000000 values"),
    ] {
        let told = first(&text);
        assert!(told.contains(words), "{text:.40}: {told}");
    }
}

#[test]
fn a_bomb_of_aliases_is_refused_before_it_grows() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..20 {
        let alias = format!("*a{}, ", n - 1).repeat(10);
        text.push_str(&format!("a{n}: &a{n} [{alias}]\n"));
    }
    assert!(first(&text).contains("more than 1000000 values, aliases included"));
    let nested = format!("{}x{}", "&a [".repeat(100), "]".repeat(100));
    let told = first(&nested);
    assert!(told.contains("is not a map"), "{told}");
}

#[test]
fn findings_are_bounded_and_faults_outlive_notes() {
    let note = "- {key: k, value: v, metadata: {a: b}}\n";
    let notes: String = (0..2_000).map(|n| note.replace(": k,", &format!(": k{n},"))).collect();
    let text = format!("domain: d\ndescriptors:\n{notes}- {{key: ''}}\n");
    let translation = translate(Format::Envoy, &[Source { name: "f", text: &text }]);
    assert_eq!(translation.findings.len(), 1_001);
    assert_eq!(translation.faults(true).count(), 1);
    assert!(translation.findings.last().unwrap().message.contains("more findings"));
}

#[test]
fn many_patterns_of_one_key_are_too_many() {
    let entry = |n: usize| {
        format!(
            "- {{key: k, value: 'v{n:05}-*', rate_limit: {{unit: day, requests_per_unit: 1}}}}\n"
        )
    };
    let all: String = (0..1_001).map(entry).collect();
    let told = translate_one(Format::Envoy, &format!("domain: d\ndescriptors:\n{all}")).1;
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("one of more than 1000 patterns"), "{told:?}");
}

#[test]
fn what_no_policy_can_hold_is_named_and_kept_apart() {
    let long = "x".repeat(3_000);
    let deep = |n: usize| {
        (0..n).fold(
            "{key: z, rate_limit: {unit: day, requests_per_unit: 1}}".to_owned(),
            |inner, n| format!("{{key: k{n}, descriptors: [{inner}]}}"),
        )
    };
    let text = format!(
        "domain: d\ndescriptors:\n- {{key: k, value: {long}, rate_limit: {{unit: day, requests_per_unit: 1}}}}\n- {}\n",
        deep(16)
    );
    let (policies, told) = translate_one(Format::Envoy, &text);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("NoEquivalent 3 descriptors[0] \"\" has no equivalent, for its policy")
    );
    assert!(told[1].contains("at most 16 are allowed"), "{told:?}");
    assert!(policies.len() == 1 && policies[0].contains("(off)"), "{policies:?}");
}

#[test]
fn ten_thousand_limits_are_found_by_one_lookup() {
    use std::sync::Arc;
    use weir_proto::{
        matcher::{PolicySet, Scratch},
        request::Request,
        rule::Rules,
        time::Time,
    };

    let entry = |n: usize| {
        format!(
            "- {{key: customer, value: c{n}, rate_limit: {{unit: day, requests_per_unit: {n}}}}}\n"
        )
    };
    let all: String = (0..10_000).map(entry).collect();
    let text = format!(
        "domain: d\ndescriptors:\n- {{key: customer, rate_limit: {{unit: day, requests_per_unit: 7}}}}\n{all}"
    );
    let translation = translate(Format::Envoy, &[Source { name: "f", text: &text }]);
    assert!(translation.findings.is_empty());
    let set = PolicySet::compile(1, translation.policies.into_iter().map(Arc::new));
    let rules = Rules::of(&set);
    for (customer, amount) in [("c9999", 9_999), ("c0", 0), ("stranger", 7)] {
        let rule = rules.find("d", [("customer", customer)]).unwrap();
        let request = Request::new().rule(rule).descriptor(&[("customer", customer)]);
        let mut met = Vec::new();
        set.resolve(&request, Time::ZERO, &mut Scratch::default(), |hit| {
            met.extend(hit.limits.iter().map(|limit| limit.limit.amount));
            std::ops::ControlFlow::Continue(())
        });
        assert_eq!(met, [amount], "{customer}");
    }
}

/// Pieces of which files are made, and some of which they are not.
const PIECES: [&str; 40] = [
    "domain: d\n",
    "descriptors:\n",
    "- key: k\n",
    "  value: v*\n",
    "  rate_limit:\n",
    "    unit: day\n",
    "    requests_per_unit: 5\n",
    "    unlimited: true\n",
    "  descriptors:\n",
    "  - key: l\n",
    "- namespace: n\n",
    "  max_value: 1\n",
    "  seconds: 60\n",
    "  conditions:\n",
    "  - descriptors[0].a == 'b'\n",
    "  - a == b\n",
    "  variables: [descriptors[0].a]\n",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a ",
    "<<: *a\n",
    "? ",
    ": ",
    "- ",
    "'",
    "\"",
    "|\n",
    ">\n",
    "!!str ",
    "\t",
    "\n",
    "  ",
    "---\n",
    "...\n",
    "%TAG",
    "\u{feff}",
    "ü",
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(500))]

    #[test]
    fn no_mix_of_pieces_panics(
        pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..40),
    ) {
        let text = pieces.concat();
        for format in [Format::Envoy, Format::Limitador] {
            translate_one(format, &text);
        }
    }

    #[test]
    fn no_condition_panics_or_escapes_its_brackets(text in "[a-z0-9 .()'\"\\[\\]=!&|\\\\]{0,40}") {
        let file = format!(
            "- {{namespace: n, max_value: 1, seconds: 1, conditions: [{}], variables: [{}]}}",
            json!(text), json!(text),
        );
        let translation = translate(Format::Limitador, &[Source { name: "f", text: &file }]);
        for policy in translation.policies {
            let condition = policy.condition.as_ref().map(ToString::to_string).unwrap_or_default();
            proptest::prop_assert!(condition.starts_with("request.domain == \"n\""), "{}", condition);
            let request = weir_proto::request::Request::new().domain("other").descriptor(&[("a", "b")]);
            let met = policy.condition.as_ref().map(|c| c.matches(&request));
            proptest::prop_assert!(met != Some(Ok(true)), "{}", condition);
        }
    }
}
