//! Random sliding windows: the agent's verdicts lie between those of two naive logs.
//!
//! One log remembers each admission for exactly one window: what does not fit there must be refused, or
//! some span of the window's length would hold too much. The other remembers it for the two sub-windows
//! and the report that the ring may take longer: what fits even there must pass. Between the two an
//! admission is leaving just now, and either verdict is right. So it is from one to two lengths after a
//! use that none followed for a length, while the manager reserves what the agent would open its counter
//! anew with: refusals in that span are needless, and known (ALGORITHM.md).

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use serde_json::json;
use traffic_manager_core::meter::SLOTS;
use weir_proto::{
    policy::{Level, Policy},
    request::Request,
    time::Time,
};

use crate::pair::Pair;

/// Longer than every window here: then the fleet of one may grant in all of them.
const SETTLED: Duration = Duration::from_secs(20);
/// A report takes a tenth of a second, and so does the word that something has left.
const REPORT: Duration = Duration::from_millis(250);
/// An uncertain agent asks again after this.
const PATIENCE: Duration = Duration::from_millis(25);

#[derive(Debug, Clone)]
struct Call {
    application: u8,
    cost: u64,
    /// Milliseconds since the call before.
    after: u64,
}

/// Admissions by policy, limit and key.
#[derive(Default)]
struct Logs(BTreeMap<(usize, usize, u8), Vec<(Time, u64)>>);

impl Logs {
    /// The most that `cost` would make of any limit, as `remember` says how long admissions stay: what
    /// is beyond it.
    fn fits(&self, policies: &[Policy], call: &Call, now: Time, slack: bool) -> bool {
        policies.iter().enumerate().all(|(p, policy)| {
            policy.limits.iter().enumerate().all(|(l, limit)| {
                let window = limit.window.duration();
                let length = if slack { window + window / SLOTS * 2 + REPORT } else { window };
                let log = self.0.get(&(p, l, key(policy, call)));
                let there = log.into_iter().flatten().filter(|(at, _)| *at + length > now);
                there.map(|(_, cost)| cost).sum::<u64>() + call.cost <= limit.amount
            })
        })
    }

    /// Whether some counter that the call meets was left alone for a length, and that began no more than
    /// two lengths ago.
    fn idle(&self, policies: &[Policy], call: &Call, now: Time) -> bool {
        policies.iter().enumerate().any(|(p, policy)| {
            policy.limits.iter().enumerate().any(|(l, limit)| {
                let length = limit.window.duration();
                let log = self.0.get(&(p, l, key(policy, call)));
                let used = log.into_iter().flatten().map(|(at, _)| *at);
                let next = used.clone().skip(1).chain([now]);
                used.zip(next).any(|(at, next)| {
                    at + length <= next && now <= at + (length + REPORT) * 2 + PATIENCE * 8
                })
            })
        })
    }

    fn admit(&mut self, policies: &[Policy], call: &Call, now: Time) {
        for (p, policy) in policies.iter().enumerate() {
            for l in 0..policy.limits.len() {
                self.0.entry((p, l, key(policy, call))).or_default().push((now, call.cost));
            }
        }
    }

    /// The most that a window of the limit's length has held.
    fn worst(&self, (p, l): (usize, usize), policies: &[Policy]) -> u64 {
        let length = policies[p].limits[l].window.duration();
        let logs = self.0.iter().filter(|((q, m, _), _)| (*q, *m) == (p, l));
        let spans = logs.flat_map(|(_, log)| {
            log.iter().enumerate().map(move |(i, (from, _))| {
                let within = log[i..].iter().take_while(|(at, _)| at.since(*from) < length);
                within.map(|(_, cost)| cost).sum::<u64>()
            })
        });
        spans.max().unwrap_or(0)
    }
}

/// Which of the policy's counters the call meets.
fn key(policy: &Policy, call: &Call) -> u8 {
    if policy.key.is_empty() { 0 } else { call.application }
}

/// One to three policies of one or two limits, in the order in which they are asked.
fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let limit = (0..12_u64, prop::sample::select(vec![1, 2, 3, 7]));
    let limits = prop::collection::vec(limit, 1..=2);
    prop::collection::vec((limits, any::<bool>()), 1..=3).prop_map(|all| {
        let write = |(i, (mut limits, keyed)): (usize, (Vec<(u64, u64)>, bool))| {
            limits.dedup_by_key(|(_, window)| *window);
            let limit = |(amount, window): &(u64, u64)| {
                let window = format!("{window}s");
                json!({ "requests": amount, "window": window, "algorithm": "sliding_window" })
            };
            let limits: Vec<_> = limits.iter().map(limit).collect();
            let key = if keyed { json!(["application"]) } else { json!([]) };
            let document = json!({
                "name": format!("p{i}"), "level": Level::Custom.as_str(), "key": key, "limits": limits,
            });
            Policy::from_json(&document).unwrap_or_else(|e| panic!("{document}: {e}"))
        };
        all.into_iter().enumerate().map(write).collect()
    })
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    // Idle for longer than one and two windows, too: then counters lose what they hold, and leave.
    let after =
        prop_oneof![4 => Just(0_u64), 4 => 1..200_u64, 2 => 200..3_000_u64, 1 => 3_000..20_000_u64];
    let call = (0..3_u8, 1..=4_u64, after).prop_map(|(application, cost, after)| Call {
        application,
        cost,
        after,
    });
    prop::collection::vec(call, 1..100)
}

/// Asks as a request does that waits for the manager's word. The time of the verdict.
fn decide(pair: &mut Pair, call: &Call) -> (bool, Time) {
    let application = format!("app-{}", call.application);
    let request = Request::new().application(application.as_str());
    for _ in 0..8 {
        let verdict = pair.check(&request, call.cost);
        let uncertain = verdict.limit.as_ref().is_some_and(|limit| limit.uncertain);
        if verdict.allowed() || !uncertain {
            return (verdict.allowed(), pair.now());
        }
        pair.pass(PATIENCE);
    }
    (false, pair.now())
}

proptest! {
    #![proptest_config(crate::cases(300))]

    #[test]
    fn a_fleet_of_one_slides_between_two_logs(policies in policies(), calls in calls()) {
        let mut pair = Pair::new(&policies);
        pair.pass(SETTLED);
        let mut logs = Logs::default();
        for (i, call) in calls.iter().enumerate() {
            pair.pass(Duration::from_millis(call.after));
            let (allowed, now) = decide(&mut pair, call);
            let (may, must) =
                (logs.fits(&policies, call, now, false), logs.fits(&policies, call, now, true));
            prop_assert!(may || !allowed, "call {i} of {calls:?} at {now:?} is above a limit");
            let must = must && !logs.idle(&policies, call, now);
            prop_assert!(allowed || !must, "call {i} of {calls:?} at {now:?} is refused in vain");
            if allowed {
                logs.admit(&policies, call, now);
            }
        }
        for (p, policy) in policies.iter().enumerate() {
            for (l, limit) in policy.limits.iter().enumerate() {
                prop_assert!(logs.worst((p, l), &policies) <= limit.amount, "{limit:?}");
            }
        }
    }
}

/// Whoever used all, and asks again when it has left, gets it: after one length, not after two.
#[test]
fn what_has_left_is_granted_to_whoever_asks_for_it() {
    let policy = json!({
        "name": "p", "level": "custom", "key": ["application"],
        "limits": [{ "requests": 3, "window": "2s", "algorithm": "sliding_window" }],
    });
    for (wait, cost) in [(2_400, 1), (2_900, 2), (3_500, 3)] {
        let mut pair = Pair::new(&[Policy::from_json(&policy).expect("a policy")]);
        pair.pass(SETTLED);
        let mut call = Call { application: 0, cost: 3, after: 0 };
        assert!(decide(&mut pair, &call).0);
        call.cost = cost;
        assert!(!decide(&mut pair, &call).0, "all is used");
        pair.pass(Duration::from_millis(wait));
        assert!(decide(&mut pair, &call).0, "{cost} after {wait} ms");
    }
}

/// An agent that is told late that it may go on keeps its counter for two lengths from then; a manager that
/// forgets it sooner takes all that it ever used for new.
#[test]
fn a_counter_that_was_given_something_late_is_remembered_as_long_as_its_agent_keeps_it() {
    let policy = json!({
        "name": "p", "level": "custom", "limits": [
            { "requests": 8, "window": "7s", "algorithm": "sliding_window" },
            { "requests": 5, "window": "1s", "algorithm": "sliding_window" },
        ],
    });
    let mut pair = Pair::new(&[Policy::from_json(&policy).expect("a policy")]);
    pair.pass(SETTLED);
    let mut ask = |after, cost| {
        pair.pass(Duration::from_millis(after));
        decide(&mut pair, &Call { application: 0, cost, after }).0
    };
    // The last one is refused by the short window and asks for more of the long one, which has it when
    // five have left.
    assert_eq!([ask(5_357, 4), ask(118, 2), ask(0, 1), ask(1, 3)], [true, false, true, false]);
    assert_eq!([ask(19_199, 1), ask(0, 1), ask(200, 2)], [true; 3], "four of eight, and of five");
}
