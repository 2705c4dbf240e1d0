//! Backups of a manager that runs: nobody waits for them, nothing acknowledged is missing, and nothing of
//! them stays behind.

mod support;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::json;
use support::{
    fleet::{Node, SOON},
    group::Group,
    http,
    process::weir_binary,
    wait::{wait_for, wait_until},
};

/// Runs the client; whether it ended well, and what it said.
fn manager(args: &[&str]) -> (bool, String) {
    let program = weir_binary("traffic-manager").expect("the program");
    let output = Command::new(program).args(args).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("text"))
}

fn names(folder: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    names
}

/// A policy of about 500 kB.
fn large(name: &str) -> serde_json::Value {
    let one = |n: u32| json!({ "key": [format!("{n:040}")], "limits": [{ "requests": 20_000, "window": "1m" }] });
    json!({
        "name": name, "level": "api", "key": ["application"], "match": "request.api == \"edited\"",
        "limits": [{ "requests": 1, "window": "1m" }],
        "overrides": (0..5_000).map(one).collect::<Vec<_>>(),
    })
}

fn fill(node: &Node, policies: u32) {
    for number in 0..policies {
        let made = http::post_json(&node.url("/api/v1/policies"), &large(&format!("l-{number}")));
        let made = made.expect("an answer");
        assert_eq!(made.status, 201, "{}", made.body);
    }
}

#[test]
fn a_backup_of_a_running_manager_has_every_write_that_was_acknowledged_before() {
    let group = Group::start(1, &[]);
    fill(&group.managers[0], 4);
    let files = names(&group.data_dir(0));
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (backup, restored) = (path("backup"), path("restored"));
    let node = &group.managers[0];
    let server = node.url("");
    let store = ["store", "backup", backup.as_str(), "--server", server.as_str()];
    let (acknowledged, done) = (Mutex::new(BTreeSet::new()), AtomicBool::new(false));
    let count = || acknowledged.lock().expect("a set").len();
    let mut before = BTreeSet::new();
    thread::scope(|scope| {
        for worker in 0..2 {
            let (acknowledged, done) = (&acknowledged, &done);
            scope.spawn(move || {
                for number in 1.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let name = format!("p-{worker}-{number}");
                    let answer = node.put_policy(&name, number).expect("an answer");
                    assert_eq!(answer.status, 201, "{}", answer.body);
                    acknowledged.lock().expect("a set").insert(name);
                }
            });
        }
        wait_until("something is written", SOON, &[node.process()], || count() >= 20);
        before = acknowledged.lock().expect("a set").clone();
        let (ok, text) = manager(&store);
        assert!(ok && text.contains("sound (manager tm-1, format 1"), "{text}");
        let then = count();
        wait_until("writes go on", SOON, &[node.process()], || count() >= then + 20);
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(names(&group.data_dir(0)), files, "nothing of it stays");

    let (ok, text) = manager(&store);
    assert!(!ok && text.contains("exists already") && text.contains("--force"), "{text}");
    let first = fs::read(&backup).expect("the backup");
    let (ok, text) = manager(&[&store[..], &["--force"]].concat());
    assert!(ok, "{text}");
    assert_ne!(fs::read(&backup).expect("the backup"), first, "replaced");
    fs::write(&backup, first).expect("the first one again");
    assert_eq!(names(folder.path()), ["backup"], "the client leaves nothing else");

    let (ok, text) = manager(&["store", "backup", &path("b"), "--data-dir", &path("nothing")]);
    assert!(!ok && text.contains("there is no store at"), "{text}");
    let data = group.data_dir(0).display().to_string();
    let (ok, text) = manager(&["store", "backup", &path("b"), "--data-dir", &data]);
    assert!(!ok && text.contains("--server URL"), "a running manager is named as the way: {text}");

    let (ok, text) = manager(&["store", "restore", &backup, "--data-dir", &restored]);
    assert!(ok, "{text}");
    group.managers[0].process().kill();
    let args = ["--data-dir".to_owned(), restored];
    let ports = support::ports::free_ports();
    let again = Node::start_on("traffic-manager", "tm-1", ports, &args);
    again.wait_ready();
    let list = again.get("/api/v1/policies").expect("the policies");
    let there: BTreeSet<String> = list["policies"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|policy| Some(policy["name"].as_str()?.to_owned()))
        .collect();
    let lost: Vec<_> = before.difference(&there).collect();
    assert!(lost.is_empty(), "{lost:?} of {}", before.len());
}

/// Asks for a backup, and takes no more of the answer than its status.
fn asked(node: &Node) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", node.http)).expect("a connection");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let head = "POST /api/v1/store:backup HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("it is sent");
    let mut start = [0; 12];
    stream.read_exact(&mut start).expect("an answer");
    (stream, String::from_utf8_lossy(&start[9..]).into_owned())
}

/// A client that is being sent a backup, once it is its turn.
fn client(node: &Node) -> TcpStream {
    wait_for("a backup has its turn", SOON, &[node.process()], || {
        let (stream, status) = asked(node);
        (status == "200").then_some(stream)
    })
}

#[test]
fn a_backup_leaves_nothing_when_its_client_or_its_manager_goes() {
    let mut group = Group::start(1, &[]);
    // More than what sockets hold, so that a client that does not read holds the manager up.
    fill(&group.managers[0], 12);
    let files = names(&group.data_dir(0));
    let node = &group.managers[0];
    let slow = client(node);
    assert_eq!(names(&group.data_dir(0)), files, "the copy has no name");
    assert_eq!(asked(node).1, "503", "one at a time");
    assert!(node.is_ready());
    drop(slow);
    let slow = client(node);
    node.process().kill();
    assert_eq!(names(&group.data_dir(0)), files, "nothing stays after a kill");
    drop(slow);
    group.managers[0].restart();
    group.managers[0].wait_ready();
    assert_eq!(names(&group.data_dir(0)), files);
    drop(client(&group.managers[0]));
}
