//! What was spent of a rolling counter and still counts, in manager time.
//!
//! A sliding window is a ring of sub-windows. The oldest counts fully until it has left, so that no
//! window of the full length ever holds more than the limit; the price is at most 1/(SLOTS + 1) of
//! sustained throughput ("Rolling windows" in `ALGORITHM.md`). A token bucket is its level: the leaky
//! bucket as a meter, which is the generic cell rate algorithm (ITU-T I.371) in whole units.

use std::{collections::VecDeque, time::Duration};

use weir_proto::time::Time;

use crate::limits::{LimitInfo, Meter};

/// Sub-windows per window.
pub const SLOTS: u32 = 30;

/// What was spent.
#[derive(Debug, Clone, Default)]
pub struct Spent {
    ring: Ring,
    level: Level,
}

impl Spent {
    /// Charges `amount` at `now`.
    pub fn charge(&mut self, amount: u64, limit: &LimitInfo, now: Time) {
        match limit.meter {
            Meter::Sliding => self.ring.charge(amount, limit.window.duration(), now),
            Meter::Bucket { .. } => self.level.charge(amount, limit, now),
            Meter::Window | Meter::Gauge => {}
        }
    }

    /// What still counts at `now`; nothing where use does not leave with time.
    pub fn at(&mut self, limit: &LimitInfo, now: Time) -> u64 {
        self.beside(limit, &[], now)
    }

    /// The same while others, who tell nothing, may use a bucket's refill since then, each at so much
    /// per window.
    pub fn beside(&mut self, limit: &LimitInfo, others: &[(Time, u64)], now: Time) -> u64 {
        match limit.meter {
            Meter::Sliding => self.ring.spent(limit.window.duration(), now),
            Meter::Bucket { refill } => self.level.at(refill, others, limit, now),
            Meter::Window | Meter::Gauge => 0,
        }
    }

    /// Sliding: what still counts at `now`, by how long ago it was spent at the latest, oldest first.
    pub fn ages(&self, limit: &LimitInfo, now: Time) -> Vec<(Duration, u64)> {
        match limit.meter {
            Meter::Sliding => self.ring.ages(limit.window.duration(), now),
            _ => Vec::new(),
        }
    }

    /// Sliding: takes over what another manager told, amounts by age.
    pub fn carry(&mut self, ages: &[(Duration, u64)], limit: &LimitInfo, now: Time) {
        let length = limit.window.duration();
        ages.iter().for_each(|(age, amount)| self.ring.insert(*amount, length, now - *age));
        self.ring.expire(length, now);
    }

    /// When it is worth looking again: something will have left then.
    pub fn next_release(&self, limit: &LimitInfo, now: Time) -> Time {
        let length = limit.window.duration();
        match limit.meter {
            Meter::Bucket { refill } if refill > 0 => {
                // A thirtieth of the bucket, or one unit.
                let units = u128::from((limit.amount / u64::from(SLOTS)).max(1));
                let micros = units * length.as_micros() / u128::from(refill);
                now + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX).max(1_000))
            }
            Meter::Gauge => now + GAUGE,
            _ => {
                let soonest = now + length / SLOTS;
                self.ring.next_release(length).unwrap_or(soonest).max(soonest)
            }
        }
    }
}

/// Requests end at any time: who waits for one to end asks again after this.
const GAUGE: Duration = Duration::from_millis(50);

/// The level of a bucket that leaks. At which rate it leaked is known when somebody looks: what is
/// charged before that waits.
#[derive(Debug, Clone, Default)]
struct Level {
    /// In units of 1/window: `refill` of them leave per microsecond.
    parts: u128,
    at: Time,
    waiting: VecDeque<(Time, u64)>,
}

impl Level {
    fn charge(&mut self, amount: u64, limit: &LimitInfo, now: Time) {
        let step = step(limit.window.duration());
        match self.waiting.back_mut() {
            // Late is safe: it has less time to leak.
            Some((at, sum)) if at.as_micros() / step == now.as_micros() / step => {
                (*at, *sum) = (now.max(*at), sum.saturating_add(amount));
            }
            _ => self.waiting.push_back((now, amount)),
        }
        if self.waiting.len() > SLOTS as usize
            && let Some((_, oldest)) = self.waiting.pop_front()
            && let Some((_, next)) = self.waiting.front_mut()
        {
            *next = next.saturating_add(oldest);
        }
    }

    fn at(&mut self, refill: u64, others: &[(Time, u64)], limit: &LimitInfo, now: Time) -> u64 {
        for (at, amount) in std::mem::take(&mut self.waiting) {
            self.leak(refill, others, at);
            self.parts = self.parts.saturating_add(u128::from(amount) * window(limit));
        }
        self.leak(refill, others, now);
        u64::try_from(self.parts.div_ceil(window(limit))).unwrap_or(u64::MAX)
    }

    fn leak(&mut self, refill: u64, others: &[(Time, u64)], now: Time) {
        let leaked = |since: Time, rate: u64| now.since(since).as_micros() * u128::from(rate);
        let elsewhere = others.iter().map(|(since, rate)| leaked(self.at.max(*since), *rate));
        let gone = leaked(self.at, refill).saturating_sub(elsewhere.sum());
        self.parts = self.parts.saturating_sub(gone);
        self.at = self.at.max(now);
    }
}

fn window(limit: &LimitInfo) -> u128 {
    limit.window.duration().as_micros().max(1)
}

/// Amounts by sub-window; empty ones take no room.
#[derive(Debug, Clone, Default)]
struct Ring {
    slots: VecDeque<(u64, u64)>,
    sum: u64,
}

fn step(window: Duration) -> u64 {
    let micros = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
    (micros / u64::from(SLOTS)).max(1)
}

impl Ring {
    /// Charges `amount` at `now`.
    fn charge(&mut self, amount: u64, window: Duration, now: Time) {
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

    /// Charges `amount` at `at`, which may be long ago. At most one sub-window more than there are.
    fn insert(&mut self, amount: u64, window: Duration, at: Time) {
        let slot = at.as_micros() / step(window);
        if amount == 0 || self.slots.back().is_some_and(|(last, _)| slot + u64::from(SLOTS) < *last)
        {
            return; // it has left
        }
        self.sum = self.sum.saturating_add(amount);
        match self.slots.binary_search_by_key(&slot, |(slot, _)| *slot) {
            Ok(i) => self.slots[i].1 = self.slots[i].1.saturating_add(amount),
            Err(i) => self.slots.insert(i, (slot, amount)),
        }
    }

    /// Amounts by age, that of the youngest use in each sub-window.
    fn ages(&self, window: Duration, now: Time) -> Vec<(Duration, u64)> {
        let current = now.as_micros() / step(window);
        let counts = self.slots.iter().filter(|(slot, _)| slot + u64::from(SLOTS) >= current);
        let end = |slot: u64| Time::from_micros((slot + 1).saturating_mul(step(window)));
        counts.map(|(slot, amount)| (now.since(end(*slot)), *amount)).collect()
    }

    /// Spent within the window that ends at `now`.
    fn spent(&mut self, window: Duration, now: Time) -> u64 {
        self.expire(window, now);
        self.sum
    }

    /// When the next amount leaves the window.
    fn next_release(&self, window: Duration) -> Option<Time> {
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
