//! One counter: its window, what was used, and up to where the agent may admit.
//!
//! A counter and its lock fill two cache lines, what every check needs in the first. The table hands
//! it out locked, so nothing here is shared.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use weir_proto::{
    amount::{Charging, MAX_AMOUNT},
    matcher::CompiledLimit,
    policy::{OnDisconnect, Policy},
    time::{Time, WindowStart},
    usage::KeyId,
};

use self::{cold::Cold, maybe::Maybe};
use crate::{standing::Standing, table::Family};

mod asking;
mod cold;
mod floor;
mod fork;
mod key;
mod local;
mod maybe;
mod state;
pub use local::Pace;

/// Parts of a key up to this length are kept in the counter itself.
const INLINE: usize = 45;
/// Length that says that they are elsewhere.
const SPILLED: u8 = u8::MAX;

/// What a check asks of a counter.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The counter's.
    pub family: &'a Family,
    /// The limit, as it is now.
    pub limit: &'a CompiledLimit,
    /// Its policy.
    pub policy: &'a Policy,
    /// The agent's standing.
    pub standing: &'a Standing,
    /// Amount.
    pub cost: u64,
    /// Only ask: count nothing.
    pub peek: bool,
    /// Number of the newest standing: a check that holds an older one must load it anew.
    pub newest: &'a AtomicU64,
    /// Local time.
    pub now: Time,
    /// Admit in any case, but count (`on_limit: allow`).
    pub force: bool,
    /// A refusal is final: count it.
    pub last: bool,
}

impl Ask<'_> {
    /// How much must be left: where the amount is told later, anything.
    #[inline(always)]
    fn need(&self) -> u64 {
        match self.family.charging {
            Charging::Ahead | Charging::Held => self.cost,
            Charging::After | Charging::Flagged => self.cost.max(1),
        }
    }
}

/// What a counter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Whether the amount was counted.
    pub admitted: bool,
    /// Refused for now, though more may be granted within milliseconds.
    pub uncertain: bool,
    /// Refused, and this agent alone has used the whole limit.
    pub beyond: bool,
    /// Refused while no manager is reachable: the agent's own share is used up, if it has any.
    pub alone: bool,
    /// Refused because no manager is reachable and the policy says `closed`.
    pub disconnected: bool,
    /// Still admissible here in this window.
    pub remaining: u64,
    /// The window that it was counted in.
    pub window: WindowStart,
    /// Microseconds until the window ends; the whole length for rolling windows.
    pub reset: u64,
    /// Microseconds until asking again makes sense, after a refusal.
    pub retry: u64,
    /// The owner should ask the manager for more.
    pub wake: bool,
    /// The standing has changed: load it again.
    pub again: bool,
}

/// A finished or present window's amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amounts {
    /// The window.
    pub window: WindowStart,
    /// Admitted.
    pub used: u64,
    /// Refused.
    pub rejected: u64,
}

/// One counter. `repr(C)`, so that the fields of each line stay together.
#[derive(Debug)]
#[repr(C)]
pub struct Counter {
    family: Option<Arc<Family>>,
    /// Start of the fixed window, or birth of the rolling counter.
    pub window: WindowStart,
    /// Admitted in it.
    pub used: u64,
    ceiling: Maybe,
    mark: Maybe,
    /// The last question to the manager (local time), if none was answered since.
    asked_at: Maybe,
    /// Requested since the last word to the manager, admitted or not. The largest number: or more.
    offered: u32,
    /// Its number in this agent's life.
    pub id: KeyId,
    cold: Option<Box<Cold>>,
    /// Changed since the last batch, and marked in the table.
    pub dirty: bool,
    /// Near its ceiling, and queued.
    pub hot: bool,
    parts_len: u8,
    parts: [u8; INLINE],
}

impl Default for Counter {
    /// Nobody's.
    fn default() -> Self {
        Counter {
            family: None,
            window: WindowStart(0),
            used: 0,
            ceiling: Maybe::NONE,
            mark: Maybe::NONE,
            asked_at: Maybe::NONE,
            offered: 0,
            id: 0,
            cold: None,
            dirty: false,
            hot: false,
            parts_len: 0,
            parts: [0; INLINE],
        }
    }
}

impl Counter {
    /// Asks to admit.
    #[inline(always)]
    pub fn ask(&mut self, ask: &Ask<'_>) -> Answer {
        let time = ask.standing.manager_time(ask.now);
        // The owner raises the number before it lists what it holds, and it lists each counter under
        // the lock that is held here.
        if ask.standing.number < ask.newest.load(Ordering::SeqCst) {
            return Answer { again: true, ..self.answer(0) };
        }
        self.turn(ask, time);
        let reset = if ask.family.rolling {
            ask.family.window.micros()
        } else {
            let end = ask.family.window.end(self.window);
            end.as_micros().saturating_sub(time.as_micros())
        };
        self.decide(ask, reset)
    }

    /// A refusal, so far.
    #[inline(always)]
    fn answer(&self, reset: u64) -> Answer {
        Answer {
            admitted: false,
            uncertain: false,
            beyond: false,
            alone: false,
            disconnected: false,
            remaining: 0,
            window: self.window,
            reset,
            retry: reset,
            wake: false,
            again: false,
        }
    }

    /// Takes back an admission of the same request in that window.
    pub fn refund(&mut self, cost: u64, window: WindowStart) {
        if self.window == window {
            self.used = self.used.saturating_sub(cost);
            return;
        }
        let closed = self.cold.as_mut().into_iter().flat_map(|cold| &mut cold.closed);
        for closed in closed.filter(|c| c.window == window).take(1) {
            closed.used = closed.used.saturating_sub(cost);
        }
    }

    /// Moves to the window that holds `time`; forgets what a long idle rolling counter was granted.
    #[inline]
    fn turn(&mut self, ask: &Ask<'_>, time: Time) {
        if ask.family.rolling {
            self.turn_rolling(ask, time);
        } else if time >= ask.family.window.end(self.window) {
            self.roll(ask.family.window.start_at(time));
        }
    }

    fn turn_rolling(&mut self, ask: &Ask<'_>, time: Time) {
        let length = ask.family.length();
        let idle = ask.now.since(self.last_use());
        if self.last_use() == Time::ZERO || idle <= length {
            return;
        }
        // One length after its last use it keeps at most the default; after two it is opened anew,
        // with the default again. The manager assumes the default one length after the last report.
        if idle > length * 2 {
            self.roll(WindowStart(time.as_secs()));
            return;
        }
        if ask.family.charging == Charging::Flagged {
            // It holds no credit. Alone, nobody will tell it that the errors have left: those of which it
            // was told have, a length after it passed something last.
            if ask.standing.isolated && self.ceiling.get().is_some_and(|told| told <= self.used) {
                let share = ask.standing.history.current().of(ask.limit.capacity);
                self.fix_ceiling(self.used.saturating_add(share.max(1)));
                self.exhaust(None);
            }
            return;
        }
        let (limit, basis) = (ask.limit.capacity, ask.family.basis(self.window));
        let default = ask.standing.opening(limit, basis, true);
        let ceiling = self.ceiling.get().unwrap_or(default);
        // What is in flight is part of what it holds, and not history.
        let held = ask.family.charging == Charging::Held;
        let most = if held { default.max(self.used) } else { self.used + default };
        self.fix_ceiling(ceiling.min(most));
    }

    /// Begins the window `start`, unless this one is as new.
    pub fn roll(&mut self, start: WindowStart) {
        if start <= self.window {
            return;
        }
        let ended = self.amounts();
        if ended.used > 0 || ended.rejected > 0 {
            self.cold().closed.push(ended);
        }
        self.window = start;
        self.used = 0;
        self.ceiling = Maybe::NONE;
        self.offered = 0;
        self.asked_at = Maybe::NONE;
        self.mark = Maybe::NONE;
        if let Some(cold) = &mut self.cold {
            cold.rejected = 0;
            // Whoever was turned away in the last window will be in this one, too.
            cold.tight = cold.exhausted_until.is_some();
            cold.exhausted_until = None;
            cold.base = 0;
            cold.before = 0;
            cold.beyond = 0;
        }
    }

    /// Up to where it may admit now.
    #[inline(always)]
    pub fn ceiling(&self, limit: u64, family: &Family, standing: &Standing) -> u64 {
        if family.charging == Charging::Flagged {
            let told = self.ceiling.get().unwrap_or(limit);
            // Alone, nobody adds up what the others count. At least one error must not close it.
            let alone = standing.isolated && !family.rolling;
            let share = standing.history.current().of(limit).max(1);
            return if alone { told.min(share) } else { told };
        }
        let rolling = family.rolling;
        // While a share changes, a rolling counter opens with the smaller one.
        let opening = || {
            let own = standing.opening(limit, self.window, rolling);
            let basis = family.basis(self.window);
            if rolling { standing.opening(limit, basis, rolling).min(own) } else { own }
        };
        match self.ceiling.get() {
            // Alone in a window that nobody was given: its own share, whatever it held.
            Some(set)
                if standing.isolated
                    && family.basis(self.window).time() > standing.alone_from(rolling) =>
            {
                set.max(opening())
            }
            Some(set) => set,
            None => opening(),
        }
    }

    #[inline(always)]
    fn decide(&mut self, ask: &Ask<'_>, reset: u64) -> Answer {
        let limit = ask.limit.capacity;
        let standing = ask.standing;
        let how = ask.policy.on_disconnect.unwrap_or(standing.on_disconnect);
        if standing.isolated {
            self.cap(ask);
        }
        let ceiling = self.ceiling(limit, ask.family, standing);
        let disconnected = standing.isolated && how == OnDisconnect::Closed;
        let open = standing.isolated && how == OnDisconnect::Open;
        let need = ask.need();
        let within = self.used.saturating_add(need) <= ceiling;
        if ask.peek {
            let admitted = open || within && !disconnected;
            return self.foresee(
                ask,
                ceiling,
                Answer { admitted, disconnected, ..self.answer(reset) },
            );
        }
        // A request that waits is offered anew with each look: the longer it waits, the more is asked for.
        let offered = u32::try_from(need).unwrap_or(u32::MAX);
        self.offered = self.offered.saturating_add(offered);
        let fits = !disconnected && (within || self.exceed(ceiling, ask));
        let paced = !fits && !disconnected && self.paced(ask, how);
        if fits && within && ask.family.rolling {
            self.cold().granted_use = ask.now;
        }
        let answer = if fits || open || ask.force || paced {
            self.admit(ask, ceiling, reset)
        } else {
            self.refuse(ask, ceiling, reset)
        };
        Answer { disconnected, ..answer }
    }

    #[inline(always)]
    fn admit(&mut self, ask: &Ask<'_>, ceiling: u64, reset: u64) -> Answer {
        // More than can be reported is not counted either; no limit is that large.
        self.used = self.used.saturating_add(ask.cost).min(MAX_AMOUNT);
        if ask.family.rolling {
            self.cold().last_use = ask.now;
        }
        // Half of what was held is used: time to ask for more, before it runs out.
        let mark = self.mark.get().unwrap_or(ceiling / 2);
        self.mark = Maybe::some(mark);
        let wake = match ask.family.charging {
            // A manager that has heard of it tells when there were too many.
            Charging::Flagged => self.unheard(ask),
            _ => self.used >= mark && self.wants_more(ask, ceiling),
        };
        let remaining = ceiling.saturating_sub(self.used);
        Answer { admitted: true, remaining, wake, ..self.answer(reset) }
    }

    /// Takes a manager's decision. True when the agent must confirm it.
    pub fn apply(&mut self, window: WindowStart, ceiling: u64, exhausted: Option<Time>) -> bool {
        if window != self.window {
            return true;
        }
        let lowered = self.ceiling.get().is_none_or(|now| ceiling < now);
        self.fix_ceiling(ceiling);
        self.exhaust(exhausted);
        self.asked_at = Maybe::NONE;
        self.mark = Maybe::some(self.used + ceiling.saturating_sub(self.used) / 2);
        lowered
    }

    /// A rolling counter under another name: no more on what it has.
    pub fn freeze(&mut self) {
        self.fix_ceiling(self.used);
    }

    /// At most this much was admitted within one window length (rolling): what was used since a
    /// snapshot at least that old. Called at every report.
    pub fn recent(&mut self, length: Duration, now: Time) -> u64 {
        let used = self.used;
        let cold = self.cold();
        if now.since(cold.base_at) >= length {
            cold.base_at = now;
            cold.before = cold.base;
            cold.base = used;
        }
        used.saturating_sub(cold.before)
    }
}

#[cfg(test)]
mod tests;
