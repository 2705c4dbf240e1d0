//! Seeded randomness: SplitMix64 (Steele, Lea & Flood 2014). Small, and the same everywhere.

use std::time::Duration;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Chance(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 for 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.draw() % n }
    }

    /// Between both, ends included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n.max(1)) == 0
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        // 53 bits fill a mantissa exactly.
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let mantissa = (self.draw() >> 11) as f64;
        mantissa / 9_007_199_254_740_992.0
    }

    /// The pause before the next of events that come `per_second` on average (Poisson).
    pub fn pause(&mut self, per_second: f64) -> Duration {
        if per_second <= 0.0 {
            return Duration::from_secs(1 << 30);
        }
        Duration::from_secs_f64((-(1.0 - self.unit()).ln() / per_second).clamp(1e-6, 1e9))
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let i = usize::try_from(self.below(of.len() as u64)).unwrap_or(0);
        &of[i]
    }
}
