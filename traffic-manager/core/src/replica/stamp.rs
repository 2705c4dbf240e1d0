//! The hybrid logical clock that stamps versions.

use weir_proto::{peer::Stamp, time::Time};

/// Remembers the latest stamp seen, so that the next one is later, however clocks differ.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    latest: Stamp,
}

impl Clock {
    /// Takes note of a stamp.
    pub(super) fn see(&mut self, stamp: Stamp) {
        self.latest = self.latest.max(stamp);
    }

    /// A stamp later than all that were seen; it is not seen yet.
    pub(super) fn next(&self, now: Time) -> Stamp {
        Stamp(now.as_micros().max(self.latest.0.saturating_add(1)))
    }

    /// The latest one seen.
    pub(super) fn latest(&self) -> Stamp {
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_follow_the_clock_and_never_fall_behind_what_was_seen() {
        let mut clock = Clock::default();
        assert_eq!(clock.next(Time::from_micros(7)), Stamp(7));
        clock.see(Stamp(100));
        clock.see(Stamp(50));
        assert_eq!(clock.next(Time::from_micros(7)), Stamp(101));
        assert_eq!(clock.next(Time::from_micros(500)), Stamp(500));
    }
}
