//! The rules whose omission admits too much, each on its own. The numbers are those of the design of
//! the protocol; where this protocol differs from it, the test is of what guards the same thing here.
//! `traffic-manager/core/ALGORITHM.md` has the whole.

use gateway_agent_core::{ConnectionId, Input};
use weir_proto::{
    decision::{Attach, CreditEntry},
    share::View,
};

use crate::{
    pair::{identity, manager_life},
    script::{
        BEGIN, Desk, LIMIT, Solo, WINDOW, decision, elsewhere, entry, member, ms, share, stranger,
    },
};

// 1. Standby acknowledgements never replenish.

#[test]
fn acknowledged_usage_raises_no_ceiling() {
    let mut agent = Solo::member();
    for (manager, link) in [(0, 101), (1, 102)] {
        agent.tell(Input::UsageOpened(manager, ConnectionId(link)));
    }
    let (_, default) = share();
    assert_eq!(agent.requests(LIMIT), default, "the default is used up");
    agent.beats(agent.now + ms(300));
    let sent = std::mem::take(&mut agent.usage);
    assert!(sent.iter().any(|(m, f)| *m == 1 && !f.entries.is_empty()), "the standby was told");
    for (manager, frame) in sent {
        let connection = ConnectionId(101 + manager as u64);
        agent.tell(Input::UsageAck { manager, connection, seq: frame.seq, life: manager_life() });
    }
    assert_eq!(agent.requests(LIMIT), 0, "all was merged everywhere, and nothing was granted");
}

#[test]
fn reported_usage_frees_nothing_that_is_still_held() {
    let mut desk = Desk::incumbent();
    desk.entry(1, 0, share().1, LIMIT);
    let held = desk.sessions[&1].ceiling();
    assert!(held > LIMIT / 2, "the first to ask holds most of the limit");
    desk.usage("gw-1", 1);
    desk.entry(2, 0, share().1, LIMIT);
    assert!(desk.sessions[&2].ceiling() + held <= LIMIT, "what it has not used it may still use");
}

// 2. A manager that is not ready never announces a fleet.

#[test]
fn a_manager_that_is_not_ready_announces_no_fleet() {
    let mut desk = Desk::new(BEGIN - ms(5_000));
    desk.attach(1, stranger("gw-1"), true);
    desk.until(BEGIN - ms(4_010));
    assert_eq!(desk.sessions[&1].proposed, None, "others may show up before the fence is over");
    desk.until(BEGIN - ms(3_900));
    assert!(desk.sessions[&1].proposed.is_some(), "now they would have");
}

#[test]
fn no_fleet_is_founded_while_an_agent_follows_another_manager() {
    let mut desk = Desk::new(BEGIN - ms(5_000));
    desk.attach(1, stranger("gw-1"), true);
    desk.usage("gw-2", 0);
    desk.until(BEGIN - ms(2_000));
    assert_eq!(desk.sessions[&1].proposed, None, "the other manager may be founding one, too");
}

// 3. A stream acknowledgement with a report gap is ignored.

#[test]
fn a_gap_in_what_an_agent_says_ends_the_session_and_nothing_after_it_counts() {
    let mut desk = Desk::incumbent();
    desk.entry(1, 0, share().1, LIMIT);
    let held = desk.sessions[&1].ceiling();
    desk.say(1, |frame| {
        frame.seq += 1;
        frame.entries = vec![entry(0, 0, 0)];
    });
    assert!(desk.sessions[&1].closed.is_some(), "the session ends");
    desk.entry(2, 0, share().1, LIMIT);
    assert!(desk.sessions[&2].ceiling() + held <= LIMIT, "what came after the gap freed nothing");
}

#[test]
fn a_gap_in_what_a_manager_says_ends_the_session_and_nothing_after_it_counts() {
    let mut agent = Solo::member();
    let session = agent.session.expect("a session").1;
    let after = agent.frame(agent.revision() + 2, |f| f.decisions = vec![decision(LIMIT)]);
    agent.tell(Input::Decision(session, after));
    assert_eq!(agent.dropped, [session], "the session ends");
    assert_eq!(agent.requests(LIMIT), share().1, "the ceiling after the gap is not in force");
}

// 4. Fail-local shares only in windows begun after isolation: here, after the last pledge.

#[test]
fn alone_an_agent_has_its_share_only_in_windows_that_it_pledged_to_nobody() {
    let mut agent = Solo::member();
    agent.until(BEGIN + ms(5_000));
    assert!(agent.agent.status(agent.now).isolated);
    assert_eq!(agent.requests(LIMIT), share().1, "the rest of this window was handed over");
    agent.until(BEGIN + ms(10_100));
    assert_eq!(agent.requests(LIMIT), share().0, "the next window is its own");
}

#[test]
fn alone_an_agent_keeps_to_the_ceiling_of_a_pledged_window() {
    let mut agent = Solo::member();
    agent.ceiling(0);
    agent.until(BEGIN + ms(5_000));
    assert!(agent.agent.status(agent.now).isolated);
    assert_eq!(agent.requests(LIMIT), 0, "what was recalled is somebody else's");
}

// 5. A newcomer's defaults only in windows begun after membership, itself granted when all use the
// new size.

#[test]
fn a_newcomer_has_nothing_in_windows_begun_before_it_was_a_member() {
    let mut agent = Solo::new(BEGIN - ms(500));
    agent.accept();
    agent.beats(BEGIN + ms(100));
    agent.install(BEGIN + ms(101));
    agent.beats(BEGIN + ms(500));
    assert_eq!(agent.requests(LIMIT), 0, "the others share this window among themselves");
    agent.beats(BEGIN + ms(10_100));
    assert_eq!(agent.requests(LIMIT), share().1, "the next one is shared with it");
}

#[test]
fn nobody_is_a_member_before_everybody_has_promised_to_share() {
    let mut desk = Desk::incumbent();
    desk.attach(3, stranger("gw-3"), true);
    desk.until(BEGIN + ms(200));
    let view = desk.sessions[&3].proposed.clone().expect("the newcomer is proposed");
    assert_eq!(view.members.len(), 3);
    desk.say(3, |frame| frame.promised_view = view.number);
    desk.say(1, |frame| frame.promised_view = view.number);
    desk.until(BEGIN + ms(400));
    assert_eq!(
        desk.sessions[&3].installed, None,
        "the second member still owns half of each window"
    );
    desk.say(2, |frame| frame.promised_view = view.number);
    assert_eq!(desk.sessions[&3].installed.as_ref(), Some(&view));
}

#[test]
fn a_promise_binds_before_the_view_is_installed() {
    let mut agent = Solo::member();
    let members = ["gw-1", "gw-2", "gw-3", "gw-4"].map(|name| identity(name).life).to_vec();
    let proposer = Some(manager_life());
    let view = View { number: 2, fleet: 4, members, lost: Vec::new(), proposer };
    agent.decide(|frame| frame.propose = Some(view));
    assert_eq!(agent.said.last().map(|frame| frame.promised_view), Some(2));
    agent.until(BEGIN + ms(10_100));
    assert!(
        agent.agent.status(agent.now).isolated,
        "the manager is gone; the view may hold or not"
    );
    assert_eq!(agent.requests(LIMIT), LIMIT / 4, "a share of four, as promised");
}

// 6. Stale-epoch decisions are refused.

#[test]
fn decisions_of_a_former_session_are_refused() {
    let mut agent = Solo::member();
    let (_, former) = agent.session.expect("a session");
    agent.tell(Input::SessionClosed(former, "reset".to_owned()));
    agent.until(agent.now + ms(1));
    agent.accept();
    let late = agent.frame(agent.revision() + 1, |frame| frame.decisions = vec![decision(LIMIT)]);
    agent.tell(Input::Decision(former, late));
    assert_eq!(agent.requests(LIMIT), share().1, "a ceiling of the session before is void");
}

#[test]
fn words_of_a_former_session_free_nothing() {
    let mut desk = Desk::incumbent();
    desk.entry(1, 0, share().1, LIMIT);
    let held = desk.sessions[&1].ceiling();
    let again = Attach {
        pledged_until: desk.now,
        former_manager: Some(manager_life()),
        ..member("gw-1", &["gw-1", "gw-2"], manager_life())
    };
    desk.attach(3, again, false);
    desk.entry(1, 0, 0, 0);
    desk.entry(2, 0, share().1, LIMIT);
    assert!(desk.sessions[&2].ceiling() + held <= LIMIT, "the new session has not said so");
}

// 7. A grant never turns ESCROW into FREE: an explicit ceiling stays explicit until the window ends.

#[test]
fn a_recalled_default_does_not_come_back_within_the_window() {
    let mut agent = Solo::member();
    agent.ceiling(0);
    let (_, former) = agent.session.expect("a session");
    agent.tell(Input::SessionClosed(former, "reset".to_owned()));
    agent.until(agent.now + ms(1));
    agent.accept();
    let listed = agent.said.iter().rev().find(|f| f.attach.is_some()).expect("it attached");
    let zero = |e: &CreditEntry| e.window == WINDOW && e.ceiling == 0;
    assert!(listed.entries.iter().any(zero), "it lists the ceiling of nothing");
    agent.install(BEGIN - ms(4_000));
    assert_eq!(agent.requests(LIMIT), 0);
}

// 8. Acknowledging a raise in FREE never lowers the ledger: only the word of an agent that had applied
// the last decision does.

#[test]
fn a_word_that_crossed_with_a_grant_does_not_lower_the_book() {
    let mut desk = Desk::incumbent();
    let before = desk.sessions[&1].applied;
    desk.entry(1, 0, share().1, LIMIT);
    let held = desk.sessions[&1].ceiling();
    desk.say(1, |frame| {
        frame.applied = before;
        frame.entries = vec![entry(0, 0, 0)];
    });
    desk.entry(2, 0, share().1, LIMIT);
    assert!(desk.sessions[&2].ceiling() + held <= LIMIT, "the grant is on its way");
}

#[test]
fn a_recall_frees_nothing_before_the_agent_has_applied_it() {
    let mut desk = Desk::incumbent();
    desk.entry(1, 0, share().1, LIMIT);
    let held = desk.sessions[&1].ceiling();
    desk.until(desk.now + ms(100));
    desk.entry(2, 0, share().1, LIMIT);
    let kept = desk.sessions[&1].ceiling();
    assert!(kept < held, "the idle agent is asked to give back");
    desk.entry(2, 0, share().1, LIMIT);
    assert!(desk.sessions[&2].ceiling() + held <= LIMIT);
    desk.entry(1, 0, kept, 0);
    let granted = desk.sessions[&2].ceiling();
    assert!(granted > LIMIT - held && granted + kept <= LIMIT, "now it is given on: {granted}");
}

// 9. Attached agents are told the current mode: nobody is left waiting for what is there again.

#[test]
fn whoever_was_told_that_nothing_is_left_is_told_when_something_is() {
    let mut desk = Desk::incumbent();
    desk.entry(1, 0, share().1, LIMIT);
    let held = desk.sessions[&1].ceiling();
    desk.entry(1, held, held, 0);
    desk.entry(2, 2, 2, LIMIT);
    assert!(desk.sessions[&2].decision.is_some_and(|d| d.exhausted), "nothing is left");
    desk.entry(2, 2, 2, 0);
    // The first agent takes back what it had counted: a request that another policy refused.
    desk.entry(1, held - 4, held - 4, 0);
    assert!(desk.sessions[&2].decision.is_some_and(|d| !d.exhausted), "it may ask again");
}

// 10. TIGHT ends when nothing is free, not when nothing is left: what is granted comes out of what
// nobody holds.

#[test]
fn what_others_hold_unused_is_not_granted() {
    let mut desk = Desk::incumbent();
    desk.entry(1, 0, share().1, 4);
    let held = desk.sessions[&1].ceiling();
    desk.entry(2, 0, share().1, LIMIT);
    let granted = desk.sessions[&2].ceiling();
    assert!(granted + held <= LIMIT, "{granted} and {held}: nothing is used, but all is held");
}

// 11. An agent counts as silent until it is resynchronised: until it has listed all that it holds.

#[test]
fn nobody_takes_over_before_everybody_has_listed_what_it_holds() {
    let names = ["gw-1", "gw-2"];
    let mut desk = Desk::new(BEGIN + ms(500));
    desk.attach(1, member("gw-1", &names, elsewhere()), true);
    desk.attach(2, member("gw-2", &names, elsewhere()), false);
    desk.until(BEGIN + ms(3_000));
    assert_eq!(desk.sessions[&1].proposed, None, "the second agent's list is still arriving");
    desk.say(2, |frame| {
        frame.entries = vec![entry(0, 12, 0)];
        frame.holdings_complete = true;
    });
    desk.until(BEGIN + ms(3_100));
    let view = desk.sessions[&1].proposed.clone().expect("now it takes over");
    for session in [1, 2] {
        desk.say(session, |frame| frame.promised_view = view.number);
    }
    desk.entry(1, 0, share().1, LIMIT);
    assert!(desk.sessions[&1].ceiling() <= LIMIT - 12, "what the second agent holds is reserved");
}

#[test]
fn the_whole_share_of_an_agent_that_is_still_listing_is_reserved() {
    let mut desk = Desk::incumbent();
    desk.close(2);
    // It followed another manager, to which it pledged this window, and comes back.
    let strayed = Attach {
        pledged_until: BEGIN + ms(60),
        ..member("gw-2", &["gw-1", "gw-2"], manager_life())
    };
    desk.until(BEGIN + ms(200));
    desk.attach(3, strayed, false);
    desk.entry(3, 0, 0, LIMIT);
    assert_eq!(desk.sessions[&3].ceiling(), 0, "it is granted nothing before its list is complete");
}
