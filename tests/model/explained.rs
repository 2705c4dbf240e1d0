//! What a manager says of a request, against what the agent does with it.

use std::{sync::Arc, time::Duration};

use gateway_agent_core::{Outcome, Reason};
use serde_json::json;
use traffic_manager_core::explain::{Explained, Judgement, judge};
use weir_proto::{
    amount::Amounts,
    matcher::{PolicySet, explain::explain},
    policy::Policy,
    request::Request,
    time::Time,
};

use crate::pair::Pair;

fn policies(documents: &serde_json::Value) -> Vec<Policy> {
    let read = |document| Policy::from_json(document).unwrap_or_else(|e| panic!("{document}: {e}"));
    documents.as_array().expect("a list").iter().map(read).collect()
}

fn explained(pair: &Pair, request: &Request<'_>, cost: u64, at: Time) -> Vec<Explained> {
    let policies: Vec<Arc<Policy>> =
        pair.manager().policies().into_iter().map(|stored| stored.policy).collect();
    let set = PolicySet::compile(0, policies);
    pair.manager().explain(explain(&set, request, at), &Amounts::from(cost), at, pair.now())
}

#[test]
fn the_manager_foresees_what_the_agent_decides() {
    let mut pair = Pair::new(&policies(&json!([
        { "name": "banned", "level": "deny", "match": "request.user == 'mallory'" },
        { "name": "first", "level": "api", "key": ["user"],
          "limits": [{ "requests": 4, "window": "1m" }, { "requests": 6, "calendar": "hour" }] },
        { "name": "soft", "level": "custom", "on_limit": "allow",
          "limits": [{ "requests": 1, "window": "1m", "algorithm": "sliding_window" }] },
        { "name": "trial", "level": "custom", "mode": "shadow",
          "limits": [{ "requests": 1, "window": "1m" }] },
    ])));
    let mut seen = Vec::new();
    for (user, cost) in [("anna", 1), ("anna", 2), ("anna", 2), ("bert", 5), ("mallory", 1)] {
        let request = Request::new().user(user);
        let all = explained(&pair, &request, cost, pair.now());
        let name = |place: usize| all[place].finding.policy.name.to_string();
        let foreseen = match judge(&all) {
            Judgement::Allowed => "passes".to_owned(),
            Judgement::Denied(place) => format!("denied by {}", name(place)),
            Judgement::Limited(place, _) => format!("limited by {}", name(place)),
        };
        let verdict = pair.check(&request, cost);
        let name = verdict.policy().map(|policy| policy.policy.name.as_str()).unwrap_or_default();
        let decided = match verdict.outcome {
            Outcome::Allowed => "passes".to_owned(),
            Outcome::Refused(Reason::Denied) => format!("denied by {name}"),
            _ => format!("limited by {name}"),
        };
        assert_eq!(foreseen, decided, "{user} {cost}");
        seen.push(decided);
        // The manager hears of it.
        pair.pass(Duration::from_secs(2));
    }
    let limited = "limited by first";
    assert_eq!(seen, ["passes", "passes", limited, limited, "denied by banned"]);

    let all = explained(&pair, &Request::new().user("anna"), 1, pair.now());
    let used: Vec<_> = all.iter().flat_map(|one| &one.counts).map(|count| count.used).collect();
    assert_eq!(used, [Some(3), Some(3), Some(3), Some(1)], "shadows count what they would admit");
    let next =
        explained(&pair, &Request::new().user("anna"), 1, pair.now() + Duration::from_secs(60));
    assert_eq!((next[0].counts[0].used, next[0].counts[1].used), (Some(0), Some(3)));
    let past =
        explained(&pair, &Request::new().user("anna"), 1, pair.now() - Duration::from_secs(600));
    assert_eq!(past[0].counts[0].used, None, "nobody knows any more");
}
