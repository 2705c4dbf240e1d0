//! Which changes are reported with the next batch, and which may wait for a few more.
//!
//! Managers grant out of what agents hold, not out of what they used: as long as a counter lives on its
//! opening default, its amount matters only if the agent crashes. So a small change of it waits.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use foldhash::fast::FixedState;
use weir_proto::{
    amount::Charging,
    matcher::PolicySet,
    time::{Time, WindowStart},
};

use crate::{
    counter::{Amounts, Counter},
    standing::Standing,
    table::Family,
};

/// A change waits for at most so many flush intervals.
const FLUSHES: u32 = 10;
/// It does not wait once it has reached this part (1 ÷ this) of what is left of the agent's share of the
/// limit; and when the counter is busy, of what it still holds.
const PART: u64 = 16;
/// Managers reserve a dead agent's ceilings for so long: windows that end sooner lose nothing.
const HOLD: Duration = Duration::from_secs(5);

/// For how long a change may wait.
pub(super) fn longest(flush: Duration) -> Duration {
    flush * FLUSHES
}

/// What was reported last of the counter in a slot.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    window: WindowStart,
    used: u64,
    /// When the change that waits must be reported, local time; 0 = none waits.
    due: Time,
}

/// What was reported, and what waits. Waiting ends by time, in the order in which it began.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting {
    told: Vec<Told>,
    /// Those that were reported since are still in it: at most [`FLUSHES`] places per counter.
    queue: VecDeque<(Time, u32)>,
    count: usize,
}

impl Waiting {
    /// For how long the oldest change has been waiting.
    pub(super) fn age(&self, longest: Duration, now: Time) -> Duration {
        let oldest = self
            .queue
            .iter()
            .find(|(due, slot)| self.told.get(*slot as usize).is_some_and(|told| told.due == *due));
        oldest.map_or(Duration::ZERO, |(due, _)| (now + longest).since(*due))
    }

    /// How many counters wait.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether the slot's counter has something that was not reported.
    pub(super) fn has(&self, slot: u32) -> bool {
        self.told.get(slot as usize).is_some_and(|told| told.due > Time::ZERO)
    }

    /// Takes the slots whose time has come, or all.
    pub(super) fn take(&mut self, now: Time, all: bool) -> Vec<u32> {
        let mut taken = Vec::new();
        while let Some((due, slot)) = self.queue.front().copied() {
            if !all && due > now {
                break;
            }
            self.queue.pop_front();
            // A place that an earlier wait has left has another time, or none.
            if self.told.get(slot as usize).is_some_and(|told| told.due == due) {
                self.clear(slot);
                taken.push(slot);
            }
        }
        taken
    }

    /// The slot's change waits until `due`, which never falls from call to call, or as long as it was
    /// to wait before.
    pub(super) fn wait(&mut self, slot: u32, due: Time) {
        let told = self.told(slot);
        if told.due == Time::ZERO {
            told.due = due;
            self.count += 1;
            self.queue.push_back((due, slot));
        }
    }

    /// The slot's counter is reported with these amounts.
    pub(super) fn tell(&mut self, slot: u32, amounts: Amounts) {
        self.clear(slot);
        let Amounts { window, used, .. } = amounts;
        *self.told(slot) = Told { window, used, due: Time::ZERO };
    }

    /// The slot is nobody's.
    pub(super) fn forget(&mut self, slot: u32) {
        self.clear(slot);
        if let Some(told) = self.told.get_mut(slot as usize) {
            *told = Told::default();
        }
    }

    /// What the counter has used since its last report.
    pub(super) fn untold(&self, slot: u32, counter: &Counter) -> u64 {
        let told = self.told.get(slot as usize).filter(|told| told.window == counter.window);
        counter.used.saturating_sub(told.map_or(0, |told| told.used))
    }

    fn clear(&mut self, slot: u32) {
        if let Some(told) = self.told.get_mut(slot as usize).filter(|told| told.due > Time::ZERO) {
            told.due = Time::ZERO;
            self.count -= 1;
        }
    }

    fn told(&mut self, slot: u32) -> &mut Told {
        let slot = slot as usize;
        if slot >= self.told.len() {
            self.told.resize(slot + 1, Told::default());
        }
        &mut self.told[slot]
    }
}

/// Judges the changes of one moment.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    standing: &'a Standing,
    policies: &'a PolicySet,
    longest: Duration,
    time: Time,
    /// Limits by their families' numbers.
    limits: HashMap<u64, u64, FixedState>,
}

impl<'a> Judge<'a> {
    /// At manager time `time`.
    pub(super) fn new(
        standing: &'a Standing,
        policies: &'a PolicySet,
        longest: Duration,
        time: Time,
    ) -> Self {
        Judge { standing, policies, longest, time, limits: HashMap::default() }
    }

    /// Whether what changed in the slot's counter may wait. Not if credit is at stake or a request was
    /// refused; not for rolling windows, as a late report counts as use just then; and not if it could
    /// outlive the window.
    pub(super) fn may_wait(&mut self, waiting: &Waiting, slot: u32, counter: &Counter) -> bool {
        let Some(family) = counter.family() else { return false };
        let calm = counter.set_ceiling().is_none()
            && !counter.hot
            && counter.rejected() == 0
            && counter.closed().is_empty();
        if !calm || family.rolling || family.charging == Charging::Flagged {
            return false;
        }
        if family.window.end(counter.window) < self.time + self.longest {
            return false;
        }
        let limit = self.limit(family, counter);
        let share = self.standing.history.at(counter.window).of(limit);
        let left = share.saturating_sub(counter.used);
        waiting.untold(slot, counter).saturating_mul(PART) < left
    }

    /// How much of its use may go unreported while it is busy; `None` where a crash loses nothing by it.
    pub(super) fn allowance(&mut self, counter: &Counter) -> Option<u64> {
        let family = counter.family()?;
        let long = if family.rolling {
            family.length() > HOLD
        } else {
            family.window.end(counter.window) > self.time + HOLD
        };
        if !long || family.charging == Charging::Flagged {
            return None;
        }
        let limit = self.limit(family, counter);
        let left = counter.ceiling(limit, family, self.standing).saturating_sub(counter.used);
        Some((left / PART).max(1))
    }

    /// Whether the counter used so much since its last report that the next batch may be too late.
    pub(super) fn busy(&mut self, untold: u64, counter: &Counter) -> bool {
        untold > 1 && self.allowance(counter).is_some_and(|most| untold > most)
    }

    /// The limit of the counter; 0 if there is none any more.
    fn limit(&mut self, family: &Family, counter: &Counter) -> u64 {
        let Some(policy) = self.policies.get(&family.policy) else { return 0 };
        let limit = || policy.limit(&family.limit, counter.parts()).map_or(0, |l| l.capacity);
        if policy.has_exceptions() {
            return limit();
        }
        *self.limits.entry(family.number()).or_insert_with(limit)
    }
}
