//! An agent's core with a policy in force and a share of it, driven by hand: no shell, no manager.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use gateway_agent_core::{Agent, Checker, Config, ConnectionId, Input, Output, agent};
use rustix::time::{ClockId, Timespec, clock_gettime};
use serde_json::json;
use weir_proto::{
    decision::{DecisionFrame, ManagerHello, PolicyUpdate},
    id::{AgentId, AgentLife, ManagerId, ManagerLife},
    policy::Policy,
    share::View,
    time::Time,
    usage::AgentIdentity,
};

/// Manager time when the agent attaches: the begin of an hour, so that no window ends in a run.
const MANAGER_EPOCH: Time = Time::from_secs(1_800_000_000);
/// The owner does its regular work this often.
const TURN: Duration = Duration::from_millis(10);

/// The clock that the shipped shell reads for checks: monotonic microseconds since its start, as of the
/// kernel's last tick.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Timespec,
}

impl Clock {
    /// Starts.
    pub fn start() -> Self {
        Clock { origin: clock_gettime(ClockId::Monotonic) }
    }

    /// The time.
    #[inline]
    pub fn now(self) -> Time {
        let tick = clock_gettime(ClockId::MonotonicCoarse);
        let micros = (tick.tv_sec - self.origin.tv_sec) * 1_000_000
            + (tick.tv_nsec - self.origin.tv_nsec) / 1_000;
        Time::from_micros(1_000_000u64.saturating_add_signed(micros.max(0)))
    }
}

/// The policy: one limit that no run reaches, on tenant, resource and user.
pub fn policy() -> Policy {
    let document = json!({
        "name": "per-user",
        "level": "api",
        "key": ["request.tenant", "request.resource", "request.user"],
        "limits": [{ "requests": 200_000_000_000_000u64, "window": "1h" }],
    });
    Policy::from_json(&document).expect("the policy is valid")
}

/// An agent in a fleet of one.
#[derive(Debug)]
pub struct Gateway {
    /// For request threads.
    pub checker: Arc<Checker>,
    /// What they read.
    pub clock: Clock,
    owner: Agent,
    life: ManagerLife,
    session: ConnectionId,
    revision: u64,
    out: Vec<Output>,
}

impl Gateway {
    /// An agent with room for so many counters, attached, with [`policy`] in force.
    pub fn start(counters: usize) -> Self {
        let clock = Clock::start();
        let life = AgentLife { id: AgentId::new("gw-bench").expect("a name"), incarnation: 1 };
        let identity = AgentIdentity {
            life: life.clone(),
            gateway_group: String::new(),
            version: String::new(),
        };
        let config = Config { max_counters: counters, ..Config::new(identity, 1) };
        let (owner, checker) = agent(config, Arc::new(|| ()), clock.now());
        let manager =
            ManagerLife { id: ManagerId::new("tm-bench").expect("a name"), incarnation: 1 };
        let session = ConnectionId(1);
        let mut gateway =
            Gateway { checker, clock, owner, life: manager, session, revision: 0, out: Vec::new() };
        gateway.attach(life);
        gateway
    }

    fn attach(&mut self, agent: AgentLife) {
        self.owner.on_deadline(self.clock.now(), &mut self.out);
        let asked = self.out.iter().find_map(|output| match output {
            Output::Connect(_, connection) => Some(*connection),
            _ => None,
        });
        self.session = asked.expect("the agent connects at once");
        self.take(Input::SessionOpened(self.session));
        let manager = self.life.clone();
        let hello =
            ManagerHello { life: manager.clone(), version: String::new(), silent_hold_ms: 30_000 };
        let put = vec![policy().to_json().to_string().into()];
        let update =
            PolicyUpdate { revision: 1, full: true, put, last: true, ..PolicyUpdate::default() };
        let view = View {
            number: 1,
            fleet: 1,
            members: vec![agent],
            lost: Vec::new(),
            proposer: Some(manager),
        };
        self.decide(DecisionFrame {
            hello: Some(hello),
            policies: Some(update),
            install: Some((view, Time::from_secs(1))),
            snapshot_complete: true,
            ..DecisionFrame::default()
        });
        self.take(Input::UsageOpened(0, ConnectionId(1 << 32)));
    }

    fn take(&mut self, input: Input) {
        self.owner.handle(input, self.clock.now(), &mut self.out);
    }

    /// The next frame of the manager.
    fn decide(&mut self, frame: DecisionFrame) {
        self.revision += 1;
        let since = self.clock.now().since(Time::ZERO);
        let frame =
            DecisionFrame { revision: self.revision, manager_time: MANAGER_EPOCH + since, ..frame };
        self.take(Input::Decision(self.session, frame));
    }

    /// What the owner does all the time: report, and be acknowledged.
    pub fn turn(&mut self) {
        self.decide(DecisionFrame::default());
        self.owner.on_deadline(self.clock.now(), &mut self.out);
        for output in std::mem::take(&mut self.out) {
            if let Output::Usage(manager, connection, frame) = output {
                let (seq, life) = (frame.seq, self.life.clone());
                self.take(Input::UsageAck { manager, connection, seq, life });
            }
        }
    }

    /// The owner at work beside the request threads, until the answer is dropped.
    pub fn run(mut self) -> Owner {
        let (stop, stopped) = mpsc::sync_channel::<()>(1);
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(TURN) == Err(RecvTimeoutError::Timeout) {
                self.turn();
            }
        });
        Owner { stop: Some(stop), thread: Some(thread) }
    }
}

/// A running owner; ends when dropped.
#[derive(Debug)]
pub struct Owner {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic in the owner was printed; the figures of this run are void anyway.
            let _ = thread.join();
        }
    }
}
