//! The helpers of `support/` do what tests trust them to do.

mod support;

use std::{
    collections::BTreeSet,
    net::TcpListener,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use support::{
    envoy, http,
    peers::{self, or_skip},
    ports::{free_port, free_ports},
    process::{Process, weir_binary},
    upstream::Upstream,
    wait::{wait_for, wait_until},
};

const SOON: Duration = Duration::from_secs(20);

fn shell(name: &str, script: &str) -> Process {
    Process::start(name, Path::new("/bin/sh"), &["-c", script])
}

fn panic_text(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("this must panic");
    panic.downcast::<String>().map_or_else(|_| "no text".to_owned(), |text| *text)
}

/// The state letter that the system shows for a process; `None` when there is no such process.
fn state(pid: u32) -> Option<char> {
    let out = std::process::Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output()
        .expect("ps runs");
    String::from_utf8_lossy(&out.stdout).trim().chars().next()
}

#[test]
fn ports_are_free_and_distinct() {
    let ports: [u16; 50] = free_ports();
    assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 50);
    for port in ports {
        TcpListener::bind(("127.0.0.1", port)).expect("nobody listens there");
    }
}

#[test]
fn waiting_returns_what_was_found() {
    let mut left = 3;
    let found = wait_for("the third look", SOON, &[], || {
        left -= 1;
        (left == 0).then_some("found")
    });
    assert_eq!(found, "found");
}

#[test]
fn waiting_in_vain_tells_what_for_and_shows_the_log() {
    let process = shell("talker", "echo last words; exec cat /dev/zero > /dev/null");
    wait_until("it has spoken", SOON, &[], || process.log().contains("last words"));
    let began = Instant::now();
    let within = Duration::from_millis(50);
    let text = panic_text(|| wait_until("pigs fly", within, &[&process], || false));
    assert!(began.elapsed() >= within);
    for part in ["until pigs fly", "--- talker (running) ---", "last words"] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn a_process_can_be_frozen_thawed_and_ended() {
    let process =
        shell("obedient", "trap 'echo bye; exit 7' TERM; echo ready; while :; do :; done");
    wait_until("it is ready", SOON, &[&process], || process.log().contains("ready"));
    process.freeze();
    wait_until("it stands still", SOON, &[&process], || state(process.pid()) == Some('T'));
    process.thaw();
    wait_until("it goes on", SOON, &[&process], || state(process.pid()) == Some('R'));
    assert_eq!(process.terminate(SOON).code(), Some(7));
    assert!(process.log().contains("bye"));
    process.thaw(); // to an ended process: nothing happens
}

#[test]
fn a_killed_process_is_gone_at_once() {
    let process = shell("victim", "trap '' TERM; echo ready; while :; do :; done");
    wait_until("it is ready", SOON, &[&process], || process.log().contains("ready"));
    let text = panic_text(|| {
        process.terminate(Duration::from_millis(50));
    });
    assert!(text.contains("victim ends after SIGTERM"), "{text}");
    process.kill();
    assert!(!process.is_running());
    assert_eq!(state(process.pid()), None);
}

#[test]
fn a_dropped_process_is_killed_even_when_frozen() {
    let process = shell("orphan", "while :; do :; done");
    process.freeze();
    wait_until("it stands still", SOON, &[&process], || state(process.pid()) == Some('T'));
    let (pid, folder) = (process.pid(), process.folder().to_owned());
    drop(process);
    assert_eq!(state(pid), None);
    assert!(!folder.exists());
}

#[test]
fn a_program_that_is_not_built_is_explained() {
    let why = weir_binary("no-such-program").expect_err("it is not built");
    assert!(why.contains("tests/run"), "{why}");
}

#[test]
fn a_missing_peer_is_explained() {
    let why = peers::peer("WEIR_NO_SUCH_PEER", "Nobody").expect_err("there is none");
    assert!(why.contains("Nobody is missing: run tests/run"), "{why}");
    assert!(peers::system_binary("sh").is_ok());
    assert!(peers::system_binary("no-such-program").is_err());
}

#[test]
fn requests_bring_status_headers_and_body() {
    let upstream = Upstream::start();
    let url = format!("http://127.0.0.1:{}/", upstream.port());
    let response = http::get(&url).expect("the upstream answers");
    assert_eq!((response.status, response.body.as_str()), (200, "ok\n"));
    assert_eq!(response.header("Content-Length"), Some("3"));
    assert_eq!(upstream.requests(), 1);
    let refused = http::get(&format!("http://127.0.0.1:{}/", free_port()));
    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn envoy_refuses_while_no_agent_answers() {
    let Some(program) = or_skip(envoy::envoy_binary()) else {
        return;
    };
    let [listen, agent, admin] = free_ports();
    let upstream = Upstream::start();
    let envoy = envoy::start(&program, &envoy::bootstrap(listen, upstream.port(), agent, admin));
    let ready = format!("http://127.0.0.1:{admin}/ready");
    wait_until("Envoy is ready", SOON, &[&envoy], || {
        http::get(&ready).is_ok_and(|response| response.status == 200)
    });
    let response = http::get(&format!("http://127.0.0.1:{listen}/")).expect("Envoy answers");
    assert_eq!(response.status, 500, "{response:?}\n{}", envoy.log_tail());
    assert_eq!(upstream.requests(), 0);
}
