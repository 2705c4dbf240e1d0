//! Two agents that were given one id: the one that started first is told so, and operators are.

use std::time::Duration;

use traffic_manager_core::{Config, Input, Manager, Output, StreamId};
use weir_proto::{
    id::{RIVAL_ENDED, SAME_ID},
    time::Time,
    usage::{AgentIdentity, UsageReport},
};

use crate::pair::{identity, manager_life};

const NOW: Time = Time::from_secs(1_800_000_000);

fn life(incarnation: u64) -> AgentIdentity {
    let mut identity = identity("gw-1");
    identity.life.incarnation = incarnation;
    identity
}

/// Why the stream was closed, if it was.
fn tell(
    manager: &mut Manager,
    stream: u64,
    (seq, identity): (u64, Option<AgentIdentity>),
    now: Time,
) -> Option<String> {
    let report = UsageReport { seq, identity, ..UsageReport::default() };
    let mut out = Vec::new();
    let frame = report.try_into().expect("a valid report");
    manager.handle(Input::Usage(StreamId(stream), frame), now, &mut out);
    out.into_iter().find_map(|output| match output {
        Output::CloseUsage(id, why) if id == StreamId(stream) => Some(why),
        _ => None,
    })
}

#[test]
fn an_older_agent_with_the_same_id_is_refused_and_told_why() {
    let mut manager = Manager::new(Config::new(manager_life()), NOW);
    assert_eq!(tell(&mut manager, 1, (1, Some(life(1))), NOW), None);
    assert_eq!(tell(&mut manager, 2, (1, Some(life(2))), NOW), None);
    let soon = NOW + Duration::from_secs(1);
    assert_eq!(tell(&mut manager, 1, (2, None), soon), None, "a restart: what was on its way");
    let rivals = |manager: &Manager, now| {
        let agents = manager.agents(now);
        agents.iter().filter(|agent| agent.rival_at.is_some()).count()
    };
    assert_eq!(rivals(&manager, soon), 0);
    let later = NOW + Duration::from_secs(8);
    assert_eq!(tell(&mut manager, 2, (2, None), later), None, "the newer one goes on");
    let why = tell(&mut manager, 1, (3, None), later).expect("it is no part of the fleet");
    assert!(why.contains(SAME_ID), "{why}");
    assert_eq!(rivals(&manager, later), 1);
    let why = tell(&mut manager, 3, (4, Some(life(1))), later).expect("it comes again");
    assert!(why.contains("\"gw-1\"") && why.contains(SAME_ID), "{why}");
}

#[test]
fn it_is_told_when_the_other_is_gone_and_may_come_in_a_new_life() {
    let mut manager = Manager::new(Config::new(manager_life()), NOW);
    assert_eq!(tell(&mut manager, 1, (1, Some(life(1))), NOW), None);
    assert_eq!(tell(&mut manager, 2, (1, Some(life(2))), NOW), None);
    let later = NOW + Duration::from_secs(8);
    let beats = (1..=80_u32).map(|n| NOW + Duration::from_millis(100) * n);
    // One that stood still would not know who lives.
    beats.for_each(|now| manager.on_deadline(now, &mut Vec::new()));
    assert_eq!(tell(&mut manager, 2, (2, None), later), None);
    let why = tell(&mut manager, 3, (2, Some(life(1))), later).expect("the other one lives");
    assert!(why.contains(SAME_ID), "{why}");
    // It crashes: its links break in the middle of its talking.
    manager.handle(Input::UsageClosed(StreamId(2)), later, &mut Vec::new());
    let soon = later + Duration::from_secs(1);
    let why = tell(&mut manager, 4, (2, Some(life(1))), soon).expect("it may be back at once");
    assert!(why.contains(SAME_ID), "{why}");
    let over = later + Duration::from_secs(6);
    let why = tell(&mut manager, 5, (2, Some(life(1))), over).expect("that life is over");
    assert!(why.contains(RIVAL_ENDED) && !why.contains(SAME_ID), "{why}");
    assert_eq!(tell(&mut manager, 6, (1, Some(life(3))), over), None, "a new life is let in");
    let why = tell(&mut manager, 7, (3, Some(life(2))), over).expect("the other one comes back");
    assert!(why.contains(SAME_ID), "{why}");
}
