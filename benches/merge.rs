//! What a manager pays for an agent's report, from the bytes of the frames to the counters, and what
//! an agent pays to write it. Throughput is in entries per second of CPU time.
//!
//! *Interned*: the stream has named its counters before. *Strings*: each frame names all of its
//! counters anew, under numbers of its own, so that each is looked up by its text.

use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use prost::{Message, bytes::Bytes};
use traffic_manager_core::{
    Config, Manager,
    message::{Input, Output, StreamId},
};
use weir_benches::{
    gateway, lanes, resident,
    traffic::{Random, key, parts},
};
use weir_proto::{
    id::{AgentId, AgentLife, ManagerId, ManagerLife},
    key::CounterKey,
    policy::Policy,
    time::{Time, WindowStart},
    usage::{AgentIdentity, EntryWriter, KeyId, NameWriter, UsageEntry, UsageFrame, UsageReport},
    wire::weir::v1 as wire,
};

/// Entries prepared before the clock starts: few, as frames that have just arrived are in the cache.
const AHEAD: usize = 10_000;
/// By the managers' clock; it stands still, so that no timer is due.
const NOW: Time = Time::from_secs(1_800_000_060);
const WINDOW: WindowStart = WindowStart(1_800_000_000);

#[derive(Clone, Copy, PartialEq)]
enum Named {
    Before,
    InFrame,
}

/// An agent that reports: amounts and stamps grow, counters come in any order.
struct Reporter {
    agent: usize,
    random: Random,
    used: Vec<u64>,
    seq: u64,
    keys: Vec<CounterKey>,
}

fn keys(policy: &Policy, count: usize) -> Vec<CounterKey> {
    let (limit, _) = policy.all_limits().next().expect("it has a limit");
    let canonical = |n: usize| {
        let text = key(n);
        let (tenant, route, user) = parts(&text);
        let key = CounterKey::new(policy.name.as_str(), &limit, &[tenant, route, user]);
        key.expect("the key is valid")
    };
    (0..count).map(canonical).collect()
}

fn id(n: usize) -> KeyId {
    KeyId::try_from(n).expect("few keys")
}

impl Reporter {
    fn new(agent: usize, keys: &[CounterKey]) -> Self {
        let (used, keys) = (vec![0; keys.len()], keys.to_vec());
        Reporter { agent, random: Random::new(3 + agent as u64), used, seq: 0, keys }
    }

    fn stream(&self) -> StreamId {
        StreamId(self.agent as u64)
    }

    fn report(&mut self, counters: &[usize], named: Named) -> UsageReport {
        self.seq += 1;
        let (mut names, mut entries) = (NameWriter::default(), EntryWriter::default());
        for (n, counter) in counters.iter().enumerate() {
            self.used[*counter] += 1;
            let key = id(if named == Named::Before { *counter } else { n });
            let used = self.used[*counter];
            entries.push(&UsageEntry { key, window: WINDOW, used, rejected: 0 });
            if named == Named::InFrame {
                names.push(key, &self.keys[*counter]);
            }
        }
        let (names, entries) = (names.finish(), entries.finish());
        UsageReport { seq: self.seq, names, entries, ..UsageReport::default() }
    }

    /// Frames about counters in any order.
    fn frames(&mut self, entries: usize, per_frame: usize, named: Named) -> Vec<Bytes> {
        let all = self.keys.len();
        let frames = (0..entries.div_ceil(per_frame)).map(|_| {
            let any: Vec<usize> = (0..per_frame).map(|_| self.random.below(all)).collect();
            encoded(self.report(&any, named))
        });
        frames.collect()
    }

    /// The whole state, with identity and names; each counter once.
    fn state(&mut self) -> Vec<Bytes> {
        let life = AgentLife {
            id: AgentId::new(&format!("gw-{}", self.agent)).expect("a name"),
            incarnation: 1,
        };
        let (gateway_group, version) = (String::new(), String::new());
        let mut identity = Some(AgentIdentity { life, gateway_group, version });
        let all: Vec<usize> = (0..self.keys.len()).collect();
        let frames = all.chunks(1_000).map(|part| {
            let mut report = self.report(part, Named::Before);
            let mut names = NameWriter::default();
            part.iter().for_each(|n| names.push(id(*n), &self.keys[*n]));
            report.names = names.finish();
            report.identity = identity.take();
            report.state_complete = part.ends_with(&[self.keys.len() - 1]);
            encoded(report)
        });
        frames.collect()
    }
}

fn manager(policy: &Policy) -> Manager {
    manager_with(policy, false)
}

/// One that records usage, or not.
fn manager_with(policy: &Policy, accounts: bool) -> Manager {
    let life = ManagerLife { id: ManagerId::new("tm-bench").expect("a name"), incarnation: 1 };
    let mut manager = Manager::new(Config { accounts, ..Config::new(life) }, NOW);
    manager.put_policy(policy.clone(), NOW, &mut Vec::new());
    manager
}

fn encoded(report: UsageReport) -> Bytes {
    wire::UsageFrame::from(report).encode_to_vec().into()
}

fn decode(bytes: &Bytes) -> UsageFrame {
    // As from a transport: names and entries stay in the message's own memory.
    let frame = wire::UsageFrame::decode(bytes.clone()).expect("it was encoded here");
    frame.try_into().expect("it is valid")
}

/// Hands in what is ready; the answers must be acknowledgements.
fn feed(manager: &mut Manager, stream: StreamId, frames: &[Bytes], out: &mut Vec<Output>) {
    for bytes in frames {
        out.clear();
        manager.handle(Input::Usage(stream, decode(bytes)), NOW, out);
        assert!(matches!(out.as_slice(), [Output::Ack(..)]), "{out:?}");
    }
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

/// From bytes into a manager that `agents` agents report to, all of the same counters, in turn.
fn rows(group: &mut Group<'_>, policy: &Policy, label: &str, count: usize, agents: usize) {
    let keys = keys(policy, count);
    let mut reporters: Vec<Reporter> = (0..agents).map(|a| Reporter::new(a, &keys)).collect();
    let (mut manager, mut out) = (manager(policy), Vec::new());
    for reporter in &mut reporters {
        let stream = reporter.stream();
        feed(&mut manager, stream, &reporter.state(), &mut out);
    }
    let many = agents > 1 || policy.all_limits().any(|(_, l)| l.algorithm != Default::default());
    for (named, name) in [(Named::Before, "interned"), (Named::InFrame, "strings")] {
        for per_frame in [100, 1_000] {
            if many && (named == Named::InFrame || per_frame == 100) {
                continue;
            }
            if named == Named::InFrame {
                // A stream of its own, which has named nothing.
                let mut first = reporters[0].report(&[], named);
                first.identity = decode(&reporters[0].state()[0]).identity;
                feed(&mut manager, StreamId(1_000), &[encoded(first)], &mut out);
            }
            let mut turn = 0;
            let prepare = |entries: usize| {
                turn = (turn + 1) % reporters.len();
                let stream = reporters[turn].stream();
                let stream = if named == Named::Before { stream } else { StreamId(1_000) };
                (stream, reporters[turn].frames(entries, per_frame, named))
            };
            let work = |(stream, frames): (StreamId, Vec<Bytes>)| {
                feed(&mut manager, stream, &frames, &mut out);
            };
            row(group, &format!("{label}: {name}"), per_frame, prepare, work);
        }
    }
}

/// The parts that are not the merge: bytes to checked entries.
fn scan(group: &mut Group<'_>, policy: &Policy) {
    let mut reporter = Reporter::new(0, &keys(policy, 100_000));
    for (named, name) in [(Named::Before, "interned"), (Named::InFrame, "strings")] {
        for per_frame in [100, 1_000] {
            let prepare = |entries| reporter.frames(entries, per_frame, named);
            row(group, &format!("100k: {name}, scan alone"), per_frame, prepare, |frames| {
                frames.iter().for_each(|bytes| drop(std::hint::black_box(decode(bytes))));
            });
        }
    }
}

/// Counters that the manager opens, all at once, in frames of 1000.
fn new_counters(group: &mut Group<'_>, policy: &Policy) {
    let mut reporter = Reporter::new(0, &keys(policy, 100_000));
    group.throughput(Throughput::Elements(100_000));
    group.bench_function("1000/100k: new", |bench| {
        bench.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            for _ in 0..rounds {
                let (mut manager, mut out) = (manager(policy), Vec::new());
                let frames = reporter.state();
                let begun = lanes::cpu();
                feed(&mut manager, StreamId(0), &frames, &mut out);
                total += lanes::cpu().saturating_sub(begun);
            }
            total
        });
    });
}

/// What an agent pays: the entries once, and the frame for each manager.
fn agent(group: &mut Group<'_>, policy: &Policy) {
    let mut reporter = Reporter::new(0, &keys(policy, 100_000));
    for per_frame in [100, 1_000] {
        let entries = |count: usize, reporter: &mut Reporter| -> Vec<Vec<UsageEntry>> {
            let frames = reporter.frames(count, per_frame, Named::Before);
            frames.iter().map(|bytes| decode(bytes).entries).collect()
        };
        let prepare = |count| entries(count, &mut reporter);
        row(group, "agent: encode", per_frame, prepare, |frames| {
            for entries in frames {
                std::hint::black_box(entries.iter().collect::<EntryWriter>().finish());
            }
        });
        let prepare = |count| -> Vec<UsageReport> {
            let frames = entries(count, &mut reporter);
            let entries = |f: &Vec<UsageEntry>| f.iter().collect::<EntryWriter>().finish();
            let report = |f| UsageReport { entries: entries(f), ..UsageReport::default() };
            frames.iter().map(report).collect()
        };
        row(group, "agent: frame for one more manager", per_frame, prepare, |reports| {
            let mut buffer = Vec::new();
            for report in &reports {
                buffer.clear();
                let frame = wire::UsageFrame::from(report.clone());
                frame.encode(&mut buffer).expect("there is room");
                std::hint::black_box(&buffer);
            }
        });
    }
}

/// A policy whose windows roll: merging also charges the ring.
fn rolling() -> Policy {
    let mut document = gateway::policy().to_json();
    document["limits"][0]["algorithm"] = "sliding_window".into();
    Policy::from_json(&document).expect("the policy is valid")
}

/// Bytes per counter of a manager that one agent reports a million counters to, with keys of 40 bytes.
/// In a process of its own, which has freed next to nothing before.
fn memory() {
    // One more than these is the most that a manager counts by default.
    const COUNT: usize = 999_000;
    let mut document = gateway::policy().to_json();
    document["name"] = "p".into();
    let policy = &Policy::from_json(&document).expect("the policy is valid");
    let (limit, _) = policy.all_limits().next().expect("it has a limit");
    let (mut manager, mut out) = (manager(policy), Vec::new());
    let first = Reporter::new(0, &keys(policy, 1)).state();
    feed(&mut manager, StreamId(0), &first, &mut out);
    let (before, mut length) = (resident(), 0);
    for part in 0..COUNT / 1_000 {
        let (mut names, mut entries) = (NameWriter::default(), EntryWriter::default());
        for n in part * 1_000..(part + 1) * 1_000 {
            let user = format!("{n:010}");
            let key = CounterKey::new(policy.name.as_str(), &limit, &[&user]).expect("it is valid");
            length = key.as_bytes().len();
            names.push(id(n + 1), &key);
            entries.push(&UsageEntry { key: id(n + 1), window: WINDOW, used: 1, rejected: 0 });
        }
        let (names, entries) = (names.finish(), entries.finish());
        let seq = part as u64 + 2;
        let report = UsageReport { seq, names, entries, ..UsageReport::default() };
        feed(&mut manager, StreamId(0), &[encoded(report)], &mut out);
    }
    let grown = resident().saturating_sub(before);
    assert_eq!(manager.stats().counters, COUNT + 1);
    println!("{} bytes per counter, of which {length} are the key", grown / COUNT);
}

/// What records of usage cost: managers with and without them take turns in one run, so that whatever else the machine
/// does meets both.
fn recording() {
    const COUNT: usize = 100_000;
    println!("records of usage: ns CPU off, on; median of on / off");
    for (label, policy) in [("merge", gateway::policy()), ("merge, sliding window", rolling())] {
        let mut reporter = Reporter::new(0, &keys(&policy, COUNT));
        let state = reporter.state();
        let mut managers = [false, true].map(|on| manager_with(&policy, on));
        let mut out = Vec::new();
        managers.iter_mut().for_each(|manager| feed(manager, StreamId(0), &state, &mut out));
        turns(label, COUNT, || {
            let frames = reporter.frames(COUNT, 1_000, Named::Before);
            managers.each_mut().map(|manager| {
                let begun = lanes::cpu();
                feed(manager, StreamId(0), &frames, &mut out);
                lanes::cpu().saturating_sub(begun)
            })
        });
    }
    let policy = gateway::policy();
    let state = Reporter::new(0, &keys(&policy, COUNT)).state();
    turns("windows that end", COUNT, || {
        [false, true].map(|on| {
            let (mut manager, mut out) = (manager_with(&policy, on), Vec::new());
            feed(&mut manager, StreamId(0), &state, &mut out);
            out.clear();
            let begun = lanes::cpu();
            while manager.stats().counters > 0 {
                manager.on_deadline(NOW + Duration::from_secs(7_200), &mut out);
            }
            let took = lanes::cpu().saturating_sub(begun);
            let closed = out.iter().map(|out| match out {
                Output::Closed(closed) => closed.len(),
                _ => 0,
            });
            assert_eq!(closed.sum::<usize>(), if on { COUNT } else { 0 });
            took
        })
    });
}

/// Prints what `turn` takes without and with something, for each of so many.
fn turns(label: &str, each: usize, mut turn: impl FnMut() -> [Duration; 2]) {
    const TURNS: usize = 51;
    // The first turns meet cold caches.
    let mut all: Vec<[Duration; 2]> = (0..TURNS + 5).map(|_| turn()).skip(5).collect();
    all.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let sum = |which: usize| all.iter().map(|turn| turn[which].as_nanos()).sum::<u128>();
    let [off, on] = [0, 1].map(|which| sum(which) / (TURNS * each) as u128);
    let [low, median, high] = [TURNS / 10, TURNS / 2, TURNS - TURNS / 10].map(|n| ratio(&all[n]));
    println!(
        "{label}: {off}, {on}; {median:.2} (of ten turns, eight between {low:.2} and {high:.2})"
    );
}

fn ratio([off, on]: &[Duration; 2]) -> f64 {
    on.as_secs_f64() / off.as_secs_f64()
}

fn main() {
    let fixed = gateway::policy();
    if std::env::args().any(|arg| "memory".contains(&arg) && !arg.is_empty()) {
        return memory();
    }
    if std::env::args().any(|arg| arg == "recording") {
        return recording();
    }
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let mut group = criterion.benchmark_group("merge");
    rows(&mut group, &fixed, "100k", 100_000, 1);
    rows(&mut group, &fixed, "1M", 1_000_000, 1);
    rows(&mut group, &fixed, "100k, 8 agents", 100_000, 8);
    rows(&mut group, &rolling(), "100k, sliding window", 100_000, 1);
    scan(&mut group, &fixed);
    new_counters(&mut group, &fixed);
    agent(&mut group, &fixed);
    group.finish();
    criterion.final_summary();
}
