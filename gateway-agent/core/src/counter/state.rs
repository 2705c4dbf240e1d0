//! Reading and writing a counter's state, above all what it may keep in its box.

use weir_proto::{amount::Charging, time::Time};

use super::{Amounts, Counter, Maybe, cold::Cold};

impl Counter {
    pub(super) fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_default()
    }

    /// Whether it takes memory beyond its slot.
    pub fn has_box(&self) -> bool {
        self.cold.is_some()
    }

    /// Refused in the present window.
    pub fn rejected(&self) -> u64 {
        self.cold.as_ref().map_or(0, |cold| cold.rejected)
    }

    /// Windows that ended and were not reported yet.
    pub fn closed(&self) -> &[Amounts] {
        self.cold.as_ref().map_or(&[], |cold| &cold.closed)
    }

    /// Takes them, as they are reported now.
    pub fn take_closed(&mut self) -> Vec<Amounts> {
        let Some(cold) = &mut self.cold else { return Vec::new() };
        let closed = std::mem::take(&mut cold.closed);
        if cold.is_empty() {
            self.cold = None;
        }
        closed
    }

    /// The amounts of the present window.
    pub fn amounts(&self) -> Amounts {
        Amounts { window: self.window, used: self.used, rejected: self.rejected() }
    }

    /// The ceiling, as set by a manager; `None` = the opening default.
    pub fn set_ceiling(&self) -> Option<u64> {
        self.ceiling.get()
    }

    /// Makes the ceiling explicit.
    pub fn fix_ceiling(&mut self, ceiling: u64) {
        self.ceiling = Maybe::some(ceiling);
    }

    /// Notes a question to the manager; what was offered until then.
    pub fn asked(&mut self, now: Time) -> u64 {
        self.asked_at = Maybe::some(now.as_micros());
        match std::mem::take(&mut self.offered) {
            u32::MAX => u64::MAX,
            offered => offered.into(),
        }
    }

    pub(super) fn exhausted_until(&self) -> Option<Time> {
        self.cold.as_ref().and_then(|cold| cold.exhausted_until)
    }

    pub(super) fn exhaust(&mut self, until: Option<Time>) {
        if until.is_some() || self.exhausted_until().is_some() {
            self.cold().exhausted_until = until;
        }
    }

    pub(super) fn last_use(&self) -> Time {
        self.cold.as_ref().map_or(Time::ZERO, |cold| cold.last_use)
    }

    pub(super) fn granted_use(&self) -> Time {
        self.cold.as_ref().map_or(Time::ZERO, |cold| cold.granted_use)
    }

    /// True for whoever marks it dirty first.
    #[inline]
    pub fn mark_dirty(&mut self) -> bool {
        !std::mem::replace(&mut self.dirty, true)
    }

    /// True for whoever marks it hot first.
    pub fn mark_hot(&mut self) -> bool {
        !std::mem::replace(&mut self.hot, true)
    }

    /// Whether it is idle and everything is reported: a fixed window is over, or a rolling one was not
    /// used for two lengths.
    pub fn idle(&self, time: Time, now: Time) -> bool {
        let Some(family) = &self.family else { return false };
        // What is in flight must find its counter when it ends.
        let busy = family.charging == Charging::Held && self.used > 0;
        if busy || self.dirty || self.hot || !self.closed().is_empty() {
            return false;
        }
        let last_use = self.last_use();
        if family.rolling && last_use == Time::ZERO {
            // Never used, but a manager may count on what it was told.
            time.since(self.window.time()) > family.length() * 2
        } else if family.rolling {
            now.since(last_use) > family.length() * 2
        } else {
            family.window.end(self.window) <= time
        }
    }
}
