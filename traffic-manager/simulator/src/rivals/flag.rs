//! Throttle flags, as in WSO2 API Manager: agents admit everything until a manager, which counts their
//! reports, says that the window is used up.

use super::{Sight, Strategy, Tally, Word};

/// The flag.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flag;

impl Strategy for Flag {
    fn admits(&self, sight: &Sight) -> bool {
        sight.word.is_none_or(|word| word.window != sight.window)
    }

    fn word(&self, tally: &Tally, _: bool) -> Option<Word> {
        (tally.used >= tally.limit).then_some(Word { window: tally.window, refuse: 1.0 })
    }
}
