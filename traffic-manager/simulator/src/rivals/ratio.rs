//! Drop ratios, as in Uber's global rate limiter: managers tell agents which part of all requests to
//! refuse, so that what is left of the limit lasts to the end of the window. The ratio stays in force
//! until another one comes, so that a new window begins with that of the last one (its memory).

use super::{Sight, Strategy, Tally, Word};

/// Smaller changes are not worth a message.
const STEP: f64 = 0.005;

/// The ratio.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ratio;

impl Strategy for Ratio {
    fn admits(&self, sight: &Sight) -> bool {
        sight.word.is_none_or(|word| sight.dice >= word.refuse)
    }

    #[expect(clippy::cast_precision_loss, reason = "limits are small here")]
    fn word(&self, tally: &Tally, tick: bool) -> Option<Word> {
        if !tick {
            return None;
        }
        let room = tally.limit.saturating_sub(tally.used) as f64;
        let expected = tally.rate * tally.left.as_secs_f64().max(0.001);
        let refuse = if room <= 0.0 {
            1.0
        } else if expected > room {
            1.0 - room / expected
        } else {
            0.0
        };
        // The window does not matter to agents; it must not make the same ratio another word.
        Some(Word { window: 0, refuse: (refuse / STEP).round() * STEP })
    }
}
