//! Steps to choose from.

use weir_proto::usage::UsageFrame;

use super::world::{Shared, Wire, World};
use crate::network::{Kind, Message};

/// One step. Connections go by their numbers; `true` is the way to the manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The oldest message of this connection in this direction arrives.
    Deliver(u64, bool),
    /// Time passes until the next timer of any node is due, and it goes off.
    Tick,
    /// A request at this agent.
    Request(usize),
    /// Messages of this connection and direction are kept back …
    Hold(u64, bool),
    /// … until now.
    Release(u64, bool),
    /// Nothing passes between this agent and this manager.
    Cut(usize, usize),
    /// It does again.
    Heal(usize, usize),
    /// The connection breaks, what is under way is lost, and the agent knows first.
    ResetAtAgent(u64),
    /// As before, but the manager knows first.
    ResetAtManager(u64),
    /// It dies; its connections are reset.
    KillManager(usize),
    /// A dead manager starts, empty.
    StartManager(usize),
    /// It neither reads nor writes.
    HangManager(usize),
    /// It goes on.
    ThawManager(usize),
    /// It dies; what it had not sent is lost.
    KillAgent(usize),
    /// It says goodbye and ends.
    StopAgent(usize),
    /// A dead or new agent starts.
    StartAgent(usize),
}

impl Action {
    /// Whether it is something that goes wrong. What ends a fault is none.
    pub fn is_fault(self) -> bool {
        match self {
            Action::Cut(..)
            | Action::ResetAtAgent(_)
            | Action::ResetAtManager(_)
            | Action::KillManager(_)
            | Action::HangManager(_)
            | Action::KillAgent(_)
            | Action::StopAgent(_) => true,
            Action::Deliver(..)
            | Action::Tick
            | Action::Request(_)
            | Action::Hold(..)
            | Action::Release(..)
            | Action::Heal(..)
            | Action::StartManager(_)
            | Action::ThawManager(_)
            | Action::StartAgent(_) => false,
        }
    }
}

impl World {
    /// What may arrive now, in order of connections; what is held or cut may not.
    pub(super) fn deliveries(&self) -> Vec<Action> {
        let mut found = Vec::new();
        for (id, wire) in &self.wires {
            let w = wire.get();
            if self.cut.contains(&(w.agent, w.manager)) {
                continue;
            }
            if !w.up.is_empty() && !w.held[0] && !self.managers[w.manager].get().hung {
                found.push(Action::Deliver(*id, true));
            }
            if !w.down.is_empty() && !w.held[1] {
                found.push(Action::Deliver(*id, false));
            }
        }
        found
    }

    /// Keeping back this connection and direction. Acknowledgements of usage, which only tell which
    /// manager is well, are not kept back.
    pub(super) fn holding(&self, wire: u64, up: bool) -> Option<Action> {
        let kind = self.wires.get(&wire)?.get().kind;
        (up || kind == Kind::Session).then_some(Action::Hold(wire, up))
    }

    /// What is kept back.
    pub(super) fn releases(&self) -> Vec<Action> {
        let held = |(id, wire): (&u64, &Shared<Wire>)| {
            let id = *id;
            let held = wire.get().held;
            [true, false]
                .into_iter()
                .filter(move |up| held[usize::from(!up)])
                .map(move |up| (id, up))
        };
        self.wires.iter().flat_map(held).map(|(id, up)| Action::Release(id, up)).collect()
    }

    /// Whether it makes a difference that `action` comes before `next`: both concern the same node.
    pub(super) fn concerns(&self, next: Action, action: Action) -> bool {
        let Action::Deliver(id, up) = next else { return true };
        let Some(wire) = self.wires.get(&id).map(Shared::get) else { return true };
        let (agent, manager) = (wire.agent, wire.manager);
        match action {
            Action::Request(a) | Action::KillAgent(a) | Action::StopAgent(a) => !up && a == agent,
            Action::KillManager(m) | Action::HangManager(m) => up && m == manager,
            Action::Cut(a, m) => (a, m) == (agent, manager),
            Action::ResetAtAgent(w) | Action::ResetAtManager(w) => w == id,
            // An agent that loses a connection looks for another at once.
            Action::StartManager(_) | Action::ThawManager(_) | Action::Heal(..) => {
                matches!(wire.down.front(), Some(Message::Close(_))) && !up
            }
            _ => false,
        }
    }

    pub(super) fn requests(&self) -> impl Iterator<Item = Action> + '_ {
        let lives = |a: &usize| self.agents[*a].get().core.is_some();
        (0..self.agents.len()).filter(lives).map(Action::Request)
    }

    /// What may go wrong now.
    pub(super) fn faults(&self) -> Vec<Action> {
        let mut found = Vec::new();
        for (m, node) in self.managers.iter().enumerate() {
            if node.get().core.is_some() {
                found.push(Action::KillManager(m));
                if !node.get().hung {
                    found.push(Action::HangManager(m));
                }
            }
        }
        for (id, wire) in &self.wires {
            let w = wire.get();
            if w.agent_open && w.manager_open && w.kind == Kind::Session {
                found.push(Action::ResetAtAgent(*id));
                found.push(Action::ResetAtManager(*id));
            }
        }
        for (a, node) in self.agents.iter().enumerate() {
            if node.get().core.is_none() {
                continue;
            }
            found.push(Action::KillAgent(a));
            found.push(Action::StopAgent(a));
            for m in 0..self.managers.len() {
                if !self.cut.contains(&(a, m)) {
                    found.push(Action::Cut(a, m));
                }
            }
        }
        found
    }

    /// What ends faults.
    pub(super) fn repairs(&self) -> Vec<Action> {
        let mut found: Vec<Action> = self.cut.iter().map(|(a, m)| Action::Heal(*a, *m)).collect();
        for (m, node) in self.managers.iter().enumerate() {
            if node.get().core.is_none() {
                found.push(Action::StartManager(m));
            } else if node.get().hung {
                found.push(Action::ThawManager(m));
            }
        }
        for (a, node) in self.agents.iter().enumerate() {
            if node.get().core.is_none() {
                found.push(Action::StartAgent(a));
            }
        }
        found
    }
}

impl World {
    /// The step in words, before it is made.
    pub fn describe(&self, action: Action) -> String {
        let (Action::Deliver(id, up) | Action::Hold(id, up) | Action::Release(id, up)) = action
        else {
            return format!("{action:?}");
        };
        let Some(wire) = self.wires.get(&id).map(Shared::get) else {
            return format!("{action:?}");
        };
        let (from, to) = (format!("agent {}", wire.agent), format!("manager {}", wire.manager));
        let (from, to) = if up { (from, to) } else { (to, from) };
        let queue = if up { &wire.up } else { &wire.down };
        let message = queue.front().map_or_else(String::new, text);
        let verb = match action {
            Action::Hold(..) => "hold ",
            Action::Release(..) => "release ",
            _ => "",
        };
        format!("{verb}{from} -> {to} {:?} {message}", wire.kind)
    }
}

/// What matters in a message.
fn text(message: &Message) -> String {
    match message {
        Message::Usage(report) => match UsageFrame::try_from(report.clone()) {
            Ok(frame) => {
                let amounts: Vec<_> =
                    frame.entries.iter().map(|e| (e.window.0 % 1_000, e.used)).collect();
                format!("used {amounts:?}")
            }
            Err(error) => format!("a report that is refused: {error}"),
        },
        Message::Credit(frame) => {
            let mut text = format!("{} at {:?}", frame.seq, frame.now);
            if let Some(attach) = &frame.attach {
                text += &format!(
                    " attach view {} promised {:?} pledged until {:?} former {:?}",
                    attach.view.number,
                    attach.promised.as_ref().map(|v| v.number),
                    attach.pledged_until,
                    attach.former_manager
                );
            }
            for e in &frame.entries {
                text += &format!(
                    " [{}] used {} ceiling {} want {};",
                    e.window.0 % 1_000,
                    e.used,
                    e.ceiling,
                    e.want
                );
            }
            if frame.promised_view > 0 {
                text += &format!(" promises {}", frame.promised_view);
            }
            text
        }
        Message::Ack(seq, _) => format!("ack {seq}"),
        Message::Decision(frame) => {
            let mut text = format!("{}", frame.revision);
            for d in &frame.decisions {
                text += &format!(
                    " [{}] ceiling {}{};",
                    d.window.0 % 1_000,
                    d.ceiling,
                    if d.exhausted { "!" } else { "" }
                );
            }
            if let Some(view) = &frame.propose {
                text += &format!(" proposes {} for {}", view.number, view.members.len());
            }
            if let Some((view, from)) = &frame.install {
                text += &format!(" installs {} fleet {} from {from:?}", view.number, view.fleet);
            }
            text
        }
        Message::Close(_) => "close".to_owned(),
    }
}
