//! Several request threads and the owner of one agent at once: what was admitted is what is reported,
//! and never more than the limit.

#![expect(clippy::disallowed_methods, reason = "threads are what is tested")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use gateway_agent_core::{Agent, Checker, Config, ConnectionId, Input, Output, agent};
use weir_proto::{
    decision::{DecisionFrame, ManagerHello, PolicyUpdate},
    id::{AgentId, AgentLife, ManagerId, ManagerLife},
    key::CounterKey,
    request::Request,
    share::View,
    time::{Time, WindowStart},
    usage::{AgentIdentity, KeyId, UsageFrame},
};

const THREADS: u64 = 3;
const LIMIT: u64 = 5;
const POLICY: &str = r#"{"name": "p", "level": "api", "key": ["user"],
    "limits": [{"requests": 5, "window": "1s"}, {"requests": 7, "window": "2s"}]}"#;
/// Rounds of 100 ms: all threads see one time, so that none lags behind by a window.
const ROUNDS: u64 = 80;
const CHECKS: u64 = 600;

/// What a manager would know: used and rejected by counter and window.
#[derive(Default)]
struct Reported {
    names: BTreeMap<KeyId, CounterKey>,
    used: BTreeMap<(CounterKey, WindowStart), u64>,
}

impl Reported {
    fn take(&mut self, frame: &UsageFrame) {
        for id in &frame.forgotten {
            self.names.remove(id);
        }
        let named = |(id, key)| (id, CounterKey::parse(key).expect("a key"));
        self.names.extend(frame.names.iter().map(named));
        for entry in &frame.entries {
            self.used.insert((self.names[&entry.key].clone(), entry.window), entry.used);
        }
    }
}

struct Owner {
    agent: Agent,
    life: ManagerLife,
    reported: Reported,
}

impl Owner {
    fn step(&mut self, input: Option<Input>, now: Time) {
        let mut out = Vec::new();
        match input {
            Some(input) => self.agent.handle(input, now, &mut out),
            None => self.agent.on_deadline(now, &mut out),
        }
        for output in out {
            if let Output::Usage(manager, connection, report) = output {
                let frame: UsageFrame = report.try_into().expect("a valid report");
                self.reported.take(&frame);
                let (seq, life) = (frame.seq, self.life.clone());
                self.step(Some(Input::UsageAck { manager, connection, seq, life }), now);
            }
        }
    }
}

fn start() -> (Owner, Arc<Checker>) {
    let life = AgentLife { id: AgentId::new("gw-1").expect("a name"), incarnation: 1 };
    let identity =
        AgentIdentity { life: life.clone(), gateway_group: String::new(), version: String::new() };
    let now = Time::from_secs(1);
    let (mut agent, checker) = agent(Config::new(identity, 1), Arc::new(|| ()), now);
    let mut out = Vec::new();
    agent.on_deadline(now, &mut out);
    let Some(Output::Connect(_, session)) = out.first().cloned() else { panic!("{out:?}") };
    let manager = ManagerLife { id: ManagerId::new("tm-1").expect("a name"), incarnation: 1 };
    let mut owner = Owner { agent, life: manager.clone(), reported: Reported::default() };
    owner.step(Some(Input::SessionOpened(session)), now);
    let view = View { number: 1, fleet: 1, members: vec![life], ..View::default() };
    let frame = DecisionFrame {
        revision: 1,
        manager_time: Time::from_secs(1_000),
        hello: Some(ManagerHello { life: manager, version: String::new(), silent_hold_ms: 30_000 }),
        policies: Some(PolicyUpdate {
            revision: 1,
            full: true,
            put: vec![POLICY.into()],
            last: true,
            ..PolicyUpdate::default()
        }),
        install: Some((view, Time::from_secs(900))),
        snapshot_complete: true,
        ..DecisionFrame::default()
    };
    owner.step(Some(Input::Decision(session, frame)), now);
    owner.step(Some(Input::UsageOpened(0, ConnectionId(1 << 40))), now);
    (owner, checker)
}

/// Checks of one thread: keys that all threads use, keys of its own, and keys that come once. Counts
/// what was admitted.
fn lane(checker: &Checker, thread: u64, round: u64, now: Time) -> BTreeMap<String, u64> {
    let mut admitted = BTreeMap::new();
    for n in 0..CHECKS {
        let user = match n % 3 {
            0 => format!("all-{}", n % 15),
            1 => format!("own-{thread}-{}", n % 50),
            _ => format!("once-{thread}-{round}-{n}"),
        };
        if checker.check(&Request::new().user(user.as_str()), 1, now).allowed() {
            *admitted.entry(user).or_default() += 1;
        }
    }
    admitted
}

#[test]
fn what_threads_admit_is_what_the_owner_reports_and_within_the_limits() {
    let (mut owner, checker) = start();
    let (barrier, clock) = (Barrier::new(THREADS as usize), AtomicU64::new(1_000));
    let done = AtomicBool::new(false);
    let now = || Time::from_millis(clock.load(Ordering::SeqCst));
    let mut admitted: BTreeMap<String, u64> = BTreeMap::new();
    thread::scope(|scope| {
        let (barrier, clock, checker, now) = (&barrier, &clock, &checker, &now);
        let lanes: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let mut sum: BTreeMap<String, u64> = BTreeMap::new();
                    for round in 0..ROUNDS {
                        for (user, n) in lane(checker, thread, round, now()) {
                            *sum.entry(user).or_default() += n;
                        }
                        if barrier.wait().is_leader() {
                            clock.fetch_add(100, Ordering::SeqCst);
                        }
                        barrier.wait();
                    }
                    sum
                })
            })
            .collect();
        let owner = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                owner.step(None, now());
            }
        });
        for lane in lanes {
            for (user, n) in lane.join().expect("no lane panics") {
                *admitted.entry(user).or_default() += n;
            }
        }
        done.store(true, Ordering::Release);
        owner.join().expect("the owner does not panic");
    });
    owner.step(None, now() + std::time::Duration::from_millis(200));
    let checks = owner.agent.status(now()).checks;
    assert_eq!(checks, THREADS * ROUNDS * CHECKS);

    let mut reported: [BTreeMap<String, u64>; 2] = Default::default();
    for ((key, window), used) in &owner.reported.used {
        let short = key.limit() == "requests/1s/fixed_window";
        let most = if short { LIMIT } else { 7 };
        assert!(*used <= most, "{key} admitted {used} in {window:?}");
        let user = key.parts().next().expect("one part").to_owned();
        *reported[usize::from(short)].entry(user).or_default() += used;
    }
    for limit in &mut reported {
        limit.retain(|_, used| *used > 0);
        assert_eq!(limit, &admitted, "each admission counts once in each limit");
    }
    // Nine windows of a second, or five of two, and there is more demand than that.
    assert!(admitted["all-0"] > LIMIT * 4, "{}", admitted["all-0"]);
    for step in 1..=100 {
        owner.step(None, now() + std::time::Duration::from_millis(200 + 100 * step));
    }
    assert!(owner.agent.status(now()).counters < admitted.len(), "idle counters have left");
}
