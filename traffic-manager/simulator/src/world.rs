//! The event loop and the nodes.

mod ceilings;
mod forgotten;
mod nodes;
mod recall;
mod requests;
mod weight;
mod wiring;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use gateway_agent_core as agent_core;
use traffic_manager_core as manager_core;
use weir_proto::{policy::Policy, time::Time};

use crate::{
    chance::Chance,
    network::{Message, Network},
    outcome::Outcome,
    plan::{Fault, Plan},
};

use self::recall::Recall;
pub use self::requests::{Answer, Ask};
/// True time 0 in seconds since the Unix epoch.
pub const EPOCH_SECS: u64 = 1_800_000_000;
/// Local time of agents begins here.
const LOCAL: Duration = Duration::from_secs(1_000);

#[derive(Debug)]
enum Event {
    Deliver {
        connection: usize,
        up: bool,
        message: Box<Message>,
    },
    AgentDue(usize, u64),
    ManagerDue(usize, u64),
    Poke(usize, u64),
    Arrive(usize),
    GiveUp {
        agent: usize,
        life: u64,
        id: u64,
    },
    UsageConnect {
        agent: usize,
        life: u64,
        manager: usize,
        pause: Duration,
    },
    KeepAlive {
        connection: usize,
    },
    Recall(Recall),
    Checkpoint(usize, u64),
    /// What an agent had used that ended.
    Ended(forgotten::Uses),
    Fault(Fault),
}

struct ManagerNode {
    core: Option<manager_core::Manager>,
    life: u64,
    frozen: bool,
    held: Vec<(usize, Message)>,
    due: Time,
    skew_ms: i64,
    /// What it stored, which outlives it.
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
    checkpoint: manager_core::checkpoint::Checkpoint,
}

struct AgentNode {
    core: Option<agent_core::Agent>,
    checker: Option<Arc<agent_core::Checker>>,
    life: u64,
    poked: Arc<AtomicBool>,
    due: Time,
    sessions: BTreeMap<agent_core::ConnectionId, usize>,
    usage: BTreeMap<usize, usize>,
    waiting: BTreeMap<u64, (Ask, Time)>,
    skew_ms: i64,
    seen: Option<i64>,
}

/// A run.
pub struct World {
    plan: Plan,
    chance: Chance,
    now: Time,
    queue: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
    managers: Vec<ManagerNode>,
    agents: Vec<AgentNode>,
    network: Network,
    lives: u64,
    links: u64,
    policies: Vec<Policy>,
    keys: BTreeMap<u64, Ask>,
    answers: Vec<Answer>,
    spent: ceilings::Spent,
    outcome: Outcome,
}

struct Entry(Time, u64, Event);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

impl World {
    /// The world at time 0 of this plan.
    ///
    /// # Panics
    /// When the plan's policy is not valid.
    pub fn new(plan: Plan) -> Self {
        let policies = plan.policies();
        let skew = |i: usize| plan.skew_ms.get(i).copied().unwrap_or(0);
        let managers = (0..plan.managers).map(|i| ManagerNode::new(skew(i))).collect();
        let total = plan.agents + plan.spare_agents;
        let drift = |i: usize| plan.agent_skew_ms.get(i).copied().unwrap_or(0);
        let agents = (0..total).map(|i| AgentNode::new(drift(i))).collect();
        let mut world = World {
            chance: Chance::new(plan.seed),
            now: Time::ZERO,
            queue: BinaryHeap::new(),
            sequence: 0,
            managers,
            agents,
            network: Network::default(),
            lives: 0,
            links: 0,
            spent: ceilings::Spent::new(&plan, &policies),
            policies,
            keys: BTreeMap::new(),
            answers: Vec::new(),
            outcome: Outcome::default(),
            plan,
        };
        world.prepare();
        world
    }

    fn prepare(&mut self) {
        for i in 0..self.plan.managers {
            self.start_manager(i);
        }
        for i in 0..self.plan.agents {
            self.start_agent(i);
        }
        for (at, fault) in self.plan.faults.clone() {
            self.schedule(Time::ZERO + at, Event::Fault(fault));
        }
        for i in 0..self.plan.traffic.len() {
            let first = self.plan.traffic[i].from + self.chance.pause(self.plan.traffic[i].rate);
            self.schedule(Time::ZERO + first, Event::Arrive(i));
        }
    }

    /// Runs to the end and tells what came of it.
    pub fn run(mut self) -> Outcome {
        let end = Time::ZERO + self.plan.length;
        while let Some(Reverse(Entry(at, _, event))) = self.queue.pop() {
            if at > end {
                break;
            }
            self.now = at;
            self.happen(event);
        }
        self.outcome
    }

    /// Runs until `at` and returns with the world as it is then.
    pub fn run_until(&mut self, at: Duration) {
        let end = Time::ZERO + at;
        while self.queue.peek().is_some_and(|Reverse(Entry(t, _, _))| *t <= end) {
            let Some(Reverse(Entry(t, _, event))) = self.queue.pop() else { return };
            self.now = t;
            self.happen(event);
        }
        self.now = end;
    }

    /// True time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// What was counted so far.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// A manager's core, for assertions, while it lives.
    pub fn manager(&self, i: usize) -> Option<&manager_core::Manager> {
        self.managers[i].core.as_ref()
    }

    /// An agent's status, while it lives.
    pub fn agent_status(&self, i: usize) -> Option<agent_core::agent::Status> {
        self.agents[i].core.as_ref().map(|a| a.status(self.local(i)))
    }

    /// The manager's present time.
    pub fn manager_time(&self, i: usize) -> Time {
        self.managers[i].time(self.now)
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse(Entry(at.max(self.now), self.sequence, event)));
    }

    /// Notes what happened, when the plan asks for a log.
    fn log(&mut self, text: impl FnOnce() -> String) {
        if self.plan.log {
            self.outcome.log.push((self.now, text()));
        }
    }

    /// The agent's own clock.
    fn local(&self, agent: usize) -> Time {
        let micros = (self.now + LOCAL).as_micros();
        Time::from_micros(micros.saturating_add_signed(self.agents[agent].skew_ms * 1_000))
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { connection, up, message } => self.deliver(connection, up, *message),
            Event::AgentDue(i, life) => self.agent_due(i, life),
            Event::ManagerDue(i, life) => self.manager_due(i, life),
            Event::Poke(i, life) => {
                if self.agents[i].life == life {
                    self.agents[i].poked.store(false, Ordering::Relaxed);
                    self.tell_agent(i, agent_core::Input::Poke);
                }
            }
            Event::Arrive(i) => self.arrive(i),
            Event::GiveUp { agent, life, id } => {
                if self.agents[agent].life == life {
                    self.give_up(agent, id);
                }
            }
            Event::UsageConnect { agent, life, manager, pause } => {
                self.usage_connect(agent, life, manager, pause);
            }
            Event::KeepAlive { connection } => self.keep_alive(connection),
            Event::Recall(recall) => self.recall(recall),
            Event::Checkpoint(i, life) => self.checkpoint(i, life),
            Event::Ended(used) => self.look_at_end(used),
            Event::Fault(fault) => {
                self.log(|| format!("{fault:?}"));
                self.fault(fault);
            }
        }
        if self.plan.ceilings && !self.plan.sliding && self.outcome.overdraft.is_none() {
            self.outcome.overdraft = self.overdraft();
        }
    }
}
