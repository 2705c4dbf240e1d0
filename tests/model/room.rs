//! A manager without room for more counters: agents are answered, and what it holds is bounded.

use traffic_manager_core::{Config, Input, Manager, Output, StreamId};
use weir_proto::{
    decision::{Attach, CreditEntry, CreditFrame, DecisionFrame},
    key::CounterKey,
    share::View,
    time::{Time, WindowStart},
    usage::{KeyDef, KeyId, UsageEntry, UsageFrame},
};

use crate::pair::{identity, manager_life};

const NOW: Time = Time::from_secs(1_800_000_003);
const WINDOW: WindowStart = WindowStart(1_800_000_000);
/// Counters of the manager; it knows twice as many.
const MAX: u32 = 10;
const USAGE: StreamId = StreamId(1);
const SESSION: StreamId = StreamId(2);

fn key(id: KeyId) -> CounterKey {
    CounterKey::new("p", "requests/10s/fixed_window", &[&format!("app-{id}")]).expect("a key")
}

struct Room {
    manager: Manager,
    now: Time,
    seq: u64,
    out: Vec<Output>,
}

impl Room {
    fn new() -> Room {
        let config = Config { max_counters: MAX as usize, ..Config::new(manager_life()) };
        Room { manager: Manager::new(config, NOW), now: NOW, seq: 0, out: Vec::new() }
    }

    /// What the manager says to this.
    fn tell(&mut self, input: Input) -> Vec<Output> {
        self.manager.handle(input, self.now, &mut self.out);
        std::mem::take(&mut self.out)
    }

    /// An agent of its own reports a request of each key.
    fn report(&mut self, keys: std::ops::Range<KeyId>) -> Vec<Output> {
        let used = |key| UsageEntry { key, window: WINDOW, used: 1, rejected: 0 };
        let keys_used = keys.clone().map(used).collect();
        self.tell(Input::Usage(USAGE, frame("gw-1", keys.clone().map(|i| (i, key(i))), keys_used)))
    }

    /// Another agent, on a session, names keys and asks for more of counters; the answers.
    fn ask(&mut self, names: std::ops::Range<KeyId>, asked: &[KeyId]) -> Vec<Output> {
        self.seq += 1;
        let attach = Attach {
            identity: identity("gw-2"),
            view: View::default(),
            promised: None,
            eras: Vec::new(),
            pledged_until: NOW,
            former_manager: None,
        };
        let wants = |key: &KeyId| CreditEntry {
            key: *key,
            window: WINDOW,
            used: 0,
            ceiling: 0,
            want: 1,
            recent: 0,
            rejected: 0,
        };
        self.tell(Input::Credit(
            SESSION,
            CreditFrame {
                seq: self.seq,
                now: self.now,
                applied: 0,
                attach: (self.seq == 1).then_some(attach),
                keys: names.map(|id| KeyDef { id, key: key(id) }).collect(),
                entries: asked.iter().map(wants).collect(),
                holdings_complete: true,
                promised_view: 0,
                leaving: false,
                stamp: self.seq,
            },
        ))
    }
}

fn frame(
    agent: &str,
    names: impl Iterator<Item = (KeyId, CounterKey)>,
    entries: Vec<UsageEntry>,
) -> UsageFrame {
    let names: Vec<_> = names.collect();
    UsageFrame {
        identity: Some(identity(agent)),
        seq: 1,
        status: None,
        forgotten: Vec::new(),
        names: names.iter().map(|(id, key)| (*id, key)).collect(),
        entries,
        state_complete: true,
    }
}

/// Keys that the manager has turned away in these frames.
fn turned_away(out: &[Output]) -> Vec<CounterKey> {
    let frames = out.iter().filter_map(|output| match output {
        Output::Decide(SESSION, frame) => Some(frame),
        _ => None,
    });
    let refused = |frame: &DecisionFrame| {
        let exhausted = frame.decisions.iter().filter(|d| d.exhausted && d.retry_after_ms > 0);
        let name = |id| frame.keys.iter().find(|def| def.id == id).map(|def| def.key.clone());
        exhausted.filter_map(|d| name(d.key)).collect::<Vec<_>>()
    };
    frames.flat_map(refused).collect()
}

fn closed(out: &[Output]) -> bool {
    out.iter().any(|output| matches!(output, Output::CloseSession(SESSION, _)))
}

#[test]
fn an_agent_hears_that_there_is_no_room_each_time_it_asks() {
    let mut room = Room::new();
    room.report(0..10 * MAX);
    let stats = room.manager.stats();
    assert_eq!((stats.counters, stats.refused_counters), (10, 90), "each key once: {stats:?}");
    // One is known without being counted, the other is not even known.
    let (named, unknown) = (MAX, 20 * MAX);
    let expected = [key(named), key(unknown)];
    assert_eq!(turned_away(&room.ask(named..named + 1, &[named])), [key(named)]);
    let answers = room.ask(unknown..unknown + 1, &[named, unknown]);
    assert_eq!(turned_away(&answers), expected);
    assert_eq!(turned_away(&room.ask(0..0, &[named, unknown])), expected, "named before");
    room.tell(Input::UsageClosed(USAGE));
    assert_eq!(turned_away(&room.ask(0..0, &[unknown])), [key(unknown)], "others still count");
    room.now = NOW + std::time::Duration::from_secs(70);
    room.manager.on_deadline(room.now, &mut room.out);
    assert_eq!(turned_away(&room.ask(0..0, &[unknown])), [], "now there is room");
    assert_eq!(room.manager.stats().counters, 1);
}

#[test]
fn a_usage_stream_that_was_refused_starts_anew_when_there_is_room() {
    let mut room = Room::new();
    room.report(0..MAX);
    let late = frame("gw-3", (50..60 + MAX).map(|i| (i, key(i))), Vec::new());
    let refused = StreamId(3);
    let begun = room.tell(Input::Usage(refused, late));
    assert!(!begun.iter().any(|o| matches!(o, Output::CloseUsage(..))), "{begun:?}");
    room.tell(Input::UsageClosed(USAGE));
    room.now = NOW + std::time::Duration::from_secs(70);
    room.manager.on_deadline(room.now, &mut room.out);
    let names = frame("gw-3", std::iter::empty(), Vec::new());
    let mut forgets = UsageFrame { seq: 2, ..names };
    forgets.forgotten = (50..57).collect();
    let out = room.tell(Input::Usage(refused, forgets));
    assert!(out.iter().any(|o| matches!(o, Output::CloseUsage(s, _) if *s == refused)), "{out:?}");
}

#[test]
fn a_session_that_names_ever_more_starts_anew_before_the_ledger_is_full() {
    let mut room = Room::new();
    assert!(!closed(&room.ask(0..5, &[])));
    for next in 5..19 {
        room.ask(next..next + 1, &[]);
    }
    room.now = NOW + std::time::Duration::from_millis(200);
    room.manager.on_deadline(room.now, &mut room.out);
    assert!(closed(&std::mem::take(&mut room.out)), "nothing else lets the names go");
    room.report(100..100 + MAX);
    assert_eq!(room.manager.stats().refused_counters, 0, "there is room again");
}
