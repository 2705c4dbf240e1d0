//! The usage plane: what changed goes into batches; each manager's link takes them at its own pace.
//!
//! A link that lags loses nothing: once it has fallen behind the batches that are kept, it gets the
//! whole present state instead. Its queue is bounded by the state, not by time.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use foldhash::fast::FixedState;
use weir_proto::{
    id::ManagerLife,
    key::CounterKey,
    time::Time,
    usage::{AgentIdentity, AgentStatus, KeyDef, KeyId, UsageEntry, UsageFrame},
};

use crate::message::ConnectionId;

/// Frames on their way to one manager.
const IN_FLIGHT: usize = 4;
/// Entries in one frame.
pub const FRAME_ENTRIES: usize = 4_000;
/// Batches kept for links that lag a little.
const BATCHES: usize = 128;
/// Windows that ended, kept for managers that are away.
const CLOSED: usize = 100_000;

/// A manager that acknowledges nothing for so long is not well.
pub const GAP: Duration = Duration::from_millis(500);

/// One change, with the counter's name for streams that do not know it yet.
#[derive(Debug, Clone)]
pub struct Change {
    /// The counter's name.
    pub key: CounterKey,
    /// Its amounts.
    pub entry: UsageEntry,
}

/// Changes of one moment.
#[derive(Debug, Clone)]
struct Batch {
    stamp: u64,
    changes: Vec<Change>,
}

/// All batches, and the windows that ended lately.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    batches: VecDeque<Batch>,
    closed: VecDeque<(Time, Change)>,
    /// Windows that ended and could not be kept for managers that were away.
    pub dropped: u64,
}

impl Outbox {
    /// Adds what changed; of windows that have ended with the end, in manager time.
    pub fn add(&mut self, stamp: u64, changes: Vec<(Change, Option<Time>)>) {
        let mut batch = Batch { stamp, changes: Vec::with_capacity(changes.len()) };
        for (change, ended) in changes {
            if let Some(end) = ended {
                self.closed.push_back((end, change.clone()));
            }
            batch.changes.push(change);
        }
        while self.closed.len() > CLOSED {
            self.closed.pop_front();
            self.dropped += 1;
        }
        self.batches.push_back(batch);
        while self.batches.len() > BATCHES {
            self.batches.pop_front();
        }
    }

    /// Forgets windows that ended before `before`: no manager wants them any more.
    pub fn forget(&mut self, before: Time) {
        while self.closed.front().is_some_and(|(end, _)| *end < before) {
            self.closed.pop_front();
        }
    }

    /// Windows that ended after `since` and are still kept.
    pub fn closed(&self, since: Time) -> impl Iterator<Item = &Change> {
        self.closed.iter().filter(move |(end, _)| *end > since).map(|(_, change)| change)
    }
}

/// One manager's usage link.
#[derive(Debug, Clone, Default)]
pub struct Link {
    /// The open stream.
    pub connection: Option<ConnectionId>,
    /// Since when it has been open, local time.
    pub opened_at: Time,
    /// Last acknowledgement, local time.
    pub acked_at: Time,
    /// Newest frame acknowledged.
    pub acked: u64,
    /// Who answers.
    pub life: Option<ManagerLife>,
    /// The whole state must be sent next.
    pub wants_state: bool,
    cursor: u64,
    in_flight: VecDeque<u64>,
    backlog: VecDeque<Batch>,
    defined: HashMap<KeyId, CounterKey, FixedState>,
    greeted: bool,
    state_sent: bool,
    sent_at: Time,
}

impl Link {
    /// A stream was opened.
    pub fn open(&mut self, connection: ConnectionId, now: Time) {
        let life = self.life.take();
        *self = Link {
            connection: Some(connection),
            opened_at: now,
            acked_at: now,
            life,
            wants_state: true,
            ..Link::default()
        };
    }

    /// It ended.
    pub fn close(&mut self) {
        self.connection = None;
        self.backlog.clear();
        self.in_flight.clear();
    }

    /// Everything up to `seq` was merged.
    pub fn ack(&mut self, seq: u64, life: ManagerLife, now: Time) {
        if now.since(self.acked_at) > GAP {
            self.opened_at = now; // it hung: well again only from now on
        }
        self.acked_at = now;
        self.acked = self.acked.max(seq);
        self.life = Some(life);
        while self.in_flight.front().is_some_and(|s| *s <= seq) {
            self.in_flight.pop_front();
        }
    }

    /// The whole state, as of the stamps that `stamps` gives out from `first` on.
    pub fn load_state(&mut self, changes: Vec<Change>, mut stamp: impl FnMut() -> u64) {
        self.wants_state = false;
        self.backlog.clear();
        let mut changes = changes.into_iter().peekable();
        loop {
            let part: Vec<Change> = changes.by_ref().take(FRAME_ENTRIES).collect();
            let stamp = stamp();
            self.cursor = stamp;
            self.backlog.push_back(Batch { stamp, changes: part });
            if changes.peek().is_none() {
                return;
            }
        }
    }

    /// How many batches it has still to get.
    pub fn behind(&self, outbox: &Outbox) -> u64 {
        let batches = outbox.batches.iter().filter(|b| b.stamp > self.cursor).count();
        (batches + self.backlog.len()) as u64
    }

    /// Whether the number may name another counter from now on.
    pub fn undefine(&mut self, id: KeyId) {
        self.defined.remove(&id);
    }

    /// The next frame to send, if the manager keeps up. `beat` asks for a sign of life.
    pub fn next_frame(
        &mut self,
        outbox: &Outbox,
        identity: &AgentIdentity,
        status: impl FnOnce() -> AgentStatus,
        beat: impl FnOnce() -> Option<u64>,
        now: Time,
    ) -> Option<UsageFrame> {
        self.connection?;
        if self.in_flight.len() >= IN_FLIGHT || self.wants_state {
            return None;
        }
        let mut frame = UsageFrame::default();
        if let Some(batch) = self.backlog.pop_front() {
            self.fill(&mut frame, batch.stamp, &batch.changes);
            frame.state_complete = self.backlog.is_empty() && !self.state_sent;
            self.state_sent |= frame.state_complete;
        } else if let Some(batch) = outbox.batches.iter().find(|b| b.stamp > self.cursor) {
            if outbox.batches.front().is_some_and(|first| first.stamp > self.cursor)
                && outbox.batches.len() >= BATCHES
            {
                self.wants_state = true;
                return None;
            }
            self.cursor = batch.stamp;
            self.fill(&mut frame, batch.stamp, &batch.changes);
        } else {
            frame.seq = beat()?;
        }
        if !self.greeted {
            self.greeted = true;
            frame.identity = Some(identity.clone());
        }
        frame.status = Some(status());
        self.in_flight.push_back(frame.seq);
        self.sent_at = now;
        Some(frame)
    }

    /// When the last frame left.
    pub fn sent_at(&self) -> Time {
        self.sent_at
    }

    fn fill(&mut self, frame: &mut UsageFrame, stamp: u64, changes: &[Change]) {
        frame.seq = stamp;
        for change in changes {
            // A number is given to another counter once nothing kept here speaks of the former one.
            let known = self.defined.insert(change.entry.key, change.key.clone());
            if known.as_ref() != Some(&change.key) {
                frame.keys.push(KeyDef { id: change.entry.key, key: change.key.clone() });
            }
            frame.entries.push(change.entry);
        }
    }
}
