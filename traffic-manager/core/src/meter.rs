//! What a sliding window has spent: a ring of sub-windows in manager time.
//!
//! The oldest sub-window counts fully until it has left, so that no window of the full length ever
//! holds more than the limit; the price is at most 1/(SLOTS + 1) of sustained throughput
//! ("Rolling windows" in `ALGORITHM.md`).

use std::{collections::VecDeque, time::Duration};

use weir_proto::time::Time;

/// Sub-windows per window.
pub const SLOTS: u32 = 30;

/// Amounts by sub-window; empty ones take no room.
#[derive(Debug, Clone, Default)]
pub struct Ring {
    slots: VecDeque<(u64, u64)>,
    sum: u64,
}

fn step(window: Duration) -> u64 {
    let micros = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
    (micros / u64::from(SLOTS)).max(1)
}

impl Ring {
    /// Charges `amount` at `now`.
    pub fn charge(&mut self, amount: u64, window: Duration, now: Time) {
        self.expire(window, now);
        if amount == 0 {
            return;
        }
        let slot = now.as_micros() / step(window);
        self.sum = self.sum.saturating_add(amount);
        match self.slots.back_mut() {
            Some((last, n)) if *last >= slot => *n = n.saturating_add(amount),
            _ => self.slots.push_back((slot, amount)),
        }
    }

    /// Spent within the window that ends at `now`.
    pub fn spent(&mut self, window: Duration, now: Time) -> u64 {
        self.expire(window, now);
        self.sum
    }

    /// When the next amount leaves the window.
    pub fn next_release(&self, window: Duration) -> Option<Time> {
        let (slot, _) = self.slots.front()?;
        Some(Time::from_micros((slot + u64::from(SLOTS) + 1).saturating_mul(step(window))))
    }

    fn expire(&mut self, window: Duration, now: Time) {
        let current = now.as_micros() / step(window);
        while let Some((slot, amount)) = self.slots.front() {
            // A slot may hold an amount from its very end: it leaves one whole window after that.
            if slot + u64::from(SLOTS) >= current {
                return;
            }
            self.sum = self.sum.saturating_sub(*amount);
            self.slots.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: Duration = Duration::from_secs(3);

    #[test]
    fn an_amount_counts_for_a_whole_window_and_leaves_soon_after() {
        let mut ring = Ring::default();
        let at = Time::from_micros(99_999);
        ring.charge(5, W, at);
        assert_eq!(ring.spent(W, at + W), 5, "still inside [at, at + W]");
        let release = ring.next_release(W).expect("something is spent");
        assert!(release > at + W && release <= at + W + W / SLOTS);
        assert_eq!(ring.spent(W, release), 0);
        assert_eq!(ring.next_release(W), None);
    }

    #[test]
    fn a_clock_that_stands_still_loses_nothing() {
        let mut ring = Ring::default();
        ring.charge(1, W, Time::from_secs(9));
        ring.charge(1, W, Time::from_secs(8));
        assert_eq!(ring.spent(W, Time::from_secs(9)), 2);
    }
}
