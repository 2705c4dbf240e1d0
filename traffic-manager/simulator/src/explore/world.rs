//! A small world whose every step is a choice: nothing happens by itself, and copies are cheap.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    fmt::{self, Write},
    hash::Hasher,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use gateway_agent_core as agent_core;
use traffic_manager_core as manager_core;
use weir_proto::{
    id::ManagerLife,
    key::CounterKey,
    policy::Policy,
    time::{Time, WindowStart},
};

use crate::network::{Kind, Message};

/// Local time of agents begins here.
pub(super) const LOCAL: Duration = Duration::from_secs(1_000);
/// Manager time begins here: a multiple of every window.
pub(super) const EPOCH: Duration = Duration::from_secs(1_800_000_000);

/// A node or a connection, shared by all copies of the world until one of them changes it.
#[derive(Debug)]
pub(super) struct Shared<T> {
    value: Rc<T>,
    print: Cell<Option<u64>>,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared { value: Rc::clone(&self.value), print: self.print.clone() }
    }
}

impl<T: Clone + Trace> Shared<T> {
    pub(super) fn new(value: T) -> Self {
        Shared { value: Rc::new(value), print: Cell::new(None) }
    }

    pub(super) fn get(&self) -> &T {
        &self.value
    }

    /// To change it; copies of the world keep it as it was.
    pub(super) fn change(&mut self) -> &mut T {
        self.print.set(None);
        Rc::make_mut(&mut self.value)
    }

    /// Equal for equal states.
    fn print(&self) -> u64 {
        if let Some(print) = self.print.get() {
            return print;
        }
        let mut text = Printer::default();
        let _ = self.value.trace(&mut text);
        let print = text.0.finish();
        self.print.set(Some(print));
        print
    }
}

/// Writes everything that the future depends on.
pub(super) trait Trace {
    fn trace(&self, into: &mut Printer) -> fmt::Result;
}

/// Hashes text.
#[derive(Default)]
pub(super) struct Printer(std::hash::DefaultHasher);

impl Write for Printer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

#[derive(Debug, Clone)]
pub(super) struct ManagerNode {
    pub(super) core: Option<manager_core::Manager>,
    pub(super) life: u64,
    pub(super) hung: bool,
}

impl Trace for ManagerNode {
    fn trace(&self, into: &mut Printer) -> fmt::Result {
        write!(into, "{} {} ", self.life, self.hung)?;
        self.core.as_ref().map_or(Ok(()), |core| core.trace(into))
    }
}

#[derive(Debug)]
pub(super) struct AgentNode {
    pub(super) core: Option<(agent_core::Agent, Arc<agent_core::Checker>)>,
    pub(super) life: u64,
    pub(super) poked: Arc<AtomicBool>,
}

impl Clone for AgentNode {
    fn clone(&self) -> Self {
        let poked = Arc::new(AtomicBool::new(self.poked.load(Ordering::Relaxed)));
        let core = self.core.as_ref().map(|(core, _)| core.fork(waker(&poked)));
        AgentNode { core, life: self.life, poked }
    }
}

impl Trace for AgentNode {
    fn trace(&self, into: &mut Printer) -> fmt::Result {
        write!(into, "{} ", self.life)?;
        self.core.as_ref().map_or(Ok(()), |(core, _)| core.trace(into))
    }
}

pub(super) fn waker(poked: &Arc<AtomicBool>) -> agent_core::table::Waker {
    let poked = Arc::clone(poked);
    Arc::new(move || poked.store(true, Ordering::Relaxed))
}

/// One connection; both queues are in order.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    pub(super) agent: usize,
    pub(super) manager: usize,
    pub(super) kind: Kind,
    pub(super) name: agent_core::ConnectionId,
    pub(super) agent_open: bool,
    pub(super) manager_open: bool,
    pub(super) up: VecDeque<Message>,
    pub(super) down: VecDeque<Message>,
    /// Kept back: to the manager, to the agent.
    pub(super) held: [bool; 2],
}

impl Trace for Wire {
    fn trace(&self, into: &mut Printer) -> fmt::Result {
        write!(into, "{self:?}")
    }
}

/// Agents, managers, and what is under way between them.
#[derive(Debug, Clone)]
pub struct World {
    pub(super) now: Time,
    pub(super) limit: u64,
    pub(super) window: Duration,
    pub(super) managers: Vec<Shared<ManagerNode>>,
    pub(super) agents: Vec<Shared<AgentNode>>,
    pub(super) wires: BTreeMap<u64, Shared<Wire>>,
    pub(super) opened: BTreeMap<(usize, usize, bool), u64>,
    /// When an agent tries again to open its usage stream to a manager.
    pub(super) retry: BTreeMap<(usize, usize), Time>,
    /// Nothing passes between this agent and this manager.
    pub(super) cut: Vec<(usize, usize)>,
    /// Admitted by window, agent and life.
    pub(super) used: BTreeMap<WindowStart, BTreeMap<(usize, u64), u64>>,
    pub(super) policy: Rc<(Policy, CounterKey)>,
}

/// A window that may hold more than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdraft {
    /// When it begins.
    pub window: WindowStart,
    /// Admitted in it so far.
    pub admitted: u64,
    /// Admitted, or admissible without another word from a manager.
    pub in_force: u64,
}

impl World {
    /// Manager time.
    pub fn manager_time(&self) -> Time {
        self.now + EPOCH
    }

    pub(super) fn local(&self) -> Time {
        self.now + LOCAL
    }

    /// How long the world has existed.
    pub fn age(&self) -> Duration {
        self.now.since(Time::ZERO)
    }

    pub(super) fn manager_life(&self, m: usize) -> ManagerLife {
        let id = format!("tm-{}", m + 1);
        let id = weir_proto::id::ManagerId::new(&id).unwrap_or_else(|e| panic!("{id} {e}"));
        ManagerLife { id, incarnation: self.managers[m].get().life }
    }

    /// Equal for equal worlds.
    pub(super) fn print(&self) -> u64 {
        let mut text = Printer::default();
        let _ = write!(text, "{:?}{:?}{:?}{:?}", self.now, self.opened, self.retry, self.cut);
        let _ = write!(text, "{:?}", self.used);
        for agent in &self.agents {
            text.0.write_u64(agent.print());
        }
        for manager in &self.managers {
            text.0.write_u64(manager.print());
        }
        for (id, wire) in &self.wires {
            text.0.write_u64(*id);
            text.0.write_u64(wire.print());
        }
        text.0.finish()
    }

    /// The first window in which agents may admit more than the limit, as things stand.
    pub fn overdraft(&self) -> Option<Overdraft> {
        let length = self.window.as_secs();
        let present = self.manager_time().as_secs() / length * length;
        [present - length, present, present + length]
            .into_iter()
            .map(|start| self.in_force(WindowStart(start)))
            .find(|window| window.in_force > self.limit)
    }

    /// What agents may admit in `window`, and have admitted.
    pub fn in_force(&self, window: WindowStart) -> Overdraft {
        let none = BTreeMap::new();
        let used = self.used.get(&window).unwrap_or(&none);
        let admitted = used.values().sum();
        let mut in_force = admitted;
        for (i, agent) in self.agents.iter().enumerate() {
            let agent = agent.get();
            let Some((core, _)) = &agent.core else { continue };
            let ceiling = core.in_force(&self.policy.1, window, self.local());
            let own = used.get(&(i, agent.life)).copied().unwrap_or(0);
            in_force += ceiling.saturating_sub(own);
        }
        Overdraft { window, admitted, in_force }
    }
}
