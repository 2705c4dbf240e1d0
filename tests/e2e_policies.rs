//! Policies through the admin API: in force everywhere at once, refused with reasons, and held by
//! agents that restart or reach no manager.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{
    fleet::{Fleet, Node, Plan, SOON},
    http::{self, Response, Session},
    load::Book,
    wait::{wait_for_room, wait_until, wall_clock},
};

const HOUR: Duration = Duration::from_secs(3600);
const ROOM: Duration = Duration::from_secs(90);
const ROUNDS: usize = 10;
/// A policy is in force everywhere within this; the target is a tenth of it.
const IN_FORCE: Duration = Duration::from_secs(1);

fn policy(name: &str, requests: u64) -> Value {
    json!({
        "name": name,
        "level": "application",
        "key": ["application"],
        "limits": [ { "requests": requests, "window": "1h", "algorithm": "fixed_window" } ],
    })
}

fn write(method: &str, url: &str, condition: Option<(&str, &str)>, body: &Value) -> Response {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(condition);
    let text = if body.is_null() { String::new() } else { body.to_string() };
    http::send(method, url, &headers, &text).unwrap_or_else(|e| panic!("{e}"))
}

/// Waits until both agents answer as `wanted`; tells how long it took.
#[track_caller]
fn wait_in_force(fleet: &Fleet, what: &str, wanted: impl Fn(&Response) -> bool) -> Duration {
    let began = Instant::now();
    let client = Session::new();
    wait_until(&format!("{what} at every agent"), IN_FORCE, &fleet.processes(), || {
        fleet
            .targets()
            .iter()
            .all(|target| wanted(&target.check(&client, "orders", "shop").expect("an answer")))
    });
    began.elapsed()
}

#[test]
fn a_written_policy_is_in_force_at_every_agent() {
    wait_for_room(HOUR, ROOM);
    let fleet = Fleet::start(&Plan { agents: 2, ..Plan::default() });
    let url = fleet.managers[0].url("/api/v1/policies");
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("round-{round}");
        let one = format!("{url}/{name}");
        let created = write("POST", &url, None, &policy(&name, 0));
        assert_eq!(created.status, 201, "{created:?}");
        let tag = created.header("etag").expect("a tag").to_owned();
        took.push(wait_in_force(&fleet, "a new policy that lets nothing pass", |answer| {
            answer.status == 429 && answer.json()["policy"] == name
        }));

        let changed = write("PUT", &one, Some(("if-match", &tag)), &policy(&name, 1_000_000));
        assert_eq!(changed.status, 200, "{changed:?}");
        took.push(wait_in_force(&fleet, "the changed policy", |answer| {
            answer.status == 200 && answer.json()["policy"] == name
        }));

        let deleted = write("DELETE", &one, None, &Value::Null);
        assert_eq!(deleted.status, 204, "{deleted:?}");
        took.push(wait_in_force(&fleet, "the deletion", |answer| {
            answer.status == 200 && answer.header("ratelimit").is_none()
        }));
    }
    took.sort();
    println!(
        "{} changes in force at both agents: median {:?}, slowest {:?}",
        took.len(),
        took[took.len() / 2],
        took[took.len() - 1]
    );
}

#[test]
fn a_wrong_policy_is_refused_with_its_fields() {
    let fleet = Fleet::start(&Plan { agents: 1, ..Plan::default() });
    let url = fleet.managers[0].url("/api/v1/policies");
    let refused = [
        (json!({ "limits": [ { "requests": -1, "window": "1m" } ] }), "limits[0].requests"),
        (json!({ "limits": [ { "requests": 5, "window": "soon" } ] }), "limits[0].window"),
        (json!({ "limits": [] }), "limits"),
        (json!({ "level": "planet" }), "level"),
        (json!({ "name": "no spaces please" }), "name"),
        (json!({ "match": "request.application ==" }), "match"),
        (json!({ "match": "1 + 1" }), "match"),
        (json!({ "on_limit": "shrug" }), "on_limit"),
        (json!({ "max_wait": "1h" }), "max_wait"),
        (json!({ "limit": [] }), "limit"),
        (
            json!({ "limits": [ { "requests": 5, "window": "1m", "colour": 1 } ] }),
            "limits[0].colour",
        ),
    ];
    for (change, field) in refused {
        let mut body = policy("broken", 5);
        let (fields, change) = (body.as_object_mut().expect("an object"), change);
        fields.extend(change.as_object().expect("an object").clone());
        let answer = write("POST", &url, None, &body);
        assert_eq!(answer.status, 422, "{field}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem = answer.json();
        let errors = problem["errors"].as_array().expect("errors").clone();
        let error = errors.iter().find(|error| error["field"] == field);
        let why = error.and_then(|error| error["message"].as_str()).unwrap_or_default();
        assert!(!why.is_empty(), "{field} is not named: {problem}");
    }
    assert_eq!(fleet.managers[0].get("/api/v1/policies").expect("a list")["policies"], json!([]));
    let misspelt =
        http::get(&fleet.managers[0].url("/api/v1/counters?polcy=x")).expect("an answer");
    assert_eq!(misspelt.status, 400, "{misspelt:?}");
    let body = json!({ "attributes": { "aplication": "shop" } });
    let unknown = http::post_json(&fleet.agents[0].url("/v1/check"), &body).expect("an answer");
    assert_eq!(unknown.status, 400, "{unknown:?}");
    let detail = unknown.json()["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains("aplication") && detail.contains("application"), "{detail}");
}

#[test]
fn a_stale_write_changes_nothing() {
    let fleet = Fleet::start(&Plan { agents: 1, ..Plan::default() });
    let url = fleet.managers[0].url("/api/v1/policies");
    let one = format!("{url}/mine");
    let created = write("POST", &url, None, &policy("mine", 5));
    let first = created.header("etag").expect("a tag").to_owned();
    let again = write("POST", &url, None, &policy("mine", 6));
    assert_eq!(again.status, 409, "{again:?}");
    let second = write("PUT", &one, Some(("if-match", &first)), &policy("mine", 7));
    assert_eq!(second.status, 200, "{second:?}");
    assert_ne!(second.header("etag"), Some(&*first), "a new version has a new tag");
    for (method, body) in [("PUT", policy("mine", 8)), ("DELETE", Value::Null)] {
        let stale = write(method, &one, Some(("if-match", &first)), &body);
        assert_eq!(stale.status, 412, "{stale:?}");
        assert_eq!(stale.json()["current_etag"].as_str(), second.header("etag"));
    }
    let read = http::get(&one).expect("the policy");
    assert_eq!(read.json()["limits"][0]["requests"], 7, "{read:?}");
    let unknown = write("PUT", &format!("{url}/nobody"), None, &policy("nobody", 5));
    assert_eq!(unknown.status, 404, "{unknown:?}");
}

const RESTARTED: &str = r#"
apiVersion: weir/v1
policies:
  - name: long
    level: application
    match: 'request.api == "long"'
    key: [application]
    limits: [ { requests: 200, window: 1h, algorithm: fixed_window } ]
    accuracy: strict
  - name: short
    level: application
    match: 'request.api == "short"'
    key: [application]
    limits: [ { requests: 200, window: 5s, algorithm: fixed_window } ]
    accuracy: strict
"#;

/// Checks so often at each of the agents.
fn spend(book: &mut Book, agents: &[Node], api: &str, checks: usize) {
    let client = Session::new();
    for agent in agents {
        for _ in 0..checks {
            book.check(&agent.target(), &client, api, "shop");
        }
    }
}

/// The ceiling that the killed life may have had stays reserved until its window ends, for it might
/// only have been cut off. So the limit holds over both lives, and the next window is whole again.
#[test]
fn a_killed_agent_does_not_spend_a_limit_twice() {
    wait_for_room(HOUR, ROOM);
    let plan = Plan { policies: RESTARTED, agents: 2, ..Plan::default() };
    let mut fleet = Fleet::start(&plan);
    let mut all = Book::default();
    spend(&mut all, &fleet.agents[..1], "long", 120);
    fleet.wait_booked("long", &all);
    let first = all.allowed()["shop"];
    fleet.agents[0].process().kill();
    fleet.agents[0].restart();
    fleet.wait_settled();

    let used = |node: &Node| node.used("long").map(|used| used.values().sum::<u64>());
    for manager in &fleet.managers {
        assert_eq!(used(manager), Some(first), "{} forgot the first life", manager.id);
    }
    spend(&mut all, &fleet.agents, "long", 200);
    spend(&mut all, &fleet.agents, "long", 200);
    let sum = all.allowed()["shop"];
    println!("first life {first}, with the second and another agent {sum} of 200");
    assert!(all.failures.is_empty(), "{:?}", all.failures);
    assert!(sum <= 200, "{:?}; first life {first}", all.answers);
    wait_until("both managers know every request", SOON, &fleet.processes(), || {
        fleet.managers.iter().all(|manager| used(manager) == Some(sum))
    });
    wait_until("a later window is spent to the last request", SOON, &fleet.processes(), || {
        let window = Duration::from_secs(5);
        wait_for_room(window, Duration::from_millis(4_500));
        let (mut book, began) = (Book::default(), Instant::now());
        for _ in 0..4 {
            spend(&mut book, &fleet.agents, "short", 60);
        }
        assert!(book.failures.is_empty(), "{:?}", book.failures);
        // A window that ended meanwhile on a stalled machine tells nothing.
        began.elapsed() < Duration::from_secs(4) && {
            assert!(book.allowed()["shop"] <= 200, "{:?}", book.answers);
            book.allowed()["shop"] == 200
        }
    });
}

const DISCONNECTED: &str = r#"
apiVersion: weir/v1
policies:
  - name: open-shop
    level: application
    match: 'request.api == "open"'
    key: [application]
    limits: [ { requests: 40, window: 1h, algorithm: fixed_window } ]
    on_disconnect: open
  - name: closed-shop
    level: application
    match: 'request.api == "closed"'
    key: [application]
    limits: [ { requests: 40, window: 1h, algorithm: fixed_window } ]
    on_disconnect: closed
  - name: local-shop
    level: application
    match: 'request.api == "local"'
    key: [application]
    limits: [ { requests: 40, window: 3s, algorithm: fixed_window } ]
    on_disconnect: local
"#;

#[test]
fn without_managers_each_policy_says_what_happens() {
    wait_for_room(HOUR, ROOM);
    let fleet = Fleet::start(&Plan { policies: DISCONNECTED, agents: 2, ..Plan::default() });
    for manager in &fleet.managers {
        manager.process().kill();
    }
    wait_until("the agents are on their own", SOON, &fleet.processes(), || {
        let alone =
            |agent: &Node| agent.get("/v1/status").is_some_and(|status| status["isolated"] == true);
        fleet.agents.iter().all(alone)
    });
    let client = Session::new();
    for target in fleet.targets() {
        for _ in 0..60 {
            let open = target.check(&client, "open", "shop").expect("an answer");
            assert_eq!(open.status, 200, "{open:?}");
        }
        let closed = target.check(&client, "closed", "shop").expect("an answer");
        assert_eq!(closed.status, 503, "{closed:?}");
        assert_eq!(closed.json()["policy"], "closed-shop", "{closed:?}");
    }
    assert_local_shares(&fleet);
    for agent in &fleet.agents {
        agent.assert_healthy();
    }
}

/// In a window that began after the managers were gone, the agents' shares add up to the limit.
#[track_caller]
fn assert_local_shares(fleet: &Fleet) {
    let window = Duration::from_secs(3);
    // The present window, and one more: then no window is one that a manager granted.
    wait_for_room(window, Duration::from_millis(2_900));
    let mut rounds = Vec::new();
    wait_until("whole shares are spent in one window", SOON, &fleet.processes(), || {
        // An agent's manager time may be some milliseconds behind the wall clock.
        wait_until("a window has begun for all agents", window * 2, &[], || {
            (0.2..0.5).contains(&(wall_clock().as_secs_f64() % window.as_secs_f64()))
        });
        let mut book = Book::default();
        let client = Session::new();
        let began = Instant::now();
        for target in fleet.targets() {
            for _ in 0..60 {
                book.check(&target, &client, "local", "shop");
            }
        }
        assert!(book.failures.is_empty(), "{:?}", book.failures);
        let sum = book.allowed()["shop"];
        rounds.push((book.answers, began.elapsed()));
        // On a stalled machine the window may have ended meanwhile: try another.
        began.elapsed() < Duration::from_millis(2_000) && sum == 40
    });
    println!("alone, with a limit of 40: {rounds:?}");
    for (answers, took) in rounds {
        let sum: u64 = answers.values().map(|a| a.allowed).sum();
        assert!(sum <= 40 || took > Duration::from_secs(2), "{answers:?} in {took:?}");
    }
}

const EXPLAINED: &str = r#"
apiVersion: weir/v1
policies:
  - { name: banned, level: deny, match: 'request.user == "mallory"' }
  - name: daily
    level: application
    key: [application]
    limits: [ { requests: 3, calendar: year, timezone: Europe/Berlin } ]
    groups:
      - name: holidays
        during: { timezone: Europe/Berlin, dates: ["2031-12-24..2031-12-26"] }
        limits: [ { requests: 9, calendar: day, timezone: Europe/Berlin } ]
  - { name: other, level: api, match: 'request.api == "other"', limits: [ { requests: 1, window: 1m } ] }
"#;

#[test]
fn a_refusal_is_explained_by_any_manager() {
    let fleet = Fleet::start(&Plan { policies: EXPLAINED, agents: 1, ..Plan::default() });
    let (client, target) = (Session::new(), &fleet.targets()[0]);
    let ask = |node: &Node, body: Value| {
        http::post_json(&node.url("/api/v1/explain"), &body).unwrap_or_else(|e| panic!("{e}"))
    };
    let shop = json!({ "attributes": { "application": "shop", "api": "orders" } });
    let before = ask(&fleet.managers[0], shop.clone()).json();
    assert_eq!(
        (&before["verdict"], &before["met"][0]["counters"][0]["used"]),
        (&json!("allowed"), &json!(0))
    );
    let mut allowed = 0;
    wait_until("the year's limit is used up", SOON, &fleet.processes(), || {
        let answer = target.check(&client, "orders", "shop").expect("an answer");
        allowed += u64::from(answer.status == 200);
        answer.status == 429 && allowed == 3
    });
    for manager in &fleet.managers {
        wait_until("the manager knows why", SOON, &fleet.processes(), || {
            ask(manager, shop.clone()).json()["verdict"] == "limited"
        });
        let why = ask(manager, shop.clone()).json();
        assert_eq!((&why["policy"], &why["met"][0]["policy"]), (&json!("daily"), &json!("daily")));
        assert_eq!(why["limit_id"], "requests/year@Europe/Berlin/fixed_window", "{why}");
        let counter = &why["met"][0]["counters"][0];
        assert_eq!((&counter["used"], &counter["remaining"]), (&json!(3), &json!(0)), "{why}");
        assert_eq!(counter["key"], json!(["shop"]), "{why}");
        let reason = why["met"][0]["groups_not_met"][0]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("during"), "{why}");
        let unmet: Vec<_> = why["not_met"].as_array().expect("a list").iter().collect();
        let causes: Vec<_> = unmet.iter().map(|p| (&p["policy"], &p["cause"])).collect();
        let (absent, elsewhere) = (json!("attribute_absent"), json!("condition_false"));
        let (banned, other) = (json!("banned"), json!("other"));
        assert_eq!(causes, [(&banned, &absent), (&other, &elsewhere)]);

        let mut later = shop.clone();
        later["at"] = json!("2031-12-24T23:30:00Z");
        let later = ask(manager, later).json();
        let counter = &later["met"][0]["counters"][0];
        assert_eq!(
            (&later["verdict"], &later["met"][0]["group"]),
            (&json!("allowed"), &json!("holidays"))
        );
        assert_eq!(counter["window_end"], "2031-12-25T23:00:00Z", "{later}");
    }
    let denied = ask(&fleet.managers[0], json!({ "attributes": { "user": "mallory" } })).json();
    assert_eq!((&denied["verdict"], &denied["policy"]), (&json!("denied"), &json!("banned")));
    for (body, named) in [
        (json!({ "attributes": { "aplication": "shop" } }), "attributes.aplication"),
        (json!({ "at": "tomorrow" }), "2026-12-24T20:00:00Z"),
        (json!({ "amounts": { "Apples": 1 } }), "amounts.Apples"),
        (json!({ "attributes": {}, "colour": 1 }), "colour"),
        (json!([]), "attributes, amounts, at"),
    ] {
        let refused = ask(&fleet.managers[0], body);
        assert_eq!(refused.status, 400, "{refused:?}");
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        let errors = refused.json()["errors"].to_string();
        assert!(errors.contains(named), "{errors}");
    }
}
