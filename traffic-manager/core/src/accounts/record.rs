//! A record of usage, and how two of the same period become one.

use std::time::Duration;

use weir_proto::{key::CounterKey, time::Time};

/// Amounts of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amounts {
    /// Admitted, in the limit's unit.
    pub admitted: u64,
    /// Requests that were refused.
    pub refused: u64,
}

impl Amounts {
    /// The larger of each.
    pub fn max(self, other: Amounts) -> Amounts {
        Amounts {
            admitted: self.admitted.max(other.admitted),
            refused: self.refused.max(other.refused),
        }
    }

    /// The sum of each, saturating.
    pub fn plus(self, other: Amounts) -> Amounts {
        Amounts {
            admitted: self.admitted.saturating_add(other.admitted),
            refused: self.refused.saturating_add(other.refused),
        }
    }

    /// Whether neither is smaller than the other's.
    pub fn covers(self, other: Amounts) -> bool {
        self.admitted >= other.admitted && self.refused >= other.refused
    }
}

/// One of the windows of less than a minute that make up a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// When it began, in seconds since 1970.
    pub start: u64,
    /// Its amounts.
    pub amounts: Amounts,
}

/// What a counter admitted and refused in one period. Policy, limit, key and start name it; records of
/// one name are joined, in any order and any number of times.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageRecord {
    /// Name of the policy.
    pub policy: String,
    /// Id of the limit in it.
    pub limit: String,
    /// The counter's key, part by part.
    pub key: Vec<String>,
    /// When the period began, in seconds since 1970, manager time.
    pub start: u64,
    /// How long it lasted, in seconds.
    pub secs: u64,
    /// The whole.
    pub amounts: Amounts,
    /// Windows of less than a minute, by start, at most 60; none where the period is one window, or is of a
    /// rolling counter.
    pub parts: Vec<Part>,
}

impl UsageRecord {
    /// The counter; `None` if the record names none that can be.
    pub fn counter(&self) -> Option<CounterKey> {
        let parts: Vec<&str> = self.key.iter().map(String::as_str).collect();
        CounterKey::new(&self.policy, &self.limit, &parts).ok()
    }

    /// Takes in what another record of the same name says: of each window the larger amounts.
    pub fn join(&mut self, other: &UsageRecord) {
        other.parts.iter().for_each(|part| join_part(&mut self.parts, *part));
        self.amounts = self.amounts.max(other.amounts).max(sum(&self.parts));
    }

    /// Whether joining the other one would change nothing.
    pub fn covers(&self, other: &UsageRecord) -> bool {
        self.amounts.covers(other.amounts) && self.covers_parts(&other.parts)
    }

    /// Whether its period ended longer than `keep` ago. Age alone decides, so that managers remove the
    /// same records, and refuse them when a peer that was away brings them back.
    pub fn expired(&self, keep: Duration, now: Time) -> bool {
        Time::from_secs(self.start.saturating_add(self.secs)) + keep < now
    }

    pub(super) fn covers_parts(&self, parts: &[Part]) -> bool {
        let of = |start| self.parts.binary_search_by_key(&start, |part| part.start).ok();
        let covers = |part: &Part| {
            of(part.start).is_some_and(|i| self.parts[i].amounts.covers(part.amounts))
        };
        parts.iter().all(covers)
    }
}

/// Of one window the larger amounts.
pub(super) fn join_part(parts: &mut Vec<Part>, part: Part) {
    match parts.binary_search_by_key(&part.start, |p| p.start) {
        Ok(i) => parts[i].amounts = parts[i].amounts.max(part.amounts),
        Err(i) => parts.insert(i, part),
    }
}

pub(super) fn sum(parts: &[Part]) -> Amounts {
    parts.iter().fold(Amounts::default(), |sum, part| sum.plus(part.amounts))
}
