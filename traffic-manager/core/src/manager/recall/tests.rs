//! What survives a manager: told in pieces, doubled, in any order, and never taken for an agent's own word.

use weir_proto::{
    amount::MAX_AMOUNT,
    id::{AgentId, AgentLife, ManagerId, ManagerLife},
    key::CounterKey,
    policy::Policy,
    request::MAX_VALUE_BYTES,
    usage::{AgentIdentity, Names, UsageEntry, UsageFrame},
};

use super::*;
use crate::{
    Config, Input, StreamId,
    checkpoint::{Checkpoint, MAX_ROW_BYTES},
    view::CounterFilter,
};

const NOW: Time = Time::from_secs(1_800_000_600);

fn manager(incarnation: u64, limit: &serde_json::Value) -> Manager {
    let id = ManagerId::new("tm").expect("a name");
    let mut manager = Manager::new(Config::new(ManagerLife { id, incarnation }), NOW);
    let policy = serde_json::json!({
        "name": "p", "level": "application", "key": ["application"], "limits": [limit],
    });
    let policy = Policy::from_json(&policy).expect("a policy");
    manager.put_policy(policy, NOW, &mut Vec::new());
    manager
}

fn hourly() -> serde_json::Value {
    serde_json::json!({"requests": 100, "window": "1h"})
}

fn identity(agent: u64) -> AgentIdentity {
    let id = AgentId::new(&format!("gw-{agent}")).expect("a name");
    let life = AgentLife { id, incarnation: 7 };
    AgentIdentity { life, gateway_group: String::new(), version: String::new() }
}

fn key(manager: &Manager, i: u64) -> CounterKey {
    let stored = manager.policy("p").expect("the policy");
    let (limit, _) = stored.policy.all_limits().next().expect("its limit");
    CounterKey::new("p", &limit, &[&format!("app-{i}")]).expect("a key")
}

/// The agent has used so much of each of so many keys.
fn report(manager: &mut Manager, agent: u64, seq: u64, keys: u64, used: u64, now: Time) {
    let keys: Vec<CounterKey> = (0..keys).map(|i| key(manager, i)).collect();
    let entry = |key| UsageEntry { key, window: WindowStart(1_800_000_000), used, rejected: 1 };
    let frame = UsageFrame {
        identity: Some(identity(agent)),
        seq,
        names: (0..).zip(&keys).collect::<Names>(),
        entries: (0..).take(keys.len()).map(entry).collect(),
        state_complete: true,
        ..UsageFrame::default()
    };
    manager.handle(Input::Usage(StreamId(agent), frame), now, &mut Vec::new());
}

fn pieces(manager: &Manager, budget: usize, now: Time) -> Vec<Counters> {
    let mut export = Export { budget, ..Export::all() };
    let mut pieces = Vec::new();
    loop {
        let piece = manager.export_counters(&export, now);
        export.cursor = piece.next;
        pieces.push(Counters::from_bytes(&piece.to_bytes()).expect("a piece"));
        if export.cursor.is_none() {
            return pieces;
        }
    }
}

fn take(manager: &mut Manager, pieces: &[Counters], now: Time) {
    for piece in pieces {
        manager.import_counters(piece, now);
    }
}

/// A counter's key, and what each agent used and refused.
type Counted = (String, Vec<(String, u64, u64)>);

fn amounts(manager: &Manager, now: Time) -> Vec<Counted> {
    let filter = CounterFilter { limit: 10_000, ..CounterFilter::default() };
    let mut all: Vec<_> = manager
        .counters(&filter, now)
        .into_iter()
        .map(|c| {
            let mut agents: Vec<_> =
                c.agents.iter().map(|a| (a.agent.to_string(), a.used, a.rejected)).collect();
            agents.sort();
            (c.key.to_string(), agents)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn a_manager_that_starts_learns_everything_in_any_order() {
    let mut old = manager(1, &hourly());
    (0..5).for_each(|agent| report(&mut old, agent, 3, 40, 2 + agent, NOW));
    for budget in [1, 300, 1 << 20] {
        let mut new = manager(2, &hourly());
        let pieces = pieces(&old, budget, NOW);
        assert_eq!(pieces.len() == 1, budget == 1 << 20);
        for piece in pieces.iter().rev().chain(&pieces) {
            new.import_counters(piece, NOW);
        }
        assert_eq!(amounts(&new, NOW), amounts(&old, NOW));
    }
}

#[test]
fn counters_that_come_and_go_between_pieces_hide_none_that_stays() {
    let mut old = manager(1, &hourly());
    report(&mut old, 0, 1, 30, 4, NOW);
    let mut export = Export { budget: 200, ..Export::all() };
    let mut new = manager(2, &hourly());
    for step in 0.. {
        let piece = old.export_counters(&export, NOW);
        new.import_counters(&piece, NOW);
        if step < 10 {
            report(&mut old, 1 + step, 1, 40 + step, 1, NOW);
        }
        export.cursor = piece.next;
        if export.cursor.is_none() {
            break;
        }
    }
    let told = amounts(&new, NOW);
    let of_first = told.iter().filter(|(_, agents)| agents.iter().any(|(a, ..)| a == "gw-0"));
    assert_eq!(of_first.count(), 30);
}

#[test]
fn the_agents_own_word_is_the_last() {
    let (mut old, mut new) = (manager(1, &hourly()), manager(2, &hourly()));
    report(&mut old, 0, 5, 1, 9, NOW);
    report(&mut new, 0, 6, 1, 10, NOW);
    take(&mut new, &pieces(&old, 1, NOW), NOW);
    assert_eq!(amounts(&new, NOW)[0].1, [("gw-0".to_owned(), 10, 1)], "a newer stamp");
    let mut newest = manager(3, &hourly());
    take(&mut newest, &pieces(&old, 1, NOW), NOW);
    report(&mut newest, 0, 6, 1, 10, NOW);
    assert_eq!(amounts(&newest, NOW)[0].1, [("gw-0".to_owned(), 10, 1)]);
}

#[test]
fn what_others_tell_takes_nothing_away_and_silences_no_agent() {
    for speaks in [true, false] {
        let mut m = manager(1, &hourly());
        if speaks {
            report(&mut m, 0, 5, 1, 90, NOW);
        }
        let part = |used, stamp| CounterPart {
            agent: 0,
            window: WindowStart(1_800_000_000),
            used,
            rejected: 0,
            stamp,
            charged: false,
        };
        for (used, stamp) in [(40, 7), (0, (1 << 49) - 1), (30, 3)] {
            let parts = vec![part(used, stamp)];
            let (key, spent) = (key(&m, 0), Vec::new());
            let told = Counters {
                agents: vec![CounterAgent { identity: identity(0), alive: true }],
                states: vec![CounterState { key, rolling: false, spent, parts }],
                ..Counters::default()
            };
            take(&mut m, &[Counters::from_bytes(&told.to_bytes()).expect("a piece")], NOW);
        }
        let (used, rejected) = if speaks { (90, 1) } else { (40, 0) };
        assert_eq!(amounts(&m, NOW)[0].1, [("gw-0".to_owned(), used, rejected)]);
        report(&mut m, 0, 6, 1, 95, NOW);
        assert_eq!(amounts(&m, NOW)[0].1, [("gw-0".to_owned(), 95, 1)], "its own word");
    }
}

#[test]
fn a_rumour_is_nobody_until_it_comes_itself() {
    let (mut old, mut new) = (manager(1, &hourly()), manager(2, &hourly()));
    report(&mut old, 0, 5, 1, 9, NOW);
    let pieces = pieces(&old, 1 << 20, NOW);
    take(&mut new, &pieces, NOW);
    assert!(new.agents(NOW).is_empty());
    assert_eq!((new.stats().agents, new.fleet().members.len()), (0, 0));
    report(&mut new, 0, 6, 1, 9, NOW);
    assert_eq!(new.agents(NOW).len(), 1);
}

#[test]
fn windows_that_ended_are_not_taken_in() {
    let (mut old, mut new) = (manager(1, &hourly()), manager(2, &hourly()));
    report(&mut old, 0, 5, 1, 9, NOW);
    let later = NOW + Duration::from_secs(3_600);
    let taken = pieces(&old, 1, NOW).iter().map(|piece| new.import_counters(piece, later)).sum();
    assert_eq!((taken, new.stats().counters), (0_usize, 0));
    assert!(pieces(&old, 1, later).iter().all(Counters::is_empty), "nor told");
}

#[test]
fn what_a_sliding_window_has_spent_leaves_when_it_would_have() {
    let limit = serde_json::json!(
        {"requests": 100, "window": "60s", "algorithm": "sliding_window"}
    );
    let (mut old, mut new) = (manager(1, &limit), manager(2, &limit));
    report(&mut old, 0, 1, 0, 0, NOW);
    report(&mut old, 0, 2, 1, 30, NOW);
    let later = NOW + Duration::from_secs(40);
    take(&mut new, &pieces(&old, 1, later), later);
    let used = |manager: &Manager, after: u64| {
        let at = NOW + Duration::from_secs(after);
        manager.counters(&CounterFilter { limit: 1, ..CounterFilter::default() }, at)[0].used
    };
    assert_eq!((used(&new, 41), used(&new, 59), used(&new, 65)), (30, 30, 0));
    // What it used meanwhile is charged once.
    report(&mut new, 0, 9, 1, 34, later);
    assert_eq!(used(&new, 41), 34);
}

#[test]
fn a_manager_that_starts_is_ready_once_it_was_told() {
    let (mut old, mut new) = (manager(1, &hourly()), manager(2, &hourly()));
    report(&mut old, 0, 5, 1, 9, NOW);
    new.recover(["tm-1".to_owned()], Duration::from_secs(3), NOW);
    let missing = new.recovery(NOW).expect("a peer is missing");
    assert_eq!(missing.to_string(), "recovering counters: waiting for tm-1");
    take(&mut new, &pieces(&old, 1, NOW), NOW);
    new.peer_told("tm-1");
    let missing = new.recovery(NOW).expect("an agent is missing");
    assert_eq!(missing.to_string(), "recovering counters: waiting for the state of 1 agents");
    assert!(!new.recovered(NOW) && new.recovered(NOW + Duration::from_secs(3)));
    report(&mut new, 0, 6, 1, 9, NOW);
    assert!(new.recovered(NOW));
}

#[test]
fn checkpoints_hold_what_changed_and_forget_what_ended() {
    let mut old = manager(1, &hourly());
    let mut checkpoint = Checkpoint::default();
    let mut stored = BTreeMap::new();
    let mut written = Vec::new();
    for round in 0..400 {
        let now = NOW + Duration::from_secs(10 * round);
        report(&mut old, 0, 1 + round, if round == 0 { 50 } else { 1 }, 1 + round, now);
        old.on_deadline(now, &mut Vec::new());
        written.push(store(&mut checkpoint, &old, &mut stored, now));
        if round == 20 {
            let mut new = manager(2, &hourly());
            let mut again = Checkpoint::default();
            for (key, value) in &stored {
                let told = again.load(key, value, now).expect("a row");
                new.import_counters(&told, now);
            }
            assert_eq!(amounts(&new, now), amounts(&old, now));
        }
    }
    assert!(written[0] > 50 * 20 && written[2] < 100, "{:?}", &written[..4]);
    assert_eq!(written.last(), Some(&0), "the hour is over");
    assert!(Checkpoint::default().load(b"x", b"", NOW).is_err());
}

/// Stores what is due. How many bytes were written.
fn store(
    checkpoint: &mut Checkpoint,
    manager: &Manager,
    stored: &mut BTreeMap<Vec<u8>, Vec<u8>>,
    now: Time,
) -> usize {
    let mut bytes = 0;
    while checkpoint.next_step() <= now {
        for (key, value) in checkpoint.step(manager, now) {
            bytes += value.as_ref().map_or(0, Vec::len);
            match value {
                Some(value) => stored.insert(key, value),
                None => stored.remove(&key),
            };
        }
    }
    bytes
}

#[test]
fn the_last_round_keeps_short_windows_and_the_next_life_forgets_them_in_time() {
    let short =
        serde_json::json!({"requests": 100, "window": "10m", "algorithm": "sliding_window"});
    let mut old = manager(1, &short);
    let (mut checkpoint, mut stored) = (Checkpoint::default(), BTreeMap::new());
    report(&mut old, 0, 1, 50, 1, NOW);
    store(&mut checkpoint, &old, &mut stored, NOW);
    assert!(stored.is_empty(), "it is not worth a row");
    checkpoint.finish();
    store(&mut checkpoint, &old, &mut stored, NOW);
    assert_eq!(stored.len(), 1);
    let mut new = manager(2, &short);
    let mut again = Checkpoint::default();
    for (key, value) in &stored {
        new.import_counters(&again.load(key, value, NOW).expect("a row"), NOW);
    }
    assert_eq!(amounts(&new, NOW), amounts(&old, NOW));
    store(&mut again, &new, &mut stored, NOW);
    assert!(stored.is_empty(), "it is not stored a second time");
}

#[test]
fn the_largest_pieces_are_read_and_stored() {
    let mut manager = manager(1, &serde_json::json!({"requests": 1, "window": "1h"}));
    let id = manager.policy("p").expect("the policy").policy.all_limits().next().expect("one").0;
    let part = "k".repeat(MAX_VALUE_BYTES);
    let key = |n: usize| {
        let first = format!("{n:0>4}");
        let parts: Vec<&str> = [first.as_str()].into_iter().chain([part.as_str(); 15]).collect();
        CounterKey::new("p", &id, &parts).expect("a key")
    };
    for agent in 0..40u64 {
        let long = |n: u64| format!("{n:x>MAX_NAME$}");
        let life =
            AgentLife { id: AgentId::new(&long(agent)).expect("a name"), incarnation: u64::MAX };
        let identity = AgentIdentity { life, gateway_group: long(1), version: long(2) };
        let keys: Vec<CounterKey> = (0..100).map(key).collect();
        let window = WindowStart(1_800_000_000);
        let (used, rejected) = (MAX_AMOUNT, MAX_AMOUNT);
        let entry = |key| UsageEntry { key, window, used, rejected };
        let frame = UsageFrame {
            identity: Some(identity),
            seq: (1 << 49) - 1,
            names: (0..).zip(&keys).collect::<Names>(),
            entries: (0..100).map(entry).collect(),
            state_complete: true,
            ..UsageFrame::default()
        };
        manager.handle(Input::Usage(StreamId(agent), frame), NOW, &mut Vec::new());
    }
    let pieces = pieces(&manager, usize::MAX, NOW);
    let bytes: Vec<usize> = pieces.iter().map(|piece| piece.clone().to_bytes().len()).collect();
    assert!(bytes.len() > 1 && bytes.iter().all(|bytes| *bytes <= MAX_ROW_BYTES), "{bytes:?}");
    assert!(bytes.iter().any(|bytes| *bytes > MAX_ROW_BYTES / 2), "{bytes:?}");
    assert_eq!(pieces.iter().map(Counters::len).sum::<usize>(), 40 * 100);
}
