//! How often a store refused what it was given, and why: a disk that is full must be seen before
//! somebody's write fails.

use std::sync::atomic::{AtomicU64, Ordering};

use super::StoreError;

/// Refused commits since the store was opened, in the order of [`Refusals::REASONS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refusals(pub [u64; Refusals::REASONS.len()]);

impl Refusals {
    /// No space; the database is away; the disk or the database failed; anything else.
    pub const REASONS: [&str; 4] = ["full", "unavailable", "failed", "other"];
}

/// Counts them.
#[derive(Debug, Default)]
pub(super) struct Counts([AtomicU64; Refusals::REASONS.len()]);

impl Counts {
    pub(super) fn count(&self, error: &StoreError) {
        let place = match error {
            StoreError::Full { .. } => 0,
            StoreError::Unavailable { .. } => 1,
            StoreError::Failed { .. } => 2,
            _ => 3,
        };
        self.0[place].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Refusals {
        Refusals(self.0.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }
}
