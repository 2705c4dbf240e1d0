//! The event loop and the nodes.

mod ceilings;
mod nodes;
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
use weir_proto::{policy::Policy, request::Request, time::Time};

use crate::{
    chance::Chance,
    network::{Message, Network},
    outcome::Outcome,
    plan::{Fault, Plan},
};

/// True time 0 in seconds since the Unix epoch.
pub const EPOCH_SECS: u64 = 1_800_000_000;
/// Local time of agents begins here.
const LOCAL: Duration = Duration::from_secs(1_000);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "moved twice: into the queue and out of it")]
enum Event {
    Deliver { connection: usize, up: bool, message: Message },
    AgentDue(usize, u64),
    ManagerDue(usize, u64),
    Poke(usize, u64),
    Arrive(usize),
    GiveUp { agent: usize, life: u64, id: u64 },
    UsageConnect { agent: usize, life: u64, manager: usize, pause: Duration },
    KeepAlive { connection: usize },
    Fault(Fault),
}

struct ManagerNode {
    core: Option<manager_core::Manager>,
    life: u64,
    frozen: bool,
    held: Vec<(usize, Message)>,
    due: Time,
    skew_ms: i64,
}

struct AgentNode {
    core: Option<agent_core::Agent>,
    checker: Option<Arc<agent_core::Checker>>,
    life: u64,
    poked: Arc<AtomicBool>,
    due: Time,
    sessions: BTreeMap<agent_core::ConnectionId, usize>,
    usage: BTreeMap<usize, usize>,
    waiting: BTreeMap<u64, (u64, Time)>,
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
    policy: Policy,
    spent: ceilings::Spent,
    outcome: Outcome,
}

/// A request that waits.
#[derive(Clone, Copy)]
struct Waiter {
    id: u64,
    until: Time,
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
        let policy = match Policy::from_json(&plan.policy()) {
            Ok(policy) => policy,
            Err(errors) => panic!("the plan makes no valid policy: {errors}"),
        };
        let skew = |i: usize| plan.skew_ms.get(i).copied().unwrap_or(0);
        let managers = (0..plan.managers).map(|i| ManagerNode::new(skew(i))).collect();
        let total = plan.agents + plan.spare_agents;
        let agents = (0..total).map(|_| AgentNode::new()).collect();
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
            spent: ceilings::Spent::new(&plan, &policy),
            policy,
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
        self.agents[i].core.as_ref().map(|a| a.status(self.local()))
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

    fn local(&self) -> Time {
        self.now + LOCAL
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { connection, up, message } => self.deliver(connection, up, message),
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
            Event::Fault(fault) => {
                self.log(|| format!("{fault:?}"));
                self.fault(fault);
            }
        }
        if self.plan.ceilings && !self.plan.sliding && self.outcome.overdraft.is_none() {
            self.outcome.overdraft = self.overdraft();
        }
    }

    fn arrive(&mut self, i: usize) {
        let traffic = self.plan.traffic[i];
        let next = self.now + self.chance.pause(traffic.rate);
        if next <= Time::ZERO + traffic.to {
            self.schedule(next, Event::Arrive(i));
        }
        let key = self.chance.below(traffic.keys.max(1));
        if self.agents[traffic.agent].core.is_some() {
            self.outcome.requests += 1;
            self.request(traffic.agent, key, None);
        }
    }

    /// One request, or another try of one that waits.
    fn request(&mut self, agent: usize, key: u64, waiter: Option<Waiter>) {
        let local = self.local();
        let Some(checker) = self.agents[agent].checker.clone() else { return };
        let name = format!("app-{key}");
        let request = Request::new().application(name.as_str());
        let over = waiter.is_some_and(|w| w.until <= self.now);
        let verdict = if self.plan.max_wait.is_zero() || over {
            checker.check(&request, 1, local)
        } else {
            checker.try_check(&request, 1, local)
        };
        self.tally(agent, key, waiter.is_none(), &verdict);
        if let agent_core::Outcome::Pending { wait } = verdict.outcome {
            let waiter = waiter.unwrap_or_else(|| self.wait(agent, self.now + wait));
            self.agents[agent].waiting.insert(waiter.id, (key, waiter.until));
        }
        if self.agents[agent].poked.load(Ordering::Relaxed) {
            let life = self.agents[agent].life;
            self.schedule(self.now, Event::Poke(agent, life));
        }
    }

    fn wait(&mut self, agent: usize, until: Time) -> Waiter {
        self.outcome.waited += 1;
        self.links += 1;
        let (id, life) = (self.links, self.agents[agent].life);
        self.schedule(until, Event::GiveUp { agent, life, id });
        Waiter { id, until }
    }

    fn tally(&mut self, agent: usize, key: u64, first: bool, verdict: &agent_core::Verdict) {
        let Some(limit) = &verdict.limit else { return };
        if first {
            *self.outcome.offered.entry((key, limit.start)).or_default() += 1;
        }
        if verdict.allowed() {
            *self.outcome.windows.entry((key, limit.start)).or_default() += 1;
            if self.plan.sliding {
                self.outcome.times.entry(key).or_default().push(self.now);
            }
            self.outcome.admitted += 1;
            self.spend(agent, key, limit.start);
            let text =
                || format!("agent {agent} admits key {key} in {}", limit.start.0 - EPOCH_SECS);
            self.log(text);
        }
    }

    /// Ceilings changed at this agent: those who wait try again.
    fn wake(&mut self, agent: usize) {
        for (id, (key, until)) in std::mem::take(&mut self.agents[agent].waiting) {
            self.request(agent, key, Some(Waiter { id, until }));
        }
    }

    fn give_up(&mut self, agent: usize, id: u64) {
        if let Some((key, until)) = self.agents[agent].waiting.remove(&id) {
            self.request(agent, key, Some(Waiter { id, until }));
        }
    }
}
