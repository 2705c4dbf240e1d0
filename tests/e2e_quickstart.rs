//! The README's first command: it says when it is ready, its limit holds, and it leaves nobody
//! behind. It uses the default ports; where another program has one, only its explanation is tested.

mod support;

use std::{net::TcpListener, path::Path, time::Duration};

use support::{
    http::{self, Session},
    load::Target,
    peers::or_skip,
    process::{Process, weir_binary},
    wait::{wait_for_room, wait_until},
};

const MINUTE: Duration = Duration::from_secs(60);
/// What the test may take on a slow machine, start-up included.
const ROOM: Duration = Duration::from_secs(30);
const PORTS: [u16; 6] = [9610, 9611, 9620, 9621, 8080, 8081];

fn all_free() -> bool {
    PORTS.iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
}

/// The process ids that its screen names: the managers' and the agent's.
fn children(screen: &str) -> Vec<u32> {
    let after = screen.split("pid ").skip(1);
    after.filter_map(|text| text.split_whitespace().next()?.parse().ok()).collect()
}

fn runs(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// A running quickstart; `None` (outside continuous integration) where another program has its
/// ports, which it must explain.
fn start() -> Option<Process> {
    let program = weir_binary("quickstart").unwrap_or_else(|why| panic!("{why}"));
    let town = Process::start("quickstart", &program, &[]);
    wait_until("it is ready or gives up", ROOM, &[&town], || {
        town.log().contains("Ctrl-C ends") || !town.is_running()
    });
    if town.is_running() {
        return Some(town);
    }
    let log = town.log();
    assert!(log.contains("another program listens"), "{log}");
    or_skip(Err(log))
}

#[test]
fn the_quickstart_limits_and_ends_in_good_order() {
    wait_for_room(MINUTE, ROOM);
    let Some(town) = start() else { return };
    assert!(town.log().contains("Ready after"), "{}", town.log());
    let screen = town.log();
    for part in ["http://127.0.0.1:9610/", "http://127.0.0.1:9620/", "curl ", "kill -9"] {
        assert!(screen.contains(part), "{part} is not in\n{screen}");
    }
    let children = children(&screen);
    assert_eq!(children.len(), 3, "{screen}");
    assert!(children.iter().all(|pid| runs(*pid)), "{screen}");

    let agent = Target { agent: "gw-1".to_owned(), http: 8080 };
    let client = Session::new();
    let statuses: Vec<u16> =
        (0..150).map(|_| agent.check(&client, "any", "demo").expect("an answer").status).collect();
    let count = |status| statuses.iter().filter(|s| **s == status).count();
    assert_eq!((count(200), count(429)), (100, 50), "{statuses:?}\n{}", town.log_tail());
    let page = http::get("http://127.0.0.1:9610/").expect("the status page");
    assert_eq!(page.status, 200, "{page:?}");

    let status = town.interrupt(ROOM);
    assert!(status.success(), "{status:?}\n{}", town.log_tail());
    wait_until("all have ended", ROOM, &[&town], || !children.iter().any(|pid| runs(*pid)));
    wait_until("its ports are free", ROOM, &[&town], all_free);
}

#[test]
fn a_killed_quickstart_leaves_nobody_behind() {
    let Some(town) = start() else { return };
    let children = children(&town.log());
    assert_eq!(children.len(), 3, "{}", town.log());
    town.kill();
    wait_until("all have ended", ROOM, &[&town], || !children.iter().any(|pid| runs(*pid)));
}
