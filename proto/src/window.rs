//! Windows, and the algorithms that roll them.

use std::{fmt, str::FromStr, time::Duration};

use crate::{
    calendar::Calendar,
    time::{Time, WindowStart},
};

/// Longest window: 365 days, in seconds.
pub const MAX_WINDOW_SECS: u64 = 365 * 86_400;

/// Seconds per suffix, largest first.
const SUFFIXES: [(u64, char); 4] = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];

/// How usage leaves a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Algorithm {
    /// Windows follow each other on whole multiples since the Unix epoch; each begins empty.
    #[default]
    FixedWindow,
    /// The limit holds over every span as long as the window.
    SlidingWindow,
    /// A bucket that fills at a steady rate, the amount per window, and never beyond its burst.
    TokenBucket,
}

impl Algorithm {
    /// Every algorithm that this version runs.
    pub const ALL: [Algorithm; 3] =
        [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket];

    /// The name in policies: `fixed_window`, `sliding_window`, `token_bucket`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::FixedWindow => "fixed_window",
            Algorithm::SlidingWindow => "sliding_window",
            Algorithm::TokenBucket => "token_bucket",
        }
    }

    /// The algorithm of that name.
    pub fn parse(name: &str) -> Option<Algorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A span of whole seconds, from 1 s to 365 d, or the windows of a [`Calendar`].
///
/// A length is written as numbers with a suffix, largest first: `1s`, `90s`, `1m30s`, `1h`, `365d`. It
/// prints as one number with the largest suffix that divides it, so `60s` prints as `1m` and `1m30s` as
/// `90s`: equal windows have one spelling. A calendar prints as `day@Europe/Berlin`; that is not read
/// back, as documents name the two parts apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window(Kind);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    /// In seconds.
    Length(u64),
    Calendar(Calendar),
}

/// Why a window was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Not of the form number, suffix, number, suffix …
    #[error("is not a duration; write it like 1s, 90s, 5m, 1h30m or 30d")]
    Malformed,
    /// Shorter than a second or longer than a year.
    #[error("is out of range; a window lasts from 1s to 365d")]
    OutOfRange,
}

impl Window {
    /// A window of `secs` seconds, 1 to [`MAX_WINDOW_SECS`].
    ///
    /// # Errors
    /// [`WindowError::OutOfRange`] otherwise.
    pub const fn from_secs(secs: u64) -> Result<Window, WindowError> {
        if secs == 0 || secs > MAX_WINDOW_SECS {
            return Err(WindowError::OutOfRange);
        }
        Ok(Window(Kind::Length(secs)))
    }

    /// The windows of a calendar.
    pub const fn calendar(calendar: Calendar) -> Window {
        Window(Kind::Calendar(calendar))
    }

    /// The calendar that the windows follow, unless all have one length.
    pub const fn as_calendar(self) -> Option<Calendar> {
        match self.0 {
            Kind::Length(_) => None,
            Kind::Calendar(calendar) => Some(calendar),
        }
    }

    /// The length; of a calendar's windows the longest possible. What a certain window lasts says
    /// [`Window::length_of`].
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.secs())
    }

    /// [`Window::duration`] in microseconds.
    pub fn micros(self) -> u64 {
        self.secs().saturating_mul(1_000_000)
    }

    /// [`Window::duration`] in seconds.
    pub fn secs(self) -> u64 {
        match self.0 {
            Kind::Length(secs) => secs,
            Kind::Calendar(calendar) => calendar.longest(),
        }
    }

    /// The window that holds `t` (manager time). Those of a length begin on the whole multiples of it
    /// since the Unix epoch. A window's end belongs to the next window.
    pub fn start_at(self, t: Time) -> WindowStart {
        match self.0 {
            Kind::Length(secs) => {
                let now = t.as_secs();
                WindowStart(now - now % secs)
            }
            Kind::Calendar(calendar) => calendar.start_at(t),
        }
    }

    /// Where the window begun at `start` ends, exclusive.
    #[inline]
    pub fn end(self, start: WindowStart) -> Time {
        match self.0 {
            Kind::Length(secs) => {
                let length = secs.saturating_mul(1_000_000);
                Time::from_micros(start.time().as_micros().saturating_add(length))
            }
            Kind::Calendar(calendar) => calendar.end(start),
        }
    }

    /// How long the window begun at `start` lasts.
    #[inline]
    pub fn length_of(self, start: WindowStart) -> Duration {
        match self.0 {
            Kind::Length(secs) => Duration::from_secs(secs),
            Kind::Calendar(calendar) => calendar.end(start).since(start.time()),
        }
    }
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Window, WindowError> {
        let mut rest = text;
        let mut total: u64 = 0;
        let mut smallest = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            let mut tail = tail.chars();
            let suffix = tail.next().ok_or(WindowError::Malformed)?;
            let (unit, _) = SUFFIXES
                .into_iter()
                .find(|&(unit, c)| c == suffix && unit < smallest)
                .ok_or(WindowError::Malformed)?;
            if number.is_empty() {
                return Err(WindowError::Malformed);
            }
            // Only digits are left, so that the one possible error is overflow.
            let number: u64 = number.parse().map_err(|_| WindowError::OutOfRange)?;
            total = number
                .checked_mul(unit)
                .and_then(|secs| total.checked_add(secs))
                .ok_or(WindowError::OutOfRange)?;
            smallest = unit;
            rest = tail.as_str();
        }
        if smallest == u64::MAX {
            return Err(WindowError::Malformed);
        }
        Window::from_secs(total)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = match self.0 {
            Kind::Length(secs) => secs,
            Kind::Calendar(calendar) => return calendar.fmt(f),
        };
        // One second divides everything: the fallback is never used.
        let (unit, suffix) =
            SUFFIXES.into_iter().find(|(unit, _)| secs.is_multiple_of(*unit)).unwrap_or((1, 's'));
        write!(f, "{}{suffix}", secs / unit)
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows_are_read_and_printed_in_one_spelling() {
        for (text, secs, printed) in [
            ("1s", 1, "1s"),
            ("90s", 90, "90s"),
            ("1m30s", 90, "90s"),
            ("60s", 60, "1m"),
            ("5m", 300, "5m"),
            ("1h", 3_600, "1h"),
            ("24h", 86_400, "1d"),
            ("1d12h", 129_600, "36h"),
            ("365d", MAX_WINDOW_SECS, "365d"),
            ("007s", 7, "7s"),
        ] {
            let window: Window = text.parse().unwrap();
            assert_eq!((window.secs(), window.to_string().as_str()), (secs, printed), "{text}");
        }
    }

    #[test]
    fn bad_windows_are_refused() {
        for text in ["", "s", "1", "1 m", "-1s", "1.5s", "1s1m", "1m1m", "5min", "1ms", "m5", "１s"]
        {
            assert_eq!(text.parse::<Window>(), Err(WindowError::Malformed), "{text}");
        }
        for text in ["0s", "366d", "365d1s", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(text.parse::<Window>(), Err(WindowError::OutOfRange), "{text}");
        }
    }

    #[test]
    fn a_window_begins_on_a_multiple_and_ends_where_the_next_begins() {
        let minute = Window::from_secs(60).unwrap();
        assert_eq!(minute.start_at(Time::from_millis(59_999)), WindowStart(0));
        assert_eq!(minute.start_at(Time::from_secs(60)), WindowStart(60));
        assert_eq!(minute.end(WindowStart(60)), Time::from_secs(120));
        assert_eq!(minute.start_at(minute.end(WindowStart(60))), WindowStart(120));
    }

    proptest! {
        #[test]
        fn printing_round_trips(secs in 1..=MAX_WINDOW_SECS) {
            let window = Window::from_secs(secs).unwrap();
            prop_assert_eq!(window.to_string().parse::<Window>(), Ok(window));
        }

        #[test]
        fn a_window_holds_its_time(secs in 1..=MAX_WINDOW_SECS, micros in 0..u64::MAX / 2) {
            let (window, t) = (Window::from_secs(secs).unwrap(), Time::from_micros(micros));
            let start = window.start_at(t);
            prop_assert!(start.time() <= t && t < window.end(start));
        }
    }
}
