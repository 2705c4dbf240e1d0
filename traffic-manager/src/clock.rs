//! The only reader of the clocks, and manager time: microseconds since the Unix epoch that never fall
//! and never jump.
//!
//! Windows are named in this time, so a step of the wall clock (an administrator, a time daemon, a
//! resumed machine) must not open or close one. Time therefore runs with the monotonic clock and
//! leans towards the wall clock by at most one part in a thousand. A wall clock that leaps against
//! the monotonic one is counted, and then approached like any other difference.

use std::time::{Duration, Instant};

use weir_proto::time::Time;

/// Largest correction: one microsecond in this many.
const SLEW: u64 = 1_000;
/// A difference of the two clocks that grew by more than this between readings is a jump.
const JUMP: Duration = Duration::from_millis(500);

/// Manager time for one task. Each task has a copy, which begins with the same readings.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    time: ManagerClock,
    origin: Instant,
    wall: u64,
}

impl Clock {
    /// Starts at the wall clock.
    pub(crate) fn start() -> Self {
        let wall = wall_micros();
        let time = ManagerClock::new(wall, Duration::ZERO);
        Clock { time, origin: Instant::now(), wall }
    }

    /// The wall clock at the start, in microseconds.
    pub(crate) fn started(&self) -> u64 {
        self.wall
    }

    /// Manager time now.
    pub(crate) fn now(&mut self) -> Time {
        self.time.read(wall_micros(), self.origin.elapsed())
    }

    /// How often the wall clock leapt, as far as this copy was read.
    pub(crate) fn jumps(&self) -> u64 {
        self.time.jumps
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn wall_micros() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A wall clock before 1970 counts as 1970.
    since.map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

/// Manager time, as a function of readings of the two clocks.
#[derive(Debug, Clone)]
struct ManagerClock {
    /// Manager time at the last reading, in microseconds.
    now: u64,
    /// Monotonic clock at the last reading.
    monotonic: Duration,
    /// Wall clock at the last reading, in microseconds.
    wall: u64,
    /// Monotonic microseconds that have not earned a microsecond of correction yet.
    credit: u64,
    jumps: u64,
}

impl ManagerClock {
    /// Starts at the wall clock.
    fn new(wall: u64, monotonic: Duration) -> Self {
        ManagerClock { now: wall, monotonic, wall, credit: 0, jumps: 0 }
    }

    /// Manager time at these readings.
    fn read(&mut self, wall: u64, monotonic: Duration) -> Time {
        let passed = micros(monotonic.saturating_sub(self.monotonic));
        let expected = self.wall.saturating_add(passed);
        if u128::from(expected.abs_diff(wall)) > JUMP.as_micros() {
            self.jumps += 1;
        }
        self.monotonic = self.monotonic.max(monotonic);
        self.wall = wall;
        self.credit = self.credit.saturating_add(passed);
        let allowed = self.credit / SLEW;
        self.credit %= SLEW;
        // A correction backwards is smaller than what passed, so that time never falls.
        self.now = self.now.saturating_add(passed);
        self.now = if wall >= self.now {
            self.now + allowed.min(wall - self.now)
        } else {
            self.now - allowed.min(self.now - wall).min(passed)
        };
        Time::from_micros(self.now)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000_000;

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn it_runs_with_clocks_that_agree() {
        let mut clock = ManagerClock::new(START, at(5));
        assert_eq!(clock.read(START + 2_000_000, at(7)).as_micros(), START + 2_000_000);
        assert_eq!(clock.jumps, 0);
    }

    #[test]
    fn a_jump_forward_is_approached_by_one_in_a_thousand() {
        let mut clock = ManagerClock::new(START, at(0));
        // Ten seconds passed; the wall clock says an hour.
        let now = clock.read(START + 3_600_000_000, at(10)).as_micros();
        assert_eq!((now - START, clock.jumps), (10_010_000, 1));
    }

    #[test]
    fn a_jump_backward_never_turns_time_back() {
        let mut clock = ManagerClock::new(START, at(0));
        let mut last = START;
        for second in 1..2_000 {
            let wall = START - 1_000_000 + second * 1_000_000;
            let now = clock.read(wall, at(second)).as_micros();
            assert!(now > last, "time fell or stood still");
            assert!(now - last >= 999_000, "slowed by more than one in a thousand");
            last = now;
        }
        assert_eq!(last, START + 1_998_000_000, "after 1000 s the second is caught up");
        assert_eq!(clock.jumps, 1);
    }

    #[test]
    fn drift_is_followed_even_when_read_often() {
        let mut clock = ManagerClock::new(START, at(0));
        let mut now = 0;
        for step in 1..=100_000_u64 {
            // The wall clock runs 100 ppm fast; readings every 100 µs.
            let wall = START + step * 100 + step / 100;
            now = clock.read(wall, Duration::from_micros(step * 100)).as_micros();
        }
        assert!((START + 10_001_000).abs_diff(now) < 20, "{}", now - START);
        assert_eq!(clock.jumps, 0);
    }
}
