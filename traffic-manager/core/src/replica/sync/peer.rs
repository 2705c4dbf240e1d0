//! One peer: what it lacks, what is on its way to it, and what it said last.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use weir_proto::{
    id::ManagerLife,
    peer::{Delta, EntryKey, Heartbeat, MAX_DELTA_ENTRIES, PeerFrame, size},
    time::Time,
};

use super::{
    super::{
        Output,
        entries::{self, Entries},
    },
    parts::{self, PART},
    pending::{Mark, Pending},
};

/// Deltas on their way to one peer.
const IN_FLIGHT: usize = 4;
/// A delta that is not acknowledged is sent again after this; each time in a row after twice as long.
const PATIENCE: Duration = Duration::from_secs(2);
const MOST_PATIENCE: Duration = Duration::from_secs(16);
/// Between two rounds of digests with one peer; after each that changed nothing twice as long.
const PAUSE: Duration = Duration::from_secs(1);
const MOST_PAUSE: Duration = Duration::from_secs(32);
/// Most keys awaited in one round; what is beyond comes with the next one.
const MAX_WANTED: usize = 1 << 20;

/// A delta that is not acknowledged yet.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) keys: Vec<(EntryKey, Mark)>,
    /// Our revision when it was sent.
    pub(super) revision: u64,
    sent: Time,
}

/// A comparison of digests that we asked for.
#[derive(Debug, Clone)]
pub(super) struct Round {
    number: u64,
    parts: Option<u32>,
    got: BTreeSet<u32>,
    wanted: BTreeSet<u64>,
}

/// One peer, in its newest life.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) life: ManagerLife,
    pub(super) up: bool,
    pub(super) heard: Option<Time>,
    pub(super) heartbeat: Heartbeat,
    pub(super) pending: Pending,
    /// What it had no room for, until the entry changes or it asks again: no delta waits behind it.
    refused: BTreeMap<EntryKey, Mark>,
    pub(super) flights: BTreeMap<u64, Flight>,
    /// Since when its root digest has differed from ours.
    pub(super) differs_since: Option<Time>,
    /// It has told all that it knew when it came up.
    pub(super) synced: bool,
    /// What this life of it lacks is known: it has answered a digest, or had the same root.
    compared: bool,
    patience: Duration,
    round: Option<Round>,
    next_round: Time,
    pause: Duration,
}

impl Peer {
    pub(super) fn new(life: ManagerLife, now: Time) -> Peer {
        Peer {
            life,
            up: false,
            heard: None,
            heartbeat: Heartbeat::default(),
            pending: Pending::default(),
            refused: BTreeMap::new(),
            flights: BTreeMap::new(),
            differs_since: None,
            synced: false,
            compared: false,
            patience: PATIENCE,
            round: None,
            next_round: now,
            pause: PAUSE,
        }
    }

    /// It lacks this entry.
    pub(super) fn lacks(&mut self, key: EntryKey, mark: Mark) {
        let mark = self.refused.remove(&key).map_or(mark, |old| old.min(mark));
        self.pending.insert(key, mark);
    }

    /// It holds this entry.
    pub(super) fn holds(&mut self, key: &EntryKey) {
        self.refused.remove(key);
        self.pending.remove(key);
    }

    /// These entries are here no more.
    pub(super) fn forget(&mut self, keys: &BTreeSet<EntryKey>) {
        keys.iter().for_each(|key| self.holds(key));
        for flight in self.flights.values_mut() {
            flight.keys.retain(|(key, _)| !keys.contains(key));
        }
    }

    /// It had no room for this entry.
    pub(super) fn refuses(&mut self, key: EntryKey, mark: Mark) {
        if !self.pending.has(&key) {
            self.refused.insert(key, mark);
        }
    }

    /// A link is open again: what was on its way may be lost.
    pub(super) fn link_up(&mut self, now: Time) {
        self.up = true;
        self.synced = false;
        self.take_back(Time::MAX, now);
        self.patience = PATIENCE;
        self.hurry(now);
    }

    /// Something moves: look for differences soon.
    pub(super) fn hurry(&mut self, now: Time) {
        self.pause = PAUSE;
        self.next_round = self.next_round.min(now + PAUSE);
    }

    /// Deltas sent before `deadline` are to be sent again. Returns how many.
    fn take_back(&mut self, deadline: Time, _now: Time) -> u64 {
        let late: Vec<u64> =
            self.flights.iter().filter(|(_, f)| f.sent <= deadline).map(|(n, _)| *n).collect();
        for number in &late {
            let keys = self.flights.remove(number).map(|flight| flight.keys).unwrap_or_default();
            keys.into_iter().for_each(|(key, mark)| self.lacks(key, mark));
        }
        late.len() as u64
    }

    /// Takes back what was not acknowledged in time. Returns how many deltas.
    pub(super) fn resend(&mut self, now: Time) -> u64 {
        let resent = self.take_back(now - self.patience, now);
        if resent > 0 {
            self.patience = (self.patience * 2).min(MOST_PATIENCE);
        }
        resent
    }

    /// The delta is durable there; all of it, or not.
    pub(super) fn acked(&mut self, number: u64, all: bool, now: Time) -> Option<Flight> {
        let flight = self.flights.remove(&number)?;
        self.patience = PATIENCE;
        if all {
            self.hurry(now);
        }
        Some(flight)
    }

    /// It had room for this entry.
    pub(super) fn took(&self, key: &EntryKey) -> bool {
        !self.refused.contains_key(key)
    }

    /// What deltas on their way are about.
    pub(super) fn on_the_way(&self) -> BTreeSet<&EntryKey> {
        self.flights.values().flat_map(|flight| &flight.keys).map(|(key, _)| key).collect()
    }

    /// It has all that we have.
    pub(super) fn equal(&mut self, now: Time) {
        self.pending.clear();
        self.refused.clear();
        self.flights.clear();
        self.differs_since = None;
        self.round = None;
        self.synced = true;
        self.compared = true;
        self.patience = PATIENCE;
        self.hurry(now);
    }

    /// Everything that it is not known to hold is at least as new as this.
    pub(super) fn oldest(&self) -> Option<Mark> {
        let on_the_way = self.flights.values().flat_map(|flight| &flight.keys);
        let pending = self.pending.first().map(|(mark, _)| mark);
        let known = on_the_way.map(|(_, mark)| mark).chain(self.refused.values()).copied();
        known.chain(pending).min()
    }

    /// The revision up to which it holds everything, if that is known; `now` is ours.
    pub(super) fn acked_revision(&self, now: u64) -> Option<u64> {
        let oldest = self.oldest().map_or(Some(now), |mark| mark.revision.checked_sub(1));
        oldest.filter(|_| self.compared)
    }

    /// How many entries it is not known to hold.
    pub(super) fn outstanding(&self) -> usize {
        let on_the_way = self.flights.values().map(|flight| flight.keys.len());
        self.pending.len() + self.refused.len() + on_the_way.sum::<usize>()
    }

    /// Sends what it lacks, as far as the window allows. A register that is larger than a delta goes in
    /// several at once.
    pub(super) fn fill(
        &mut self,
        entries: &Entries,
        (now, revision): (Time, u64),
        next_number: &mut u64,
        out: &mut Vec<Output>,
    ) {
        while self.up && self.flights.len() < IN_FLIGHT && !self.pending.is_empty() {
            let (mut parcel, mut keys, mut size) = (Vec::new(), Vec::new(), 0);
            while let Some((mark, key)) = self.pending.first() {
                let state = entries.get(&key);
                let Some(entry) = state.and_then(|state| entries::entry(&key, &state)) else {
                    self.pending.remove(&key);
                    continue;
                };
                let more = size::of(&entry);
                let full = size + more > PART || parcel.len() >= MAX_DELTA_ENTRIES;
                if full && !parcel.is_empty() {
                    break;
                }
                self.pending.remove(&key);
                keys.push((key, mark));
                size += more;
                parcel.push(entry);
            }
            let parcels = if size > PART {
                let parts = parcel.into_iter().flat_map(parts::split);
                parts.map(|entry| vec![entry]).collect()
            } else {
                vec![parcel]
            };
            for entries in parcels.into_iter().filter(|entries| !entries.is_empty()) {
                *next_number += 1;
                let flight = Flight { keys: keys.clone(), revision, sent: now };
                self.flights.insert(*next_number, flight);
                let delta = PeerFrame::Delta(Delta { number: *next_number, entries });
                out.push(Output::Send(self.life.id.clone(), delta));
            }
        }
    }

    /// Whether to compare digests now: at once on a new link; then when roots have differed for a second
    /// and nothing is on its way, or for long.
    pub(super) fn round_due(&self, now: Time) -> bool {
        let idle = self.pending.is_empty() && self.flights.is_empty();
        let patience = if idle { PAUSE } else { PAUSE * 10 };
        let differs = self.differs_since.is_some_and(|since| since + patience <= now);
        self.up && now >= self.next_round && (!self.synced || differs)
    }

    pub(super) fn begin_round(&mut self, number: u64, now: Time) {
        self.round =
            Some(Round { number, parts: None, got: BTreeSet::new(), wanted: BTreeSet::new() });
        self.next_round = now + self.pause;
        self.pause = (self.pause * 2).min(MOST_PAUSE);
    }

    /// One part of the answer to our digests, and what we want of it.
    pub(super) fn answered(&mut self, round: u64, (part, parts): (u32, u32), wanted: &[u64]) {
        let Some(ours) = self.round.as_mut().filter(|ours| ours.number == round) else { return };
        ours.parts = Some(parts);
        if part < parts && ours.got.insert(part) {
            let room = MAX_WANTED.saturating_sub(ours.wanted.len());
            ours.wanted.extend(wanted.iter().take(room));
        }
        self.compared |= ours.got.len() as u64 >= u64::from(parts);
        self.finish_round();
    }

    /// An entry came from it.
    pub(super) fn arrived(&mut self, hashes: impl Iterator<Item = u64>) {
        if let Some(round) = &mut self.round {
            hashes.for_each(|hash| {
                round.wanted.remove(&hash);
            });
        }
        self.finish_round();
    }

    fn finish_round(&mut self) {
        let complete = |round: &Round| {
            let parts = round.parts.map(|parts| usize::try_from(parts).unwrap_or(usize::MAX));
            parts.is_some_and(|parts| round.got.len() >= parts) && round.wanted.is_empty()
        };
        if self.round.as_ref().is_some_and(complete) {
            self.round = None;
            self.synced = true;
        }
    }
}
