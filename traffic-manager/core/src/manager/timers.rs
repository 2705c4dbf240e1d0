//! What is due when, and what happens when windows end.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::time::{Time, WindowStart};

use super::Manager;
use crate::{
    ledger::{CounterIx, Ended},
    message::Output,
};

/// Expiries are rounded up to this, so that those of one moment share a list.
const EXPIRE_MICROS: u64 = 250_000;
/// Counters looked at in one turn; the rest follow in the next, so that frames do not wait long.
pub(super) const EXPIRE_AT_ONCE: usize = 10_000;

/// Something to do later. A timer for a counter that has left does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Look at the budget of a window again.
    Settle(CounterIx, WindowStart),
    /// Forget windows that are over.
    Expire(CounterIx),
}

/// Timers in time order. Every counter has an expiry: these are kept in lists, 8 bytes each.
#[derive(Debug, Clone, Default)]
pub(super) struct Timers {
    settle: BTreeSet<(Time, Timer)>,
    expire: BTreeMap<Time, Vec<CounterIx>>,
}

impl Timers {
    pub(super) fn set(&mut self, at: Time, timer: Timer) {
        match timer {
            Timer::Settle(..) => {
                self.settle.insert((at, timer));
            }
            Timer::Expire(ix) => {
                let at = at.as_micros().div_ceil(EXPIRE_MICROS).saturating_mul(EXPIRE_MICROS);
                self.expire.entry(Time::from_micros(at)).or_default().push(ix);
            }
        }
    }

    pub(super) fn next(&self) -> Option<Time> {
        let settle = self.settle.first().map(|(at, _)| *at);
        let expire = self.expire.first_key_value().map(|(at, _)| *at);
        settle.into_iter().chain(expire).min()
    }

    /// Takes out what is due, though not all expiries at once.
    pub(super) fn due(&mut self, now: Time) -> Vec<Timer> {
        let mut due = Vec::new();
        while let Some((at, timer)) = self.settle.first().copied() {
            if at > now {
                break;
            }
            self.settle.pop_first();
            due.push(timer);
        }
        let most = due.len() + EXPIRE_AT_ONCE;
        while let Some(mut list) = self.expire.first_entry().filter(|list| *list.key() <= now) {
            let counters = list.get_mut();
            let rest = counters.len().saturating_sub(most - due.len());
            due.extend(counters.drain(rest..).map(Timer::Expire));
            if rest > 0 {
                break;
            }
            list.remove();
        }
        due
    }
}

impl Manager {
    /// Forgets the counter's windows that are over, and the counter when none is left.
    pub(super) fn expire(&mut self, ix: CounterIx, now: Time, out: &mut Vec<Output>) {
        let next = self.ledger.expire(ix, now, |ended| {
            let Ended { limit, admitted, refused, .. } = *ended;
            if !limit.rolling() && admitted.saturating_mul(2) >= limit.amount {
                out.push(Output::WindowClosed {
                    policy: limit.policy.to_string(),
                    admitted,
                    refused,
                    limit: limit.amount,
                });
            }
        });
        if let Some(at) = next {
            self.timers.set(at.max(now), Timer::Expire(ix));
        }
    }
}
