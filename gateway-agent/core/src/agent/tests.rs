//! The owner, driven by hand.

mod rivalry;

use std::sync::Arc;

use weir_proto::{
    decision::{DecisionFrame, ManagerHello, PolicyUpdate},
    id::{AgentId, AgentLife, ManagerId, ManagerLife},
    request::Request,
    share::View,
    usage::UsageFrame,
};

use super::*;
use crate::{Outcome, Reason};

const POLICY: &str = r#"{"name": "p", "level": "application", "key": ["application"],
    "limits": [{"requests": 3, "window": "1m"}]}"#;
/// The whole fleet is this agent: a sixteenth of its share is 10.
const WIDE: &str = r#"{"name": "p", "level": "application", "key": ["application"],
    "limits": [{"requests": 160, "window": "1m"}]}"#;

fn life() -> AgentLife {
    AgentLife { id: AgentId::new("gw-1").expect("a name"), incarnation: 1 }
}

fn local(ms: u64) -> Time {
    Time::from_millis(10_000 + ms)
}

/// Manager time 10 s into a minute at local time 0.
fn manager(ms: u64) -> Time {
    Time::from_millis(1_800_000_010_000 + ms)
}

/// An agent that follows a manager and is the whole fleet.
fn member(on_disconnect: OnDisconnect) -> (Agent, Arc<Checker>, ConnectionId) {
    member_with(POLICY, on_disconnect)
}

fn member_with(
    policy: &'static str,
    on_disconnect: OnDisconnect,
) -> (Agent, Arc<Checker>, ConnectionId) {
    let identity =
        AgentIdentity { life: life(), gateway_group: String::new(), version: String::new() };
    let config = Config { on_disconnect, ..Config::new(identity, 1) };
    let (mut agent, checker) = agent(config, Arc::new(|| ()), local(0));
    let mut out = Vec::new();
    agent.on_deadline(local(0), &mut out);
    let Some(Output::Connect(0, session)) = out.first().cloned() else { panic!("{out:?}") };
    agent.handle(Input::SessionOpened(session), local(1), &mut out);
    let id = ManagerId::new("tm-1").expect("a name");
    let view = View { number: 1, fleet: 1, members: vec![life()], ..View::default() };
    let frame = DecisionFrame {
        revision: 1,
        manager_time: manager(2),
        hello: Some(ManagerHello {
            life: ManagerLife { id, incarnation: 1 },
            version: String::new(),
            silent_hold_ms: 30_000,
        }),
        policies: Some(PolicyUpdate {
            revision: 1,
            full: true,
            put: vec![policy.into()],
            deleted: Vec::new(),
            last: true,
        }),
        install: Some((view, Time::from_secs(1_700_000_000))),
        snapshot_complete: true,
        ..DecisionFrame::default()
    };
    agent.handle(Input::Decision(session, frame), local(2), &mut out);
    assert!(agent.status(local(2)).ready);
    (agent, checker, session)
}

fn admitted(checker: &Checker, from_ms: u64, n: u64) -> u64 {
    let request = Request::new().application("a");
    (0..n).filter(|i| checker.check(&request, 1, local(from_ms + i)).allowed()).count() as u64
}

/// Amounts of the usage entries, in order.
fn used(out: &[Output]) -> Vec<u64> {
    let frames = out.iter().filter_map(|o| match o {
        Output::Usage(0, _, report) => UsageFrame::try_from(report.clone()).ok(),
        _ => None,
    });
    frames.flat_map(|frame| frame.entries.into_iter().map(|e| e.used)).collect()
}

#[test]
fn a_fleet_of_one_admits_the_limit_and_no_more() {
    let (_, checker, _) = member(OnDisconnect::Local);
    assert_eq!(admitted(&checker, 10, 10), 3);
    let verdict = checker.check(&Request::new().application("a"), 1, local(30));
    assert_eq!(verdict.outcome, Outcome::Refused(Reason::Limit));
    let limit = verdict.limit.expect("the limit that refused");
    assert_eq!(limit.remaining, 0);
    assert_eq!(limit.reset.as_secs(), 49, "10 s of the minute had passed at the start");
    assert_eq!(admitted(&checker, 50_000, 10), 3, "a new minute");
}

#[test]
fn alone_each_policy_does_as_it_says() {
    for (how, expected) in
        [(OnDisconnect::Open, 10), (OnDisconnect::Closed, 0), (OnDisconnect::Local, 3)]
    {
        let (mut agent, checker, session) = member(how);
        let mut out = Vec::new();
        agent.handle(Input::SessionClosed(session, "reset".to_owned()), local(100), &mut out);
        agent.on_deadline(local(1_200), &mut out);
        assert!(agent.status(local(1_200)).isolated);
        assert_eq!(admitted(&checker, 60_000, 10), expected, "{how:?}");
    }
}

#[test]
fn usage_of_every_window_reaches_a_link_that_opens_late() {
    let (mut agent, checker, _) = member(OnDisconnect::Local);
    assert_eq!(admitted(&checker, 10, 2), 2);
    assert_eq!(admitted(&checker, 50_000, 1), 1);
    let mut out = Vec::new();
    agent.on_deadline(local(50_200), &mut out);
    out.clear();
    agent.handle(Input::UsageOpened(0, ConnectionId(77)), local(50_300), &mut out);
    assert_eq!(used(&out), [2, 1], "the window that ended, and the present one");
}

#[test]
fn a_gap_in_the_decisions_ends_the_session() {
    let (mut agent, _, session) = member(OnDisconnect::Local);
    let mut out = Vec::new();
    let late = DecisionFrame { revision: 3, manager_time: manager(50), ..DecisionFrame::default() };
    agent.handle(Input::Decision(session, late), local(50), &mut out);
    assert!(out.iter().any(|o| matches!(o, Output::Disconnect(c) if *c == session)), "{out:?}");
}

#[test]
fn after_goodbye_nothing_is_admitted() {
    let (mut agent, checker, _) = member(OnDisconnect::Local);
    let mut out = Vec::new();
    agent.handle(Input::Leave, local(10), &mut out);
    assert!(out.iter().any(|o| matches!(o, Output::Credit(_, frame) if frame.leaving)));
    assert_eq!(admitted(&checker, 20, 5), 0);
    assert_eq!(agent.next_deadline(), None);
}

const NOTHING: [u64; 0] = [];

/// An agent whose usage link is open and up to date, with the wide policy.
fn reporting() -> (Agent, Arc<Checker>, ConnectionId) {
    let (mut agent, checker, session) = member_with(WIDE, OnDisconnect::Local);
    agent.handle(Input::UsageOpened(0, ConnectionId(77)), local(5), &mut Vec::new());
    (agent, checker, session)
}

/// What is reported in a step of time, acknowledged at once.
fn reported(agent: &mut Agent, ms: u64) -> Vec<u64> {
    let mut out = Vec::new();
    agent.on_deadline(local(ms), &mut out);
    let seqs = out.iter().filter_map(|o| match o {
        Output::Usage(0, _, report) => Some(report.seq),
        _ => None,
    });
    let life = ManagerLife { id: ManagerId::new("tm-1").expect("a name"), incarnation: 1 };
    for seq in seqs.collect::<Vec<_>>() {
        let connection = ConnectionId(77);
        let ack = Input::UsageAck { manager: 0, connection, seq, life: life.clone() };
        agent.handle(ack, local(ms), &mut out);
    }
    used(&out)
}

#[test]
fn little_use_is_reported_within_a_second_and_much_at_once() {
    let (mut agent, checker, session) = reporting();
    admitted(&checker, 10, 9);
    assert_eq!(reported(&mut agent, 150), NOTHING);
    assert_eq!(agent.status(local(150)).unsent, 1);
    assert!(agent.status(local(250)).unsent_for >= std::time::Duration::from_millis(100));
    admitted(&checker, 160, 1);
    assert_eq!(reported(&mut agent, 300), [10], "a sixteenth of the share");
    assert_eq!(agent.status(local(300)).unsent, 0);
    assert_eq!(agent.status(local(300)).at_risk.amount(), 10, "so much could have been lost");
    admitted(&checker, 310, 8);
    assert_eq!(reported(&mut agent, 450), NOTHING);
    admitted(&checker, 460, 2);
    assert_eq!(reported(&mut agent, 600), [20], "again, of what is left");
    admitted(&checker, 610, 5);
    let told = (7..30).map(|n| {
        let manager_time = manager(n * 100);
        let beat = DecisionFrame { revision: n - 5, manager_time, ..DecisionFrame::default() };
        agent.handle(Input::Decision(session, beat), local(n * 100), &mut Vec::new());
        (n, reported(&mut agent, n * 100 + 50))
    });
    let told: Vec<(u64, Vec<u64>)> = told.collect();
    let told: Vec<_> = told.iter().filter(|(_, used)| !used.is_empty()).collect();
    let [(when, amounts)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(amounts, &[25]);
    assert!((15..=18).contains(when), "about a second later, not at {when}00 ms");
}

#[test]
fn what_a_window_that_ends_holds_does_not_wait() {
    let (mut agent, checker, _) = reporting();
    // The minute ends at 50 s.
    admitted(&checker, 49_200, 1);
    assert_eq!(reported(&mut agent, 49_300), [1]);
}

#[test]
fn use_does_not_wait_where_credit_is_at_stake_or_something_is_refused() {
    let (mut agent, checker, _) = reporting();
    admitted(&checker, 10, 5);
    assert!(!checker.check(&Request::new().application("a"), 1_000, local(20)).allowed());
    assert_eq!(reported(&mut agent, 150), [5]);
    admitted(&checker, 160, 1);
    assert_eq!(reported(&mut agent, 300), [6], "and from then on");
}

#[test]
fn nothing_waits_for_a_manager_that_is_lost_or_for_a_goodbye() {
    let (mut agent, checker, session) = reporting();
    admitted(&checker, 10, 5);
    assert_eq!(reported(&mut agent, 150), NOTHING);
    let mut out = Vec::new();
    let mut leaving = agent.fork(Arc::new(|| ())).0;
    leaving.handle(Input::Leave, local(160), &mut out);
    assert_eq!(used(&out), [5], "before the goodbye");
    agent.handle(Input::SessionClosed(session, "reset".to_owned()), local(160), &mut Vec::new());
    assert_eq!(reported(&mut agent, 300), [5], "with the next batch");
}

#[test]
fn a_counter_does_not_leave_while_its_use_waits() {
    let (mut agent, checker, _) = reporting();
    admitted(&checker, 10, 5);
    // The owner slept from the middle of the window until after its end.
    assert_eq!(reported(&mut agent, 150), NOTHING);
    assert_eq!(reported(&mut agent, 60_000), [5]);
}

#[test]
fn near_the_limit_less_and_less_goes_unreported() {
    let (mut agent, checker, _) = reporting();
    let mut told = 0;
    let mut most_by_used = Vec::new();
    // One every millisecond; the owner is woken when it asked to be.
    for ms in 10..175 {
        let used = admitted(&checker, ms, 1) + most_by_used.last().map_or(0, |(used, _)| *used);
        if agent.next_deadline().is_some_and(|at| at <= local(ms)) {
            told = reported(&mut agent, ms).last().copied().unwrap_or(told);
        }
        most_by_used.push((used, used - told));
    }
    assert_eq!(most_by_used.last().map(|(used, _)| *used), Some(160), "the whole limit");
    let beyond = |(used, untold): &&(u64, u64)| {
        let left = 160 - *used;
        *used > 110 && *untold > (left / 16).max(1) + 6
    };
    let late: Vec<_> = most_by_used.iter().filter(beyond).collect();
    assert!(late.is_empty(), "a sixteenth of what is left, and 5 ms: {late:?}");
}
