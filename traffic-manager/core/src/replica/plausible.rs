//! Which entries of a peer can be true. What one manager takes in, it passes on and builds on: a stamp or a
//! number near the highest there is would leave no room for the next one, and stop the next start.

use std::time::Duration;

use weir_proto::{id::ManagerLife, peer::EntryKey, time::Time};

use super::entries::State;

/// No clock is ahead by as much. The bound moves on faster than anybody writes, so that what is written on top
/// of an entry just within it can be told soon, too.
const AHEAD: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// Whether a peer's entry can be true for `me`, whose last audit record has the number `seq`: none is of a time
/// or a number that is a century ahead, and nobody else writes records of this life.
pub(super) fn can_be(
    (key, state): (&EntryKey, &State),
    (me, seq): (&ManagerLife, u64),
    now: Time,
) -> bool {
    let latest = now + AHEAD;
    match (key, state) {
        // Numbers count writes: fewer than there are microseconds.
        (_, State::Policy(rivals)) => {
            let mut stamps = rivals.versions().flat_map(|v| v.seen.values().chain([&v.stamp]));
            rivals.top() <= latest.as_micros() && stamps.all(|stamp| stamp.time() <= latest)
        }
        (EntryKey::Audit(key), State::Audit(audit)) => {
            audit.at <= latest && (key.origin != *me || key.seq <= seq)
        }
        (EntryKey::Usage(key), _) => key.end_secs() <= latest.as_secs(),
        _ => true,
    }
}
