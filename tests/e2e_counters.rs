//! Counters that outlive managers: recovered from peers, from agents, and from checkpoints, so that a limit
//! holds over all lives.

mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    fleet::{Node, SOON},
    group::Group,
    http::{self, Session},
    load::{Book, Load, Target},
    wait::{wait_for, wait_for_room, wait_until},
};

const HOUR: Duration = Duration::from_secs(3_600);
const LIMIT: u64 = 200;
/// Long windows are checkpointed each 10 s (`INTERVAL` in `checkpoint.rs`).
const CHECKPOINT: Duration = Duration::from_secs(10);

type Used = BTreeMap<(String, String), u64>;

#[track_caller]
fn policy(group: &Group, requests: u64) {
    limited(group, json!({ "requests": requests, "window": "1h", "algorithm": "fixed_window" }));
}

#[track_caller]
fn limited(group: &Group, limit: Value) {
    let body = json!({
        "name": "hourly", "level": "application", "key": ["application"], "limits": [limit],
        "accuracy": "strict",
    });
    let url = group.managers[0].url("/api/v1/policies?wait=all");
    let made = http::post_json(&url, &body).expect("an answer");
    assert_eq!(made.status, 201, "{}", made.body);
}

/// Checks until so many were admitted.
#[track_caller]
fn admit(group: &Group, agent: &Node, count: u64) -> Book {
    let (client, mut book) = (Session::new(), Book::default());
    let target = agent.target();
    wait_until("enough is admitted", SOON, &group.processes(), || {
        while book.answers.values().map(|a| a.allowed).sum::<u64>() < count {
            if !book.check(&target, &client, "any", "app") {
                return false;
            }
        }
        true
    });
    book
}

/// Checks at agents in turn until something is admitted and all have refused for a while.
#[track_caller]
fn exhaust(group: &Group, agents: &[Node]) -> Book {
    let (client, mut book) = (Session::new(), Book::default());
    let targets: Vec<Target> = agents.iter().map(Node::target).collect();
    let mut admitted_at = None;
    wait_until("the limit is reached", SOON * 2, &group.processes(), || {
        for target in &targets {
            if book.check(target, &client, "any", "app") {
                admitted_at = Some(Instant::now());
            }
        }
        admitted_at.is_some_and(|at: Instant| at.elapsed() > Duration::from_secs(3))
    });
    book
}

fn admitted(book: &Book) -> u64 {
    book.allowed().values().sum()
}

#[track_caller]
fn wait_counted(group: &Group, book: &Book) -> Used {
    let want: Used =
        book.answers.iter().map(|(place, answers)| (place.clone(), answers.allowed)).collect();
    wait_until("every manager has counted all", SOON, &group.processes(), || {
        group.managers.iter().all(|manager| manager.used("hourly").as_ref() == Some(&want))
    });
    want
}

#[test]
fn an_empty_manager_knows_a_dead_agents_counts_before_it_is_ready() {
    wait_for_room(HOUR, SOON * 4);
    let mut group = Group::start(3, &[]).with_agents(1);
    policy(&group, LIMIT);
    let mut book = admit(&group, &group.agents[0], 120);
    let used = wait_counted(&group, &book);
    group.agents[0].process().kill();
    group.managers[0].process().kill();
    group.wipe(0);
    group.managers[0].restart();
    group.managers[0].wait_ready();
    // At once: this is what being ready promises.
    let at_once = group.managers[0].used("hourly");
    assert_eq!(at_once.as_ref(), Some(&used), "{}", group.managers[0].process().log_tail());
    group.add_agent("gw-2");
    assert_eq!(group.agents[1].follows().as_deref(), Some("tm-1"));
    book.merge(exhaust(&group, &group.agents[1..]));
    println!("admitted {} of {LIMIT} over two agents", admitted(&book));
    assert_eq!(book.failures, Vec::<String>::new());
    assert!(admitted(&book) <= LIMIT, "admitted {} of {LIMIT}", admitted(&book));
}

#[test]
fn checkpoints_keep_a_limit_when_every_manager_and_agent_died() {
    wait_for_room(HOUR, SOON * 5);
    let mut group = Group::start(3, &[]).with_agents(2);
    policy(&group, LIMIT);
    let mut book = admit(&group, &group.agents[0], 60);
    book.merge(admit(&group, &group.agents[1], 40));
    let used = wait_counted(&group, &book);
    let counted = Instant::now();
    wait_until("two checkpoints were written", SOON * 2, &[], || {
        counted.elapsed() > CHECKPOINT * 2
    });
    for node in group.managers.iter().chain(&group.agents) {
        node.process().kill();
    }
    group.agents.clear();
    for manager in &mut group.managers {
        manager.restart();
    }
    group.wait_linked();
    for manager in &group.managers {
        let found = manager.used("hourly");
        assert_eq!(found.as_ref(), Some(&used), "{}: {}", manager.id, manager.process().log_tail());
    }
    group.add_agent("gw-3");
    group.add_agent("gw-4");
    book.merge(exhaust(&group, &group.agents));
    println!("admitted {} of {LIMIT} over both lives", admitted(&book));
    assert_eq!(book.failures, Vec::<String>::new());
    assert!(admitted(&book) <= LIMIT, "admitted {} of {LIMIT}", admitted(&book));
}

#[test]
fn a_manager_that_is_told_to_stop_keeps_short_windows_of_agents_that_are_gone() {
    let window = Duration::from_secs(300);
    wait_for_room(window, SOON * 5);
    let mut group = Group::start(1, &[]).with_agents(1);
    limited(&group, json!({ "requests": LIMIT, "window": "5m", "algorithm": "fixed_window" }));
    let mut book = admit(&group, &group.agents[0], 120);
    let used = wait_counted(&group, &book);
    assert!(group.agents[0].process().terminate(SOON).success());
    group.agents.clear();
    assert!(group.managers[0].process().terminate(SOON).success());
    group.managers[0].restart();
    group.managers[0].wait_ready();
    let found = group.managers[0].used("hourly");
    assert_eq!(found.as_ref(), Some(&used), "{}", group.managers[0].process().log_tail());
    group.add_agent("gw-2");
    book.merge(exhaust(&group, &group.agents));
    assert_eq!(book.failures, Vec::<String>::new());
    assert!(admitted(&book) <= LIMIT, "admitted {} of {LIMIT}", admitted(&book));
}

#[test]
fn a_single_manager_that_restarts_is_filled_by_its_agent_and_no_check_fails() {
    wait_for_room(HOUR, SOON * 3);
    let mut group = Group::start(1, &[]).with_agents(1);
    policy(&group, 1_000_000);
    let mut book = admit(&group, &group.agents[0], 20);
    let load = Load::start(&[group.agents[0].target()], "any", &["app"], 100);
    wait_until("the load is counted", SOON, &group.processes(), || {
        group.managers[0].used("hourly").is_some_and(|used| used.values().any(|u| *u > 60))
    });
    group.managers[0].process().kill();
    group.managers[0].restart();
    group.managers[0].wait_ready();
    let ready = Instant::now();
    wait_until("the counts are back", SOON, &group.processes(), || {
        group.managers[0].used("hourly").is_some_and(|used| used.values().any(|u| *u > 60))
    });
    println!("the counts are back after {:?}", ready.elapsed());
    book.merge(load.finish());
    assert_eq!(book.failures, Vec::<String>::new());
    assert_eq!(book.answers.values().map(|a| a.allowed).sum::<u64>(), admitted(&book));
    wait_counted(&group, &book);
}

#[test]
fn every_manager_tells_alike_what_is_used_up_and_who_tells_it() {
    const FEW: u64 = 20;
    wait_for_room(HOUR, SOON * 3);
    let group = Group::start(3, &[]).with_agents(2);
    policy(&group, FEW);
    let book = exhaust(&group, &group.agents);
    assert_eq!(admitted(&book), FEW);
    let answers = wait_for("all managers tell alike", SOON, &group.processes(), || {
        let path = "/api/v1/decisions?policy=hourly";
        let answers: Option<Vec<Value>> = group.managers.iter().map(|m| m.get(path)).collect();
        let answers = answers?;
        let told = |answer: &Value| {
            answer["decisions"].as_array().is_some_and(|all| all.len() == 1)
                && answer["decisions"] == answers[0]["decisions"]
                && answer["followed"] == json!(["tm-1"])
        };
        answers.iter().all(told).then_some(answers)
    });
    for (manager, answer) in group.managers.iter().zip(&answers) {
        let id = manager.id.as_str();
        assert_eq!(answer["manager"], id);
        let decision = &answer["decisions"][0];
        let told = ["key", "used", "limit", "reason"].map(|field| decision[field].clone());
        assert_eq!(told, [json!(["app"]), json!(FEW), json!(FEW), json!("used_up")], "{id}");
        let counters = manager.get("/api/v1/counters?policy=hourly").expect("an answer");
        let counter = &counters["counters"][0];
        assert_eq!((&counters["manager"], &counter["exhausted"]), (&json!(id), &json!(true)));
        let url = manager.url("/api/v1/explain");
        let asked = json!({ "attributes": { "application": "app" } });
        let explained = http::post_json(&url, &asked).expect("an answer").json();
        assert_eq!(explained["verdict"], "limited", "{id}: {explained}");
        assert_eq!((&explained["manager"], &explained["followed"]), (&json!(id), &json!(["tm-1"])));
        assert_eq!(explained["met"][0]["counters"][0]["remaining"], 0);
    }
}
