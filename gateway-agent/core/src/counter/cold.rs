//! What most counters do not need most of the time.

use weir_proto::time::Time;

use super::{Amounts, Pace};

/// Held in a box of its own while any of it is set.
#[derive(Debug, Default)]
pub(super) struct Cold {
    /// Windows that ended and were not reported yet.
    pub(super) closed: Vec<Amounts>,
    /// Refused in the present window.
    pub(super) rejected: u64,
    /// Until then (local time) nothing more will come.
    pub(super) exhausted_until: Option<Time>,
    /// The window before was exhausted: nothing beyond the ceiling.
    pub(super) tight: bool,
    /// Admitted beyond ceilings in this window, and when last.
    pub(super) beyond: u64,
    pub(super) beyond_at: Time,
    /// Last admission. Rolling counters only, like all that follows.
    pub(super) last_use: Time,
    /// Last admission on a ceiling.
    pub(super) granted_use: Time,
    pub(super) base_at: Time,
    pub(super) base: u64,
    pub(super) before: u64,
    /// The isolation for which what it holds was capped.
    pub(super) capped_at: Time,
    pub(super) pace: Option<Box<Pace>>,
    /// The key's parts, if they are too long for the counter itself.
    pub(super) parts: Option<Box<[u8]>>,
}

impl Cold {
    /// Whether nothing is lost without it.
    pub(super) fn is_empty(&self) -> bool {
        self.closed.is_empty()
            && self.rejected == 0
            && self.exhausted_until.is_none()
            && !self.tight
            && self.beyond == 0
            && self.beyond_at == Time::ZERO
            && self.last_use == Time::ZERO
            && self.granted_use == Time::ZERO
            && self.base_at == Time::ZERO
            && self.base == 0
            && self.before == 0
            && self.capped_at == Time::ZERO
            && self.pace.is_none()
            && self.parts.is_none()
    }
}
