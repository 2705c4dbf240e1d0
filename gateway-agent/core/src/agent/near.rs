//! Counters whose use must not wait for the next batch: an agent that crashes takes with it what it has
//! not reported, and in windows that go on for long that comes on top of the limit.
//!
//! Whoever used more than a sixteenth of what it still holds since its last report, or asks for more, is
//! looked at every few milliseconds, and reported as soon as it has used that much again. So what a
//! crash can lose shrinks as a counter nears its ceiling. Checks take no part in it.

use std::time::Duration;

use weir_proto::time::Time;

use super::Agent;
use crate::message::Output;

/// Looks are so far apart, and at least so far when something is urgent.
pub(super) const LOOK: Duration = Duration::from_millis(5);
const URGENT: Duration = Duration::from_millis(2);
/// Most counters that are looked at. All others wait for the next batch.
const MOST: usize = 1_024;

/// A counter that was not used in so many looks is no longer looked at: the next batch is as soon.
const IDLE: u8 = 20;

/// What is looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Near {
    /// Ascending, and in how many looks nothing was used.
    slots: Vec<(u32, u8)>,
    looked_at: Time,
    look_at: Option<Time>,
}

impl Near {
    /// When the next look is due.
    pub(super) fn due(&self) -> Option<Time> {
        self.look_at
    }

    pub(super) fn watch(&mut self, slot: u32) {
        match self.slots.binary_search_by_key(&slot, |(slot, _)| *slot) {
            Ok(place) => self.slots[place].1 = 0,
            Err(place) if self.slots.len() < MOST => self.slots.insert(place, (slot, 0)),
            Err(_) => {}
        }
    }

    /// Something is looked at: the next look is due so long after the last, or now.
    pub(super) fn plan(&mut self, after: Duration, now: Time) {
        let at = (self.looked_at + after).max(now);
        if !self.slots.is_empty() {
            self.look_at = Some(self.look_at.map_or(at, |due| due.min(at)));
        }
    }
}

impl Agent {
    /// These counters ask for more: what they used is reported soon.
    pub(super) fn watch_hot(&mut self, slots: &[u32], now: Time) {
        let snapshot = self.table.snapshot();
        let mut near = std::mem::take(&mut self.near);
        let mut judge = self.judge(&snapshot.policies, now);
        for slot in slots {
            let counter = self.table.at(*slot);
            if counter.is_some_and(|counter| judge.allowance(&counter).is_some()) {
                near.watch(*slot);
            }
        }
        self.near = near;
        self.near.plan(URGENT, now);
    }

    /// Reports what must not wait, and lets those go that were idle since the last look.
    pub(super) fn look(&mut self, now: Time, out: &mut Vec<Output>) {
        self.near.look_at = None;
        self.near.looked_at = now;
        // Where frames are on their way for longer, more of them would not be sooner.
        if !self.links.iter().all(|link| link.keeps_up(&self.outbox, now)) {
            return self.near.plan(LOOK, now);
        }
        let snapshot = self.table.snapshot();
        let mut judge = self.judge(&snapshot.policies, now);
        let (mut urgent, mut slots) = (Vec::new(), Vec::new());
        for (slot, idle) in &self.near.slots {
            let Some(counter) = self.table.at(*slot) else { continue };
            let Some(most) = judge.allowance(&counter) else { continue };
            let untold = self.waiting.untold(*slot, &counter);
            if untold >= most {
                urgent.push(*slot);
            }
            let idle = if untold > 0 { 0 } else { idle + 1 };
            if idle < IDLE {
                slots.push((*slot, idle));
            }
        }
        self.near.slots = slots;
        if !urgent.is_empty() {
            self.tell(urgent, 0, true, now);
            self.pump(now, out);
        }
        self.near.plan(LOOK, now);
    }
}
