//! Between the cores and the network.

use std::time::Duration;

use gateway_agent_core as agent_core;
use traffic_manager_core as manager_core;
use traffic_manager_core::StreamId;

use super::{Event, World};
use crate::network::{Connection, KEEP_ALIVE, Kind, Message};

/// Longest pause between attempts to open a usage stream.
const MAX_PAUSE: Duration = Duration::from_millis(500);

impl World {
    pub(super) fn agent_out(&mut self, i: usize, out: Vec<agent_core::Output>) {
        let mut wake = false;
        for output in out {
            match output {
                agent_core::Output::Connect(manager, name) => {
                    self.session_connect(i, manager, name)
                }
                agent_core::Output::Disconnect(name) => {
                    if let Some(connection) = self.agents[i].sessions.remove(&name) {
                        self.close_agent_end(connection, "closed");
                    }
                }
                agent_core::Output::Credit(name, frame) => {
                    if let Some(connection) = self.agents[i].sessions.get(&name).copied() {
                        self.outcome.credit_messages += u64::from(!frame.entries.is_empty());
                        self.log(|| credit_text(i, &frame));
                        self.send(connection, true, Message::Credit(frame));
                    }
                }
                agent_core::Output::Usage(manager, _, frame) => {
                    if let Some(connection) = self.agents[i].usage.get(&manager).copied() {
                        self.send(connection, true, Message::Usage(frame));
                    }
                }
                agent_core::Output::Wake => wake = true,
                agent_core::Output::Notice(notice) => {
                    self.log(|| format!("agent {i}: {notice:?}"));
                    let followed = match notice {
                        agent_core::Notice::Attached(manager, _) => Some(manager),
                        agent_core::Notice::Detached(..) => None,
                        _ => continue,
                    };
                    self.outcome.followed.push((self.now, i, followed));
                }
                agent_core::Output::Policies(_) => {}
            }
        }
        if wake {
            self.wake(i);
        }
    }

    pub(super) fn manager_out(&mut self, i: usize, out: Vec<manager_core::Output>) {
        for output in out {
            match output {
                manager_core::Output::Ack(stream, seq) => {
                    let life = self.managers[i].identity(i);
                    self.send(index(stream), false, Message::Ack(seq, life));
                }
                manager_core::Output::Decide(stream, frame) => {
                    self.outcome.credit_messages += u64::from(!frame.decisions.is_empty());
                    let agent = self.network.connections[index(stream)].agent;
                    self.log(|| decision_text(i, agent, &frame));
                    self.send(index(stream), false, Message::Decision(frame));
                }
                manager_core::Output::CloseUsage(stream, why)
                | manager_core::Output::CloseSession(stream, why) => {
                    self.send(index(stream), false, Message::Close(why));
                    self.network.connections[index(stream)].manager_open = false;
                }
                manager_core::Output::WindowClosed { .. } | manager_core::Output::Closed(_) => {}
            }
        }
    }

    fn session_connect(&mut self, i: usize, manager: usize, name: agent_core::ConnectionId) {
        let cut = self.network.is_cut_for(i, manager, Kind::Session);
        let reachable = self.managers[manager].core.is_some() && !cut;
        if !reachable {
            if self.managers[manager].core.is_none() && !cut {
                let input = agent_core::Input::SessionClosed(name, "refused".to_owned());
                self.tell_agent(i, input);
            }
            return; // cut: nobody answers, the core gives up by itself
        }
        if self.managers[manager].frozen {
            return; // the kernel accepts, the handshake never ends
        }
        let ends = ((i, self.agents[i].life), (manager, self.managers[manager].life));
        let connection = Connection::new(ends.0, ends.1, Kind::Session, name);
        let connection = self.network.open(connection);
        self.agents[i].sessions.insert(name, connection);
        self.tell_agent(i, agent_core::Input::SessionOpened(name));
    }

    pub(super) fn usage_connect(&mut self, i: usize, life: u64, manager: usize, pause: Duration) {
        let node = &self.managers[manager];
        if self.agents[i].life != life || self.agents[i].core.is_none() {
            return;
        }
        if node.core.is_none() || node.frozen || self.network.is_cut(i, manager) {
            let next = (pause * 2).min(MAX_PAUSE);
            let event = Event::UsageConnect { agent: i, life, manager, pause: next };
            return self.schedule(self.now + pause, event);
        }
        self.links += 1;
        let name = agent_core::ConnectionId(self.links);
        let connection = Connection::new((i, life), (manager, node.life), Kind::Usage, name);
        let connection = self.network.open(connection);
        self.agents[i].usage.insert(manager, connection);
        self.tell_agent(i, agent_core::Input::UsageOpened(manager, name));
    }

    fn send(&mut self, connection: usize, up: bool, message: Message) {
        let at = self.network.arrival(connection, up, &self.plan, &mut self.chance, self.now);
        self.outcome.messages += 1;
        if self.plan.weigh {
            self.outcome.cost.add(&message);
        }
        self.schedule(at, Event::Deliver { connection, up, message: Box::new(message) });
    }

    pub(super) fn deliver(&mut self, connection: usize, up: bool, message: Message) {
        let c = &self.network.connections[connection];
        let (agent, manager) = (c.agent, c.manager);
        if self.network.is_cut_for(agent, manager, c.kind) {
            // Sent again until it passes or the connection is given up.
            if c.agent_open || c.manager_open {
                let event = Event::Deliver { connection, up, message: Box::new(message) };
                self.schedule(self.now + Duration::from_millis(50), event);
            }
            return;
        }
        if up {
            self.deliver_up(connection, message);
        } else {
            self.deliver_down(connection, message);
        }
    }

    fn deliver_up(&mut self, connection: usize, message: Message) {
        let c = &self.network.connections[connection];
        let manager = c.manager;
        let alive =
            self.managers[manager].life == c.manager_life && self.managers[manager].core.is_some();
        if !c.manager_open || !alive {
            return;
        }
        if self.managers[manager].frozen {
            self.managers[manager].held.push((connection, message));
            return self.watch_connection(connection);
        }
        let stream = StreamId(connection as u64);
        let input = match message {
            Message::Usage(report) => match report.try_into() {
                Ok(frame) => manager_core::Input::Usage(stream, frame),
                Err(error) => panic!("an agent's report is refused: {error}"),
            },
            Message::Credit(frame) => manager_core::Input::Credit(stream, frame),
            Message::Close(_) => {
                self.network.connections[connection].manager_open = false;
                match self.network.connections[connection].kind {
                    Kind::Usage => manager_core::Input::UsageClosed(stream),
                    Kind::Session => manager_core::Input::SessionClosed(stream),
                }
            }
            Message::Ack(..) | Message::Decision(_) => return,
        };
        self.tell_manager(manager, input);
    }

    fn deliver_down(&mut self, connection: usize, message: Message) {
        let c = &self.network.connections[connection];
        let agent = c.agent;
        if !c.agent_open || self.agents[agent].life != c.life {
            return;
        }
        let name = c.name;
        let input = match message {
            Message::Ack(seq, life) => {
                agent_core::Input::UsageAck { manager: c.manager, connection: name, seq, life }
            }
            Message::Decision(frame) => agent_core::Input::Decision(name, frame),
            Message::Close(why) => return self.agent_end_closed(connection, why),
            Message::Usage(_) | Message::Credit(_) => return,
        };
        self.tell_agent(agent, input);
    }

    /// The agent learns that a connection ended.
    fn agent_end_closed(&mut self, connection: usize, why: String) {
        let c = &mut self.network.connections[connection];
        if !c.agent_open {
            return;
        }
        c.agent_open = false;
        let (agent, manager, name, kind, life) = (c.agent, c.manager, c.name, c.kind, c.life);
        if self.agents[agent].life != life {
            return;
        }
        match kind {
            Kind::Session => {
                self.agents[agent].sessions.remove(&name);
                self.tell_agent(agent, agent_core::Input::SessionClosed(name, why));
            }
            Kind::Usage => {
                self.agents[agent].usage.remove(&manager);
                self.tell_agent(agent, agent_core::Input::UsageClosed(manager, name, why));
                let pause = Duration::from_millis(50);
                self.schedule(
                    self.now + pause,
                    Event::UsageConnect { agent, life, manager, pause },
                );
            }
        }
    }

    /// The agent closes; the manager learns of it later.
    pub(super) fn close_agent_end(&mut self, connection: usize, why: &str) {
        self.network.connections[connection].agent_open = false;
        self.send(connection, true, Message::Close(why.to_owned()));
    }

    /// The manager dies; the agent learns of it later.
    pub(super) fn close_manager_end(&mut self, connection: usize, why: &str) {
        self.network.connections[connection].manager_open = false;
        self.send(connection, false, Message::Close(why.to_owned()));
    }

    /// A cut began: connections across it are given up unless it heals in time.
    pub(super) fn watch(&mut self, agent: usize, manager: usize) {
        for connection in 0..self.network.connections.len() {
            let c = &self.network.connections[connection];
            if c.agent == agent && c.manager == manager && (c.agent_open || c.manager_open) {
                self.schedule(self.now + KEEP_ALIVE, Event::KeepAlive { connection });
            }
        }
    }

    fn watch_connection(&mut self, connection: usize) {
        self.schedule(self.now + KEEP_ALIVE, Event::KeepAlive { connection });
    }

    /// Keep-alive looks at a connection: each end that hears nothing gives it up.
    pub(super) fn keep_alive(&mut self, connection: usize) {
        let c = &self.network.connections[connection];
        let cut = self.network.is_cut_for(c.agent, c.manager, c.kind);
        let frozen = self.managers[c.manager].frozen;
        if !cut && !frozen {
            return;
        }
        let (manager, kind) = (c.manager, c.kind);
        self.agent_end_closed(connection, "keep-alive timed out".to_owned());
        if cut && !frozen && self.network.connections[connection].manager_open {
            self.network.connections[connection].manager_open = false;
            let stream = StreamId(connection as u64);
            self.tell_manager(
                manager,
                match kind {
                    Kind::Usage => manager_core::Input::UsageClosed(stream),
                    Kind::Session => manager_core::Input::SessionClosed(stream),
                },
            );
        } else if frozen {
            self.managers[manager].held.push((connection, Message::Close("gone".to_owned())));
        }
    }

    pub(super) fn reset(&mut self, agent: usize, manager: usize, kind: u8) {
        let kind = if kind == 0 { Kind::Session } else { Kind::Usage };
        for connection in 0..self.network.connections.len() {
            let c = &self.network.connections[connection];
            if c.agent == agent && c.manager == manager && c.kind == kind && c.agent_open {
                self.send(connection, true, Message::Close("reset".to_owned()));
                self.agent_end_closed(connection, "reset".to_owned());
            }
        }
    }
}

fn index(stream: StreamId) -> usize {
    usize::try_from(stream.0).unwrap_or(usize::MAX)
}

fn window(start: weir_proto::time::WindowStart) -> u64 {
    start.0.saturating_sub(super::EPOCH_SECS)
}

fn credit_text(agent: usize, frame: &weir_proto::decision::CreditFrame) -> String {
    use std::fmt::Write;
    let mut text = format!("agent {agent} ->");
    if let Some(attach) = &frame.attach {
        let _ = write!(text, " attach view {} fleet {}", attach.view.number, attach.view.fleet);
    }
    for e in &frame.entries {
        let start = window(e.window);
        let _ = write!(text, " [{start}] used {} ceiling {} want {};", e.used, e.ceiling, e.want);
    }
    if frame.promised_view > 0 {
        let _ = write!(text, " promises {}", frame.promised_view);
    }
    text
}

fn decision_text(
    manager: usize,
    agent: usize,
    frame: &weir_proto::decision::DecisionFrame,
) -> String {
    use std::fmt::Write;
    let mut text = format!("manager {manager} -> agent {agent}");
    for d in &frame.decisions {
        let start = window(d.window);
        let _ =
            write!(text, " [{start}] ceiling {}{};", d.ceiling, if d.exhausted { "!" } else { "" });
    }
    if let Some(view) = &frame.propose {
        let _ = write!(text, " proposes {} for {}", view.number, view.members.len());
    }
    if let Some((view, _)) = &frame.install {
        let _ = write!(text, " installs {} fleet {}", view.number, view.fleet);
    }
    text
}
