//! The one way to wait in a test: poll a condition until a deadline.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::process::Process;

const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Polls until `poll` returns something, and returns that.
///
/// # Panics
/// When `within` has passed: says what was waited for, and ends with the last lines that
/// each of `logs` wrote.
#[track_caller]
pub(crate) fn wait_for<T>(
    what: &str,
    within: Duration,
    logs: &[&Process],
    mut poll: impl FnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(found) = poll() {
            return found;
        }
        if began.elapsed() >= within {
            let tails: String = logs.iter().map(|process| process.log_tail()).collect();
            panic!("waited {within:?} in vain until {what}\n{tails}");
        }
        pause_for(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// [`wait_for`] a condition.
#[track_caller]
pub(crate) fn wait_until(
    what: &str,
    within: Duration,
    logs: &[&Process],
    mut poll: impl FnMut() -> bool,
) {
    wait_for(what, within, logs, || poll().then_some(()));
}

/// Waits until the present window of this length (a minute, an hour) has at least `room` left, so
/// that it does not end in the middle of a test.
pub(crate) fn wait_for_room(window: Duration, room: Duration) {
    assert!(room < window, "{room:?} never fits into {window:?}");
    wait_until("the window has room", window, &[], || {
        window.as_secs_f64() - wall_clock().as_secs_f64() % window.as_secs_f64()
            >= room.as_secs_f64()
    });
}

/// The time since 1970.
#[expect(clippy::disallowed_methods, reason = "windows are named by the wall clock")]
pub(crate) fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The beat of a load: so many requests a second, and never a burst to catch up.
pub(crate) struct Pace {
    every: Duration,
    next: Instant,
}

impl Pace {
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, next: Instant::now() }
    }

    /// Returns when the next request is due.
    pub(crate) fn beat(&mut self) {
        let now = Instant::now();
        pause_for(self.next.saturating_duration_since(now));
        self.next = self.next.max(now) + self.every;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "between two looks at a condition, with a deadline; and the beat of a load"
)]
fn pause_for(pause: Duration) {
    thread::sleep(pause);
}
