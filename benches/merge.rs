//! What a manager pays for an agent's report: bytes, frame, ledger. Throughput is in entries per
//! second of CPU time.
//!
//! *Interned*: the stream has named its counters before. *Strings*: each frame names all of its
//! counters. *New*: strings that the manager has never heard of.

use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use prost::{Message, bytes::Bytes};
use traffic_manager_core::{
    Config, Manager,
    message::{Input, Output, StreamId},
};
use weir_benches::{
    gateway, lanes,
    traffic::{Random, key, parts},
};
use weir_proto::{
    id::{AgentId, AgentLife, ManagerId, ManagerLife},
    key::CounterKey,
    policy::Policy,
    time::{Time, WindowStart},
    usage::{AgentIdentity, KeyDef, KeyId, UsageEntry, UsageFrame},
    wire::weir::v1 as wire,
};

const KEYS: usize = 100_000;
/// Entries prepared before the clock starts.
const AHEAD: usize = 100_000;
/// By the managers' clock; it stands still, so that no timer is due.
const NOW: Time = Time::from_secs(1_800_000_060);
const WINDOW: WindowStart = WindowStart(1_800_000_000);
const STREAM: StreamId = StreamId(1);

#[derive(Clone, Copy, PartialEq)]
enum Named {
    Before,
    InFrame,
}

/// An agent that reports: amounts and stamps grow, counters come in any order.
struct Reporter {
    random: Random,
    used: Vec<u64>,
    seq: u64,
    /// Canonical keys by id.
    keys: Vec<Vec<u8>>,
    /// Fixed windows are named by their start, rolling counters by their birth.
    window: WindowStart,
}

impl Reporter {
    fn new(policy: &Policy) -> Self {
        let (limit, _) = policy.all_limits().next().expect("it has a limit");
        let canonical = |n: usize| {
            let text = key(n);
            let (tenant, route, user) = parts(&text);
            let key = CounterKey::new(policy.name.as_str(), &limit, &[tenant, route, user]);
            key.expect("the key is valid").as_bytes().to_vec()
        };
        Reporter {
            random: Random::new(3),
            used: vec![0; KEYS],
            seq: 0,
            keys: (0..KEYS).map(canonical).collect(),
            window: WINDOW,
        }
    }

    fn entry(&mut self, id: usize) -> UsageEntry {
        self.used[id] += 1;
        let key = KeyId::try_from(id).expect("few keys");
        UsageEntry { key, window: self.window, used: self.used[id], rejected: 0 }
    }

    /// Names a counter as the wire does: the key's memory is new.
    fn define(&self, id: usize) -> KeyDef {
        let key = CounterKey::parse(&self.keys[id]).expect("the key is valid");
        KeyDef { id: KeyId::try_from(id).expect("few keys"), key }
    }

    fn frame(&mut self, ids: &[usize], named: Named) -> UsageFrame {
        self.seq += 1;
        let names = if named == Named::InFrame { ids } else { &[] };
        UsageFrame {
            seq: self.seq,
            keys: names.iter().map(|id| self.define(*id)).collect(),
            entries: ids.iter().map(|id| self.entry(*id)).collect(),
            ..UsageFrame::default()
        }
    }

    /// Frames about counters in any order.
    fn frames(&mut self, entries: usize, per_frame: usize, named: Named) -> Vec<UsageFrame> {
        (0..entries.div_ceil(per_frame))
            .map(|_| {
                let ids: Vec<usize> = (0..per_frame).map(|_| self.random.below(KEYS)).collect();
                self.frame(&ids, named)
            })
            .collect()
    }

    /// The whole state, with identity and names; each counter once.
    fn state(&mut self) -> Vec<UsageFrame> {
        let ids: Vec<usize> = (0..KEYS).collect();
        let mut frames: Vec<_> =
            ids.chunks(1_000).map(|part| self.frame(part, Named::InFrame)).collect();
        let life = AgentLife { id: AgentId::new("gw-bench").expect("a name"), incarnation: 1 };
        let (gateway_group, version) = (String::new(), String::new());
        frames[0].identity = Some(AgentIdentity { life, gateway_group, version });
        frames[KEYS / 1_000 - 1].state_complete = true;
        frames
    }
}

fn manager(policy: &Policy) -> Manager {
    let life = ManagerLife { id: ManagerId::new("tm-bench").expect("a name"), incarnation: 1 };
    let mut manager = Manager::new(Config::new(life), NOW);
    manager.create_policy(policy.clone(), NOW, &mut Vec::new()).expect("the first policy");
    manager
}

/// Hands in what is ready; the answers must be acknowledgements.
fn feed(manager: &mut Manager, frames: impl Iterator<Item = UsageFrame>, out: &mut Vec<Output>) {
    for frame in frames {
        out.clear();
        manager.handle(Input::Usage(STREAM, frame), NOW, out);
        debug_assert!(matches!(out.as_slice(), [Output::Ack(..)]));
    }
}

fn decode(bytes: &Bytes) -> wire::UsageFrame {
    // As from a transport: the keys stay in the message's own memory.
    wire::UsageFrame::decode(bytes.clone()).expect("it was encoded here")
}

fn convert(frame: wire::UsageFrame) -> UsageFrame {
    frame.try_into().expect("it was a frame before")
}

fn encoded(frames: Vec<UsageFrame>) -> Vec<Bytes> {
    let encode = |frame| wire::UsageFrame::from(frame).encode_to_vec().into();
    frames.into_iter().map(encode).collect()
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// Times `work` on what `prepare` makes for so many entries; only the work counts.
fn row<T>(
    group: &mut Group<'_>,
    name: &str,
    per_frame: usize,
    mut prepare: impl FnMut(usize) -> T,
    mut work: impl FnMut(T),
) {
    group.throughput(Throughput::Elements(per_frame as u64));
    group.bench_function(format!("{per_frame}/{name}"), |bench| {
        bench.iter_custom(|frames| {
            let mut left = usize::try_from(frames).unwrap_or(usize::MAX) * per_frame;
            let mut total = Duration::ZERO;
            while left > 0 {
                let entries = left.min(AHEAD);
                let ready = prepare(entries);
                let begun = lanes::cpu();
                work(ready);
                total += lanes::cpu().saturating_sub(begun);
                left -= entries;
            }
            total
        });
    });
}

fn rows(group: &mut Group<'_>, policy: &Policy, per_frame: usize) {
    for (name, named) in [("interned", Named::Before), ("strings", Named::InFrame)] {
        let mut reporter = Reporter::new(policy);
        let (mut manager, mut out) = (manager(policy), Vec::new());
        feed(&mut manager, reporter.state().into_iter(), &mut out);
        row(
            group,
            &format!("{name}: merge"),
            per_frame,
            |entries| reporter.frames(entries, per_frame, named),
            |frames| feed(&mut manager, frames.into_iter(), &mut out),
        );
        let mut bytes = |entries| encoded(reporter.frames(entries, per_frame, named));
        row(group, &format!("{name}: decode"), per_frame, &mut bytes, |frames| {
            frames.iter().for_each(|bytes| drop(decode(bytes)));
        });
        let decoded = |entries| bytes(entries).iter().map(decode).collect::<Vec<_>>();
        row(group, &format!("{name}: convert"), per_frame, decoded, |frames| {
            frames.into_iter().for_each(|frame| drop(convert(frame)));
        });
        row(group, &format!("{name}: decode, convert, merge"), per_frame, bytes, |frames| {
            let frames = frames.iter().map(|bytes| convert(decode(bytes)));
            feed(&mut manager, frames, &mut out);
        });
    }
}

/// Counters that the manager opens, all at once, in frames of 1000.
fn new_counters(group: &mut Group<'_>, policy: &Policy) {
    let mut reporter = Reporter::new(policy);
    group.throughput(Throughput::Elements(KEYS as u64));
    group.bench_function("new: merge of 100k", |bench| {
        bench.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            for _ in 0..rounds {
                let (mut manager, mut out) = (manager(policy), Vec::new());
                let frames = reporter.state();
                let begun = lanes::cpu();
                feed(&mut manager, frames.into_iter(), &mut out);
                total += lanes::cpu().saturating_sub(begun);
            }
            total
        });
    });
}

/// A policy whose windows roll: merging also charges the ring.
fn rolling() -> Policy {
    let mut document = gateway::policy().to_json();
    document["limits"][0]["algorithm"] = "sliding_window".into();
    Policy::from_json(&document).expect("the policy is valid")
}

fn main() {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let mut group = criterion.benchmark_group("merge");
    let fixed = gateway::policy();
    rows(&mut group, &fixed, 100);
    rows(&mut group, &fixed, 1_000);
    new_counters(&mut group, &fixed);
    let policy = rolling();
    let mut reporter = Reporter::new(&policy);
    let (mut manager, mut out) = (manager(&policy), Vec::new());
    feed(&mut manager, reporter.state().into_iter(), &mut out);
    row(
        &mut group,
        "interned, sliding window: merge",
        1_000,
        |entries| reporter.frames(entries, 1_000, Named::Before),
        |frames| feed(&mut manager, frames.into_iter(), &mut out),
    );
    group.finish();
    criterion.final_summary();
}
