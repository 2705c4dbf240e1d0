//! The one reader of clocks: a monotonic clock for everything that is decided, and one look at the
//! wall clock to name this life of the process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(target_os = "linux")]
use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::time::Instant;
use weir_proto::{id::Incarnation, time::Time};

/// What the clock shows when it starts. Above zero, so that "a moment ago" is never before the
/// beginning of time.
const ORIGIN: Duration = Duration::from_secs(1);

/// Monotonic microseconds since this process made its agent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
    /// Read after `origin`, so that what is counted from here never shows more.
    #[cfg(target_os = "linux")]
    coarse: Timespec,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
            #[cfg(target_os = "linux")]
            coarse: clock_gettime(ClockId::Monotonic),
        }
    }

    /// The time.
    pub(crate) fn now(self) -> Time {
        Time::ZERO + ORIGIN + self.origin.elapsed()
    }

    /// The time at the kernel's last tick, at most 10 ms ago (4 ms on most kernels). For checks: it
    /// costs a quarter of [`Clock::now`], which also holds back the reads from memory behind it.
    #[cfg(target_os = "linux")]
    #[inline]
    pub(crate) fn recent(self) -> Time {
        let tick = clock_gettime(ClockId::MonotonicCoarse);
        let micros = (tick.tv_sec - self.coarse.tv_sec) * 1_000_000
            + (tick.tv_nsec - self.coarse.tv_nsec) / 1_000;
        let origin = u64::try_from(ORIGIN.as_micros()).unwrap_or(u64::MAX);
        Time::from_micros(origin.saturating_add_signed(micros.max(0)))
    }

    /// The time.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn recent(self) -> Time {
        self.now()
    }

    /// When the clock will show `time`; never before its start.
    pub(crate) fn instant(self, time: Time) -> Instant {
        let after = time.since(Time::ZERO + ORIGIN);
        // A time beyond what the platform can name is as good as a day off: the waiter looks again.
        self.origin.checked_add(after).unwrap_or_else(|| Instant::now() + DAY)
    }
}

const DAY: Duration = Duration::from_secs(86_400);

/// The incarnation of a process that starts now: microseconds since the Unix epoch, so that a
/// restart has a larger one as long as the wall clock does not go back over it.
#[expect(clippy::disallowed_methods, reason = "the shell names its life by the wall clock, once")]
pub(crate) fn incarnation() -> Incarnation {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The wall clock, in seconds since the Unix epoch: certificates are valid by it.
#[cfg(feature = "sidecar")]
pub(crate) fn unix_seconds() -> u64 {
    incarnation() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_instants_agree() {
        let clock = Clock::start();
        let now = clock.now();
        assert!(now >= Time::from_secs(1));
        assert!(clock.instant(now) <= Instant::now());
        let recent = clock.recent();
        assert!(recent >= Time::from_secs(1) && recent <= clock.now());
        assert!(clock.instant(now + Duration::from_secs(60)) > Instant::now());
        assert_eq!(clock.instant(Time::ZERO), clock.origin);
        assert!(clock.instant(Time::MAX) > Instant::now());
    }
}
