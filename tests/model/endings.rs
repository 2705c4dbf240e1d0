//! What is left of an agent that goes: what it may have used, and what others were given of its share.

use gateway_agent_core::{ConnectionId, Input};
use weir_proto::{
    decision::Attach,
    share::Share,
    usage::{AgentIdentity, AgentStatus},
};

use crate::{
    pair::{identity, manager_life},
    script::{BEGIN, Desk, LIMIT, Solo, member, ms, stranger},
};

const NAMES: [&str; 3] = ["gw-1", "gw-2", "gw-3"];

/// The share of the second and of the third of three agents.
fn third() -> u64 {
    Share { fleet: 3, rank: 1 }.of(LIMIT)
}

/// A fleet of three, of which the second and the third have gone to another manager before the window
/// began: there, the third may be given the share of the second.
fn split() -> Desk {
    let mut desk = Desk::governing(3, BEGIN - ms(500));
    for (session, name) in [(2, "gw-2"), (3, "gw-3")] {
        desk.usage(name, 0);
        desk.close(session);
        desk.report(name, 0, following("tm-2"));
    }
    desk.until(BEGIN + ms(200));
    desk
}

/// An agent that pledged the window to another manager.
fn strayed(name: &str) -> Attach {
    Attach { pledged_until: BEGIN + ms(100), ..member(name, &NAMES, manager_life()) }
}

/// The next life of this agent.
fn reborn(name: &str) -> AgentIdentity {
    let mut identity = identity(name);
    identity.life.incarnation += 1;
    identity
}

/// What an agent says of itself.
fn following(manager: &str) -> Option<AgentStatus> {
    let active_manager = manager.to_owned();
    Some(AgentStatus { active_manager, view_number: 1, fleet: 1, ..AgentStatus::default() })
}

#[test]
fn what_an_agent_pledged_elsewhere_stays_reserved_when_it_leaves() {
    let mut desk = split();
    desk.attach(4, strayed("gw-2"), true);
    desk.say(4, |frame| frame.leaving = true);
    desk.entry(1, 0, 1, LIMIT);
    let granted = desk.sessions[&1].ceiling();
    assert_eq!(granted, LIMIT - 2 * third(), "others may have the shares of both");
}

#[test]
fn what_an_agent_gave_up_elsewhere_stays_reserved_when_it_leaves() {
    let mut desk = split();
    desk.attach(4, strayed("gw-2"), true);
    desk.entry(4, 1, 1, 0);
    desk.entry(4, 1, 1, 0);
    desk.say(4, |frame| frame.leaving = true);
    desk.entry(1, 0, 1, LIMIT);
    let granted = desk.sessions[&1].ceiling();
    assert_eq!(granted, LIMIT - 2 * third(), "others may have the shares of both");
}

#[test]
fn what_an_agent_pledged_elsewhere_stays_reserved_long_after_its_crash() {
    let mut desk = split();
    desk.attach(4, Attach { identity: reborn("gw-2"), ..stranger("gw-2") }, true);
    desk.until(BEGIN + ms(7_000));
    desk.entry(1, 0, 1, LIMIT);
    let granted = desk.sessions[&1].ceiling();
    assert_eq!(granted, LIMIT - 2 * third(), "the third may have the share of the second");

    // The third comes back with all that it was given.
    desk.attach(5, strayed("gw-3"), true);
    desk.until(BEGIN + ms(7_100));
    desk.promise([1, 4, 5]);
    desk.entry(1, 0, granted, LIMIT);
    let held = Share { fleet: 3, rank: 2 }.default_of(LIMIT);
    assert_eq!(desk.sessions[&1].ceiling(), LIMIT - held, "and the rest is free again");
}

#[test]
fn what_an_agent_used_here_is_all_that_is_left_of_it() {
    let mut desk = Desk::governing(3, BEGIN + ms(50));
    desk.close(3);
    desk.say(2, |frame| frame.leaving = true);
    desk.entry(1, 0, 1, LIMIT);
    let share = Share { fleet: 3, rank: 0 };
    let default = share.default_of(LIMIT);
    assert_eq!(desk.sessions[&1].ceiling(), LIMIT - default, "the third may use its default");
}

#[test]
fn a_lost_agent_may_have_seen_windows_begin_that_are_nobodys_new_share() {
    let mut desk = Desk::incumbent();
    desk.usage("gw-2", 0);
    desk.close(2);
    // It follows another manager, whose clock may be ahead, until it starts anew.
    desk.until(BEGIN + ms(1_000));
    desk.attach(3, Attach { identity: reborn("gw-2"), ..stranger("gw-2") }, true);
    desk.until(BEGIN + ms(1_010));
    desk.promise([1, 3]);
    let from = desk.sessions[&1].from;
    assert!(from > BEGIN + ms(2_000), "{from:?}");
    assert!(from < BEGIN + ms(2_100), "{from:?}");
}

#[test]
fn what_a_leaver_saw_begin_is_nobodys_new_share() {
    for ahead in [0, 700] {
        let mut desk = Desk::incumbent();
        let time = desk.now + ms(ahead);
        // It has followed a manager whose clock is ahead, and its time does not fall.
        desk.say(2, |frame| (frame.now, frame.leaving) = (time, true));
        desk.until(BEGIN + ms(60));
        desk.promise([1]);
        let from = desk.sessions[&1].from;
        assert!(from > time && from < time + ms(20), "{ahead} ms ahead: {from:?}");
    }
}

#[test]
fn an_agent_that_lived_on_after_its_session_was_not_known_to_the_end() {
    for (manager, known) in [("tm-1", true), ("", false), ("tm-2", false)] {
        let mut desk = Desk::governing(1, BEGIN + ms(50));
        desk.usage("gw-1", 0);
        desk.close(1);
        desk.report("gw-1", 0, following(manager));
        desk.until(BEGIN + ms(100));
        desk.close_usage("gw-1");
        desk.attach(2, Attach { identity: reborn("gw-1"), ..stranger("gw-1") }, true);
        desk.until(BEGIN + ms(200));
        let proposed = desk.sessions[&2].proposed.is_some();
        assert_eq!(proposed, known, "another may govern by now, after {manager:?}");
        desk.until(BEGIN + ms(1_500));
        assert!(desk.sessions[&2].proposed.is_some(), "nobody else has shown up");
    }
}

#[test]
fn an_agent_that_lost_its_manager_says_so_at_once() {
    let mut agent = Solo::member();
    for (manager, link) in [(0, 101), (1, 102)] {
        agent.tell(Input::UsageOpened(manager, ConnectionId(link)));
    }
    let followed = |agent: &mut Solo, manager: usize| {
        let sent = std::mem::take(&mut agent.usage);
        let own = sent.into_iter().filter(|(m, _)| *m == manager);
        own.filter_map(|(_, frame)| frame.status).map(|s| s.active_manager).last()
    };
    assert_eq!(followed(&mut agent, 0).as_deref(), Some("tm-1"));
    let (_, session) = agent.session.expect("a session");
    agent.tell(Input::SessionClosed(session, "reset".to_owned()));
    assert_eq!(followed(&mut agent, 0).as_deref(), Some(""), "it follows nobody");
}
