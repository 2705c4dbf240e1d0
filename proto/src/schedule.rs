//! When on a clock and a calendar: weekdays, hours and dates of a zone.
//!
//! All that is given must hold, by the clocks on the wall: an hour that they show twice holds twice, one
//! that they skip not at all. Hours that run over midnight belong to the day on which they begin, so
//! `fri` with `22:00-06:00` is the night to Saturday and ends there at six.

use std::fmt;

use jiff::civil::{Date, Weekday};

use crate::{
    time::Time,
    zone::{Zone, memo::Span},
};

/// Most spans of dates in a schedule.
pub const MAX_DATES: usize = 100;

const DAY: i64 = 86_400;
/// 9990-01-01: schedules stay as they are then, as jiff's dates end ten years later.
const LAST: u64 = 253_086_768_000;

/// Names of the weekdays, from Monday on.
pub const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A recurring or one-time span of local time. At least one of its parts is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// By which clocks.
    pub zone: Zone,
    /// On which weekdays; `None` = on all.
    pub weekdays: Option<Weekdays>,
    /// From when to when; `None` = around the clock.
    pub hours: Option<Hours>,
    /// On which dates; empty = on all. At most [`MAX_DATES`].
    pub dates: Vec<Dates>,
}

/// A set of weekdays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weekdays(u8);

impl Weekdays {
    /// Adds a weekday by its name, one of [`WEEKDAYS`]; `false` if that is none.
    pub fn add(&mut self, name: &str) -> bool {
        let place = WEEKDAYS.iter().position(|known| *known == name);
        place.inspect(|place| self.0 |= 1 << place).is_some()
    }

    /// Their names, from Monday on.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        (0..).zip(WEEKDAYS).filter(move |(place, _)| self.0 & 1 << place != 0).map(|(_, name)| name)
    }

    fn has(self, day: Weekday) -> bool {
        self.0 & 1 << day.to_monday_zero_offset() != 0
    }
}

/// A span of each day: from the first minute on, up to but without the second. Over midnight if the
/// second is not later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// Seconds after midnight.
    from: i64,
    /// Up to 24 hours; never 0.
    until: i64,
}

impl Hours {
    /// Reads `08:00-18:00`; the end may be `24:00`. `None` if it is written otherwise, or if both
    /// ends are the same.
    pub fn parse(text: &str) -> Option<Hours> {
        let (from, until) = text.split_once('-')?;
        let (from, until) = (clock(from)?, clock(until)?);
        let until = if until == 0 { DAY } else { until };
        (from < DAY && from != until).then_some(Hours { from, until })
    }
}

/// Seconds after midnight of `08:00`.
fn clock(text: &str) -> Option<i64> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let number = |digits: &str, most: i64| {
        let plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<i64>().ok().filter(|n| plain && *n <= most)
    };
    let seconds = number(hours, 24)? * 3_600 + number(minutes, 59)? * 60;
    (seconds <= DAY).then_some(seconds)
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |secs: i64| (secs / 3_600, secs / 60 % 60);
        let ((h1, m1), (h2, m2)) = (clock(self.from), clock(self.until));
        write!(f, "{h1:02}:{m1:02}-{h2:02}:{m2:02}")
    }
}

/// Whole days, the last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dates {
    first: Date,
    last: Date,
}

impl Dates {
    /// Reads `2026-12-24..2026-12-26`, or one date. `None` if it is written otherwise, if there is no
    /// such date, or if the last is before the first.
    pub fn parse(text: &str) -> Option<Dates> {
        let date = |text: &str| {
            let text = text.trim();
            let date: Date = text.parse().ok()?;
            // Other spellings that jiff knows would be read back differently.
            (date.to_string() == text).then_some(date)
        };
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (first, last) = (date(first)?, date(last)?);
        (first <= last).then_some(Dates { first, last })
    }
}

impl fmt::Display for Dates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return self.first.fmt(f);
        }
        write!(f, "{}..{}", self.first, self.last)
    }
}

impl Schedule {
    /// Whether it holds at `t` (manager time).
    pub fn holds(&self, t: Time) -> bool {
        self.look(t.as_secs()).1
    }

    /// Whether it holds in that second, and a span around it with the same answer.
    pub(crate) fn look(&self, secs: u64) -> (Span, bool) {
        let at = secs.min(LAST).cast_signed();
        let steady = self.zone.steady(at);
        let date = self.zone.local(at).date();
        let clock = (at + steady.offset).rem_euclid(DAY);
        let cuts = self.hours.map_or([0, DAY], |hours| [hours.from, hours.until]);
        let (mut from, mut until) = (0, DAY);
        for cut in cuts {
            if cut <= clock {
                from = from.max(cut);
            } else {
                until = until.min(cut);
            }
        }
        // As long as nobody puts the clocks forward or back.
        let from = (at - clock + from).max(steady.from).max(0);
        let until = (at - clock + until).min(steady.until).max(0);
        let span = Span { from: from.cast_unsigned(), until: until.cast_unsigned() };
        (span, self.shows(date, clock))
    }

    /// Whether it holds when the wall shows this.
    fn shows(&self, date: Date, clock: i64) -> bool {
        let Some(Hours { from, until }) = self.hours else { return self.begins_on(date) };
        if from < until {
            return from <= clock && clock < until && self.begins_on(date);
        }
        let yesterday = || date.yesterday().is_ok_and(|date| self.begins_on(date));
        (from <= clock && self.begins_on(date)) || (clock < until && yesterday())
    }

    fn begins_on(&self, date: Date) -> bool {
        self.weekdays.is_none_or(|days| days.has(date.weekday()))
            && (self.dates.is_empty()
                || self.dates.iter().any(|dates| (dates.first..=dates.last).contains(&date)))
    }
}

#[cfg(test)]
mod tests;
