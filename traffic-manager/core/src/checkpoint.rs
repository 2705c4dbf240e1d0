//! Long windows' counters as rows of a store, so that not even the death of every manager and agent
//! forgets them.
//!
//! The rows are a log of pieces, numbered in order. A round writes what was used since the round before;
//! once such rows outweigh the last full round, the next one is full, and all rows before it go. So
//! ended windows leave without an index of what is stored, and no counter takes memory for it. A round
//! that breaks off harms nothing: pieces are merged by stamps, in any order.
//!
//! A manager that is told to stop writes a last round of shorter windows, too: then a restart of the
//! whole group, agents and all, forgets nothing.

use std::time::Duration;

use weir_proto::{
    convert::WireError,
    counters::{Counters, CountersCursor},
    time::Time,
};

use crate::{
    fleet::{CRASH_HOLD, SKEW},
    manager::{Export, MAX_PIECE, Manager},
};

/// Windows that are longer than this are kept.
pub const LONG: Duration = Duration::from_secs(600);
/// A last round keeps windows that are longer than this. Shorter ones are over when a manager that starts
/// may grant anything in them.
pub const BRIEF: Duration = CRASH_HOLD;
/// So often a round begins: what agents used since, and no manager or agent lives to tell, is lost.
pub const INTERVAL: Duration = Duration::from_secs(10);
/// Bytes of one row, about.
const ROW: usize = 256 << 10;
/// Most bytes of one row, with the last counter in it.
pub const MAX_ROW_BYTES: usize = MAX_PIECE;
/// Rows of changes are rewritten as one full round when they weigh more than that, and more than this.
const FEW_BYTES: usize = 4 << 20;
/// Or when there are more of them than this.
const MANY_ROWS: u64 = 1_000;
/// Rows taken out at once.
const DROPS: u64 = 256;

/// One row to put, or to take out.
pub type Write = (Vec<u8>, Option<Vec<u8>>);

/// Why a stored row was not taken in. The rest is of use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Rows are numbered by 8 bytes.
    #[error("a checkpoint's key has {0} bytes, not 8")]
    Key(usize),
    /// The row is damaged, or of another version.
    #[error("a checkpoint's row is not readable: {0}")]
    Value(#[from] WireError),
}

/// What is stored, and what is being written.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    longer_than: Duration,
    interval: Duration,
    /// The first row that may be stored, and the next to write.
    oldest: u64,
    next: u64,
    /// The first row of the last full round.
    base: u64,
    base_bytes: usize,
    changed_bytes: usize,
    /// When the last finished round began.
    since: Option<Time>,
    round: Option<Round>,
    /// Where the oldest row is once the last batch is stored.
    dropping: Option<u64>,
}

#[derive(Debug, Clone)]
struct Round {
    begun: Time,
    cursor: Option<CountersCursor>,
    since: Time,
    first: u64,
    bytes: usize,
}

impl Default for Checkpoint {
    /// Windows longer than [`LONG`], each [`INTERVAL`].
    fn default() -> Self {
        Checkpoint::new(LONG, INTERVAL)
    }
}

impl Checkpoint {
    /// Keeps windows that are longer than that, and begins a round this often. Nothing is stored yet.
    pub fn new(longer_than: Duration, interval: Duration) -> Self {
        Checkpoint {
            longer_than,
            interval,
            oldest: 0,
            next: 0,
            base: 0,
            base_bytes: 0,
            changed_bytes: 0,
            since: None,
            round: None,
            dropping: None,
        }
    }

    /// Takes a stored row before the first round. What it holds is to be imported.
    ///
    /// # Errors
    /// [`RowError`]; such a row goes after the next full round.
    pub fn load(&mut self, key: &[u8], value: &[u8], now: Time) -> Result<Counters, RowError> {
        let number: [u8; 8] = key.try_into().map_err(|_| RowError::Key(key.len()))?;
        let number = u64::from_be_bytes(number);
        self.oldest = if self.next == 0 { number } else { self.oldest.min(number) };
        self.next = self.next.max(number.saturating_add(1));
        let counters = Counters::from_bytes(value)?;
        let age = now.since(counters.taken_at + SKEW);
        Ok(counters.aged(age))
    }

    /// When [`Checkpoint::step`] has something to do: long ago, while a round is under way.
    pub fn next_step(&self) -> Time {
        let under_way = self.round.is_some() || self.dropping.unwrap_or(self.oldest) < self.base;
        let since = self.since.filter(|_| !under_way);
        since.map_or(Time::ZERO, |since| since + self.interval)
    }

    /// The next batch to store, maybe an empty one. To be called once the batch before is stored; if it
    /// could not be, [`Checkpoint::failed`] first.
    pub fn step(&mut self, manager: &Manager, now: Time) -> Vec<Write> {
        self.oldest = self.dropping.take().unwrap_or(self.oldest);
        let mut writes = Vec::new();
        let due = self.since.is_none_or(|since| since + self.interval <= now);
        if self.round.is_some() || due {
            self.advance(manager, now, &mut writes);
        }
        let until = self.base.min(self.oldest.saturating_add(DROPS));
        if self.oldest < until {
            writes.extend((self.oldest..until).map(|row| (row.to_be_bytes().to_vec(), None)));
            self.dropping = Some(until);
        }
        writes
    }

    /// Begins the last round: a full one of all windows longer than [`BRIEF`]. It is to be stored until
    /// [`Checkpoint::next_step`] is a later time.
    pub fn finish(&mut self) {
        self.longer_than = self.longer_than.min(BRIEF);
        (self.since, self.round) = (None, None);
    }

    /// The last batch was not stored: everything is written anew in the next round.
    pub fn failed(&mut self) {
        (self.round, self.dropping) = (None, None);
        // Whatever is stored of it goes with the next full round.
        self.base = self.base.min(self.oldest);
        self.changed_bytes = usize::MAX;
    }

    fn advance(&mut self, manager: &Manager, now: Time, writes: &mut Vec<Write>) {
        let full = self.since.is_none()
            || self.changed_bytes > self.base_bytes.max(FEW_BYTES)
            || self.next - self.base > MANY_ROWS + self.base_bytes as u64 / ROW as u64;
        let since = self.since.filter(|_| !full).unwrap_or(Time::ZERO);
        let begin = || Round { begun: now, cursor: None, since, first: self.next, bytes: 0 };
        let mut round = self.round.take().unwrap_or_else(begin);
        let piece = manager.export_counters(
            &Export {
                cursor: round.cursor,
                budget: ROW,
                longer_than: self.longer_than,
                since: round.since,
                in_flight: false,
            },
            now,
        );
        let next = piece.next;
        if !piece.is_empty() {
            let value = Counters { next: None, ..piece }.to_bytes();
            round.bytes += value.len();
            writes.push((self.next.to_be_bytes().to_vec(), Some(value)));
            self.next += 1;
        }
        if next.is_some() {
            self.round = Some(Round { cursor: next, ..round });
            return;
        }
        self.since = Some(round.begun);
        if round.since == Time::ZERO {
            (self.base, self.base_bytes, self.changed_bytes) = (round.first, round.bytes, 0);
        } else {
            self.changed_bytes = self.changed_bytes.saturating_add(round.bytes);
        }
    }
}
