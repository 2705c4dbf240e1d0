//! The composition: one owner of everything but the request path.

mod decisions;
mod explore;
mod near;
mod reporting;
mod risk;
mod rivalry;
mod status;
#[cfg(test)]
mod tests;
mod waiting;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use weir_proto::{
    decision::Attach,
    id::{ManagerId, ManagerLife},
    policy::{OnDisconnect, Policy},
    share::{Share, View},
    time::{Time, WindowStart},
    usage::{AgentIdentity, KeyId},
};

use crate::{
    check::Checker,
    credit::{self, Session},
    message::{ConnectionId, Input, ManagerIndex, Notice, Output},
    receiver::{Receiver, Step},
    standing::Standing,
    table::{Table, Waker},
    usage::{Link, Outbox},
};
use near::Near;
pub use risk::Risk;
use rivalry::Refusals;
pub use status::{ManagerStatus, Status};
use waiting::Waiting;

/// Pledges, and a sign of life to the manager, at each multiple of this in manager time.
const BEAT: Duration = Duration::from_millis(100);
/// Questions are collected for this long.
const COLLECT: Duration = Duration::from_millis(1);
/// Without a manager for this long, `on_disconnect` applies.
const ISOLATION: Duration = Duration::from_secs(1);
/// By how much managers' clocks may differ: windows are remembered for so long after their end.
const SKEW: Duration = Duration::from_secs(1);
/// Counters looked at per beat in search of idle ones.
const SWEEP: u32 = 20_000;

/// How an agent behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name, incarnation, label.
    pub identity: AgentIdentity,
    /// Length of the list of managers.
    pub managers: usize,
    /// Return to an earlier manager once it is well again. Default true.
    pub fail_back: bool,
    /// For how long it must have been well. Default 3 s.
    pub fail_back_after: Duration,
    /// What applies without a manager, for policies that do not say. Default `local`.
    pub on_disconnect: OnDisconnect,
    /// Most live counters; further keys share one counter per limit. Default 1 million.
    pub max_counters: usize,
    /// Where keys lie in the table follows from it, and nothing else. A shell gives a random one, so that
    /// no client can choose keys that collide. Default 0.
    pub seed: u64,
    /// Usage is reported this often. What does not matter unless the agent crashes waits for up to ten
    /// times as long: at most 1/16 of its share of a limit. Default 100 ms.
    pub flush: Duration,
}

impl Config {
    /// Defaults.
    pub fn new(identity: AgentIdentity, managers: usize) -> Self {
        Config {
            identity,
            managers,
            fail_back: true,
            fail_back_after: Duration::from_secs(3),
            on_disconnect: OnDisconnect::Local,
            max_counters: 1_000_000,
            seed: 0,
            flush: Duration::from_millis(100),
        }
    }
}

/// Makes an agent: its owner's half and the half for request threads. `now` is local time, above 0.
pub fn agent(config: Config, waker: Waker, now: Time) -> (Agent, Arc<Checker>) {
    let (most, how) = (config.max_counters, config.on_disconnect);
    let table = Arc::new(Table::new(most, how, config.seed, waker));
    let checker = Arc::new(Checker::new(Arc::clone(&table)));
    (Agent::new(config, table, now), checker)
}

/// The owner's half.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    table: Arc<Table>,
    standing: Standing,
    receiver: Receiver,
    session: Option<Session>,
    former: Option<ManagerLife>,
    links: Vec<Link>,
    refusals: Refusals,
    outbox: Outbox,
    stamp: u64,
    waiting: Waiting,
    near: Near,
    at_risk: Risk,
    swept: u32,
    retired: VecDeque<(Time, KeyId)>,
    policies: BTreeMap<String, Arc<Policy>>,
    revision: u64,
    view: View,
    promised: Option<View>,
    /// A manager's time is known.
    synced: bool,
    detached_at: Option<Time>,
    beat_at: Time,
    flush_at: Time,
    ask_at: Option<Time>,
    asked_at: Time,
    left: bool,
}

impl Agent {
    fn new(config: Config, table: Arc<Table>, now: Time) -> Self {
        let fail_back = config.fail_back.then_some(config.fail_back_after);
        Agent {
            standing: Standing::new(config.on_disconnect),
            receiver: Receiver::new(config.managers, fail_back, now),
            session: None,
            former: None,
            links: (0..config.managers).map(|_| Link::default()).collect(),
            refusals: Refusals::new(config.managers),
            outbox: Outbox::default(),
            stamp: 0,
            waiting: Waiting::default(),
            near: Near::default(),
            at_risk: Risk::default(),
            swept: 0,
            retired: VecDeque::new(),
            policies: BTreeMap::new(),
            revision: 0,
            view: View::default(),
            promised: None,
            synced: false,
            detached_at: Some(now),
            beat_at: now,
            flush_at: now + config.flush,
            ask_at: None,
            asked_at: Time::ZERO,
            left: false,
            config,
            table,
        }
    }

    /// Takes one input; appends what must be done.
    pub fn handle(&mut self, input: Input, now: Time, out: &mut Vec<Output>) {
        let mut steps = Vec::new();
        match input {
            Input::SessionOpened(connection) => {
                if !self.receiver.opened(connection, now, &mut steps) {
                    out.push(Output::Disconnect(connection));
                }
            }
            Input::SessionClosed(connection, why) => {
                self.receiver.closed(connection, &why, now, &mut steps);
            }
            Input::Decision(connection, frame) => {
                if self.receiver.hear(connection, now) {
                    self.on_decision(frame, now, &mut steps, out);
                }
            }
            Input::UsageOpened(manager, connection) => {
                if let Some(link) = self.links.get_mut(manager) {
                    link.open(connection, now);
                }
                self.pump(now, out);
            }
            Input::UsageClosed(manager, connection, why) => {
                if let Some(link) = self.link(manager, connection) {
                    link.close();
                }
                self.refused(manager, why, out);
            }
            Input::UsageAck { manager, connection, seq, life } => {
                if let Some(link) = self.link(manager, connection) {
                    link.ack(seq, life, now);
                    self.accepted(manager);
                }
                self.pump(now, out);
            }
            Input::Poke => self.poke(now, out),
            Input::Leave => self.leave(now, out),
        }
        self.follow(steps, now, out);
    }

    /// The usage link that this connection serves, unless a newer one does.
    fn link(&mut self, manager: ManagerIndex, connection: ConnectionId) -> Option<&mut Link> {
        self.links.get_mut(manager).filter(|link| link.connection == Some(connection))
    }

    /// Its share of windows begun at `start`.
    pub fn share(&self, start: WindowStart) -> Share {
        self.standing.history.at(start)
    }

    /// When [`Agent::on_deadline`] must be called next.
    pub fn next_deadline(&self) -> Option<Time> {
        if self.left {
            return None;
        }
        let isolation =
            self.detached_at.filter(|_| !self.standing.isolated).map(|at| at + ISOLATION);
        [
            Some(self.beat_at),
            Some(self.flush_at),
            self.ask_at,
            self.near.due(),
            isolation,
            self.receiver.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due.
    pub fn on_deadline(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.left {
            return;
        }
        let mut steps = Vec::new();
        let links = &self.links;
        let well = |i: usize| {
            let link = links.get(i)?;
            link.connection?;
            // Each link is acknowledged at least every 200 ms or so while its manager is well.
            (now.since(link.acked_at) < Duration::from_secs(1)).then_some(link.opened_at)
        };
        self.receiver.advance(well, now, &mut steps);
        self.follow(steps, now, out);
        if self.detached_at.is_some_and(|at| at + ISOLATION <= now) && !self.standing.isolated {
            self.standing.isolated = true;
            self.standing.isolated_at = self.manager_time(now);
            self.publish();
            out.push(Output::Notice(Notice::Isolated));
            out.push(Output::Wake);
        }
        if self.ask_at.is_some_and(|at| at <= now) {
            self.ask(now, out);
        }
        if self.flush_at <= now {
            self.flush_at = now + self.config.flush;
            self.flush(now, out);
        }
        if self.near.due().is_some_and(|at| at <= now) {
            self.look(now, out);
        }
        if self.beat_at <= now {
            self.beat(now, out);
        }
    }

    /// Carries out what the receiver decided.
    fn follow(&mut self, steps: Vec<Step>, now: Time, out: &mut Vec<Output>) {
        let mut moved = false;
        for step in steps {
            match step {
                Step::Connect(manager, connection) => {
                    out.push(Output::Connect(manager, connection))
                }
                Step::Disconnect(connection) => {
                    moved |= self.end_session(connection, now);
                    out.push(Output::Disconnect(connection));
                }
                Step::Attach(manager, connection) => {
                    self.session = Some(Session::new(manager, connection));
                    self.attach(now, out);
                }
                Step::Lost(manager, why) => {
                    if let Some(connection) = self.session.as_ref().map(|s| s.connection) {
                        moved |= self.end_session(connection, now);
                    }
                    // Whom it is refused by for another agent's sake it asks again and again.
                    if !self.refusals.is_refused_by(manager) {
                        out.push(Output::Notice(Notice::Detached(manager, why)));
                    }
                }
            }
        }
        if moved {
            // A manager that lost this agent must not take it for dead while it follows another.
            self.links.iter_mut().for_each(|link| link.restless = true);
            self.pump(now, out);
        }
    }

    /// Whether it was the present session.
    fn end_session(&mut self, connection: ConnectionId, now: Time) -> bool {
        if self.session.as_ref().is_none_or(|s| s.connection != connection) {
            return false;
        }
        if let Some(session) = self.session.take() {
            // A manager that never said its name may still have taken the pledge.
            self.former = session.life.or_else(|| {
                let id = ManagerId::new("unknown").ok()?;
                Some(ManagerLife { id, incarnation: 0 })
            });
            self.detached_at = Some(now);
        }
        true
    }

    /// Tells the manager who attaches and what it holds.
    fn attach(&mut self, now: Time, out: &mut Vec<Output>) {
        // Checks must stop opening windows at the full share before the holdings are listed.
        self.standing.number += 1;
        self.standing.isolated = false;
        self.detached_at = None;
        self.publish();
        let attach = Attach {
            identity: self.config.identity.clone(),
            view: self.view.clone(),
            promised: self.promised.clone(),
            eras: self.standing.history.eras().to_vec(),
            pledged_until: self.standing.pledged_until,
            former_manager: self.former.clone(),
        };
        self.collect(now, true);
        let holdings = self.holdings(now);
        let mut rest = credit::frames(holdings);
        // Views may be long, too: with many holdings they have a frame of their own.
        let first = if rest.len() == 1 { rest.remove(0) } else { Vec::new() };
        let more = !rest.is_empty();
        self.send_credit(first, now, out, |frame| {
            frame.attach = Some(attach);
            frame.holdings_complete = !more;
        });
        let count = rest.len();
        for (i, part) in rest.into_iter().enumerate() {
            self.send_credit(part, now, out, |frame| frame.holdings_complete = i + 1 == count);
        }
    }

    fn publish(&self) {
        self.table.publish(&self.standing);
    }

    fn next_stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    /// Manager time, or 0 while none is known.
    fn manager_time(&self, now: Time) -> Time {
        if self.synced { self.standing.manager_time(now) } else { Time::ZERO }
    }
}
