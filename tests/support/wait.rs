//! The one way to wait in a test: poll a condition until a deadline.

use std::{
    thread,
    time::{Duration, Instant},
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

#[expect(
    clippy::disallowed_methods,
    reason = "between two looks at a condition, with a deadline"
)]
fn pause_for(pause: Duration) {
    thread::sleep(pause);
}
