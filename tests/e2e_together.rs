//! Limits of every kind that several agents share: none of them admits what another one holds.

mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    fleet::{Fleet, Node, Plan, SOON},
    http::{Response, Session},
    wait::{wait_for, wait_for_room, wait_until},
};

const HOUR: Duration = Duration::from_secs(3600);
const ROOM: Duration = Duration::from_secs(90);

/// Of the policy `flight`.
const LEASE: Duration = Duration::from_secs(15);

const POLICIES: &str = r"
apiVersion: weir/v1
policies:
  - { name: flight, level: api, match: 'request.api == ''flight''', limits: [ { concurrency: 5, lease: 15s } ], max_wait: 200ms }
  - { name: errors, level: api, match: 'request.api == ''errors''', limits: [ { errors: 4, window: 1h } ] }
  - { name: tokens, level: api, match: 'request.api == ''tokens''', limits: [ { tokens: 1000, window: 1h } ], max_wait: 200ms }
  - name: bucket
    level: api
    match: 'request.api == ''bucket'''
    limits: [ { requests: 50, window: 1s, burst: 30, algorithm: token_bucket } ]
  - name: brought
    level: api
    match: 'request.api == ''brought'''
    request_limits: true
    limits: [ { requests: 2, window: 1h } ]
    max_wait: 200ms
";

fn fleet(agents: usize) -> Fleet {
    wait_for_room(HOUR, ROOM);
    let agent_args = &["--request-limits"];
    Fleet::start(&Plan { agents, policies: POLICIES, agent_args, ..Plan::default() })
}

fn ask(agent: &Node, client: &Session, path: &str, body: &Value) -> Response {
    client.post_json(&agent.url(path), body).unwrap_or_else(|e| panic!("{}: {e}", agent.id))
}

fn check(agent: &Node, client: &Session, api: &str) -> Response {
    ask(agent, client, "/v1/check", &json!({ "attributes": { "api": api } }))
}

/// The lease of an admitted request.
fn begin(agent: &Node, client: &Session) -> Option<String> {
    let answer = check(agent, client, "flight");
    match answer.status {
        200 => Some(answer.json()["lease"].as_str().expect("a lease").to_owned()),
        429 => None,
        _ => panic!("{answer:?}"),
    }
}

#[test]
fn requests_in_flight_are_bounded_over_all_agents() {
    let fleet = fleet(3);
    let client = Session::new();
    let mut held: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let count = |held: &BTreeMap<usize, Vec<String>>| held.values().map(Vec::len).sum::<usize>();
    wait_until("five are in flight", SOON, &fleet.processes(), || {
        for (place, agent) in fleet.agents.iter().enumerate() {
            held.entry(place).or_default().extend(begin(agent, &client));
            assert!(count(&held) <= 5, "{held:?}");
        }
        count(&held) == 5
    });
    for agent in &fleet.agents {
        assert_eq!(begin(agent, &client), None, "a sixth at {}", agent.id);
    }
    // What ends at one may begin at another.
    let (from, lease) = held.iter_mut().find_map(|(p, l)| Some((*p, l.pop()?))).expect("one");
    let body = json!({ "lease": lease });
    let answer = ask(&fleet.agents[from], &client, "/v1/report", &body);
    assert_eq!(answer.json()["released"], true, "{answer:?}");
    let to = (from + 1) % fleet.agents.len();
    let moved = wait_for("it begins elsewhere", SOON, &fleet.processes(), || {
        begin(&fleet.agents[to], &client)
    });
    held.entry(to).or_default().push(moved);
    assert_eq!(count(&held), 5);
    // A crashed agent leaks nothing: what it held is free when its leases are over.
    let busy = held.iter().max_by_key(|(_, leases)| leases.len()).map_or(0, |(place, _)| *place);
    for (place, lease) in held.iter().flat_map(|(p, l)| l.iter().map(move |l| (*p, l))) {
        if place != busy {
            let body = json!({ "lease": lease });
            assert_eq!(ask(&fleet.agents[place], &client, "/v1/report", &body).status, 200);
        }
    }
    fleet.agents[busy].process().kill();
    let rest: Vec<&Node> =
        fleet.agents.iter().enumerate().filter(|(p, _)| *p != busy).map(|(_, a)| a).collect();
    let mut begun: Vec<Instant> = Vec::new();
    wait_until("what the dead held is free", SOON + LEASE, &[], || {
        for agent in &rest {
            let asked = Instant::now();
            begun.extend(begin(agent, &client).map(|_| asked));
        }
        begun.retain(|at| at.elapsed() < LEASE);
        assert!(begun.len() <= 5, "{} in flight", begun.len());
        begun.len() == 5
    });
}

#[test]
fn errors_at_one_agent_close_the_window_at_all() {
    let fleet = fleet(3);
    let client = Session::new();
    // Two agents know the counter, the third has never seen it.
    for agent in &fleet.agents[..2] {
        assert_eq!(check(agent, &client, "errors").status, 200);
    }
    for n in 0..4 {
        let body = json!({ "attributes": { "api": "errors" }, "amounts": { "errors": 1 } });
        let answer = ask(&fleet.agents[n % 2], &client, "/v1/report", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for agent in &fleet.agents {
        let what = format!("{} refuses", agent.id);
        wait_until(&what, SOON, &fleet.processes(), || {
            check(agent, &client, "errors").status == 429
        });
    }
}

#[test]
fn tokens_told_afterwards_exceed_by_what_is_under_way_at_most() {
    const EACH: u64 = 30;
    let fleet = fleet(3);
    let client = Session::new();
    let (mut used, mut refused) = (0, 0);
    while refused < 30 {
        for agent in &fleet.agents {
            if check(agent, &client, "tokens").status != 200 {
                refused += 1;
                continue;
            }
            let body = json!({ "attributes": { "api": "tokens" }, "amounts": { "tokens": EACH } });
            assert_eq!(ask(agent, &client, "/v1/report", &body).status, 200);
            used += EACH;
        }
    }
    // One request at a time at each agent.
    assert!(used < 1_000 + EACH * fleet.agents.len() as u64, "{used} of 1000");
    assert!(used >= 900, "{used} of 1000");
}

#[test]
fn a_bucket_holds_for_all_agents_together() {
    let fleet = fleet(3);
    let client = Session::new();
    let (mut admitted, mut asked) = (0_u64, 0_u64);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        for agent in &fleet.agents {
            asked += 1;
            admitted += u64::from(check(agent, &client, "bucket").status == 200);
        }
    }
    let refill = began.elapsed().as_micros() * 50 / 1_000_000;
    assert!(u128::from(admitted) <= 30 + refill + 1, "{admitted} of 30 + {refill}, {asked} asked");
    assert!(admitted > 60, "{admitted} of 30 + {refill}, {asked} asked");
}

#[test]
fn a_limit_that_requests_bring_along_holds_for_all_agents_together() {
    let fleet = fleet(3);
    let client = Session::new();
    for (amount, admitted) in [(7, 7), (20, 20)] {
        let limit = json!({ "requests": amount, "window": "2h" });
        let body = json!({ "attributes": { "api": "brought" }, "limit": limit });
        let mut passed = 0;
        for n in 0..3 * amount {
            let answer = ask(&fleet.agents[n % 3], &client, "/v1/check", &body);
            assert!([200, 429].contains(&answer.status), "{answer:?}");
            passed += usize::from(answer.status == 200);
        }
        assert_eq!(passed, admitted, "of a limit of {amount}");
    }
    // The policy's own limit has counted none of them.
    assert_eq!(check(&fleet.agents[0], &client, "brought").status, 200);
    let counters = fleet.managers[0].get("/api/v1/counters?policy=brought").expect("counters");
    let ids: Vec<_> = counters["counters"].as_array().expect("a list").iter().collect();
    assert!(
        ids.iter().any(|c| c["limit_id"] == "requests/2h/fixed_window=7" && c["limit"] == 7),
        "{counters:#}"
    );
}
