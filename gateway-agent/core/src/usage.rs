//! The usage plane: what changed goes into batches; each manager's link takes them at its own pace.
//! A batch is encoded once: a further manager costs no work per entry but sending its bytes.
//!
//! A link that lags loses nothing: once it has fallen behind the batches that are kept, it gets the
//! whole present state instead. Its queue is bounded by the state, not by time.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use weir_proto::{
    id::ManagerLife,
    key::CounterKey,
    time::Time,
    usage::{AgentIdentity, AgentStatus, EntryWriter, KeyId, NameWriter, UsageEntry, UsageReport},
};

use crate::message::ConnectionId;

/// Frames on their way to one manager.
const IN_FLIGHT: usize = 4;
/// Entries in one frame.
pub const FRAME_ENTRIES: usize = 4_000;
/// Bytes of names in one frame; one name more may come on top.
pub const FRAME_NAMES: usize = 1 << 20;
/// Batches kept for links that lag a little.
const BATCHES: usize = 128;
/// Windows that ended, kept for managers that are away.
const CLOSED: usize = 100_000;

/// A manager that acknowledges nothing for so long is not well.
pub const GAP: Duration = Duration::from_millis(500);

/// One change of a counter.
#[derive(Debug, Clone)]
pub struct Change {
    /// The counter's name.
    pub key: CounterKey,
    /// Its amounts.
    pub entry: UsageEntry,
}

/// Changes of one moment, encoded once for all links.
#[derive(Debug, Clone, Default)]
struct Batch {
    stamp: u64,
    forgotten: Vec<KeyId>,
    names: Bytes,
    entries: Bytes,
}

/// A batch that is being written.
#[derive(Debug, Clone, Default)]
struct Draft {
    names: NameWriter,
    entries: EntryWriter,
}

impl Draft {
    fn full(&self) -> bool {
        self.entries.len() >= FRAME_ENTRIES || self.names.len() >= FRAME_NAMES
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.names.is_empty()
    }

    fn seal(&mut self, stamp: u64, forgotten: Vec<KeyId>) -> Batch {
        let Draft { names, entries } = std::mem::take(self);
        Batch { stamp, forgotten, names: names.finish(), entries: entries.finish() }
    }
}

/// Numbers of counters, in one bit each.
#[derive(Debug, Clone, Default)]
struct Ids(Vec<u64>);

impl Ids {
    /// True if it was not there.
    fn insert(&mut self, id: KeyId) -> bool {
        let (word, bit) = (id as usize / 64, 1 << (id % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    fn contains(&self, id: KeyId) -> bool {
        self.0.get(id as usize / 64).is_some_and(|word| word & (1 << (id % 64)) != 0)
    }

    /// True if it was there.
    fn remove(&mut self, id: KeyId) -> bool {
        let there = self.contains(id);
        if there {
            self.0[id as usize / 64] &= !(1 << (id % 64));
        }
        there
    }
}

/// All batches, and the windows that ended lately.
///
/// A counter's name is told in the batch that reports it first, and again in every whole state: a link
/// that got a state and all batches since knows every name, and needs no list of its own.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    batches: VecDeque<Batch>,
    closed: VecDeque<(Time, Change)>,
    draft: Draft,
    named: Ids,
    forgotten: Vec<KeyId>,
    /// Windows that ended and could not be kept for managers that were away.
    pub dropped: u64,
}

impl Outbox {
    /// Adds what changed; of a window that has ended with the end, in manager time. [`Outbox::seal`]
    /// must follow, at the latest when this returns true. `key` answers the counter's name, and is
    /// asked only where the name is needed.
    pub fn add(
        &mut self,
        key: impl Fn() -> Option<CounterKey>,
        entry: UsageEntry,
        ended: Option<Time>,
    ) -> bool {
        if let Some(end) = ended {
            self.closed.extend(key().map(|key| (end, Change { key, entry })));
            if self.closed.len() > CLOSED {
                self.closed.pop_front();
                self.dropped += 1;
            }
        }
        if self.named.insert(entry.key)
            && let Some(key) = key()
        {
            self.draft.names.push(entry.key, &key);
        }
        self.draft.entries.push(&entry);
        self.draft.full()
    }

    /// Makes a batch of what was added and forgotten, if anything was.
    pub fn seal(&mut self, stamp: impl FnOnce() -> u64) {
        if self.draft.is_empty() && self.forgotten.is_empty() {
            return;
        }
        let rest = self.forgotten.len().saturating_sub(FRAME_ENTRIES);
        let forgotten = self.forgotten.split_off(rest);
        self.batches.push_back(self.draft.seal(stamp(), forgotten));
        if self.batches.len() > BATCHES {
            self.batches.pop_front();
        }
    }

    /// The counter has left; its number may name another one later.
    pub fn forget_name(&mut self, id: KeyId) {
        if self.named.remove(id) {
            self.forgotten.push(id);
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

/// The whole state, for links that begin.
#[derive(Debug, Clone, Default)]
pub struct State {
    parts: Vec<Batch>,
    draft: Draft,
    named: Ids,
    forgotten: Vec<KeyId>,
}

impl State {
    /// Begins with the windows that ended lately.
    pub fn new(outbox: &Outbox) -> Self {
        let mut state = State::default();
        for change in outbox.closed(Time::ZERO) {
            let id = change.entry.key;
            if !outbox.named.contains(id) && !state.named.contains(id) {
                state.forgotten.push(id); // its counter has left
            }
            state.add(&change.key, change.entry);
        }
        state
    }

    /// Adds what a counter has counted.
    pub fn add(&mut self, key: &CounterKey, entry: UsageEntry) {
        self.name(entry.key, key);
        self.draft.entries.push(&entry);
        if self.draft.full() {
            self.parts.push(self.draft.seal(0, Vec::new()));
        }
    }

    /// Names a counter that has counted nothing in its present window, if batches speak of it.
    pub fn add_name(&mut self, outbox: &Outbox, id: KeyId, key: &CounterKey) {
        if outbox.named.contains(id) {
            self.name(id, key);
        }
    }

    fn name(&mut self, id: KeyId, key: &CounterKey) {
        if self.named.insert(id) {
            self.draft.names.push(id, key);
        }
    }

    /// The parts, without stamps; at least one.
    fn finish(mut self) -> Vec<Batch> {
        if !self.draft.is_empty() || self.parts.is_empty() {
            self.parts.push(self.draft.seal(0, Vec::new()));
        }
        for forgotten in self.forgotten.chunks(FRAME_ENTRIES) {
            let forgotten = forgotten.to_vec();
            self.parts.push(Batch { forgotten, ..Batch::default() });
        }
        self.parts
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
    greeted: bool,
    state_sent: bool,
    sent_at: Time,
    /// What the agent says of itself has changed, and must not wait.
    pub restless: bool,
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

    /// The whole state, under the stamps that `stamp` gives out.
    pub fn load_state(&mut self, state: State, mut stamp: impl FnMut() -> u64) {
        self.wants_state = false;
        self.backlog = state.finish().into();
        for part in &mut self.backlog {
            part.stamp = stamp();
            self.cursor = part.stamp;
        }
    }

    /// Whether a batch sent now would arrive soon. One that hangs keeps nobody waiting.
    pub fn keeps_up(&self, outbox: &Outbox, now: Time) -> bool {
        let hangs = self.connection.is_none() || now.since(self.acked_at) > GAP;
        hangs || self.in_flight.len() < IN_FLIGHT && self.behind(outbox) == 0
    }

    /// How many batches it has still to get.
    pub fn behind(&self, outbox: &Outbox) -> u64 {
        let batches = outbox.batches.iter().filter(|b| b.stamp > self.cursor).count();
        (batches + self.backlog.len()) as u64
    }

    /// The next frame to send, if the manager keeps up. `beat` asks for a sign of life.
    pub fn next_frame(
        &mut self,
        outbox: &Outbox,
        identity: &AgentIdentity,
        status: impl FnOnce() -> AgentStatus,
        beat: impl FnOnce() -> Option<u64>,
        now: Time,
    ) -> Option<UsageReport> {
        self.connection?;
        if self.in_flight.len() >= IN_FLIGHT || self.wants_state {
            return None;
        }
        let mut frame = UsageReport::default();
        if let Some(batch) = self.backlog.pop_front() {
            batch.fill(&mut frame);
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
            batch.clone().fill(&mut frame);
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
        self.restless = false;
        Some(frame)
    }

    /// When the last frame left.
    pub fn sent_at(&self) -> Time {
        self.sent_at
    }
}

impl Batch {
    fn fill(self, frame: &mut UsageReport) {
        frame.seq = self.stamp;
        frame.forgotten = self.forgotten;
        frame.names = self.names;
        frame.entries = self.entries;
    }
}
