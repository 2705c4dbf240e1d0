//! When a counter refuses, and when it asks its manager.

use std::time::Duration;

use weir_proto::{amount::MAX_AMOUNT, time::Time};

use super::{Answer, Ask, Counter};

/// An agent does not repeat a question within this time.
const PATIENCE: Duration = Duration::from_millis(20);

/// In microseconds: when to ask again after no answer came in time.
const SOON: u64 = 1_000_000;

/// Whether a manager may still give what is asked: more than the limit itself will never come.
fn may_come(ask: &Ask<'_>) -> bool {
    !ask.standing.isolated && ask.need() <= ask.limit.capacity
}

impl Counter {
    #[cold]
    pub(super) fn refuse(&mut self, ask: &Ask<'_>, ceiling: u64, reset: u64) -> Answer {
        let remaining = ceiling.saturating_sub(self.used);
        if ask.last {
            let cold = self.cold();
            cold.rejected = (cold.rejected + 1).min(MAX_AMOUNT);
        }
        let whole = ask.limit.capacity;
        let beyond = !ask.family.rolling && self.used.saturating_add(ask.need()) > whole;
        let alone = ask.standing.isolated;
        let answer = Answer { remaining, beyond, alone, ..self.answer(reset) };
        let waiting = self.exhausted_until().filter(|until| *until > ask.now);
        if let Some(until) = waiting {
            let retry = until.as_micros().saturating_sub(ask.now.as_micros()).min(reset);
            return Answer { retry, ..answer };
        }
        self.exhaust(None);
        let uncertain = may_come(ask);
        // Who is told nothing in time may be told more at once.
        let retry = if uncertain { reset.min(SOON) } else { reset };
        Answer { uncertain, retry, wake: uncertain && self.may_ask(ask.now), ..answer }
    }

    /// What a check would be answered; asks the manager where it would have to.
    #[cold]
    pub(super) fn foresee(&self, ask: &Ask<'_>, ceiling: u64, answer: Answer) -> Answer {
        let told = self.exhausted_until().is_some_and(|until| until > ask.now);
        let uncertain = !answer.admitted && !told && may_come(ask);
        let remaining = ceiling.saturating_sub(self.used);
        let alone = !answer.admitted && ask.standing.isolated;
        let wake = uncertain && self.may_ask(ask.now);
        Answer { remaining, uncertain, alone, wake, ..answer }
    }

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
