//! What is in flight: charged with a check, and given back with its release or when its time is over.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hasher,
};

use foldhash::{
    SharedSeed,
    fast::{FixedState, FoldHasher},
};
use parking_lot::Mutex;
use weir_proto::{
    time::{Time, WindowStart},
    usage::KeyId,
};

use super::{Found, Table};

/// Most leases at a time; a request that needs one more is refused.
pub const MAX_LEASES: usize = 1 << 20;

/// Names one admitted request. Numbers of different agents, and of one agent's lives, hardly ever
/// coincide; they are no secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

impl std::fmt::Display for LeaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for LeaseId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(LeaseId)
    }
}

/// One counter's part of a request.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Where the counter was.
    pub slot: u32,
    /// Its number, which tells whether it still is.
    pub id: KeyId,
    /// The window in which it was charged.
    pub window: WindowStart,
    /// How much.
    pub cost: u64,
    /// When it is given back, reported or not.
    pub until: Time,
}

/// Tells the hash of leases from those of keys.
const LEASES: u64 = u64::MAX;

/// All leases.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Inner>);

#[derive(Debug, Clone, Default)]
struct Inner {
    made: u64,
    /// Ids come from here alone: nobody outside can choose colliding ones.
    held: HashMap<LeaseId, Vec<Held>, FixedState>,
    ends: BTreeSet<(Time, LeaseId)>,
}

/// When the next part ends.
fn end(parts: &[Held]) -> Time {
    parts.iter().map(|part| part.until).min().unwrap_or(Time::MAX)
}

impl Leases {
    /// Keeps the parts of a request; gives them back when there is no room.
    pub(super) fn keep(&self, parts: Vec<Held>, seed: &SharedSeed) -> Result<LeaseId, Vec<Held>> {
        let mut inner = self.0.lock();
        if inner.held.len() >= MAX_LEASES {
            return Err(parts);
        }
        let id = loop {
            inner.made = inner.made.wrapping_add(1);
            let mut hasher = FoldHasher::with_seed(LEASES, seed);
            hasher.write_u64(inner.made);
            let id = LeaseId(hasher.finish());
            if !inner.held.contains_key(&id) {
                break id;
            }
        };
        inner.ends.insert((end(&parts), id));
        inner.held.insert(id, parts);
        Ok(id)
    }

    /// Ends one; its parts, if it was there.
    pub(super) fn end(&self, id: LeaseId) -> Option<Vec<Held>> {
        let mut inner = self.0.lock();
        let parts = inner.held.remove(&id)?;
        inner.ends.remove(&(end(&parts), id));
        Some(parts)
    }

    /// Forgets all; none of them can be released any more.
    pub(super) fn clear(&self) {
        let mut inner = self.0.lock();
        inner.held.clear();
        inner.ends.clear();
    }

    /// The same, to go on with apart.
    pub(super) fn fork(&self) -> Leases {
        Leases(Mutex::new(self.0.lock().clone()))
    }

    /// Takes out what is over.
    pub(super) fn expired(&self, now: Time) -> Vec<Held> {
        let mut inner = self.0.lock();
        let mut expired = Vec::new();
        while let Some((until, id)) = inner.ends.first().copied() {
            if until > now {
                break;
            }
            inner.ends.pop_first();
            let parts = inner.held.remove(&id).unwrap_or_default();
            let (over, rest): (Vec<Held>, Vec<Held>) =
                parts.into_iter().partition(|part| part.until <= now);
            expired.extend(over);
            if !rest.is_empty() {
                inner.ends.insert((end(&rest), id));
                inner.held.insert(id, rest);
            }
        }
        expired
    }
}

impl Table {
    /// Keeps what a request holds until it is released; `None` when there is no room, and nothing is
    /// kept.
    pub fn hold(&self, held: Vec<Held>) -> Option<LeaseId> {
        self.leases.keep(held, &self.seed).ok()
    }

    /// Gives back what a request held. False if that was done before.
    pub fn release(&self, lease: LeaseId) -> bool {
        let Some(parts) = self.leases.end(lease) else { return false };
        self.give_back(&parts);
        true
    }

    /// Gives back what was held for too long.
    pub fn expire_leases(&self, now: Time) {
        self.give_back(&self.leases.expired(now));
    }

    fn give_back(&self, parts: &[Held]) {
        for Held { slot, id, window, cost, .. } in parts {
            self.refund(*slot, *id, *window, *cost);
        }
    }

    /// Takes back what was counted in a counter, if it is still there. One that has left since then has
    /// reported what it counted.
    pub fn refund(&self, slot: u32, id: KeyId, window: WindowStart, cost: u64) {
        let Some(counter) = self.at(slot).filter(|counter| counter.id == id) else { return };
        let mut found = Found { slot, counter };
        found.counter.refund(cost, window);
        self.touch(&mut found);
    }
}
