//! Who asks: keys of 40 bytes, `tenant/route/user`, in the order in which they come.
//!
//! Everybody reads the same text front to back, so that the key's own bytes cost all rivals the same.

/// Bytes per key.
pub const KEY: usize = 40;
/// Requests before the order repeats.
pub const ORDER: usize = 1 << 20;

/// xorshift64*: good enough to scatter keys, and the same in every run.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed above 0.
    pub fn new(seed: u64) -> Self {
        Random(seed.max(1))
    }

    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "an endless generator is no iterator here")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        usize::try_from(self.next() % n.max(1)).unwrap_or(0)
    }

    /// From 0 to 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// How often which key comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spread {
    /// All alike.
    Uniform,
    /// The n-th with weight n^-s.
    Zipf(f64),
}

/// Key number `n`.
pub fn key(n: usize) -> String {
    format!("tenant-{:03}/route-{:04}/user-{n:013}", n % 1_000, n % 7_919)
}

/// The parts of a key: tenant, route, user.
pub fn parts(key: &str) -> (&str, &str, &str) {
    (&key[..10], &key[11..21], &key[22..])
}

/// Requests for `keys` different keys.
#[derive(Debug)]
pub struct Traffic {
    text: String,
    keys: usize,
}

impl Traffic {
    /// In this spread. Rank and number of a key have nothing to do with each other.
    pub fn new(keys: usize, spread: Spread) -> Self {
        let mut random = Random::new(0x5EED);
        let mut number: Vec<usize> = (0..keys).collect();
        for i in (1..keys).rev() {
            number.swap(i, random.below(i + 1));
        }
        let weight = |rank: usize| match spread {
            Spread::Uniform => 1.0,
            Spread::Zipf(s) => ((rank + 1) as f64).powf(-s),
        };
        let mut sum = 0.0;
        let up_to: Vec<f64> = (0..keys)
            .map(|rank| {
                sum += weight(rank);
                sum
            })
            .collect();
        let mut text = String::with_capacity(ORDER * KEY);
        for _ in 0..ORDER {
            let at = random.unit() * sum;
            let rank = up_to.partition_point(|limit| *limit <= at).min(keys - 1);
            text.push_str(&key(number[rank]));
        }
        Traffic { text, keys }
    }

    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// The key of the `i`-th request.
    pub fn at(&self, i: usize) -> &str {
        let from = i % ORDER * KEY;
        &self.text[from..from + KEY]
    }

    /// The keys of all requests, each with memory of its own.
    pub fn strings(&self) -> Vec<String> {
        (0..ORDER).map(|i| self.at(i).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_three_parts_and_one_length() {
        for n in [0, 7, 999_999] {
            let key = key(n);
            assert_eq!(key.len(), KEY);
            let (tenant, route, user) = parts(&key);
            assert_eq!(format!("{tenant}/{route}/{user}"), key);
        }
    }

    #[test]
    fn zipf_has_favourites_and_uniform_has_none() {
        let most = |spread| {
            let traffic = Traffic::new(100, spread);
            let mut count = std::collections::BTreeMap::new();
            (0..ORDER).for_each(|i| *count.entry(traffic.at(i)).or_insert(0) += 1);
            count.into_values().max().unwrap_or(0)
        };
        assert!(most(Spread::Uniform) < ORDER / 50);
        assert!(most(Spread::Zipf(1.1)) > ORDER / 10);
    }
}
