//! Static shares: each of n agents may use `L/n` by itself, as gateways do whose limit is divided by
//! hand. In its favour, n is always the number of agents that live.

use super::{Sight, Strategy, Tally, Word};

/// `L/n` each.
#[derive(Debug, Clone, Copy, Default)]
pub struct StaticShare;

impl Strategy for StaticShare {
    fn admits(&self, sight: &Sight) -> bool {
        let (fleet, place) = sight.fleet;
        let fleet = fleet.max(1);
        sight.used < sight.limit / fleet + u64::from(place < sight.limit % fleet)
    }

    fn word(&self, _: &Tally, _: bool) -> Option<Word> {
        None
    }
}
