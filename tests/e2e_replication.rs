//! Policies in a group of real managers: written anywhere, there everywhere, lost nowhere.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use serde_json::{Value, json};
use support::{
    fleet::{Node, SOON},
    group::Group,
    http::{self, Response},
    wait::{wait_for, wait_until},
};

fn policy(name: &str, requests: u64) -> Value {
    json!({
        "name": name, "level": "application", "key": ["application"],
        "limits": [{ "requests": requests, "window": "1m" }],
    })
}

fn create(node: &Node, query: &str, body: &Value) -> Result<Response, String> {
    http::post_json(&node.url(&format!("/api/v1/policies{query}")), body)
}

fn read(node: &Node, name: &str) -> Option<(u64, String)> {
    let answer = http::get(&node.url(&format!("/api/v1/policies/{name}"))).ok()?;
    let requests =
        (answer.status == 200).then(|| answer.json()["limits"][0]["requests"].as_u64())?;
    Some((requests?, answer.header("etag")?.to_owned()))
}

#[test]
fn a_policy_written_to_any_manager_is_at_all_of_them() {
    let group = Group::start(3, &[]);
    let made = create(&group.managers[1], "?wait=all", &policy("gold", 10)).expect("an answer");
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.header("weir-replicas"), Some("2"));
    let tag = made.header("etag").expect("a tag").to_owned();
    for manager in &group.managers {
        // Without waiting: that is what ?wait=all is for.
        assert_eq!(read(manager, "gold"), Some((10, tag.clone())), "{}", manager.id);
    }
    let stale = [("if-match", "\"0-0\""), ("content-type", "application/json")];
    let url = group.managers[0].url("/api/v1/policies/gold");
    let refused =
        http::send("PUT", &url, &stale, &policy("gold", 20).to_string()).expect("an answer");
    assert_eq!(refused.status, 412, "the tag of another version: {}", refused.body);
    let fresh = [("if-match", tag.as_str()), ("content-type", "application/json")];
    let url = group.managers[0].url("/api/v1/policies/gold?wait=1");
    let changed =
        http::send("PUT", &url, &fresh, &policy("gold", 20).to_string()).expect("an answer");
    assert_eq!(changed.status, 200, "a tag is one at all managers: {}", changed.body);
    let url = group.managers[2].url("/api/v1/policies/gold?wait=all");
    wait_until("the change is at the third", SOON, &group.processes(), || {
        read(&group.managers[2], "gold").is_some_and(|(requests, _)| requests == 20)
    });
    let deleted = http::send("DELETE", &url, &[], "").expect("an answer");
    assert_eq!(deleted.status, 204, "{}", deleted.body);
    for manager in &group.managers {
        assert_eq!(read(manager, "gold"), None, "{}", manager.id);
    }
}

#[test]
fn rivals_have_one_winner_and_the_loser_can_be_restored() {
    let mut group = Group::start(2, &[]);
    create(&group.managers[0], "?wait=all", &policy("gold", 10)).expect("an answer");
    group.edit_apart("gold");
    let versions = group.wait_converged();
    assert_eq!(versions.len(), 1, "{versions:?}");
    let (winner, _) = read(&group.managers[0], "gold").expect("it is there");
    let loser = 333 - winner;
    let conflicts = wait_for("both list the loser", SOON, &group.processes(), || {
        let lists = group.managers.iter().map(|m| m.get("/api/v1/conflicts"));
        let lists: Option<Vec<Value>> = lists.collect();
        let lists = lists?;
        let one = |list: &Value| list["conflicts"].as_array().is_some_and(|all| all.len() == 1);
        (lists.iter().all(one) && lists[0] == lists[1]).then(|| lists[0].clone())
    });
    let conflict = &conflicts["conflicts"][0];
    assert_eq!(conflict["policy"], "gold", "{conflict}");
    assert_eq!(conflict["version"]["limits"][0]["requests"], loser, "{conflict}");
    let id = conflict["id"].as_str().expect("an id");
    let url = group.managers[1].url(&format!("/api/v1/conflicts/{id}:restore?wait=all"));
    let restored = http::send("POST", &url, &[], "").expect("an answer");
    assert_eq!(restored.status, 200, "{}", restored.body);
    for manager in &group.managers {
        assert_eq!(read(manager, "gold").map(|found| found.0), Some(loser), "{}", manager.id);
        let left = manager.get("/api/v1/conflicts").expect("an answer");
        assert_eq!(left["conflicts"], json!([]), "{}", manager.id);
    }
}

/// A policy that fills a frame, with rivals of it, goes all the way: to the store, the peers, the agents, and back.
#[test]
fn policies_as_long_as_they_may_be_reach_every_manager_and_agent() {
    const MOST: usize = 3 << 20;
    const KEY: [&str; 4] = ["application", "api", "user", "tenant"];
    let part = |n: usize| format!("{n:0>1000}");
    let long = |requests: u64| {
        let limits = json!([{ "requests": requests, "window": "1m" }]);
        let one = |n: usize| json!({ "key": vec![part(n); KEY.len()], "limits": limits });
        let overrides: Vec<Value> = (0..750).map(one).collect();
        json!({
            "name": "gold", "level": "application", "key": KEY, "overrides": overrides,
            "limits": [{ "requests": 1_000, "window": "1m", "algorithm": "fixed_window" }],
        })
    };
    assert!(long(1).to_string().len() > MOST - 100_000, "{}", long(1).to_string().len());
    let mut group = Group::start(2, &[]).with_agents(1);
    let put = |node: &Node, body: &Value| {
        let json = [("content-type", "application/json")];
        let url = node.url("/api/v1/policies/gold");
        http::send("PUT", &url, &json, &body.to_string()).expect("an answer").status
    };
    let url = group.managers[0].url("/api/v1/policies?wait=all");
    let made = http::post_json_within(&url, &long(1), SOON).expect("an answer");
    assert_eq!((made.status, made.header("weir-replicas")), (201, Some("1")), "{}", made.body);
    // Both change it while they cannot reach each other: a register with two versions of that length.
    group.managers[1].process().kill();
    assert_eq!(put(&group.managers[0], &long(2)), 200);
    group.managers[0].process().kill();
    group.managers[1].restart();
    group.managers[1].wait_ready();
    assert_eq!(put(&group.managers[1], &long(3)), 200);
    group.managers[0].restart();
    group.wait_linked();
    wait_until("both have the winner and the loser", SOON * 2, &group.processes(), || {
        let tags: Vec<_> = group.managers.iter().map(|manager| read(manager, "gold")).collect();
        let log = |manager: &Node| {
            let log = manager.get("/api/v1/conflicts").unwrap_or_default();
            log["conflicts"].as_array().map_or(0, Vec::len)
        };
        tags[0].is_some() && tags[0] == tags[1] && group.managers.iter().all(|m| log(m) == 1)
    });
    let won = |manager: &Node| {
        let policy = manager.get("/api/v1/policies/gold").unwrap_or_default();
        policy["overrides"][0]["limits"][0]["requests"].as_u64()
    };
    let most = won(&group.managers[0]).expect("a limit");
    let agent = &group.agents[0];
    let attributes: BTreeMap<&str, String> = KEY.iter().map(|name| (*name, part(7))).collect();
    let body = json!({ "attributes": attributes });
    wait_until("the agent has it", SOON, &group.processes(), || {
        let answer = http::post_json(&agent.url("/v1/check"), &body);
        answer.is_ok_and(|answer| answer.json()["limit"] == most)
    });
}

#[test]
fn an_empty_store_is_filled_and_an_old_file_brings_nothing_back() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text =
        json!({ "apiVersion": "weir/v1", "policies": [policy("old", 1), policy("kept", 2)] });
    fs::write(file.path(), text.to_string()).expect("a policies file");
    let path = file.path().display().to_string();
    let mut group = Group::start(3, &["--policies-file", &path]);
    let url = group.managers[0].url("/api/v1/policies/old?wait=all");
    assert_eq!(http::send("DELETE", &url, &[], "").expect("an answer").status, 204);
    group.managers[0].put_policy("kept", 3).expect("an answer");
    group.wait_converged();
    for place in [1, 2] {
        group.managers[place].process().kill();
    }
    group.wipe(2);
    for place in [1, 2] {
        group.managers[place].restart();
        group.managers[place].wait_ready();
    }
    let versions = group.wait_converged();
    let names: Vec<&str> = versions.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["kept"], "what was deleted stays deleted");
    for manager in &group.managers {
        assert_eq!(read(manager, "kept").map(|found| found.0), Some(3), "{}", manager.id);
    }
    assert_eq!(fs::read_to_string(file.path()).expect("the file"), text.to_string(), "unwritten");
}

/// Writes until the manager is gone; returns the names that it acknowledged.
fn write_until_killed(node: &Node, worker: usize, written: &AtomicU64) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let name = format!("p-{worker}-{number}");
        match create(node, "", &policy(&name, number % 1_000 + 1)) {
            Ok(answer) if answer.status == 201 => {
                written.fetch_add(1, Ordering::Relaxed);
                acknowledged.push(name);
            }
            Ok(answer) => panic!("{name}: {} {}", answer.status, answer.body),
            Err(_) => break,
        }
    }
    acknowledged
}

#[test]
fn ten_thousand_writes_and_kill_9_in_between_lose_none_that_was_acknowledged() {
    const WRITES: u64 = 10_000;
    const LIVES: u64 = 5;
    let mut group = Group::start(1, &[]);
    let written = Arc::new(AtomicU64::new(0));
    let mut acknowledged = Vec::new();
    for life in 1..=LIVES {
        let node = &group.managers[0];
        let found = thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|worker| {
                    let written = &written;
                    let name = usize::try_from(life).unwrap_or(0) * 10 + worker;
                    scope.spawn(move || write_until_killed(node, name, written))
                })
                .collect();
            wait_until("a part is written", SOON * 6, &[node.process()], || {
                written.load(Ordering::Relaxed) >= life * WRITES / LIVES
            });
            node.process().kill();
            workers.into_iter().map(|worker| worker.join().expect("a worker")).collect::<Vec<_>>()
        });
        acknowledged.extend(found.into_iter().flatten());
        group.managers[0].restart();
        group.managers[0].wait_ready();
    }
    assert!(acknowledged.len() as u64 >= WRITES, "{}", acknowledged.len());
    let list = group.managers[0].get("/api/v1/policies").expect("the policies");
    let there: std::collections::BTreeSet<&str> = list["policies"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|policy| policy["name"].as_str())
        .collect();
    let lost: Vec<_> = acknowledged.iter().filter(|name| !there.contains(name.as_str())).collect();
    let first = lost.first();
    assert!(lost.is_empty(), "{} of {} lost: {first:?}, …", lost.len(), acknowledged.len());
}

/// A folder on a disk of its own, so small that it fills; gone with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = std::process::Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(folder.path());
        let mounted = command.status().is_ok_and(|status| status.success());
        mounted.then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_writes_and_space_lets_them_pass_again() {
    let Some(disk) = support::peers::or_skip(
        SmallDisk::mount().ok_or_else(|| "mounting a small disk needs root".to_owned()),
    ) else {
        return;
    };
    let data = disk.0.path().join("data").display().to_string();
    let ports = support::ports::free_ports();
    let node = Node::start_on("traffic-manager", "tm-1", ports, &["--data-dir".to_owned(), data]);
    node.wait_ready();
    let made = create(&node, "", &policy("before", 7)).expect("an answer");
    assert_eq!(made.status, 201, "{}", made.body);
    let ballast = disk.0.path().join("ballast");
    // Fills what is left, to the last block.
    let _ = fs::write(&ballast, vec![0_u8; 32 << 20]);
    let refused = wait_for("a write is refused", SOON, &[node.process()], || {
        let name = format!("during-{}", support::wait::wall_clock().as_nanos());
        let answer = create(&node, "", &policy(&name, 1)).expect("an answer");
        (answer.status != 201).then_some(answer)
    });
    assert_eq!(refused.status, 507, "{}", refused.body);
    assert!(refused.body.contains("space"), "{}", refused.body);
    assert_eq!(read(&node, "before").map(|found| found.0), Some(7), "the old state is intact");
    let checked = http::get(&node.url("/healthz")).expect("an answer");
    assert_eq!(checked.status, 200);
    fs::remove_file(&ballast).expect("the ballast");
    wait_until("writes pass again", SOON, &[node.process()], || {
        create(&node, "", &policy("after", 8))
            .is_ok_and(|answer| [201, 409].contains(&answer.status))
    });
    node.process().kill();
    let mut node = node;
    node.restart();
    node.wait_ready();
    assert_eq!(read(&node, "before").map(|found| found.0), Some(7));
    assert_eq!(read(&node, "after").map(|found| found.0), Some(8));
}
