//! A number, or none, in eight bytes.

use std::fmt;

/// The largest number stands for none, and is lowered by one where it is meant as a number: amounts
/// and times stay far below it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Maybe(u64);

impl Maybe {
    pub(super) const NONE: Maybe = Maybe(u64::MAX);

    pub(super) fn some(number: u64) -> Self {
        Maybe(number.min(u64::MAX - 1))
    }

    pub(super) fn get(self) -> Option<u64> {
        (self != Self::NONE).then_some(self.0)
    }
}

impl Default for Maybe {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Debug for Maybe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
