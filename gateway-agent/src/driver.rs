//! The owner of the core: one task that brings it time and events, and does what it asks for.
//!
//! The driver never waits for anybody: frames go out through bounded queues, and a link whose queue
//! is full is closed. Others wait for the driver: its own queue is bounded, and a session that finds
//! it full holds its manager's stream back by flow control.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gateway_agent_core::{
    Agent as Core, ConnectionId, Input, ManagerIndex, Notice, Output, agent::Status,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use weir_proto::{decision::CreditFrame, rule::Rules, time::Time, usage::UsageReport};

use crate::{
    access::Access,
    clock::{Clock, incarnation},
    config::ManagerUrl,
    link::{LINGER, Outbox},
    names::Names,
    publish::{LinkNumbers, Publisher},
    receive::Session,
    rules::RuleBook,
};

/// Events that wait for the driver; more make their senders wait.
const QUEUE: usize = 1_024;
/// Events handled under one reading of the clock.
const BATCH: usize = 128;
/// Least time between two snapshots of the status.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(50);
/// Least time between two deadlines: what timers can tell apart.
const LEAST_PAUSE: Duration = Duration::from_millis(1);
/// How long a leaving agent tries to bring its last usage to the managers.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the links tell the driver.
pub(crate) enum Event {
    /// For the core as it is.
    Input(Box<Input>),
    /// A usage link is open; its frames go into the outbox.
    UsageOpened(ManagerIndex, ConnectionId, Outbox<UsageReport>),
}

impl From<Input> for Event {
    fn from(input: Input) -> Self {
        Event::Input(Box::new(input))
    }
}

/// The agent's status as of a time.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) at: Time,
    pub(crate) status: Status,
}

/// What the driver shares with the agent's handles.
pub(crate) struct Channels {
    /// Rung when checks may want to look again.
    pub(crate) wake: Arc<Notify>,
    /// Rung by the core's table.
    pub(crate) poke: Arc<Notify>,
    /// Rung when the agent must leave.
    pub(crate) leave: Arc<Notify>,
    /// What the policies in force name.
    pub(crate) rules: Arc<RuleBook>,
    /// Where snapshots of the status go; closed at the end.
    pub(crate) status: watch::Sender<Arc<Snapshot>>,
}

/// An open usage link.
struct UsageLink {
    connection: ConnectionId,
    outbox: Outbox<UsageReport>,
    /// The newest frame that was queued.
    sent: u64,
}

/// See the module's documentation.
pub(crate) struct Driver {
    core: Core,
    clock: Clock,
    channels: Channels,
    managers: Vec<ManagerUrl>,
    access: Arc<Access>,
    to_me: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    usage: Vec<Option<UsageLink>>,
    names: Names,
    sessions: BTreeMap<ConnectionId, Outbox<CreditFrame>>,
    tasks: JoinSet<()>,
    snapshot_due: Option<Time>,
    last_snapshot: Time,
    last_deadline: Time,
}

impl Driver {
    /// A driver; nothing happens before [`Driver::run`].
    pub(crate) fn new(
        core: Core,
        clock: Clock,
        managers: Vec<ManagerUrl>,
        access: Arc<Access>,
        channels: Channels,
    ) -> Self {
        let (to_me, events) = mpsc::channel(QUEUE);
        Self {
            core,
            clock,
            channels,
            usage: managers.iter().map(|_| None).collect(),
            names: Names::new(managers.len()),
            managers,
            access,
            to_me,
            events,
            sessions: BTreeMap::new(),
            tasks: JoinSet::new(),
            snapshot_due: None,
            last_snapshot: Time::ZERO,
            last_deadline: Time::ZERO,
        }
    }

    /// Drives the core until the agent leaves.
    pub(crate) async fn run(mut self) {
        // Dropped, and with it every publisher, when this function ends.
        let mut publishers = JoinSet::new();
        let numbers = LinkNumbers::default();
        for (manager, url) in self.managers.iter().enumerate() {
            let (url, numbers, events) = (url.clone(), numbers.clone(), self.to_me.clone());
            let access = Arc::clone(&self.access);
            publishers.spawn(Publisher { manager, url, access, numbers, events }.run());
        }
        let leave = self.channels.leave.clone();
        loop {
            tokio::select! {
                () = leave.notified() => break,
                () = self.turn() => {}
            }
        }
        self.farewell().await;
    }

    /// Waits for something to happen and handles it. Safe to cancel: it waits before it acts.
    async fn turn(&mut self) {
        let deadline = [self.core.next_deadline(), self.snapshot_due].into_iter().flatten().min();
        // Whatever the core asks for, a deadline in the past must not become a busy loop.
        let earliest = self.last_deadline + LEAST_PAUSE;
        let wake_up = self.clock.instant(deadline.unwrap_or(Time::MAX).max(earliest));
        let event = tokio::select! {
            event = self.events.recv() => event,
            () = self.channels.poke.notified() => Some(Input::Poke.into()),
            () = sleep_until(wake_up) => None,
        };
        let now = self.clock.now();
        let more = std::iter::from_fn(|| self.events.try_recv().ok()).take(BATCH);
        let batch: Vec<Event> = event.into_iter().chain(more).collect();
        for event in batch {
            self.handle(event, now);
        }
        if self.core.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.last_deadline = now;
            let mut outputs = Vec::new();
            self.core.on_deadline(now, &mut outputs);
            self.perform(outputs, now);
        }
        while self.tasks.try_join_next().is_some() {}
        if self.core.may_begin_anew() {
            self.begin_anew(now);
        }
        self.refresh_snapshot(now);
    }

    fn handle(&mut self, event: Event, now: Time) {
        let input = match event {
            Event::UsageOpened(manager, connection, outbox) => {
                if let Some(slot) = self.usage.get_mut(manager) {
                    *slot = Some(UsageLink { connection, outbox, sent: 0 });
                }
                Input::UsageOpened(manager, connection)
            }
            Event::Input(input) => *input,
        };
        match &input {
            Input::UsageClosed(manager, connection, _) => self.drop_usage(*manager, *connection),
            Input::SessionClosed(connection, _) => drop(self.sessions.remove(connection)),
            Input::UsageAck { manager, life, .. } => {
                let told = self.names.usage(*manager, &life.id);
                self.warn(*manager, told);
            }
            _ => {}
        }
        self.feed(input, now);
    }

    fn feed(&mut self, input: Input, now: Time) {
        let mut outputs = Vec::new();
        self.core.handle(input, now, &mut outputs);
        self.perform(outputs, now);
    }

    /// Does what the core asks for. A link that turns out to hang is reported back at once; that
    /// ends, since each link can be closed only once.
    fn perform(&mut self, outputs: Vec<Output>, now: Time) {
        let mut hung = Vec::new();
        for output in outputs {
            match output {
                Output::Connect(manager, connection) => self.connect(manager, connection),
                Output::Disconnect(connection) => drop(self.sessions.remove(&connection)),
                Output::Credit(connection, frame) => {
                    if self.sessions.get(&connection).is_some_and(|outbox| !outbox.send(frame)) {
                        self.sessions.remove(&connection);
                        hung.push(Input::SessionClosed(connection, HUNG.to_owned()));
                    }
                }
                Output::Usage(manager, connection, frame) => {
                    if !self.send_usage(manager, connection, frame) {
                        self.drop_usage(manager, connection);
                        hung.push(Input::UsageClosed(manager, connection, HUNG.to_owned()));
                    }
                }
                Output::Policies(set) => {
                    self.channels.rules.replace(Rules::of(&set));
                    self.snapshot_due = Some(now);
                }
                Output::Wake => self.channels.wake.notify_waiters(),
                Output::Notice(notice) => {
                    self.snapshot_due = Some(now);
                    if let Notice::Attached(manager, name) = &notice {
                        let told = self.names.decisions(*manager, name);
                        self.warn(*manager, told);
                    }
                    self.log(&notice);
                }
            }
        }
        for input in hung {
            self.feed(input, now);
        }
    }

    fn connect(&mut self, manager: ManagerIndex, connection: ConnectionId) {
        let Some(url) = self.managers.get(manager) else {
            return;
        };
        let (outbox, session) =
            Session::start(url.clone(), Arc::clone(&self.access), connection, self.to_me.clone());
        self.sessions.insert(connection, outbox);
        self.tasks.spawn(session);
    }

    /// `false` when the link hangs. A frame for a link that is already closed is nobody's loss: the
    /// core is about to hear of it.
    fn send_usage(&mut self, manager: ManagerIndex, on: ConnectionId, frame: UsageReport) -> bool {
        match self.usage.get_mut(manager) {
            Some(Some(link)) if link.connection == on => {
                link.sent = frame.seq;
                link.outbox.send(frame)
            }
            _ => true,
        }
    }

    fn drop_usage(&mut self, manager: ManagerIndex, connection: ConnectionId) {
        if let Some(slot) = self.usage.get_mut(manager) {
            slot.take_if(|link| link.connection == connection);
        }
    }

    /// The other agent with this one's id is gone: all links are opened anew, in a new life.
    fn begin_anew(&mut self, now: Time) {
        tracing::info!("the other agent with this one's id is gone: joining in a new life");
        self.sessions.clear();
        self.usage.iter_mut().for_each(|link| *link = None);
        self.core.begin_anew(incarnation(), now);
        self.snapshot_due = Some(now);
    }

    /// Publishes the status when it is due, and makes sure that what happened now is published soon.
    fn refresh_snapshot(&mut self, now: Time) {
        let next = self.last_snapshot + SNAPSHOT_EVERY;
        if self.snapshot_due.is_none_or(|due| now < due) && now < next {
            self.snapshot_due.get_or_insert(next);
            return;
        }
        self.snapshot_due = None;
        self.last_snapshot = now;
        let status = self.core.status(now);
        self.channels.status.send_replace(Arc::new(Snapshot { at: now, status }));
    }

    /// Says goodbye, and brings the last usage to the managers that can be reached.
    async fn farewell(&mut self) {
        let end = Instant::now() + FAREWELL;
        self.feed(Input::Leave, self.clock.now());
        while !self.delivered() && timeout_at(end, self.turn()).await.is_ok() {}
        // Without outboxes the sessions end; what they still hold leaves first.
        self.sessions.clear();
        let _ = timeout(LINGER, async { while self.tasks.join_next().await.is_some() {} }).await;
    }

    /// Whether every manager that can be reached has everything.
    fn delivered(&self) -> bool {
        let status = self.core.status(self.clock.now());
        let mut links = self.usage.iter().zip(&status.managers);
        links.all(|(link, manager)| match link {
            Some(link) => manager.usage_behind == 0 && manager.usage_acked >= link.sent,
            // Reachable after all, and its usage link is about to open.
            None => !manager.decisions_up,
        })
    }

    fn url(&self, manager: ManagerIndex) -> String {
        self.managers.get(manager).map(ManagerUrl::to_string).unwrap_or_default()
    }

    fn warn(&self, manager: ManagerIndex, what: Option<String>) {
        if let Some(what) = what {
            tracing::warn!(manager = self.url(manager), "{what}");
        }
    }

    fn log(&mut self, notice: &Notice) {
        let url = |manager: ManagerIndex| self.url(manager);
        match notice {
            Notice::Attached(manager, name) => {
                tracing::info!(manager = url(*manager), name, "attached: following its decisions");
            }
            Notice::Detached(manager, reason) => {
                let place = *manager;
                let manager = url(place);
                // One that lets nobody in is asked several times a second.
                if self.names.lost(place, reason) {
                    tracing::warn!(manager, reason, "detached: trying the next manager");
                } else {
                    tracing::debug!(manager, reason, "detached again");
                }
            }
            Notice::Isolated => {
                tracing::error!("isolated: no manager is reachable; on_disconnect applies");
            }
            Notice::Member { view, fleet } => {
                tracing::info!(view, fleet, "member of the fleet");
            }
            Notice::SameId(manager, reason) => {
                tracing::error!(
                    manager = url(*manager),
                    reason,
                    "refused: another agent has this one's id and lives; what holds no grant is refused here \
                     until that one is gone, then this one joins by itself"
                );
            }
            Notice::BadPolicy(reason) => {
                tracing::error!(reason, "the manager sent a policy that is not in force here");
            }
        }
    }
}

/// Why the driver closed a link.
const HUNG: &str = "it takes no more frames";
