//! Starting, stopping and driving the nodes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use gateway_agent_core as agent_core;
use traffic_manager_core as manager_core;
use weir_proto::{
    id::{AgentId, AgentLife, ManagerId, ManagerLife},
    time::Time,
    usage::AgentIdentity,
};

use super::{AgentNode, EPOCH_SECS, Event, ManagerNode, World};
use crate::{plan::Fault, scenario::Incident};

impl ManagerNode {
    pub(super) fn new(skew_ms: i64) -> Self {
        ManagerNode {
            core: None,
            life: 0,
            frozen: false,
            held: Vec::new(),
            due: Time::MAX,
            skew_ms,
            stored: BTreeMap::new(),
            checkpoint: manager_core::checkpoint::Checkpoint::default(),
        }
    }

    pub(super) fn time(&self, now: Time) -> Time {
        let micros = (now + Duration::from_secs(EPOCH_SECS)).as_micros();
        Time::from_micros(micros.saturating_add_signed(self.skew_ms * 1_000))
    }

    /// The manager's life as it names it.
    pub(super) fn identity(&self, index: usize) -> ManagerLife {
        let id = format!("tm-{}", index + 1);
        ManagerLife {
            id: ManagerId::new(&id).unwrap_or_else(|e| panic!("{id} {e}")),
            incarnation: self.life,
        }
    }
}

impl AgentNode {
    pub(super) fn new(skew_ms: i64) -> Self {
        AgentNode {
            core: None,
            checker: None,
            life: 0,
            poked: Arc::new(AtomicBool::new(false)),
            due: Time::MAX,
            sessions: BTreeMap::new(),
            usage: BTreeMap::new(),
            waiting: BTreeMap::new(),
            skew_ms,
            seen: None,
        }
    }
}

impl World {
    pub(super) fn start_manager(&mut self, i: usize) {
        if self.managers[i].core.is_some() {
            return;
        }
        self.lives += 1;
        self.managers[i].life = self.lives;
        self.managers[i].frozen = false;
        self.managers[i].due = Time::MAX;
        let mut config = manager_core::Config::new(self.managers[i].identity(i));
        config.silent_hold = self.plan.silent_hold;
        config.fence = self.plan.fence;
        let time = self.managers[i].time(self.now);
        let mut core = manager_core::Manager::new(config, time);
        let mut out = Vec::new();
        for policy in &self.policies {
            core.put_policy(policy.clone(), time, &mut out);
        }
        self.managers[i].core = Some(core);
        self.begin_recall(i);
        self.plan_manager(i);
    }

    fn kill_manager(&mut self, i: usize) {
        self.note_forgotten(i);
        self.managers[i].core = None;
        self.managers[i].held.clear();
        self.managers[i].frozen = false;
        for connection in 0..self.network.connections.len() {
            let c = &self.network.connections[connection];
            if c.manager == i && c.manager_open {
                self.close_manager_end(connection, "reset");
            }
        }
    }

    pub(super) fn start_agent(&mut self, i: usize) {
        if self.agents[i].core.is_some() {
            return;
        }
        self.lives += 1;
        let id = format!("gw-{}", i + 1);
        let identity = AgentIdentity {
            life: AgentLife {
                id: AgentId::new(&id).unwrap_or_else(|e| panic!("{id} {e}")),
                incarnation: self.lives,
            },
            gateway_group: String::new(),
            version: String::new(),
        };
        let poked = Arc::clone(&self.agents[i].poked);
        poked.store(false, Ordering::Relaxed);
        let mut config = agent_core::Config::new(identity, self.plan.managers);
        // Tables take memory by what they may hold: small ones make small worlds quick.
        let keys = self.plan.traffic.iter().map(|t| t.keys).max().unwrap_or(1);
        config.max_counters =
            usize::try_from(keys.saturating_mul(4)).unwrap_or(usize::MAX).max(4_000);
        let waker = Arc::new(move || poked.store(true, Ordering::Relaxed));
        let (core, checker) = agent_core::agent(config, waker, self.local(i));
        let node = &mut self.agents[i];
        node.core = Some(core);
        node.checker = Some(checker);
        node.life = self.lives;
        node.due = Time::MAX;
        node.sessions.clear();
        node.usage.clear();
        node.waiting.clear();
        node.seen = None;
        let life = node.life;
        for manager in 0..self.plan.managers {
            let pause = Duration::from_millis(50);
            self.schedule(self.now, Event::UsageConnect { agent: i, life, manager, pause });
        }
        self.plan_agent(i);
    }

    fn kill_agent(&mut self, i: usize) {
        self.note_end(i);
        self.agents[i].core = None;
        self.agents[i].checker = None;
        for connection in 0..self.network.connections.len() {
            let c = &self.network.connections[connection];
            if c.agent == i && c.agent_open {
                self.close_agent_end(connection, "reset");
            }
        }
    }

    /// Does what is due at a manager, and notes when more will be.
    pub(super) fn manager_due(&mut self, i: usize, life: u64) {
        let node = &mut self.managers[i];
        // One that was put off comes too early, or twice.
        if node.life != life || node.frozen || node.due > self.now {
            return;
        }
        let time = node.time(self.now);
        node.due = Time::MAX;
        let mut out = Vec::new();
        let due = |core: &manager_core::Manager| core.next_deadline().is_some_and(|at| at <= time);
        if let Some(core) = node.core.as_mut().filter(|core| due(core)) {
            core.on_deadline(time, &mut out);
        }
        self.manager_out(i, out);
        self.plan_manager(i);
    }

    pub(super) fn plan_manager(&mut self, i: usize) {
        let node = &mut self.managers[i];
        let Some(deadline) = node.core.as_ref().and_then(|c| c.next_deadline()) else { return };
        let wait = deadline.since(node.time(self.now));
        let at = self.now + wait;
        if at < node.due {
            node.due = at;
            let life = node.life;
            self.schedule(at, Event::ManagerDue(i, life));
        }
    }

    pub(super) fn agent_due(&mut self, i: usize, life: u64) {
        let local = self.local(i);
        let node = &mut self.agents[i];
        if node.life != life || node.due > self.now {
            return;
        }
        node.due = Time::MAX;
        let mut out = Vec::new();
        let due = |core: &agent_core::Agent| core.next_deadline().is_some_and(|at| at <= local);
        if let Some(core) = node.core.as_mut().filter(|core| due(core)) {
            core.on_deadline(local, &mut out);
        }
        self.agent_out(i, out);
        self.plan_agent(i);
    }

    pub(super) fn plan_agent(&mut self, i: usize) {
        let local = self.local(i);
        let node = &mut self.agents[i];
        let Some(deadline) = node.core.as_ref().and_then(agent_core::Agent::next_deadline) else {
            return;
        };
        let at = self.now + deadline.since(local);
        if at < node.due {
            node.due = at;
            let life = node.life;
            self.schedule(at, Event::AgentDue(i, life));
        }
    }

    pub(super) fn tell_agent(&mut self, i: usize, input: agent_core::Input) {
        let local = self.local(i);
        let mut out = Vec::new();
        if let Some(core) = &mut self.agents[i].core {
            core.handle(input, local, &mut out);
        }
        self.agent_out(i, out);
        self.plan_agent(i);
    }

    pub(super) fn tell_manager(&mut self, i: usize, input: manager_core::Input) {
        let time = self.managers[i].time(self.now);
        let mut out = Vec::new();
        if let Some(core) = &mut self.managers[i].core {
            core.handle(input, time, &mut out);
        }
        self.manager_out(i, out);
        self.plan_manager(i);
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::KillManager(i) => self.kill_manager(i),
            Fault::StartManager(i) => self.start_manager(i),
            Fault::FreezeManager(i) => self.managers[i].frozen = true,
            Fault::ThawManager(i) => self.thaw(i),
            Fault::KillAgent(i) => self.kill_agent(i),
            Fault::StartAgent(i) => self.start_agent(i),
            Fault::StopAgent(i) => {
                self.tell_agent(i, agent_core::Input::Leave);
                self.kill_agent(i);
            }
            Fault::Cut(agent, manager) => {
                self.network.set_cut(agent, manager, true);
                self.watch(agent, manager);
            }
            Fault::Heal(agent, manager) => self.network.set_cut(agent, manager, false),
            Fault::HealAll(manager) => {
                for agent in 0..self.agents.len() {
                    self.network.set_cut(agent, manager, false);
                }
            }
            Fault::Reset(agent, manager, kind) => self.reset(agent, manager, kind),
        }
    }

    /// Something happens now.
    pub fn strike(&mut self, incident: Incident) {
        match incident {
            Incident::Fault(fault) => self.fault(fault),
            Incident::CutDecisions(agent, manager) => {
                self.network.set_sessions_cut(agent, manager, true);
                self.watch(agent, manager);
            }
            Incident::HealDecisions(agent, manager) => {
                self.network.set_sessions_cut(agent, manager, false);
            }
        }
    }

    /// The living agents that follow this manager.
    pub fn followers(&self, manager: usize) -> Vec<usize> {
        let follows = |agent: usize| {
            let status = self.agent_status(agent);
            status.is_some_and(|status| status.active == Some(manager))
        };
        (0..self.agents.len()).filter(|agent| follows(*agent)).collect()
    }

    fn thaw(&mut self, i: usize) {
        if !self.managers[i].frozen {
            return;
        }
        self.managers[i].frozen = false;
        for (connection, message) in std::mem::take(&mut self.managers[i].held) {
            self.deliver(connection, true, message);
        }
        self.managers[i].due = self.now;
        let life = self.managers[i].life;
        self.schedule(self.now, Event::ManagerDue(i, life));
    }
}
