//! How much of one counter a crash of the agent would have lost lately.

use std::time::Duration;

use weir_proto::time::Time;

/// Amounts are remembered for so long, and up to twice as long.
const SPAN: Duration = Duration::from_secs(1);

/// The largest amount of one counter that went unreported until it was reported, over the last second or
/// two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Risk {
    now: u64,
    before: u64,
    since: Time,
}

impl Risk {
    /// The amount.
    pub fn amount(&self) -> u64 {
        self.now.max(self.before)
    }

    /// So much was reported of one counter at once.
    pub(super) fn note(&mut self, amount: u64) {
        self.now = self.now.max(amount);
    }

    /// A batch was made.
    pub(super) fn turn(&mut self, now: Time) {
        if self.since + SPAN <= now {
            (self.before, self.now, self.since) = (self.now, 0, now);
        }
    }
}
