//! Two agents with one id, as the one that is refused sees it.

use weir_proto::id::{RIVAL_ENDED, SAME_ID};

use super::*;

/// The manager ends the usage link, or does not let it in.
fn refuse(agent: &mut Agent, why: &str, ms: u64) -> Vec<Output> {
    let mut out = Vec::new();
    let why = format!("another agent started later; {why}");
    agent.handle(Input::UsageClosed(0, ConnectionId(0), why), local(ms), &mut out);
    out
}

fn told(out: &[Output]) -> usize {
    let same = |o: &&Output| matches!(o, Output::Notice(Notice::SameId(0, _)));
    out.iter().filter(same).count()
}

#[test]
fn a_refused_agent_says_so_once_and_begins_anew_when_the_other_is_gone() {
    let (mut agent, checker, session) = member(OnDisconnect::Local);
    assert_eq!(admitted(&checker, 10, 5), 3, "the limit");
    assert_eq!(told(&refuse(&mut agent, SAME_ID, 20)), 1);
    assert_eq!(told(&refuse(&mut agent, SAME_ID, 30)), 0, "once is enough");
    let status = agent.status(local(30));
    assert!(!status.ready && status.same_id.is_some_and(|why| why.contains(SAME_ID)));
    assert!(status.managers[0].problem.is_some());
    assert!(!agent.may_begin_anew(), "the other one lives");

    let mut out = Vec::new();
    agent.handle(Input::SessionClosed(session, SAME_ID.to_owned()), local(40), &mut out);
    let detached = out.iter().any(|o| matches!(o, Output::Notice(Notice::Detached(..))));
    assert!(!detached, "that was said: {out:?}");

    assert_eq!(told(&refuse(&mut agent, RIVAL_ENDED, 50)), 0);
    assert!(agent.may_begin_anew());
    let before = agent.status(local(50));
    agent.begin_anew(2, local(50));
    let status = agent.status(local(51));
    assert_eq!((status.identity.life.incarnation, status.counters), (2, 0));
    assert_eq!(status.policies, before.policies, "policies hold until others come");
    assert!(!agent.may_begin_anew() && status.same_id.is_none() && !status.ready);
    assert_eq!(admitted(&checker, 60, 5), 0, "it has no share yet");

    out.clear();
    agent.on_deadline(local(100), &mut out);
    let next = out.iter().find_map(|o| match o {
        Output::Connect(0, connection) => Some(*connection),
        _ => None,
    });
    let next = next.expect("it looks for a manager");
    assert!(next > session, "numbers are not used twice");
    out.clear();
    agent.handle(Input::SessionOpened(next), local(101), &mut out);
    let frame = out.iter().find_map(|o| match o {
        Output::Credit(_, frame) => frame.attach.clone(),
        _ => None,
    });
    let attach = frame.expect("it attaches");
    assert_eq!(attach.identity.life.incarnation, 2);
    assert_eq!((attach.view.number, attach.eras.len()), (0, 0), "as one that was just started");
}

#[test]
fn one_manager_that_hears_the_other_is_enough_to_wait() {
    let identity =
        AgentIdentity { life: life(), gateway_group: String::new(), version: String::new() };
    let (mut agent, _) = agent(Config::new(identity, 2), Arc::new(|| ()), local(0));
    let mut out = Vec::new();
    let mut say = |agent: &mut Agent, manager, why: &str| {
        let closed = Input::UsageClosed(manager, ConnectionId(0), why.to_owned());
        agent.handle(closed, local(1), &mut out);
        agent.may_begin_anew()
    };
    assert!(!say(&mut agent, 0, SAME_ID));
    assert!(!say(&mut agent, 1, RIVAL_ENDED), "it is only cut off from the second");
    assert!(say(&mut agent, 0, "cannot connect"), "the first is away");
}
