//! Connections between agents and managers: ordered, delayed, cut, hung, reset.

use std::{collections::BTreeSet, time::Duration};

use gateway_agent_core::ConnectionId;
use weir_proto::{
    decision::{CreditFrame, DecisionFrame},
    id::ManagerLife,
    time::Time,
    usage::UsageReport,
};

use crate::{
    chance::Chance,
    plan::{Line, Plan},
};

/// A connection over which nothing passes for this long is closed by keep-alive.
pub const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// What was lost is sent again after this.
const RETRANSMIT: Duration = Duration::from_millis(200);

/// What travels.
#[derive(Debug, Clone)]
pub enum Message {
    /// Agent to manager.
    Usage(UsageReport),
    /// Agent to manager.
    Credit(CreditFrame),
    /// Manager to agent.
    Ack(u64, ManagerLife),
    /// Manager to agent.
    Decision(DecisionFrame),
    /// The other side closed.
    Close(String),
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Usage stream.
    Usage,
    /// Decision session.
    Session,
}

/// One connection; its place in the list is its number at the manager.
#[derive(Debug)]
pub struct Connection {
    /// Whose.
    pub agent: usize,
    /// The agent's life in which it was opened.
    pub life: u64,
    /// To whom.
    pub manager: usize,
    /// The manager's life.
    pub manager_life: u64,
    /// For what.
    pub kind: Kind,
    /// How the agent calls it.
    pub name: ConnectionId,
    /// The agent's end is open.
    pub agent_open: bool,
    /// The manager's end is open.
    pub manager_open: bool,
    last_up: Time,
    last_down: Time,
}

/// All connections, and where nothing passes.
#[derive(Debug, Default)]
pub struct Network {
    /// Every connection ever made.
    pub connections: Vec<Connection>,
    cut: BTreeSet<(usize, usize)>,
    cut_sessions: BTreeSet<(usize, usize)>,
}

impl Network {
    /// A new connection.
    pub fn open(&mut self, connection: Connection) -> usize {
        self.connections.push(connection);
        self.connections.len() - 1
    }

    /// Whether nothing passes between the two.
    pub fn is_cut(&self, agent: usize, manager: usize) -> bool {
        self.cut.contains(&(agent, manager))
    }

    /// Whether nothing of this kind passes between the two.
    pub fn is_cut_for(&self, agent: usize, manager: usize, kind: Kind) -> bool {
        self.is_cut(agent, manager)
            || (kind == Kind::Session && self.cut_sessions.contains(&(agent, manager)))
    }

    /// Cuts or heals decision sessions only: usage passes.
    pub fn set_sessions_cut(&mut self, agent: usize, manager: usize, cut: bool) {
        if cut {
            self.cut_sessions.insert((agent, manager));
        } else {
            self.cut_sessions.remove(&(agent, manager));
        }
    }

    /// Cuts or heals.
    pub fn set_cut(&mut self, agent: usize, manager: usize, cut: bool) {
        if cut {
            self.cut.insert((agent, manager));
        } else {
            self.cut.remove(&(agent, manager));
        }
    }

    /// When a message sent now arrives; messages of one direction stay in order.
    pub fn arrival(
        &mut self,
        connection: usize,
        up: bool,
        plan: &Plan,
        chance: &mut Chance,
        now: Time,
    ) -> Time {
        let delay = match plan.lines {
            Some([line, _]) if up => line.delay(chance),
            Some([_, line]) => line.delay(chance),
            None => {
                let mut delay = between(plan.delay.0, plan.delay.1, chance);
                while plan.loss > 0 && chance.one_in(plan.loss) {
                    delay += RETRANSMIT;
                }
                delay
            }
        };
        let c = &mut self.connections[connection];
        let last = if up { &mut c.last_up } else { &mut c.last_down };
        let at = (now + delay).max(*last + Duration::from_micros(1));
        *last = at;
        at
    }
}

fn between(least: Duration, most: Duration, chance: &mut Chance) -> Duration {
    let spread = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(0);
    least + Duration::from_micros(chance.below(spread + 1))
}

impl Line {
    /// How long one message takes, losses included.
    fn delay(&self, chance: &mut Chance) -> Duration {
        let mut delay = between(self.least, self.most, chance);
        while self.loss > 0.0 && chance.unit() < self.loss {
            delay += RETRANSMIT;
        }
        delay
    }
}

impl Connection {
    /// Both ends open.
    pub fn new(
        (agent, life): (usize, u64),
        (manager, manager_life): (usize, u64),
        kind: Kind,
        name: ConnectionId,
    ) -> Self {
        Connection {
            agent,
            life,
            manager,
            manager_life,
            kind,
            name,
            agent_open: true,
            manager_open: true,
            last_up: Time::ZERO,
            last_down: Time::ZERO,
        }
    }
}
