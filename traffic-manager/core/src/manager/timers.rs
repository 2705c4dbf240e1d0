//! What is due when, and what happens when windows end.

use std::collections::BTreeSet;

use weir_proto::time::{Time, WindowStart};

use super::Manager;
use crate::{
    ledger::{CounterIx, expiry},
    message::Output,
};

/// Something to do later. A timer for a counter that has left does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Look at the budget of a window again.
    Settle(CounterIx, WindowStart),
    /// Forget windows that are over.
    Expire(CounterIx),
}

/// Timers in time order.
#[derive(Debug, Clone, Default)]
pub(super) struct Timers(BTreeSet<(Time, Timer)>);

impl Timers {
    pub(super) fn set(&mut self, at: Time, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes out what is due.
    pub(super) fn due(&mut self, now: Time) -> Vec<Timer> {
        let mut due = Vec::new();
        while let Some((at, timer)) = self.0.first().copied() {
            if at > now {
                break;
            }
            self.0.pop_first();
            due.push(timer);
        }
        due
    }
}

impl Manager {
    /// Forgets the counter's windows that are over, and the counter when none is left.
    pub(super) fn expire(&mut self, ix: CounterIx, now: Time, out: &mut Vec<Output>) {
        let Some(counter) = self.ledger.get_mut(ix) else { return };
        let limit = counter.limit.clone();
        let limit = limit.as_deref();
        counter.windows.retain(|window| {
            if expiry(limit, window) > now {
                return true;
            }
            if let Some(l) = limit.filter(|l| !l.rolling()) {
                let admitted = window.used();
                if admitted.saturating_mul(2) >= l.amount {
                    out.push(Output::WindowClosed {
                        policy: l.policy.to_string(),
                        admitted,
                        limit: l.amount,
                    });
                }
            }
            false
        });
        match counter.windows.iter().map(|w| expiry(limit, w)).min() {
            Some(at) => self.timers.set(at.max(now), Timer::Expire(ix)),
            None => self.ledger.remove(ix),
        }
    }
}
