//! How a manager starts: what it says while it is not ready, alone or beside others, and with a store that
//! it must not touch.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use support::{
    fleet::{Node, SOON},
    group::Group,
    http,
    ports::free_ports,
    process::weir_binary,
    wait::{wait_for, wait_until},
};

#[test]
fn a_manager_that_waits_for_silent_peers_says_why_and_then_serves() {
    let mut group = Group::start(3, &[]);
    group.managers[0].process().kill();
    for place in [1, 2] {
        group.managers[place].process().freeze();
    }
    group.managers[0].restart();
    let manager = &group.managers[0];
    let began = Instant::now();
    let why = wait_for("it says why it is not ready", SOON, &[manager.process()], || {
        let answer = http::get(&manager.url("/readyz")).ok()?;
        (answer.status == 503 && !answer.body.contains("starting")).then_some(answer.body)
    });
    assert!(why.contains("recovering"), "{why}");
    let alive = http::get(&manager.url("/healthz")).expect("an answer");
    assert_eq!(alive.status, 200, "it lives meanwhile: {}", alive.body);
    manager.wait_ready();
    println!("not ready for {:?}: {why}", began.elapsed());
    let log = manager.process().log();
    assert!(log.contains("no peer has told its policies"), "{log}");
    for place in [1, 2] {
        group.managers[place].process().thaw();
    }
    group.wait_linked();
    // Readiness comes with the first heartbeat over a new link.
    wait_until("the peers say that they are ready", SOON, &group.processes(), || {
        group.managers[0].peers().iter().all(|peer| peer["ready"] == true)
    });
}

#[test]
fn a_manager_whose_peers_are_down_is_soon_ready_and_says_so() {
    let mut group = Group::start(3, &[]);
    group.managers[0].put_policy("kept", 7).expect("an answer");
    for manager in &group.managers {
        manager.process().kill();
    }
    group.managers[0].restart();
    let began = Instant::now();
    let manager = &group.managers[0];
    manager.wait_ready();
    println!("ready alone after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let log = manager.process().log();
    assert!(log.contains("no peer has told its policies"), "{log}");
    for peer in &group.managers[1..] {
        assert!(log.contains(&format!("127.0.0.1:{}", peer.grpc)), "it names them: {log}");
    }
    assert_eq!(manager.versions().expect("the policies").len(), 1, "with its own policies");
    missed(manager, &group.managers[1..]);
    wait_until("it has the roles", SOON, &[manager.process()], || {
        let nodes = manager.get("/api/v1/nodes").unwrap_or_default();
        let roles = nodes["nodes"][0]["roles"].to_string();
        roles.contains("ledger") && roles.contains("janitor")
    });
}

/// Peers that this life never met are shown all the same: where they should be, and why nobody is there.
fn missed(manager: &Node, peers: &[Node]) {
    let peers: Vec<String> =
        peers.iter().map(|peer| format!("http://127.0.0.1:{}", peer.grpc)).collect();
    let mut shown = manager.peers();
    shown.sort_by_key(|node| node["address"].to_string());
    assert_eq!(shown.len(), peers.len(), "{shown:?}");
    let metrics = http::get(&manager.url("/metrics")).expect("metrics").body;
    for address in &peers {
        let node = shown.iter().find(|node| node["address"] == *address);
        let node = node.unwrap_or_else(|| panic!("{address} is not in {shown:?}"));
        assert!(node["id"].is_null() && node["revision"].is_null(), "{node}");
        assert_eq!(node["link"], "down", "{node}");
        let why = node["last_failure"].as_str().unwrap_or_default();
        assert!(why.contains("refused") && node["last_failure_at"].is_string(), "{node}");
        let series = format!("weir_manager_peer_up{{peer=\"{address}\"}} 0");
        assert!(metrics.contains(&series), "{series} is not in {metrics}");
    }
    let mut command = Command::new(weir_binary("traffic-manager").expect("it is built"));
    let server = manager.url("");
    let status = command.args(["status", "--server", &server]).output().expect("it ends");
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(peers.iter().all(|address| said.matches(address).count() == 2), "{said}");
}

#[test]
fn a_peer_that_was_missed_has_its_own_name_once_it_is_there() {
    let mut group = Group::start(2, &[]);
    group.managers.iter().for_each(|manager| manager.process().kill());
    group.managers[0].restart();
    group.managers[0].wait_ready();
    missed(&group.managers[0], &group.managers[1..]);
    group.managers[1].restart();
    group.wait_linked();
    wait_until("it is reached at its address", SOON, &group.processes(), || {
        let peers = group.managers[0].peers();
        peers.len() == 1 && peers[0]["id"] == "tm-2" && peers[0]["last_failure"].is_null()
    });
    let metrics = http::get(&group.managers[0].url("/metrics")).expect("metrics").body;
    let ups: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("weir_manager_peer_up")).collect();
    assert_eq!(ups, ["weir_manager_peer_up{peer=\"tm-2\"} 1"], "one series, and no alert for ever");
}

/// What becomes of a manager that cannot start.
fn serve(id: &str, data: &Path) -> Output {
    let [grpc, http] = free_ports();
    let mut command = Command::new(weir_binary("traffic-manager").expect("it is built"));
    command.args(["serve", "--id", id, "--data-dir"]).arg(data);
    command.args(["--listen-grpc", &format!("127.0.0.1:{grpc}")]);
    command.args(["--listen-http", &format!("127.0.0.1:{http}")]);
    command.output().expect("it ends")
}

#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let said = [output.stdout.clone(), output.stderr.clone()].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn a_store_in_use_of_another_or_damaged_is_refused_and_not_touched() {
    let mut group = Group::start(1, &[]);
    group.managers[0].put_policy("kept", 7).expect("an answer");
    let data = group.data_dir(0);
    let pid = group.managers[0].process().pid().to_string();
    refused(&serve("tm-1", &data), &["in use", &pid, &data.display().to_string()]);
    group.managers[0].assert_healthy();
    group.managers[0].process().kill();

    let file = data.join("weir.redb");
    let bytes = fs::read(&file).expect("the store");
    refused(&serve("tm-9", &data), &["tm-1", "tm-9"]);
    assert_eq!(fs::read(&file).expect("the store"), bytes, "untouched");

    let mut damaged = bytes.clone();
    damaged.iter_mut().step_by(7).for_each(|byte| *byte ^= 0x5a);
    fs::write(&file, &damaged).expect("the store");
    refused(&serve("tm-1", &data), &["weir.redb"]);
    assert_eq!(fs::read(&file).expect("the store"), damaged, "untouched");

    fs::write(&file, &bytes[..bytes.len() / 2]).expect("the store");
    refused(&serve("tm-1", &data), &["weir.redb"]);
    assert_eq!(fs::read(&file).expect("the store"), bytes[..bytes.len() / 2], "untouched");

    fs::write(&file, &bytes).expect("the store");
    group.managers[0].restart();
    group.managers[0].wait_ready();
    assert_eq!(group.managers[0].versions().expect("the policies").len(), 1, "nothing is lost");
}

/// TCP connections that lead to this port, by the port at their other end.
fn connections(port: u16) -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/net/tcp").expect("the system's connections");
    let to = format!("0100007F:{port:04X}");
    let column = |line: &str, place: usize| line.split_whitespace().nth(place).map(str::to_owned);
    let established = |line: &&str| {
        column(line, 2).as_ref() == Some(&to) && column(line, 3).as_deref() == Some("01")
    };
    table.lines().filter(established).filter_map(|line| column(line, 1)).collect()
}

#[test]
fn links_that_work_are_not_replaced() {
    let group = Group::start(2, &[]);
    let both = || -> Vec<BTreeSet<String>> {
        group.managers.iter().map(|manager| connections(manager.grpc)).collect()
    };
    let mut first = both();
    wait_until("each manager has dialled the other", SOON, &group.processes(), || {
        first = both();
        first.iter().all(|found| found.len() == 1)
    });
    let began = Instant::now();
    wait_until("a silent link would have been given up", SOON, &[], || {
        began.elapsed() > Duration::from_secs(8)
    });
    assert_eq!(both(), first);
    for manager in &group.managers {
        let log = manager.process().log();
        assert!(!log.contains("the peer is silent"), "{log}");
    }
}
