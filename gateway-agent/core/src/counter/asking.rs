//! When a counter asks its manager.

use std::time::Duration;

use weir_proto::time::Time;

use super::{Ask, Counter};

/// An agent does not repeat a question within this time.
const PATIENCE: Duration = Duration::from_millis(20);

impl Counter {
    /// Whether more may be had, once the mark is reached.
    pub(super) fn wants_more(&self, ask: &Ask<'_>, ceiling: u64) -> bool {
        let whole = || ceiling >= ask.limit.capacity && ask.standing.history.current().fleet <= 1;
        let needs_none = ask.standing.isolated || (self.used < ceiling && whole());
        !needs_none && self.exhausted_until().is_none() && self.may_ask(ask.now)
    }

    /// Whether a manager should hear of this counter, or of what just happened in it.
    pub(super) fn unheard(&self, ask: &Ask<'_>) -> bool {
        (ask.cost > 0 || self.ceiling.get().is_none())
            && !ask.standing.isolated
            && self.may_ask(ask.now)
    }

    pub(super) fn may_ask(&self, now: Time) -> bool {
        self.asked_at.get().is_none_or(|at| Time::from_micros(at) + PATIENCE <= now)
    }
}
