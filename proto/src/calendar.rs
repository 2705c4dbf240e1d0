//! Windows that follow a calendar: hours, days, weeks, months and years of a time zone.
//!
//! A window begins when the clocks on the wall first show its hour or date, and ends where the next
//! one begins; so windows neither overlap nor leave a gap, whatever is done to the clocks.
//!
//! - A *day* in which the clocks change is one window of 23 or 25 hours. A date that a zone skipped
//!   has no window. Where clocks are put back over midnight, the date that was reached stays.
//! - *Weeks* begin on Monday.
//! - An *hour* is the span in which the wall shows the same hour *and* the clocks are not changed: an
//!   hour that the wall shows twice is two windows, since a limit per hour is meant for sixty
//!   minutes, and the second hour would start with what the first has left. Where the clocks change
//!   by half an hour (Lord Howe Island), two windows a year last thirty minutes.
//!
//! Whoever asks about the present window gets it from a few cached words; a zone's rules are looked
//! at about once per window.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ptr,
    sync::OnceLock,
};

use jiff::{
    ToSpan,
    civil::{Date, Weekday},
};

use crate::{
    time::{Time, WindowStart},
    zone::{
        Zone,
        memo::{Memo, Span},
    },
};

/// The last window begins before this second, in the year 9990, and never ends: dates beyond the
/// year 9999 cannot be reckoned with.
const LAST: u64 = 253_086_768_000;
const HOUR: i64 = 3_600;
const DAY: u64 = 86_400;

/// What a calendar window spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// An hour of the clock.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// From the first day of a month to its last.
    Month,
    /// From the first of January to the last of December.
    Year,
}

impl Period {
    /// All of them.
    pub const ALL: [Period; 5] =
        [Period::Hour, Period::Day, Period::Week, Period::Month, Period::Year];

    /// The name in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Period::Hour => "hour",
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
            Period::Year => "year",
        }
    }

    /// The period of that name.
    pub fn parse(name: &str) -> Option<Period> {
        Self::ALL.into_iter().find(|period| period.as_str() == name)
    }

    /// No window is longer, in seconds. A zone that moves across the date line may have a day twice.
    const fn longest(self) -> u64 {
        match self {
            Period::Hour => 3_600,
            Period::Day => 2 * DAY,
            Period::Week => 8 * DAY,
            Period::Month => 32 * DAY,
            Period::Year => 367 * DAY,
        }
    }

    /// The first date of the window that holds `date`.
    fn first(self, date: Date) -> Date {
        match self {
            Period::Hour | Period::Day => date,
            Period::Week => {
                let past = date.weekday().since(Weekday::Monday);
                date.checked_sub(i64::from(past).days()).unwrap_or(date)
            }
            Period::Month => date.first_of_month(),
            Period::Year => date.first_of_year(),
        }
    }

    /// The first date of the window after the one that begins with `first`.
    fn next(self, first: Date) -> Option<Date> {
        let step = match self {
            Period::Hour | Period::Day => 1.day(),
            Period::Week => 1.week(),
            Period::Month => 1.month(),
            Period::Year => 1.year(),
        };
        first.checked_add(step).ok()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The windows of a period in a zone. Cheap to copy and to compare.
#[derive(Clone, Copy)]
pub struct Calendar(&'static Data);

#[derive(Debug)]
struct Data {
    period: Period,
    zone: Zone,
    memo: Memo,
}

/// The calendars of one zone, made as they are needed.
#[derive(Debug, Default)]
pub(crate) struct OfZone {
    hour: OnceLock<Data>,
    day: OnceLock<Data>,
    week: OnceLock<Data>,
    month: OnceLock<Data>,
    year: OnceLock<Data>,
}

impl Calendar {
    /// The windows of this period in this zone.
    pub fn new(period: Period, zone: Zone) -> Calendar {
        let OfZone { hour, day, week, month, year } = zone.calendars();
        let place = match period {
            Period::Hour => hour,
            Period::Day => day,
            Period::Week => week,
            Period::Month => month,
            Period::Year => year,
        };
        Calendar(place.get_or_init(|| Data { period, zone, memo: Memo::default() }))
    }

    /// What its windows span.
    pub fn period(self) -> Period {
        self.0.period
    }

    /// By which clocks.
    pub fn zone(self) -> Zone {
        self.0.zone
    }

    /// No window is longer, in seconds.
    pub fn longest(self) -> u64 {
        self.0.period.longest()
    }

    /// The window that holds `t` (manager time). The one that is under way at the Unix epoch begins
    /// there.
    pub fn start_at(self, t: Time) -> WindowStart {
        WindowStart(self.window(t.as_secs()).from)
    }

    /// Where the window that holds `start` ends, exclusive.
    pub fn end(self, start: WindowStart) -> Time {
        Time::from_secs(self.window(start.0).until)
    }

    fn window(self, secs: u64) -> Span {
        self.0.memo.at(secs, || self.work_out(secs))
    }

    #[cold]
    fn work_out(self, secs: u64) -> Span {
        let Data { period, zone, .. } = self.0;
        let at = secs.min(LAST).cast_signed();
        let (from, until) = match period {
            Period::Hour => hour(*zone, at),
            _ => dates(*period, *zone, at),
        };
        let until = until.max(0).cast_unsigned();
        Span {
            from: from.max(0).cast_unsigned(),
            until: if until > LAST { u64::MAX } else { until },
        }
    }
}

fn hour(zone: Zone, at: i64) -> (i64, i64) {
    let steady = zone.steady(at);
    let begin = at - (at + steady.offset).rem_euclid(HOUR);
    (begin.max(steady.from), (begin + HOUR).min(steady.until))
}

/// The window of whole dates around `at`.
fn dates(period: Period, zone: Zone, at: i64) -> (i64, i64) {
    let first = period.first(zone.local(at).date());
    let (mut begin, mut following) = (zone.begin_of(first), period.next(first));
    // The window's end has passed already where clocks were put back over midnight, and at once for
    // a date that was skipped.
    while let Some(first) = following {
        let end = zone.begin_of(first);
        if end > at {
            return (begin, end);
        }
        begin = end;
        following = period.next(first);
    }
    (begin, i64::MAX)
}

impl PartialEq for Calendar {
    fn eq(&self, other: &Calendar) -> bool {
        ptr::eq(self.0, other.0)
    }
}

impl Eq for Calendar {}

impl PartialOrd for Calendar {
    fn partial_cmp(&self, other: &Calendar) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Calendar {
    fn cmp(&self, other: &Calendar) -> Ordering {
        (self.period(), self.zone()).cmp(&(other.period(), other.zone()))
    }
}

impl Hash for Calendar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.period(), self.zone()).hash(state);
    }
}

/// `day@Europe/Berlin`.
impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.period(), self.zone())
    }
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
