//! Random policies and requests: the agent's verdicts are those of a table of numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gateway_agent_core::{Outcome, Reason};
use proptest::prelude::*;
use serde_json::json;
use traffic_manager_core::view::CounterFilter;
use weir_proto::{
    policy::{Level, Mode, OnLimit, Policy},
    request::Request,
};

use crate::pair::Pair;

#[derive(Debug, Clone)]
struct Call {
    application: u8,
    api: u8,
    cost: u64,
    /// Milliseconds since the call before.
    after: u64,
}

/// What became of a call: passes or why not; the policy that refused; over quota; shadows.
#[derive(Debug, PartialEq, Eq)]
struct Result {
    outcome: Outcome,
    refused_by: Option<String>,
    over_quota: bool,
    shadow: Vec<String>,
}

/// What is left to count by hand: amounts by policy, limit, key and window.
#[derive(Default)]
struct Model {
    used: BTreeMap<(String, usize, String, u64), u64>,
}

impl Model {
    fn check(&mut self, policies: &[Policy], call: &Call, second: u64) -> Result {
        let mut order: Vec<&Policy> = policies.iter().filter(|p| p.mode != Mode::Off).collect();
        order.sort_by_key(|p| (p.level, p.name.as_str().to_owned()));
        let before = self.used.clone();
        let (mut over_quota, mut shadow) = (false, Vec::new());
        for policy in order {
            let name = policy.name.to_string();
            let refuses = policy.mode == Mode::Enforce;
            if policy.level == Level::Deny {
                if refuses {
                    self.used = before;
                    return refused(Reason::Denied, name, over_quota, shadow);
                }
                shadow.push(name);
                continue;
            }
            for (i, limit) in policy.limits.iter().enumerate() {
                let window = second - second % limit.window.secs();
                let key = (name.clone(), i, key_of(policy, call), window);
                let used = self.used.entry(key).or_default();
                if *used + call.cost <= limit.amount {
                    *used += call.cost;
                } else if !refuses {
                    shadow.push(name.clone());
                } else if policy.on_limit == OnLimit::Allow {
                    *used += call.cost;
                    over_quota = true;
                } else {
                    self.used = before;
                    return refused(Reason::Limit, name, over_quota, shadow);
                }
            }
        }
        Result { outcome: Outcome::Allowed, refused_by: None, over_quota, shadow }
    }
}

fn refused(reason: Reason, policy: String, over_quota: bool, shadow: Vec<String>) -> Result {
    let refused_by = Some(policy);
    Result { outcome: Outcome::Refused(reason), refused_by, over_quota, shadow }
}

fn key_of(policy: &Policy, call: &Call) -> String {
    let written = policy.to_json()["key"].to_string();
    let mut key = String::new();
    if written.contains("application") {
        key += &format!("app-{} ", call.application);
    }
    if written.contains("api\"") {
        key += &format!("api-{}", call.api);
    }
    key
}

/// Policies with one to three limits, or none and level deny.
fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let limits = prop::collection::vec((0..12_u64, prop::sample::select(vec![1, 2, 5, 10])), 1..=3);
    let key = prop::sample::select(vec![
        json!([]),
        json!(["application"]),
        json!(["api"]),
        json!(["application", "api"]),
    ]);
    let level = prop::sample::select(vec!["api", "application", "custom", "backend"]);
    let level = prop_oneof![8 => level, 1 => Just("deny")];
    let mode = prop_oneof![6 => Just("enforce"), 2 => Just("shadow"), 1 => Just("off")];
    let on_limit = prop_oneof![3 => Just("reject"), 1 => Just("allow")];
    prop::collection::vec((limits, key, level, mode, on_limit), 1..=4).prop_map(|all| {
        let write = |(i, (limits, key, level, mode, on_limit))| {
            policy(i, limits, key, level, mode, on_limit)
        };
        all.into_iter().enumerate().map(write).collect()
    })
}

fn policy(
    i: usize,
    limits: Vec<(u64, u64)>,
    key: serde_json::Value,
    level: &str,
    mode: &str,
    on_limit: &str,
) -> Policy {
    let mut seen = BTreeSet::new();
    let limits: Vec<_> = limits
        .into_iter()
        .filter(|(_, window)| seen.insert(*window))
        .map(|(amount, window)| json!({ "requests": amount, "window": format!("{window}s") }))
        .collect();
    let mut document = json!({ "name": format!("p{i}"), "level": level, "mode": mode });
    if level == "deny" {
        // Everybody denied would leave nothing to see: one API is.
        document["match"] = json!("request.api == 'api-1'");
    } else {
        document["limits"] = json!(limits);
        document["key"] = key;
        document["on_limit"] = json!(on_limit);
    }
    Policy::from_json(&document).unwrap_or_else(|e| panic!("{document}: {e}"))
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let after = prop_oneof![4 => Just(0_u64), 4 => 1..200_u64, 1 => 200..3_000_u64];
    let call = (0..3_u8, 0..2_u8, 1..=4_u64, after)
        .prop_map(|(application, api, cost, after)| Call { application, api, cost, after });
    prop::collection::vec(call, 1..120)
}

/// The model knows no expressions: a deny policy meets one API.
fn met(policies: &[Policy], call: &Call) -> Vec<Policy> {
    let meets = |p: &&Policy| p.level != Level::Deny || call.api == 1;
    policies.iter().filter(meets).cloned().collect()
}

proptest! {
    #![proptest_config(crate::cases(300))]

    #[test]
    fn a_fleet_of_one_decides_like_a_table(policies in policies(), calls in calls()) {
        let mut pair = Pair::new(&policies);
        let mut model = Model::default();
        for (i, call) in calls.iter().enumerate() {
            pair.pass(Duration::from_millis(call.after));
            let (application, api) =
                (format!("app-{}", call.application), format!("api-{}", call.api));
            let request = Request::new().application(application.as_str()).api(api.as_str());
            let verdict = pair.check(&request, call.cost);
            let got = Result {
                refused_by: (!verdict.allowed())
                    .then(|| verdict.policy().map(|p| p.policy.name.to_string()))
                    .flatten(),
                outcome: verdict.outcome,
                over_quota: verdict.over_quota,
                shadow: verdict.shadow.iter().map(|p| p.policy.name.to_string()).collect(),
            };
            let met = met(&policies, call);
            let expected = model.check(&met, call, pair.now().as_secs());
            prop_assert_eq!(got, expected, "call {} of {:?} at {:?}", i, &calls, pair.now());
        }
        // What the manager was told is what was counted.
        pair.pass(Duration::from_millis(500));
        let filter = CounterFilter { limit: usize::MAX, ..CounterFilter::default() };
        let recent = |start: u64| start + 10 >= pair.now().as_secs();
        let told: u64 = pair.manager().counters(&filter, pair.now()).iter()
            .filter(|c| recent(c.window.0)).map(|c| c.used).sum();
        let counted: u64 =
            model.used.iter().filter(|((_, _, _, start), _)| recent(*start)).map(|(_, n)| n).sum();
        let kept = calls.iter().map(|c| c.after).sum::<u64>() < 4_000;
        prop_assert!(!kept || told == counted, "told {} of {}", told, counted);
    }
}
