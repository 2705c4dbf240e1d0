//! Limits, and the groups that replace them.

use std::fmt;

use super::PolicyName;
use crate::{
    amount::Unit,
    expr::Expr,
    schedule::Schedule,
    window::{Algorithm, Window},
};

/// So much of a unit per window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What is counted.
    pub unit: Unit,
    /// How much passes per window: 0 (nothing) to [`MAX_AMOUNT`](crate::amount::MAX_AMOUNT).
    pub amount: u64,
    /// The span.
    pub window: Window,
    /// How usage leaves the window.
    pub algorithm: Algorithm,
}

impl Limit {
    /// Its identity among the limits of one list, whatever the amount:
    /// `requests/1m/fixed_window`. Raising a limit keeps its counters.
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.unit, self.window, self.algorithm)
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
