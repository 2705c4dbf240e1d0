//! A translation against a model of the service that it came from: the walk over its tree of
//! descriptors as `src/config/config_impl.go` describes it, for random files and random requests.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*, sample::select};
use weir_proto::{
    matcher::{PolicySet, Scratch},
    policy::Mode,
    request::Request,
    rule::Rules,
    time::Time,
};

use super::*;

/// A descriptor of a file: key, value (empty = any), limit, what is nested.
#[derive(Debug, Clone)]
struct Model {
    key: &'static str,
    value: &'static str,
    limit: Option<u32>,
    children: Vec<Model>,
}

const KEYS: [&str; 2] = ["k", "l"];
/// The more specific of overlapping patterns first: another order is a finding.
const VALUES: [&str; 6] = ["ab", "b", "a*b", "a*", "*", ""];
const ASKED: [&str; 6] = ["ab", "b", "a", "axb", "c", ""];

fn tree(depth: u32) -> BoxedStrategy<Vec<Model>> {
    let inner = if depth == 0 { Just(Vec::new()).boxed() } else { tree(depth - 1) };
    let model = (select(&KEYS[..]), select(&VALUES[..]), proptest::option::of(1..1_000_u32), inner)
        .prop_map(|(key, value, limit, children)| Model { key, value, limit, children });
    let list = vec(model, 0..5).prop_map(|mut list| {
        list.sort_by_key(|model| VALUES.iter().position(|value| *value == model.value));
        let mut seen = Vec::new();
        list.retain(|model| {
            let new = !seen.contains(&(model.key, model.value));
            seen.push((model.key, model.value));
            new
        });
        list
    });
    list.boxed()
}

fn write(list: &[Model], indent: usize, out: &mut String) {
    use std::fmt::Write as _;
    for Model { key, value, limit, children } in list {
        let pad = " ".repeat(indent);
        writeln!(out, "{pad}- key: {key}\n{pad}  value: '{value}'").unwrap();
        if let Some(limit) = limit {
            writeln!(out, "{pad}  rate_limit: {{unit: day, requests_per_unit: {limit}}}").unwrap();
        }
        if !children.is_empty() {
            writeln!(out, "{pad}  descriptors:").unwrap();
            write(children, indent + 2, out);
        }
    }
}

/// The walk: at each entry the value, else the first pattern, else the bare key; no way back; the
/// limit of the node of the last entry.
fn walk(mut list: &[Model], descriptor: &[(&str, &str)]) -> Option<u32> {
    for (place, (key, value)) in descriptor.iter().enumerate() {
        let of = |model: &&Model| model.key == *key;
        let exact = list.iter().filter(of).find(|m| !m.value.is_empty() && m.value == *value);
        let pattern = || {
            let mut patterns = list.iter().filter(of).filter(|m| m.value.contains('*'));
            patterns.find(|m| {
                let regex = format!("^{}$", m.value.replace('*', ".*"));
                weir_proto::expr::Expr::parse(&format!("request.user.matches('{regex}')"))
                    .unwrap()
                    .matches(&Request::new().user(*value))
                    .unwrap()
            })
        };
        let any = || list.iter().filter(of).find(|m| m.value.is_empty());
        let next = exact.or_else(pattern).or_else(any)?;
        if place + 1 == descriptor.len() {
            return next.limit;
        }
        list = &next.children;
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_policies_choose_what_the_service_would(
        list in tree(2),
        asked in vec(vec((select(&KEYS[..]), select(&ASKED[..])), 1..4), 1..20),
    ) {
        let mut text = "domain: d\ndescriptors:\n".to_owned();
        write(&list, 0, &mut text);
        let translation = translate(Format::Envoy, &[Source { name: "f", text: &text }]);
        prop_assert!(translation.findings.is_empty(), "{text}{:?}", translation.findings);
        let set = PolicySet::compile(1, translation.policies.into_iter().map(Arc::new));
        let rules = Rules::of(&set);
        for descriptor in asked {
            let entries: Vec<(&str, &str)> = descriptor.clone();
            let mut request = Request::new().domain("d").descriptor(&entries);
            for key in KEYS {
                let of: Vec<&str> = entries.iter().filter(|e| e.0 == key).map(|e| e.1).collect();
                for (place, value) in of.iter().enumerate().filter(|_| of.len() > 1) {
                    request.set(&format!("descriptors[0][\"{key}[{place}]\"]"), *value).unwrap();
                }
            }
            if let Some(rule) = rules.find("d", entries.iter().copied()) {
                request = request.rule(rule);
            }
            let mut met = Vec::new();
            set.resolve(&request, Time::ZERO, &mut Scratch::default(), |hit| {
                assert_ne!(hit.policy.policy.mode, Mode::Off);
                met.extend(hit.limits.iter().map(|limit| limit.limit.amount));
                std::ops::ControlFlow::Continue(())
            });
            let expected: Vec<u64> = walk(&list, &descriptor).into_iter().map(u64::from).collect();
            prop_assert_eq!(met, expected, "{:?} of\n{}", descriptor, text);
        }
    }
}
