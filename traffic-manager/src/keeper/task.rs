//! The keeper at work.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};
use traffic_manager_core::{
    accounts::Closed,
    manager::PolicyChange,
    policies::StoredPolicy,
    replica::{Announcement, Change, Input, Output, Replica, WriteId},
};
use weir_proto::{
    counters::Counters,
    id::{ManagerId, ManagerLife},
    peer::{Delta, PeerFrame},
    time::Time,
};

use super::{
    Ask, WRITES, WriteJob,
    asks::Asks,
    errands::{Done, Errands, Then, Written},
    links::{self, Links},
    office::{Office, Undone, Work},
    recall::Recall,
    start::EPOCHS,
    turns::{Turn, Turns},
    waiters::Waiters,
};
use crate::{
    clock::Clock,
    peers::LinkEvent,
    stop::Stop,
    store::{self, Batch, StoreError, StoreHandle, Table},
};

/// Peers' deltas that wait for the store. What comes beyond is dropped: it is sent again, later.
const BACKLOG: usize = 16;
/// Longest sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Somebody who waits for a write.
enum Writer {
    Caller(oneshot::Sender<Written>),
    Peer(ManagerLife),
    /// The office: nobody waits.
    Office(Undone),
}

type Commit = Pin<Box<dyn Future<Output = (Change, Writer, Result<(), StoreError>)> + Send>>;

pub(super) struct Task {
    pub(super) replica: Replica,
    pub(super) store: StoreHandle,
    pub(super) errands: Errands,
    pub(super) clock: Clock,
    pub(super) links: Links,
    pub(super) office: Office,
    pub(super) closed: mpsc::Receiver<Vec<Closed>>,
    pub(super) priority: u32,
    pub(super) ready: bool,
    pub(super) recall: Recall,
    pub(super) asks: Asks,
    pub(super) waiters: Waiters<WriteId>,
    pub(super) backlog: VecDeque<(ManagerLife, Delta)>,
    /// Counts deltas that found the backlog full.
    pub(super) dropped: metrics::Counter,
    pub(super) turns: Turns,
    pub(super) synced: Option<oneshot::Sender<()>>,
    pub(super) outputs: Vec<Output>,
}

impl Task {
    pub(super) async fn run(
        &mut self,
        mut asks: mpsc::Receiver<Ask>,
        mut writes: mpsc::Receiver<WriteJob>,
        mut links: mpsc::Receiver<LinkEvent>,
        mut shutdown: Stop,
    ) {
        let mut commit: Option<Commit> = None;
        loop {
            let now = self.clock.now();
            self.renew(now);
            for (peer, ask) in self.recall.due(now) {
                self.links.send(&peer, &ask);
            }
            self.perform();
            if !self.errands.tells()
                && let Some((peer, question)) = self.asks.due(now)
            {
                self.errands.tell_counters(peer, question, now);
            }
            let able = !self.errands.full();
            if commit.is_none() && able {
                commit = self.next(&mut writes, now);
            }
            let sleep = self.sleep(commit.is_some() || !able, now);
            // In no order: a peer that never falls silent must not keep the others waiting.
            tokio::select! {
                () = shutdown.requested() => break,
                Some(event) = links.recv() => self.hear(event),
                (change, writer, stored) = finished(&mut commit) => {
                    commit = None;
                    self.conclude(change, writer, stored);
                }
                done = self.errands.next() => self.done(done),
                Some(closed) = self.closed.recv() => self.office.note(&closed, now),
                Some(ask) = asks.recv() => self.answer(ask),
                Some(job) = writes.recv(), if commit.is_none() && able => {
                    commit = self.prepare(job);
                }
                () = tokio::time::sleep(sleep) => {}
            }
        }
        self.hand_over();
        // What the store has begun is told to whoever waits for it.
        if let Some(commit) = commit {
            let (change, writer, stored) = commit.await;
            self.conclude(change, writer, stored);
        }
        self.errands.finish().await;
    }

    /// Tells peers that the roles are free, so that nobody waits for a lease to end.
    fn hand_over(&mut self) {
        let now = self.clock.now();
        self.office.leave(now);
        self.ready = false;
        self.renew(now);
        self.perform();
    }

    /// Renews the roles' leases, and does what the replica has to do now: one heartbeat tells of both.
    fn renew(&mut self, now: Time) {
        if let Some(claims) = self.office.on_deadline(now) {
            let said = Announcement { ready: self.ready, priority: self.priority, claims };
            self.replica.announce(said, now);
        }
        if self.replica.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.replica.on_deadline(now, &mut self.outputs);
        }
    }

    fn sleep(&self, busy: bool, now: Time) -> Duration {
        // Work that waits for the store is looked at when that has answered.
        let deadline = if busy { self.office.beat() } else { self.office.next_deadline() };
        let deadline = self.replica.next_deadline().map_or(deadline, |at| at.min(deadline));
        let deadline = self.recall.next_deadline().map_or(deadline, |at| at.min(deadline));
        // A question is looked at when the one before has its answer.
        let asks = self.asks.next_deadline().filter(|_| !self.errands.tells());
        let deadline = asks.map_or(deadline, |at| at.min(deadline));
        deadline.since(now).min(LONGEST_SLEEP)
    }

    fn hear(&mut self, event: LinkEvent) {
        let now = self.clock.now();
        match event {
            LinkEvent::Up { peer, address, link } => {
                let life = peer.life;
                if let Some(address) = &address {
                    self.recall.reached(&life.id, address.clone(), now);
                }
                let change = self.links.open(&life, link);
                if change == links::Change::Refused {
                    tracing::warn!(
                        peer = %life.id,
                        address,
                        "refused a link: another life of a manager with this id is linked; if both run, \
                         give each an id of its own"
                    );
                }
                if change == links::Change::Up {
                    tracing::info!(peer = %life.id, address, version = peer.version, "linked to a peer");
                    self.recall.restarted(&life.id);
                    self.replica.handle(Input::Up(life), now, &mut self.outputs);
                }
            }
            LinkEvent::Frame(life, _) if !self.links.is_current(&life) => {}
            LinkEvent::Frame(life, PeerFrame::AskCounters(ask)) => {
                self.asks.add(&life.id, ask, now);
            }
            LinkEvent::Frame(life, PeerFrame::Counters(piece)) => {
                self.take_counters(&life.id, piece);
            }
            LinkEvent::Frame(life, frame) => {
                self.replica.handle(Input::Frame(life, frame), now, &mut self.outputs);
            }
            LinkEvent::Down(life, id) => {
                if self.links.close(&life, id) == links::Change::Down {
                    tracing::warn!(peer = %life.id, "the last link to a peer has ended");
                    self.asks.forget(&life.id);
                    self.office.lost(&life.id, now);
                    self.replica.handle(Input::Down(life), now, &mut self.outputs);
                }
            }
        }
    }

    /// A peer tells what it knows.
    fn take_counters(&mut self, peer: &ManagerId, piece: Counters) {
        if self.recall.is_open(peer) && self.errands.takes_counters() {
            let now = self.clock.now();
            let told = self.recall.answered(peer, &piece, now);
            self.errands.take_counters(piece, told);
        }
    }

    /// The driver has answered.
    fn done(&mut self, done: Done) {
        if let Done::Told { peer, piece, asked_at } = done {
            self.links.send(&peer, &PeerFrame::Counters(piece));
            let now = self.clock.now();
            self.asks.answered(&peer, now.since(asked_at), now);
        }
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Question(question) => {
                let now = self.clock.now();
                question(&self.replica, now);
            }
            Ask::Office(question) => {
                let now = self.clock.now();
                question(&self.office, now);
            }
            Ask::Serving => self.ready = true,
            Ask::Recall(true) => self.recall.begin(),
            Ask::Recall(false) => self.recall.end(),
            Ask::Await(write, peers, done) => {
                self.waiters.add(write, peers, done);
                self.waiters.look(|write| self.replica.holders(*write));
            }
        }
    }

    /// A caller's turn.
    fn prepare(&mut self, job: WriteJob) -> Option<Commit> {
        let now = self.clock.now();
        let change = (job.prepare)(&self.replica, now);
        let Some(change) = change.filter(|change| !change.is_empty()) else {
            // Fails if the caller has gone.
            let _ = job.done.send(Ok(None));
            return None;
        };
        Some(self.commit(change, Writer::Caller(job.done)))
    }

    /// The next one who has something for the store.
    fn next(&mut self, writes: &mut mpsc::Receiver<WriteJob>, now: Time) -> Option<Commit> {
        let mut turns = self.turns;
        let commit = turns.next(|turn| match turn {
            Turn::Callers => self.next_of_callers(writes),
            Turn::Peers => self.next_of_backlog(now),
            Turn::Office => self.next_of_office(now),
        });
        self.turns = turns;
        commit
    }

    /// Callers' turn: the first who has something to write.
    fn next_of_callers(&mut self, writes: &mut mpsc::Receiver<WriteJob>) -> Option<Commit> {
        (0..WRITES).map_while(|_| writes.try_recv().ok()).find_map(|job| self.prepare(job))
    }

    /// A peer's turn: as many deltas as there are need a turn each.
    fn next_of_backlog(&mut self, now: Time) -> Option<Commit> {
        let (from, delta) = self.backlog.pop_front()?;
        let mut change = self.replica.receive(&from, delta, now);
        for entry in change.retain(store::fits) {
            let peer = &from.id;
            tracing::error!(%peer, "the entry {entry} of a peer is too large to be stored: left out");
        }
        Some(self.commit(change, Writer::Peer(from)))
    }

    /// What this manager's roles bring.
    fn next_of_office(&mut self, now: Time) -> Option<Commit> {
        let work = self.office.work(&self.replica, now)?;
        if let Err(fenced) = self.office.may(&work, now) {
            tracing::warn!("{fenced}");
            return None;
        }
        Some(match work {
            Work::Epochs(epochs) => {
                let mut batch = Batch::new();
                batch.put(Table::Meta, EPOCHS, epochs.encode());
                self.store(batch, Change::default(), Writer::Office(Undone::Epochs(epochs)))
            }
            Work::Usage(_, change) => self.commit(change, Writer::Office(Undone::Usage)),
            Work::Sweep(change) => self.commit(change, Writer::Office(Undone::Sweep)),
        })
    }

    fn commit(&self, change: Change, writer: Writer) -> Commit {
        let mut batch = Batch::new();
        for (key, value) in change.writes() {
            batch.write(Table::Entries, key, value.map(Vec::from));
        }
        self.store(batch, change, writer)
    }

    fn store(&self, batch: Batch, change: Change, writer: Writer) -> Commit {
        let store = self.store.clone();
        Box::pin(async move {
            let stored = if batch.is_empty() { Ok(()) } else { store.commit(batch).await };
            (change, writer, stored)
        })
    }

    /// The store has answered.
    fn conclude(&mut self, change: Change, writer: Writer, stored: Result<(), StoreError>) {
        match stored {
            Ok(()) => {
                let (id, now) = (change.write(), self.clock.now());
                if change.writes().next().is_some() || matches!(writer, Writer::Office(_)) {
                    self.office.written(now);
                }
                self.replica.apply(change, now, &mut self.outputs);
                self.perform();
                // First everybody here is told, so that whoever reads after the answer reads this.
                if let Writer::Caller(done) = writer {
                    self.errands.then(Then::Written(done, id));
                }
            }
            Err(error) => {
                let now = self.clock.now();
                self.office.unwritten(&error, now);
                self.refused(error, writer, now);
            }
        }
    }

    /// Tells whoever waits that the store refused.
    fn refused(&mut self, error: StoreError, writer: Writer, now: Time) {
        match writer {
            Writer::Caller(done) => {
                tracing::error!("a write was refused: {error}");
                let _ = done.send(Err(Arc::new(error)));
            }
            // It is not acknowledged, so the peer sends it again.
            Writer::Peer(peer) => {
                tracing::error!(peer = %peer.id, "what a peer sent could not be stored: {error}");
            }
            // It is due again soon.
            Writer::Office(work) => {
                tracing::error!("{work} could not be stored: {error}");
                self.office.failed(work, now);
            }
        }
    }

    /// Does what the replica wants, in its order.
    fn perform(&mut self) {
        let (mut policies, mut synced) = (Vec::new(), false);
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Send(to, frame) => self.links.send(&to, &frame),
                Output::Policy { name, winner, revision } => {
                    policies.push(match winner {
                        Some(winner) => PolicyChange::Put(StoredPolicy {
                            policy: winner.policy,
                            tag: winner.tag,
                            revision,
                        }),
                        None => PolicyChange::Drop { name, revision },
                    });
                }
                Output::Receive(from, delta) => {
                    if self.backlog.len() < BACKLOG {
                        self.backlog.push_back((from, delta));
                    } else {
                        self.dropped.increment(1);
                    }
                }
                Output::Acked(_) => self.waiters.look(|write| self.replica.holders(*write)),
                Output::Synced => synced = true,
                Output::Crowded(life) => links::warn_of(&life),
                Output::Heard(life, heartbeat) => {
                    self.office.hear(&life, &heartbeat.claims, self.clock.now());
                }
            }
        }
        self.errands.install(policies);
        // Not before what peers told is in force here.
        if synced && let Some(waiting) = self.synced.take() {
            self.errands.then(Then::Synced(waiting));
        }
    }
}

/// Resolves when the store has answered; never while it has nothing to do.
async fn finished(commit: &mut Option<Commit>) -> (Change, Writer, Result<(), StoreError>) {
    match commit {
        Some(commit) => commit.await,
        None => std::future::pending().await,
    }
}
