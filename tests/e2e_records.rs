//! What is written down at every manager, and what a write says about peers that are away.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{fleet::SOON, group::Group, http, wait::wait_until};

fn policy(name: &str, requests: u64) -> Value {
    json!({
        "name": name, "level": "application", "key": ["application"],
        "limits": [{ "requests": requests, "window": "1m" }],
    })
}

/// Actor, action, policy and manager of each record, the newest first.
fn audit(group: &Group, place: usize) -> Vec<[String; 4]> {
    let answer = group.managers[place].get("/api/v1/audit?policy=gold").expect("an answer");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names = ["actor", "action", "policy", "manager"];
    let records = answer["records"].as_array().expect("a list");
    records.iter().map(|record| names.map(|name| text(&record[name]))).collect()
}

#[test]
fn every_manager_tells_who_did_what_where() {
    let group = Group::start(3, &[]);
    let url = |place: usize, path: &str| group.managers[place].url(path);
    let made = http::post_json(&url(1, "/api/v1/policies?wait=all"), &policy("gold", 10));
    assert_eq!(made.expect("an answer").status, 201);
    let json = [("content-type", "application/json")];
    let path = "/api/v1/policies/gold?wait=all";
    let changed = http::send("PUT", &url(2, path), &json, &policy("gold", 20).to_string());
    assert_eq!(changed.expect("an answer").status, 200);
    assert_eq!(http::send("DELETE", &url(0, path), &[], "").expect("an answer").status, 204);
    let want = [("delete", "tm-1"), ("replace", "tm-3"), ("create", "tm-2")];
    let want =
        want.map(|(action, manager)| ["anonymous", action, "gold", manager].map(str::to_owned));
    for place in 0..3 {
        assert_eq!(audit(&group, place), want, "{}", group.managers[place].id);
    }
    let one = group.managers[0].get("/api/v1/audit?policy=gold&action=create&limit=1");
    let one = &one.expect("an answer")["records"][0];
    assert_eq!(one["manager"], "tm-2");
    let version = one["version"].as_str().unwrap_or_default();
    assert!(version.starts_with("1-"), "the version that was created: {one}");
    let bad = http::get(&url(0, "/api/v1/audit?from=yesterday")).expect("an answer");
    assert_eq!(bad.status, 400);
    let fault = &bad.json()["errors"][0];
    assert_eq!((&fault["field"], &fault["value"]), (&json!("from"), &json!("\"yesterday\"")));
}

/// Runs the client; whether it ended well, and what it said.
fn client(args: &[&str]) -> (bool, String) {
    let program = support::process::weir_binary("traffic-manager").expect("the program");
    let output = std::process::Command::new(program).args(args).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("text"))
}

#[test]
fn a_write_that_waits_for_a_peer_that_is_away_is_answered_and_is_there() {
    let mut group = Group::start(3, &[]);
    let url =
        |group: &Group, query: &str| group.managers[0].url(&format!("/api/v1/policies{query}"));
    for (query, words) in [
        ("?wait=9", "more than the 2 peers"),
        ("?wait=some", "neither all nor a number"),
        ("?wait=-1", "neither all nor a number"),
    ] {
        let bad = http::post_json(&url(&group, query), &policy("bad", 1)).expect("an answer");
        assert_eq!(bad.status, 400, "{}", bad.body);
        assert!(bad.body.contains(words), "{}", bad.body);
    }
    group.managers[2].process().kill();
    let one = http::post_json(&url(&group, "?wait=1"), &policy("one", 1)).expect("an answer");
    assert_eq!((one.status, one.header("weir-replicas")), (201, Some("1")), "{}", one.body);
    let began = Instant::now();
    let late = http::post_json_within(&url(&group, "?wait=2"), &policy("late", 2), SOON);
    let (late, took) = (late.expect("an answer"), began.elapsed());
    assert_eq!(late.status, 504, "{}", late.body);
    assert!(late.body.contains("1 of the 2 peers"), "{}", late.body);
    assert_eq!(late.header("weir-replicas"), Some("1"), "as an answer that is in time");
    assert_eq!(late.json()["replicated_to"], json!(["tm-2"]), "{}", late.body);
    let there = http::get(&group.managers[0].url("/api/v1/policies/late")).expect("an answer");
    assert_eq!(late.header("etag"), there.header("etag"), "the version that was made");
    assert_eq!(late.header("location"), Some("/api/v1/policies/late"));
    let server = group.managers[0].url("");
    let (ok, text) = client(&["policy", "delete", "late", "--wait", "all", "--server", &server]);
    assert!(!ok && text.contains("policy late deleted"), "{text}");
    assert!(text.contains("1 of the 2 peers") && text.contains("(tm-2)"), "{text}");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let two = json!({ "apiVersion": "weir/v1", "policies": [policy("one", 5), policy("late", 6)] });
    std::fs::write(file.path(), two.to_string()).expect("a file");
    let file = file.path().display().to_string();
    let apply = |wait: &str| {
        client(&["policy", "apply", "--file", &file, "--wait", wait, "--server", &server])
    };
    let said = "policy one replaced\npolicy late created\n1 peer has it\n";
    assert_eq!(apply("1"), (true, said.to_owned()));
    let (ok, text) = apply("all");
    assert!(!ok && text.starts_with("policy one unchanged\npolicy late unchanged\n"), "{text}");
    assert!(text.contains("1 of the 2 peers"), "{text}");
    assert!(!apply("some").0);
    assert!((Duration::from_secs(4)..Duration::from_secs(10)).contains(&took), "{took:?}");
    for place in [0, 1] {
        let names: Vec<String> =
            group.managers[place].versions().unwrap_or_default().into_iter().map(|v| v.0).collect();
        assert_eq!(names, ["late", "one"], "{}", group.managers[place].id);
    }
    group.managers[2].restart();
    group.managers[2].wait_ready();
    wait_until("the third has it, too", SOON, &group.processes(), || {
        group.managers[2].versions().is_some_and(|versions| versions.len() == 2)
    });
    assert!(apply("all").1.ends_with("\n2 peers have it\n"));
}

#[test]
fn the_conflict_log_names_who_lost_and_where() {
    let mut group = Group::start(2, &[]);
    group.managers[0].put_policy("gold", 1).expect("an answer");
    group.wait_converged();
    group.edit_apart("gold");
    group.wait_converged();
    wait_until("both have the loser", SOON, &group.processes(), || {
        group.managers.iter().all(|manager| {
            let log = manager.get("/api/v1/conflicts").unwrap_or_default();
            let conflict = &log["conflicts"][0];
            let lost = conflict["version"]["limits"][0]["requests"].as_u64();
            let manager = if lost == Some(111) { "tm-1" } else { "tm-2" };
            lost.is_some()
                && conflict["author"] == "anonymous"
                && conflict["manager"] == manager
                && conflict["winner"].is_string()
        })
    });
    let id = group.managers[0].get("/api/v1/conflicts").expect("the log")["conflicts"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let server = group.managers[1].url("");
    for command in [&["list"][..], &["show", &id[..8]]] {
        let all = [&["conflicts"], command, &["--server", &server]].concat();
        let (ok, text) = client(&all);
        assert!(ok && text.contains("tm-1") && text.contains("tm-2"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    }
    let dismiss = group.managers[1].url(&format!("/api/v1/conflicts/{id}:dismiss?wait=all"));
    let done = http::send("POST", &dismiss, &[], "").expect("an answer");
    assert!(done.status < 300, "{} {}", done.status, done.body);
    for place in [0, 1] {
        let newest = audit(&group, place).into_iter().next();
        let want = ["anonymous", "dismiss", "gold", "tm-2"].map(str::to_owned);
        assert_eq!(newest, Some(want), "{}", group.managers[place].id);
    }
}
