//! Administration behind a real HAProxy with the configuration that `deploy/haproxy` ships.

mod support;

use std::{fs, process::Command};

use serde_json::json;
use support::{
    fleet::SOON,
    group::Group,
    http,
    peers::{or_skip, system_binary},
    ports::free_ports,
    process::Process,
    wait::{wait_for, wait_until},
};

const SHIPPED: &str = include_str!("../deploy/haproxy/haproxy.cfg");

#[test]
fn policies_are_written_through_haproxy_while_the_active_manager_is_killed() {
    let Some(haproxy) = or_skip(system_binary("haproxy")) else { return };
    let mut group = Group::start(3, &[]);
    let [front, _] = free_ports();
    let mut config = SHIPPED.replace(":9600", &format!(":{front}"));
    for (manager, port) in group.managers.iter().zip([":9610", ":9620", ":9630"]) {
        assert!(config.contains(port), "the shipped file names {port}");
        config = config.replace(port, &format!(":{}", manager.http));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("haproxy.cfg");
    fs::write(&file, config).expect("a configuration");
    let mut command = Command::new(haproxy);
    command.args(["-db", "-f"]).arg(&file);
    let balancer = Process::start_command("haproxy", command);
    let url = format!("http://127.0.0.1:{front}/api/v1/policies?wait=1");
    let create = |number: usize| {
        let body = json!({
            "name": format!("p-{number}"), "level": "application", "key": ["application"],
            "limits": [{ "requests": 5, "window": "1m" }],
        });
        http::post_json(&url, &body).is_ok_and(|answer| answer.status == 201)
    };
    let mut acknowledged = Vec::new();
    let mut next = 0;
    let mut write_some = |count: usize, acknowledged: &mut Vec<usize>| {
        let end = acknowledged.len() + count;
        wait_until("policies are created", SOON, &[&balancer], || {
            // A name is used once: whether a write without an answer happened is not known.
            next += 1;
            if create(next) {
                acknowledged.push(next);
            }
            acknowledged.len() >= end
        });
    };
    write_some(20, &mut acknowledged);
    let active = |group: &Group| {
        let audit = group.managers[2].get("/api/v1/audit?limit=1").expect("the audit records");
        audit["records"][0]["manager"].as_str().map(str::to_owned)
    };
    let first = wait_for("the last write is audited", SOON, &group.processes(), || active(&group));
    assert_eq!(first, "tm-1", "writes go to the first");
    group.managers[0].process().kill();
    write_some(20, &mut acknowledged);
    let second = wait_for("the takeover is audited", SOON, &group.processes(), || {
        active(&group).filter(|manager| manager != "tm-1")
    });
    assert_eq!(second, "tm-2", "one stands in, not all of them");
    group.managers[0].restart();
    group.wait_linked();
    let versions = group.wait_converged();
    for number in acknowledged {
        let name = format!("p-{number}");
        assert!(versions.iter().any(|(there, _)| *there == name), "{name} was acknowledged");
    }
}
