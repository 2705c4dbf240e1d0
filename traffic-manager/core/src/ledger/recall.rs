//! Telling other managers what is counted, and taking in what they tell.

use std::{collections::BTreeMap, time::Duration};

use weir_proto::{
    counters::{CounterPart, CounterState},
    time::{Time, WindowStart},
    usage::UsageEntry,
};

use super::{Cell, Counter, CounterIx, Ledger, LimitInfo, Slot, Word, cell::NONE};
use crate::{
    fleet::{AgentIx, SKEW},
    limits::Meter,
};

/// The stamp of amounts in a fixed window that others told, and not the agent: any word of its own is better,
/// whatever stamp they told with it.
const HEARSAY: u64 = 1;

/// Which windows to tell.
#[derive(Debug, Clone, Copy)]
pub struct Pick {
    /// Only those that are longer than this.
    pub longer_than: Duration,
    /// Only what was used since then.
    pub since: Time,
    /// Requests in flight, too: of use to whoever takes over at once.
    pub in_flight: bool,
}

/// A counter as it is told: parts in the order of their windows and agents.
#[derive(Debug)]
pub struct Known<'a> {
    /// The counter.
    pub counter: &'a Counter,
    /// What it counts against.
    pub limit: &'a LimitInfo,
    /// What each agent told, by window (or birth) and agent.
    pub parts: BTreeMap<(WindowStart, AgentIx), CounterPart>,
}

/// A part that was told, and whose it is here.
#[derive(Debug, Clone, Copy)]
pub struct Recalled {
    /// Whose.
    pub agent: AgentIx,
    /// It reports here itself, which is the better word.
    pub speaks: bool,
    /// What was told.
    pub part: CounterPart,
}

impl Ledger {
    /// Places ever used: every counter's is below.
    pub fn places(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    /// What is known of the counter in a place, if it is among those to tell.
    pub fn known_at(&self, place: u32, pick: &Pick, now: Time) -> Option<Known<'_>> {
        let place = self.places.get(place as usize).filter(|place| place.live())?;
        let counter = place.counter.as_ref()?;
        let limit = counter.limit.as_deref()?;
        let long = if limit.rolling() { limit.horizon } else { limit.window.duration() };
        if long <= pick.longer_than || limit.meter == Meter::Gauge && !pick.in_flight {
            return None;
        }
        let mut known = Known { counter, limit, parts: BTreeMap::new() };
        if limit.rolling() {
            known.add_rolling(pick);
        } else {
            known.add_slots(pick, now);
            self.cells.list(place.cells).for_each(|(_, cell)| known.add_cell(cell, pick, now));
        }
        (!known.parts.is_empty()).then_some(known)
    }

    /// Takes in what another manager knows of the counter. In a fixed window it only adds to what is known: what
    /// the agent says here itself is better, and of what others say the most. Of two words about a
    /// rolling one the newer stamp is true.
    pub fn recall(&mut self, ix: CounterIx, state: &CounterState, parts: &[Recalled], now: Time) {
        let Some(counter) = self.live_place(ix).and_then(|place| place.counter.as_mut()) else {
            return;
        };
        let Some(limit) = counter.limit.clone().filter(|l| l.rolling() == state.rolling) else {
            return; // the policy has changed its kind, or is not known
        };
        if limit.rolling() {
            return counter.recall_rolling(&limit, state, parts, now);
        }
        for Recalled { agent, speaks, part } in parts {
            let own = self.word(ix, *agent, part.window);
            if own.is_some_and(|(stamp, ..)| *speaks || stamp >= part.stamp) {
                continue;
            }
            let (stamp, used, rejected) = own.unwrap_or((HEARSAY, 0, 0));
            let (used, rejected) = (used.max(part.used), rejected.max(part.rejected));
            let entry = UsageEntry { key: 0, window: part.window, used, rejected };
            self.merge(ix, *agent, &entry, stamp, Word::Replayed, now);
        }
    }

    /// What is known of the agent's use in a fixed window: stamp, used, rejected.
    fn word(&self, ix: CounterIx, agent: AgentIx, window: WindowStart) -> Option<(u64, u64, u64)> {
        let place = self.places.get(ix.index as usize)?;
        let slots = place.counter.iter().flat_map(|counter| &counter.windows);
        let slot = slots.filter(|w| w.start == window).find_map(|w| w.find(agent));
        let slot = slot.filter(|slot| !slot.presumed()).map(|s| (s.stamp, s.used, s.rejected));
        let cells = self.cells.list(place.cells).map(|(_, cell)| cell);
        let told = cells.filter(|cell| cell.agent == agent && cell.window == window);
        told.map(|cell| (cell.stamp, cell.used, cell.rejected)).chain(slot).max()
    }
}

impl Known<'_> {
    fn goes_on(&self, window: WindowStart, now: Time) -> bool {
        window != NONE && self.limit.window.end(window) + SKEW > now
    }

    fn add(&mut self, agent: AgentIx, part: CounterPart) {
        let known = self.parts.entry((part.window, agent)).or_insert(part);
        if part.stamp >= known.stamp {
            *known = part;
        }
    }

    fn add_slots(&mut self, pick: &Pick, now: Time) {
        let counter = self.counter;
        for window in &counter.windows {
            let goes_on = self.goes_on(window.start, now);
            let told = |s: &&Slot| goes_on && !s.presumed() && s.active_at >= pick.since;
            for slot in window.slots.iter().filter(told) {
                self.add(slot.agent, part(window.start, slot.used, slot.rejected, slot.stamp));
            }
        }
    }

    fn add_cell(&mut self, cell: &Cell, pick: &Pick, now: Time) {
        if cell.active_at >= pick.since && self.goes_on(cell.window, now) {
            self.add(cell.agent, part(cell.window, cell.used, cell.rejected, cell.stamp));
        }
    }

    fn add_rolling(&mut self, pick: &Pick) {
        let counter = self.counter;
        for window in counter.windows.iter().filter(|w| w.touched >= pick.since) {
            for slot in window.slots.iter().filter(|s| !s.presumed()) {
                let told = part(slot.birth, slot.used, slot.rejected, slot.stamp);
                self.add(slot.agent, CounterPart { charged: slot.charged, ..told });
            }
        }
    }

    /// Sliding: what was spent and still counts, by age.
    pub fn spent(&self, now: Time) -> Vec<(Duration, u64)> {
        let spent = self.counter.windows.first().map(|w| &w.spent);
        spent.map_or_else(Vec::new, |spent| spent.ages(self.limit, now))
    }
}

fn part(window: WindowStart, used: u64, rejected: u64, stamp: u64) -> CounterPart {
    CounterPart { agent: 0, window, used, rejected, stamp, charged: false }
}

impl Counter {
    /// What was spent (of a sliding window) is taken over as a whole where nothing is charged yet, and then whoever's use it
    /// holds tells no `recent` use any more. Otherwise each agent's use counts as it does where an agent
    /// replays it: its growth, if the agent's earlier use is charged, and else what it will tell of its
    /// recent use.
    fn recall_rolling(
        &mut self,
        limit: &LimitInfo,
        state: &CounterState,
        parts: &[Recalled],
        now: Time,
    ) {
        let gauge = limit.meter == Meter::Gauge;
        let window = self.window(WindowStart(0), now);
        let charged = window.slots.iter().any(|slot| slot.charged);
        let sliding = limit.meter == Meter::Sliding;
        let adopt = sliding && !charged && parts.iter().any(|told| told.part.charged);
        if adopt {
            window.spent.carry(&state.spent, limit, now);
        }
        for Recalled { agent, speaks, part } in parts {
            let birth = window.find(*agent).filter(|s| !s.presumed()).map(|s| (s.birth, s.stamp));
            let newer =
                birth.is_none_or(|(birth, stamp)| (birth, stamp) < (part.window, part.stamp));
            let same = birth.is_some_and(|(birth, _)| birth == part.window);
            if *speaks && (newer || !same) || birth.is_some_and(|(birth, _)| birth > part.window) {
                continue;
            }
            let new = window.find(*agent).is_none();
            let slot = window.slot(*agent, part.window, now);
            let mut grown = if adopt { slot.used.saturating_sub(part.used) } else { 0 };
            let accounted = adopt && part.charged;
            if newer {
                grown = part.used.saturating_sub(slot.used);
                (slot.used, slot.rejected) = (part.used, part.rejected);
                slot.stamp = part.stamp;
                // As long as it may have been idle, it may hold its default.
                slot.active_at = if new && !gauge { Time::ZERO } else { slot.active_at };
            }
            // Beyond what was spent there: what was told here, or there, since.
            let charge = if accounted { !newer } else { newer && slot.charged };
            slot.charged |= accounted;
            if charge {
                window.spent.charge(grown, limit, now);
            }
        }
    }
}
