//! A manager tells every window that closes, once, with what all agents used, if it is asked to.

use std::time::Duration;

use traffic_manager_core::{
    Config, Input, Manager, Output, StreamId, accounts::Closed, manager::PolicyChange,
};
use weir_proto::{
    key::CounterKey,
    policy::Policy,
    time::{Time, WindowStart},
    usage::{UsageEntry, UsageFrame},
};

use crate::pair::{identity, manager_life};

/// A minute begins.
const START: u64 = 1_800_000_000;

/// A manager with one limit, and the agents that report to it.
struct Fleet {
    manager: Manager,
    limit: String,
    seq: u64,
    now: Time,
    closed: Vec<Closed>,
}

impl Fleet {
    fn new(limit: &serde_json::Value, accounts: bool) -> Fleet {
        let now = Time::from_secs(START);
        let policy = serde_json::json!({
            "name": "p", "level": "application", "key": ["application"], "limits": [limit],
        });
        let policy = Policy::from_json(&policy).unwrap_or_else(|e| panic!("{e}"));
        let (limit, _) = policy.all_limits().next().expect("a limit");
        let mut manager = Manager::new(Config { accounts, ..Config::new(manager_life()) }, now);
        manager.put_policy(policy, now, &mut Vec::new());
        Fleet { manager, limit, seq: 0, now, closed: Vec::new() }
    }

    /// Agent `agent` says what it used and refused in all, in the window that began so many seconds in.
    fn tell(&mut self, agent: u64, window: u64, used: u64, rejected: u64) {
        self.seq += 1;
        let key = CounterKey::new("p", &self.limit, &["app"]).expect("a key");
        let window = WindowStart(START + window);
        let frame = UsageFrame {
            identity: Some(identity(&format!("gw-{agent}"))),
            seq: self.seq,
            status: None,
            forgotten: Vec::new(),
            names: [(0, &key)].into_iter().collect(),
            entries: vec![UsageEntry { key: 0, window, used, rejected }],
            state_complete: true,
        };
        let mut out = Vec::new();
        self.manager.handle(Input::Usage(StreamId(agent), frame), self.now, &mut out);
        self.take(out);
    }

    fn take(&mut self, out: Vec<Output>) {
        for output in out {
            if let Output::Closed(closed) = output {
                self.closed.extend(closed);
            }
        }
    }

    /// Lets the time pass until so many seconds in; returns window, length, admitted and refused of what closed.
    fn pass(&mut self, until: u64) -> Vec<(u64, u64, u64, u64)> {
        let until = Time::from_secs(START + until);
        while let Some(at) = self.manager.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.manager.on_deadline(self.now, &mut out);
            self.take(out);
        }
        self.now = until;
        let told = |c: Closed| (c.start - START, c.secs, c.amounts.admitted, c.amounts.refused);
        self.closed.drain(..).map(told).collect()
    }
}

fn limit(window: &str, algorithm: &str) -> serde_json::Value {
    serde_json::json!({ "requests": 50, "window": window, "algorithm": algorithm })
}

#[test]
fn every_fixed_window_is_told_once_with_what_all_agents_used() {
    let mut fleet = Fleet::new(&limit("10s", "fixed_window"), true);
    fleet.tell(1, 0, 1, 0);
    fleet.tell(2, 0, 2, 1);
    fleet.pass(9);
    fleet.tell(1, 0, 4, 0);
    fleet.pass(11);
    fleet.tell(1, 10, 1, 0);
    fleet.tell(2, 0, 3, 1); // late
    assert_eq!(fleet.pass(60), [(0, 10, 7, 1), (10, 10, 1, 0)], "far from the limit, too");
    assert_eq!(fleet.pass(600), []);
}

#[test]
fn a_rolling_counter_is_told_by_the_minute() {
    for algorithm in ["sliding_window", "token_bucket"] {
        let mut fleet = Fleet::new(&limit("10s", algorithm), true);
        fleet.tell(1, 0, 0, 0);
        fleet.pass(20);
        fleet.tell(1, 0, 5, 1);
        fleet.pass(59);
        fleet.tell(1, 0, 7, 1);
        assert_eq!(fleet.pass(60), [(0, 60, 7, 1)], "{algorithm}");
        fleet.tell(1, 0, 9, 4);
        assert_eq!(fleet.pass(400), [(60, 60, 2, 3)], "{algorithm}: what is new");
    }
}

#[test]
fn what_was_counted_under_a_limit_that_goes_is_told_then() {
    let mut fleet = Fleet::new(&limit("1h", "fixed_window"), true);
    fleet.tell(1, 0, 3, 0);
    let mut out = Vec::new();
    let gone = PolicyChange::Drop { name: "p".to_owned(), revision: 2 };
    fleet.manager.install_policies(vec![gone], fleet.now, &mut out);
    fleet.take(out);
    assert_eq!(fleet.pass(1), [(0, 3_600, 3, 0)]);
}

#[test]
fn nothing_is_told_of_requests_in_flight_or_unless_asked() {
    let flight = serde_json::json!({ "concurrency": 5, "lease": "10s" });
    let mut gauge = Fleet::new(&flight, true);
    let mut silent = Fleet::new(&limit("10s", "fixed_window"), false);
    for fleet in [&mut gauge, &mut silent] {
        fleet.tell(1, 0, 3, 0);
        assert_eq!(fleet.pass(600), []);
    }
    assert!(silent.now > Time::from_secs(START) + Duration::from_secs(599));
}
