//! Usage is state, stamped: however its frames travel, the newest word on each counter stands.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use traffic_manager_core::{Config, Input, Manager, Output, StreamId, view::CounterFilter};
use weir_proto::{
    key::CounterKey,
    policy::Policy,
    time::{Time, WindowStart},
    usage::{UsageEntry, UsageFrame},
};

use crate::pair::{identity, manager_life};

const NOW: Time = Time::from_secs(1_800_000_003);
const WINDOWS: [WindowStart; 2] = [WindowStart(1_799_999_990), WindowStart(1_800_000_000)];
const AGENTS: usize = 3;
const KEYS: u32 = 3;

/// By agent, key and window: admitted and refused.
type Amounts = BTreeMap<(usize, u32, WindowStart), (u64, u64)>;

/// What one agent says at one time.
type Word = Vec<(u32, WindowStart, u64, u64)>;

fn key(id: u32) -> CounterKey {
    CounterKey::new("p", "requests/10s/fixed_window", &[&format!("app-{id}")]).expect("a key")
}

fn frame(agent: usize, seq: u64, word: &Word) -> UsageFrame {
    let keys: Vec<(u32, CounterKey)> = (0..KEYS).map(|id| (id, key(id))).collect();
    UsageFrame {
        identity: Some(identity(&format!("gw-{agent}"))),
        seq,
        status: None,
        forgotten: Vec::new(),
        names: keys.iter().map(|(id, key)| (*id, key)).collect(),
        entries: word
            .iter()
            .map(|(key, window, used, rejected)| UsageEntry {
                key: *key,
                window: *window,
                used: *used,
                rejected: *rejected,
            })
            .collect(),
        state_complete: false,
    }
}

fn manager(with_policy: bool) -> Manager {
    let mut manager = Manager::new(Config::new(manager_life()), NOW);
    let policy = serde_json::json!({
        "name": "p",
        "level": "application",
        "key": ["application"],
        "limits": [{ "requests": 50, "window": "10s" }],
    });
    let policy = Policy::from_json(&policy).unwrap_or_else(|e| panic!("{e}"));
    let (id, _) = policy.all_limits().next().expect("a limit");
    assert_eq!(key(0).limit(), id, "the frames name the policy's limit");
    if with_policy {
        manager.put_policy(policy, NOW, &mut Vec::new());
    }
    manager
}

/// What the manager knows.
fn known(manager: &Manager) -> Amounts {
    let filter = CounterFilter { limit: usize::MAX, ..CounterFilter::default() };
    let mut amounts = Amounts::new();
    for counter in manager.counters(&filter, NOW) {
        let id = (0..KEYS).find(|id| key(*id) == counter.key).expect("a key of these frames");
        let sums = counter.agents.iter().fold((0, 0), |s, a| (s.0 + a.used, s.1 + a.rejected));
        assert_eq!((counter.used, counter.rejected), sums, "the whole is the sum of its parts");
        for part in counter.agents {
            let agent = (0..AGENTS).find(|a| format!("gw-{a}") == part.agent.as_str());
            let at = (agent.expect("an agent of these frames"), id, counter.window);
            amounts.insert(at, (part.used, part.rejected));
        }
    }
    amounts.retain(|_, (used, rejected)| *used > 0 || *rejected > 0);
    amounts
}

fn words() -> impl Strategy<Value = Vec<Word>> {
    let entry = (0..KEYS, prop::sample::select(WINDOWS.to_vec()), 0..100_u64, 0..100_u64);
    prop::collection::vec(prop::collection::vec(entry, 0..5), 1..12)
}

/// A frame's journey: which one, on which stream. Frames that are never drawn are lost.
fn journeys() -> impl Strategy<Value = Vec<(prop::sample::Index, u64)>> {
    prop::collection::vec((any::<prop::sample::Index>(), 0..3_u64), 0..60)
}

proptest! {
    #![proptest_config(crate::cases(500))]

    #[test]
    fn loss_repetition_and_order_of_frames_do_not_matter(
        speech in prop::collection::vec(words(), AGENTS),
        journeys in journeys(),
        with_policy in any::<bool>(),
    ) {
        let mut expected = Amounts::new();
        let mut frames = Vec::new();
        let mut last = Vec::new();
        for (agent, words) in speech.iter().enumerate() {
            for (seq, word) in (1..).zip(words) {
                // Of two entries in one frame about one window, the later one stands.
                for (key, window, used, rejected) in word {
                    expected.insert((agent, *key, *window), (*used, *rejected));
                }
                frames.push((agent, frame(agent, seq, word)));
            }
            let state: Word = expected
                .range((agent, 0, WindowStart(0))..(agent + 1, 0, WindowStart(0)))
                .map(|((_, key, window), (used, rejected))| (*key, *window, *used, *rejected))
                .collect();
            let seq = words.len() as u64 + 1;
            last.push((agent, UsageFrame { state_complete: true, ..frame(agent, seq, &state) }));
        }
        expected.retain(|_, (used, rejected)| *used > 0 || *rejected > 0);
        let mut manager = manager(with_policy);
        let travelling = journeys.iter().map(|(which, stream)| {
            let (agent, frame) = which.get(&frames).clone();
            (StreamId(agent as u64 * 10 + stream), frame)
        });
        let arriving = last.into_iter().map(|(agent, frame)| (StreamId(agent as u64 * 10), frame));
        let late: Vec<_> = travelling.collect();
        let mut open = BTreeSet::new();
        for (stream, mut frame) in late.iter().cloned().chain(arriving).chain(late.iter().cloned()) {
            if !open.insert(stream) {
                frame.identity = None; // said once, first
            }
            let (seq, mut out) = (frame.seq, Vec::new());
            manager.handle(Input::Usage(stream, frame), NOW, &mut out);
            prop_assert_eq!(out, [Output::Ack(stream, seq)]);
        }
        prop_assert_eq!(&known(&manager), &expected);
        // Nothing of this is forgotten while the windows last, whatever becomes due.
        let mut out = Vec::new();
        manager.on_deadline(NOW + Duration::from_secs(1), &mut out);
        let kept = known(&manager);
        prop_assert!(expected.iter().all(|(at, amounts)| kept.get(at) == Some(amounts)));
    }
}
