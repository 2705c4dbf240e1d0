//! Limits, and the groups that replace them.

use std::{fmt, time::Duration};

use super::PolicyName;
use crate::{
    amount::{MAX_AMOUNT, Unit},
    expr::Expr,
    schedule::Schedule,
    window::{Algorithm, MAX_WINDOW_SECS, Window},
};

/// So much of a unit per window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// What is counted.
    pub unit: Unit,
    /// How much passes per window: 0 (nothing) to [`MAX_AMOUNT`] (`unlimited`). For
    /// [`Unit::Concurrency`], how much may be in flight.
    pub amount: u64,
    /// The span. For concurrency the lease: when a request that nobody reports as finished is taken
    /// for finished.
    pub window: Window,
    /// How usage leaves the window.
    pub algorithm: Algorithm,
    /// Token bucket: how much it holds, if not [`Limit::amount`].
    pub burst: Option<u64>,
}

impl Limit {
    /// Its identity among the limits of one list, whatever the amount:
    /// `requests/1m/fixed_window`. Raising a limit keeps its counters.
    pub fn id(&self) -> String {
        match self.unit {
            Unit::Concurrency => format!("{}/{}", self.unit, self.window),
            _ => format!("{}/{}/{}", self.unit, self.window, self.algorithm),
        }
    }

    /// The most that passes at once: the bucket's size, or else the amount.
    #[inline]
    pub fn capacity(&self) -> u64 {
        match self.algorithm {
            Algorithm::TokenBucket if self.amount == 0 => 0,
            Algorithm::TokenBucket => self.burst.unwrap_or(self.amount),
            _ => self.amount,
        }
    }

    /// After so long without use nothing is left of it: the window, or the time in which an empty
    /// bucket fills, if that is longer.
    pub fn horizon(&self) -> Window {
        if self.algorithm != Algorithm::TokenBucket || self.amount == 0 {
            return self.window;
        }
        let secs = u128::from(self.window.secs()) * u128::from(self.capacity());
        let secs = secs.div_ceil(u128::from(self.amount)).max(u128::from(self.window.secs()));
        let secs = u64::try_from(secs).unwrap_or(u64::MAX).min(MAX_WINDOW_SECS);
        Window::from_secs(secs).unwrap_or(self.window)
    }

    /// A token bucket with so much left is full after this, if nothing is taken from it; `None` for other
    /// limits, and for a bucket that never fills.
    #[inline]
    pub fn refilled_in(&self, left: u64) -> Option<Duration> {
        if self.algorithm != Algorithm::TokenBucket || self.amount == 0 {
            return None;
        }
        let missing = u128::from(self.capacity().saturating_sub(left));
        let micros = (missing * u128::from(self.window.micros())).div_ceil(u128::from(self.amount));
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
    }

    /// Whether windows have no fixed start: usage leaves bit by bit.
    pub fn rolling(&self) -> bool {
        self.unit == Unit::Concurrency || self.algorithm != Algorithm::FixedWindow
    }

    /// Whether nothing ever reaches it.
    pub fn is_unlimited(&self) -> bool {
        self.amount == MAX_AMOUNT
    }
}

/// Limits that replace the policy's own while a condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Names the group's counters; without one they are named by the group's place, so that moving
    /// an unnamed group begins new counters.
    pub name: Option<PolicyName>,
    /// Of which requests; `None` = of all.
    pub when: Option<Expr>,
    /// At which times; `None` = always. This or `when` is given.
    pub during: Option<Schedule>,
    /// At least one, at most [`MAX_LIMITS`](super::MAX_LIMITS).
    pub limits: Vec<Limit>,
}

impl Group {
    /// The group's name, or `group-1` for the first of the policy (`index` 0).
    pub fn label(&self, index: usize) -> impl fmt::Display + '_ {
        Label { group: self, index }
    }

    /// The id of one of its limits, unique in the policy: `office:requests/1m/fixed_window`.
    pub fn limit_id(&self, index: usize, limit: &Limit) -> String {
        format!("{}:{}", self.label(index), limit.id())
    }
}

/// Other amounts for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The value of each part of the policy's key.
    pub key: Vec<String>,
    /// Limits of the policy with other amounts; limits that are missing here keep theirs.
    pub limits: Vec<Limit>,
}

/// Counters that were set back: those of one key, or of the whole policy. They go on under new names,
/// which all agents take up with the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// The key; `None` = all.
    pub key: Option<Vec<String>>,
    /// When, in seconds since 1970; tells resets apart.
    pub at: u64,
}

struct Label<'a> {
    group: &'a Group,
    index: usize,
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group.name {
            Some(name) => name.fmt(f),
            None => write!(f, "group-{}", self.index + 1),
        }
    }
}
