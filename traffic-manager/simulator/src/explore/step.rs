//! What each step does to the world.

use std::{collections::VecDeque, sync::atomic::Ordering, time::Duration};

use gateway_agent_core as agent_core;
use traffic_manager_core as manager_core;
use traffic_manager_core::StreamId;
use weir_proto::{amount::Amounts, request::Request, time::Time, usage::AgentStatus};

use super::{
    action::Action,
    world::{EPOCH, LOCAL, Shared, Wire, World},
};
use crate::network::{Kind, Message};

/// Between attempts to open a usage stream.
const RETRY: Duration = Duration::from_millis(200);

impl World {
    /// Does one step.
    pub fn step(&mut self, action: Action) {
        match action {
            Action::Deliver(wire, up) => self.deliver(wire, up),
            Action::Tick => self.tick(),
            Action::Request(a) => self.request(a),
            Action::Hold(wire, up) => self.hold(wire, up, true),
            Action::Release(wire, up) => self.hold(wire, up, false),
            Action::Cut(a, m) => self.cut.push((a, m)),
            Action::Heal(a, m) => self.cut.retain(|pair| *pair != (a, m)),
            Action::ResetAtAgent(wire) => self.reset(wire, true),
            Action::ResetAtManager(wire) => self.reset(wire, false),
            Action::KillManager(m) => self.kill_manager(m),
            Action::StartManager(m) => self.start_manager(m),
            Action::HangManager(m) => self.managers[m].change().hung = true,
            Action::ThawManager(m) => self.managers[m].change().hung = false,
            Action::KillAgent(a) => self.kill_agent(a),
            Action::StopAgent(a) => {
                self.tell_agent(a, agent_core::Input::Leave);
                self.kill_agent(a);
            }
            Action::StartAgent(a) => self.start_agent(a),
        }
        self.sweep();
    }

    /// When the next timer of any node is due.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let agents = self.agents.iter().filter_map(|agent| {
            let at = agent.get().core.as_ref()?.0.next_deadline()?;
            Some(Time::ZERO + at.since(Time::ZERO + LOCAL))
        });
        let managers = self.managers.iter().filter(|m| !m.get().hung).filter_map(|manager| {
            let at = manager.get().core.as_ref()?.next_deadline()?;
            Some(Time::ZERO + at.since(Time::ZERO + EPOCH))
        });
        agents.chain(managers).chain(self.retry.values().copied()).min()
    }

    /// Lets time pass until the next timer is due, and runs every node that is due then. These are
    /// independent: each acts on its own state and appends to its own queues.
    fn tick(&mut self) {
        let Some(at) = self.next_deadline() else { return };
        self.now = self.now.max(at);
        for i in 0..self.agents.len() {
            let local = self.local();
            let due = |core: &agent_core::Agent| core.next_deadline().is_some_and(|at| at <= local);
            if self.agents[i].get().core.as_ref().is_some_and(|(core, _)| due(core)) {
                let mut out = Vec::new();
                if let Some((core, _)) = &mut self.agents[i].change().core {
                    core.on_deadline(local, &mut out);
                }
                self.agent_does(i, out);
            }
        }
        for m in 0..self.managers.len() {
            let time = self.manager_time();
            let node = self.managers[m].get();
            let due =
                |core: &manager_core::Manager| core.next_deadline().is_some_and(|at| at <= time);
            if !node.hung && node.core.as_ref().is_some_and(due) {
                let mut out = Vec::new();
                if let Some(core) = &mut self.managers[m].change().core {
                    core.on_deadline(time, &mut out);
                }
                self.manager_does(m, out);
            }
        }
        let due: Vec<(usize, usize)> =
            self.retry.iter().filter(|(_, at)| **at <= self.now).map(|(pair, _)| *pair).collect();
        for (a, m) in due {
            self.retry.remove(&(a, m));
            self.open_usage(a, m);
        }
    }

    fn request(&mut self, a: usize) {
        let local = self.local();
        let node = self.agents[a].change();
        let Some((_, checker)) = &node.core else { return };
        let life = node.life;
        let verdict =
            checker.try_check(&Request::new().application("a"), &Amounts::default(), local);
        let poked = node.poked.swap(false, Ordering::Relaxed);
        if let Some(limit) = verdict.limit.as_ref().filter(|_| verdict.allowed()) {
            *self.used.entry(limit.start).or_default().entry((a, life)).or_default() += 1;
        }
        if poked {
            self.tell_agent(a, agent_core::Input::Poke);
        }
    }

    pub(super) fn tell_agent(&mut self, a: usize, input: agent_core::Input) {
        let local = self.local();
        let mut out = Vec::new();
        if let Some((core, _)) = &mut self.agents[a].change().core {
            core.handle(input, local, &mut out);
        }
        self.agent_does(a, out);
    }

    pub(super) fn tell_manager(&mut self, m: usize, input: manager_core::Input) {
        let time = self.manager_time();
        let mut out = Vec::new();
        if let Some(core) = &mut self.managers[m].change().core {
            core.handle(input, time, &mut out);
        }
        self.manager_does(m, out);
    }

    fn agent_does(&mut self, a: usize, out: Vec<agent_core::Output>) {
        for output in out {
            match output {
                agent_core::Output::Connect(m, name) => self.open_session(a, m, name),
                agent_core::Output::Disconnect(name) => {
                    let found = self.wires.iter().find(|(_, w)| {
                        let w = w.get();
                        w.agent == a && w.kind == Kind::Session && w.name == name && w.agent_open
                    });
                    if let Some(id) = found.map(|(id, _)| *id) {
                        self.close_at_agent(id);
                    }
                }
                agent_core::Output::Credit(name, frame) => {
                    self.send_up(a, Kind::Session, name, Message::Credit(frame));
                }
                agent_core::Output::Usage(_, name, mut frame) => {
                    // Said for operators only; it would tell apart worlds that behave alike.
                    if let Some(status) = &mut frame.status {
                        *status = AgentStatus {
                            active_manager: std::mem::take(&mut status.active_manager),
                            view_number: status.view_number,
                            fleet: status.fleet,
                            ..AgentStatus::default()
                        };
                    }
                    self.send_up(a, Kind::Usage, name, Message::Usage(frame));
                }
                agent_core::Output::Policies(_)
                | agent_core::Output::Wake
                | agent_core::Output::Notice(_) => {}
            }
        }
    }

    fn manager_does(&mut self, m: usize, out: Vec<manager_core::Output>) {
        let life = self.manager_life(m);
        for output in out {
            match output {
                manager_core::Output::Ack(stream, seq) => {
                    self.send_down(stream, Message::Ack(seq, life.clone()));
                }
                manager_core::Output::Decide(stream, frame) => {
                    self.send_down(stream, Message::Decision(frame));
                }
                manager_core::Output::CloseUsage(stream, _)
                | manager_core::Output::CloseSession(stream, _) => self.close_at_manager(stream.0),
                manager_core::Output::WindowClosed { .. } | manager_core::Output::Closed(_) => {}
            }
        }
    }

    fn send_up(&mut self, a: usize, kind: Kind, name: agent_core::ConnectionId, message: Message) {
        let mut wires = self.wires.values_mut();
        let found = wires.find(|w| {
            let w = w.get();
            w.agent == a && w.kind == kind && w.name == name && w.agent_open
        });
        if let Some(wire) = found {
            wire.change().up.push_back(message);
        }
    }

    fn send_down(&mut self, stream: StreamId, message: Message) {
        if let Some(wire) = self.wires.get_mut(&stream.0).filter(|w| w.get().manager_open) {
            wire.change().down.push_back(message);
        }
    }

    fn open(
        &mut self,
        a: usize,
        m: usize,
        kind: Kind,
        name: Option<agent_core::ConnectionId>,
    ) -> u64 {
        let count = self.opened.entry((a, m, kind == Kind::Session)).or_default();
        *count += 1;
        let place = (a * self.managers.len() + m) * 2 + usize::from(kind == Kind::Session);
        let id = place as u64 * 1_000 + *count;
        let wire = Wire {
            agent: a,
            manager: m,
            kind,
            name: name.unwrap_or(agent_core::ConnectionId(id)),
            agent_open: true,
            manager_open: true,
            up: VecDeque::new(),
            down: VecDeque::new(),
            held: [false; 2],
        };
        self.wires.insert(id, Shared::new(wire));
        id
    }

    fn open_session(&mut self, a: usize, m: usize, name: agent_core::ConnectionId) {
        let node = self.managers[m].get();
        if self.cut.contains(&(a, m)) || node.hung {
            return; // nobody answers: the agent gives up by itself
        }
        if node.core.is_none() {
            let refused = agent_core::Input::SessionClosed(name, "refused".to_owned());
            return self.tell_agent(a, refused);
        }
        self.open(a, m, Kind::Session, Some(name));
        self.tell_agent(a, agent_core::Input::SessionOpened(name));
    }

    pub(super) fn open_usage(&mut self, a: usize, m: usize) {
        let node = self.managers[m].get();
        if self.agents[a].get().core.is_none() {
            return;
        }
        if self.cut.contains(&(a, m)) || node.hung || node.core.is_none() {
            self.retry.insert((a, m), self.now + RETRY);
            return;
        }
        let id = self.open(a, m, Kind::Usage, None);
        self.tell_agent(a, agent_core::Input::UsageOpened(m, agent_core::ConnectionId(id)));
    }

    fn deliver(&mut self, id: u64, up: bool) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let wire = wire.change();
        let message = if up { wire.up.pop_front() } else { wire.down.pop_front() };
        let (a, m, name, kind) = (wire.agent, wire.manager, wire.name, wire.kind);
        match message {
            Some(Message::Usage(report)) => {
                let frame = match report.try_into() {
                    Ok(frame) => frame,
                    Err(error) => panic!("an agent's report is refused: {error}"),
                };
                self.tell_manager(m, manager_core::Input::Usage(StreamId(id), frame));
            }
            Some(Message::Credit(frame)) => {
                self.tell_manager(m, manager_core::Input::Credit(StreamId(id), frame));
            }
            Some(Message::Ack(seq, life)) => {
                let ack = agent_core::Input::UsageAck { manager: m, connection: name, seq, life };
                self.tell_agent(a, ack);
            }
            Some(Message::Decision(frame)) => {
                self.tell_agent(a, agent_core::Input::Decision(name, frame));
            }
            Some(Message::Close(_)) if up => {
                wire.manager_open = false;
                self.tell_manager(m, closed_at_manager(kind, id));
            }
            Some(Message::Close(_)) => self.closed_at_agent(id),
            None => {}
        }
    }

    /// The agent learns that a connection ended.
    fn closed_at_agent(&mut self, id: u64) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let wire = wire.change();
        wire.agent_open = false;
        wire.down.clear();
        let (a, m, name, kind) = (wire.agent, wire.manager, wire.name, wire.kind);
        let why = "closed".to_owned();
        match kind {
            Kind::Session => self.tell_agent(a, agent_core::Input::SessionClosed(name, why)),
            Kind::Usage => {
                self.retry.insert((a, m), self.now + RETRY);
                self.tell_agent(a, agent_core::Input::UsageClosed(m, name, why));
            }
        }
    }

    /// The agent closes; the manager learns of it after what is under way.
    fn close_at_agent(&mut self, id: u64) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let wire = wire.change();
        wire.agent_open = false;
        wire.down.clear();
        wire.up.push_back(Message::Close(String::new()));
    }

    /// The manager closes; the agent learns of it after what is under way.
    fn close_at_manager(&mut self, id: u64) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let wire = wire.change();
        wire.manager_open = false;
        wire.up.clear();
        wire.down.push_back(Message::Close(String::new()));
    }

    /// A connection breaks: what is under way is lost, and one side knows it at once.
    fn reset(&mut self, id: u64, at_agent: bool) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let wire = wire.change();
        let (m, kind) = (wire.manager, wire.kind);
        wire.up.clear();
        wire.down.clear();
        if at_agent {
            wire.up.push_back(Message::Close(String::new()));
            self.closed_at_agent(id);
        } else {
            self.close_at_manager(id);
            self.tell_manager(m, closed_at_manager(kind, id));
        }
    }

    fn hold(&mut self, id: u64, up: bool, held: bool) {
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.change().held[usize::from(!up)] = held;
        }
    }

    /// Forgets connections that both ends have left.
    fn sweep(&mut self) {
        for wire in self.wires.values_mut() {
            let w = wire.get();
            if !w.manager_open && !w.up.is_empty() {
                wire.change().up.clear();
            }
        }
        self.wires.retain(|_, w| w.get().agent_open || w.get().manager_open);
    }
}

fn closed_at_manager(kind: Kind, id: u64) -> manager_core::Input {
    match kind {
        Kind::Usage => manager_core::Input::UsageClosed(StreamId(id)),
        Kind::Session => manager_core::Input::SessionClosed(StreamId(id)),
    }
}
