//! Free budget, grants and recalls of one counter's window.
//!
//! The invariant: the ceilings that may be in force, over all agents, never add up to more than the
//! limit. A ceiling is raised only out of what is free, and counts as lowered only after the agent
//! said so in a frame that had applied the last decision sent to it.

mod budget;
mod flagged;
mod sharing;

use std::{sync::Arc, time::Duration};

use weir_proto::{
    amount::{Charging, MAX_AMOUNT},
    time::{Time, WindowStart},
};

use crate::{
    feed::{Feeds, Verdict},
    fleet::{AgentIx, Fleet},
    ledger::{Counter, CounterIx, LimitInfo, Slot},
    message::StreamId,
};
pub use budget::{free, pledged_elsewhere, reserved};
use sharing::Need;

/// An agent that used a counter within this time keeps half of what it holds when others are short.
const BUSY: Duration = Duration::from_millis(50);

/// So long a grant stays where it is: requests that wait for it are woken before it is called back.
const FRESH: Duration = Duration::from_millis(20);
/// No request waits longer for an answer (`max_wait` and the way there and back).
const FORGOTTEN: Duration = Duration::from_millis(1_500);

/// What [`settle`] works on.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Who may grant what.
    pub fleet: &'a Fleet,
    /// Where decisions go.
    pub feeds: &'a mut Feeds,
    /// Manager time.
    pub now: Time,
    /// Decisions made in this turn, for the metrics.
    pub tally: &'a mut Tally,
}

/// Decisions by kind, since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ceilings raised.
    pub grants: u64,
    /// Ceilings lowered.
    pub recalls: u64,
    /// Agents told that nothing is left.
    pub exhausted: u64,
}

/// Brings one window in order: grants what is wanted and free, recalls what lies idle when that is
/// not enough, and says so when nothing is left. Returns when to look again.
pub fn settle(
    ix: CounterIx,
    counter: &mut Counter,
    start: WindowStart,
    turn: &mut Turn<'_>,
) -> Option<Time> {
    let limit = counter.limit.clone()?;
    if !limit.rolling() && limit.window.end(start) <= turn.now {
        return None;
    }
    if limit.charging == Charging::Flagged {
        return flagged::settle(ix, counter, &limit, start, turn);
    }
    if limit.rolling() && !turn.fleet.sovereign(turn.now - limit.horizon, turn.now) {
        return None;
    }
    let at = counter.windows.iter().position(|w| w.start == start)?;
    let free = free(&limit, &mut counter.windows[at], turn.fleet, turn.now);
    let mut scene = Scene { ix, counter, limit, at, free };
    let unmet = scene.grant(turn);
    let deficit = unmet.all.max(u64::try_from(-scene.free).unwrap_or(0));
    if deficit == 0 {
        scene.reopen(turn);
        return None;
    }
    let recalled = scene.recall(deficit, turn);
    // Whoever is not incumbent may be soon, and then there is more: nobody is turned away for good.
    let last_word = turn.fleet.incumbent() && !scene.recalling(turn.fleet);
    if recalled > 0 || unmet.waiting == 0 || !last_word {
        return None;
    }
    // What was granted a moment ago may not be used: then it goes to others.
    scene.fresh_until(turn).or_else(|| scene.exhaust(turn))
}

/// What was wanted in vain.
struct Unmet {
    /// For requests that agents have already.
    waiting: u64,
    /// That, and what they expect.
    all: u64,
}

/// Whether the agent has been asked to give back and has not answered yet.
fn in_flight(slot: &Slot, fleet: &Fleet) -> bool {
    slot.recalling && fleet.agent(slot.agent).session == Some(slot.sent.0)
}

struct Scene<'a> {
    ix: CounterIx,
    counter: &'a mut Counter,
    limit: Arc<LimitInfo>,
    at: usize,
    free: i64,
}

/// What an agent may still admit on its ceiling.
fn unused(slot: &Slot, limit: &LimitInfo, fleet: &Fleet, start: WindowStart) -> u64 {
    budget::ceiling(slot, limit, fleet, start).saturating_sub(slot.used)
}

impl Scene<'_> {
    fn window_start(&self) -> WindowStart {
        self.counter.windows[self.at].start
    }

    fn decide(&mut self, slot: usize, ceiling: u64, exhausted: Option<u64>, turn: &mut Turn<'_>) {
        let start = self.window_start();
        let rolling = self.limit.rolling();
        let window = &mut self.counter.windows[self.at];
        let slot = &mut window.slots[slot];
        let Some(session) = turn.fleet.agent(slot.agent).session else { return };
        // The agent keeps its counter for as long as if it had used something now: so do the books.
        window.touched = window.touched.max(turn.now);
        let verdict = Verdict {
            window: if rolling { slot.birth } else { start },
            ceiling,
            exhausted: exhausted.is_some(),
            retry_after_ms: exhausted.unwrap_or(0),
        };
        let revision = turn.feeds.decide(session, self.ix, &self.counter.key, verdict);
        slot.sent = (session, revision);
        slot.denied = exhausted.is_some();
    }

    /// Who wants more than it has.
    fn needs(&mut self, turn: &Turn<'_>) -> Vec<Need> {
        let start = self.window_start();
        let mut needs = Vec::new();
        for (i, slot) in self.counter.windows[self.at].slots.iter_mut().enumerate() {
            if slot.asked_at + FORGOTTEN <= turn.now {
                slot.want = 0;
            }
            if slot.want == 0 || !turn.fleet.agent(slot.agent).eligible() {
                continue;
            }
            let have = unused(slot, &self.limit, turn.fleet, start);
            if slot.want > have {
                needs.push(Need {
                    slot: i,
                    waiting: slot.waiting().saturating_sub(have),
                    all: slot.want - have,
                    weight: slot.used + slot.want,
                });
            }
        }
        needs
    }

    /// Whoever is idle and wants more gets what is reserved for it.
    fn grant_reserved(&mut self, turn: &mut Turn<'_>) {
        for need in self.needs(turn) {
            let slot = &self.counter.windows[self.at].slots[need.slot];
            let reserve = budget::reserve(slot, &self.limit, turn.fleet, turn.now);
            if reserve == 0 {
                continue;
            }
            self.free += i64::try_from(reserve).unwrap_or(i64::MAX);
            self.raise(need.slot, reserve, turn);
            let slot = &mut self.counter.windows[self.at].slots[need.slot];
            slot.raised = (turn.now, slot.used + slot.waiting());
            if reserve >= need.waiting {
                slot.want = 0;
            }
        }
    }

    /// Grants what is wanted and free.
    fn grant(&mut self, turn: &mut Turn<'_>) -> Unmet {
        // Where less is free than nothing, the reserve is not whole yet; who does not govern has none.
        let governs = turn.fleet.sovereign(turn.now - self.limit.horizon, turn.now);
        if self.limit.rolling() && governs && self.free >= 0 {
            self.grant_reserved(turn);
        }
        let needs = self.needs(turn);
        let mut unmet = Unmet {
            waiting: needs.iter().map(|n| n.waiting).sum(),
            all: needs.iter().map(|n| n.all).sum(),
        };
        let free = u64::try_from(self.free).unwrap_or(0);
        if unmet.all == 0 || free == 0 {
            return unmet;
        }
        let gifts = if unmet.all <= free {
            let view = turn.fleet.view();
            sharing::generous(&needs, free, view.members.len() == 1 && turn.fleet.incumbent())
        } else {
            let window = &mut self.counter.windows[self.at];
            window.turn = window.turn.wrapping_add(1);
            sharing::scarce(&needs, free, window.turn)
        };
        for (need, gift) in needs.into_iter().zip(gifts) {
            unmet.waiting -= need.waiting.min(gift);
            unmet.all -= need.all.min(gift);
            if gift == 0 {
                continue;
            }
            self.raise(need.slot, gift, turn);
            let slot = &mut self.counter.windows[self.at].slots[need.slot];
            slot.raised = (turn.now, slot.used + slot.waiting());
            // Whoever got less than it expects asks again when it has used that.
            if gift >= need.waiting {
                slot.want = 0;
            }
        }
        unmet
    }

    fn raise(&mut self, i: usize, by: u64, turn: &mut Turn<'_>) {
        let start = self.window_start();
        let slot = &self.counter.windows[self.at].slots[i];
        let from = budget::ceiling(slot, &self.limit, turn.fleet, start).max(slot.used);
        let to = (from + by).min(MAX_AMOUNT);
        let lent = pledged_elsewhere(slot, &self.limit, turn.fleet, start);
        let slot = &mut self.counter.windows[self.at].slots[i];
        slot.lent = lent;
        slot.book = Some(to);
        // It overrides a recall under way, which the agent would not confirm apart.
        slot.recalling = false;
        self.free -= i64::try_from(by).unwrap_or(i64::MAX);
        turn.tally.grants += 1;
        self.decide(i, to, None, turn);
    }

    /// Asks agents to give back what lies idle, until `deficit` is covered. Returns what was asked.
    fn recall(&mut self, deficit: u64, turn: &mut Turn<'_>) -> u64 {
        let start = self.window_start();
        self.name_untouched(turn);
        let mut idle: Vec<(u64, usize, u64)> = Vec::new();
        let slots = &self.counter.windows[self.at].slots;
        // What an agent holds is no use to it when taken away: it must be for somebody else.
        let asking = |slot: &Slot| slot.want > 0 && turn.fleet.agent(slot.agent).eligible();
        let askers = slots.iter().filter(|s| asking(s)).count();
        for (i, slot) in slots.iter().enumerate() {
            if self.free >= 0 && askers <= usize::from(asking(slot)) {
                continue;
            }
            if in_flight(slot, turn.fleet) || !turn.fleet.agent(slot.agent).attached() {
                continue;
            }
            let have = unused(slot, &self.limit, turn.fleet, start);
            let busy = slot.active_at + BUSY > turn.now && slot.used > 0;
            let half = if busy { have / 2 } else { 0 };
            let spare = have.saturating_sub(half.max(slot.fresh(turn.now)));
            if spare > 0 {
                idle.push((spare, i, have - spare));
            }
        }
        idle.sort_unstable_by_key(|(spare, i, _)| (std::cmp::Reverse(*spare), *i));
        let mut asked = 0;
        for (spare, i, keep) in idle {
            if asked >= deficit {
                break;
            }
            let slot = &mut self.counter.windows[self.at].slots[i];
            slot.recalling = true;
            slot.want = slot.want.min(keep);
            let to = slot.used + keep;
            turn.tally.recalls += 1;
            self.decide(i, to, None, turn);
            asked += spare;
        }
        asked
    }

    /// Gives a slot to each attached member that has an untouched default: it can be recalled, too.
    fn name_untouched(&mut self, turn: &Turn<'_>) {
        let start = self.window_start();
        let holders: Vec<AgentIx> = turn
            .fleet
            .sessions()
            .map(|(_, a)| a)
            .filter(|a| {
                let agent = turn.fleet.agent(*a);
                let share =
                    if self.limit.rolling() { agent.current_share() } else { agent.share(start) };
                agent.attached() && share.default_of(self.limit.amount) > 0
            })
            .collect();
        let rolling = self.limit.rolling();
        let window = &mut self.counter.windows[self.at];
        for agent in holders {
            if window.find(agent).is_none() {
                let birth = if rolling { WindowStart(turn.now.as_secs()) } else { start };
                window.slot(agent, birth, turn.now);
            }
        }
    }

    fn recalling(&self, fleet: &Fleet) -> bool {
        self.counter.windows[self.at].slots.iter().any(|s| in_flight(s, fleet))
    }

    /// Until when unused grants stay where they are.
    fn fresh_until(&self, turn: &Turn<'_>) -> Option<Time> {
        let start = self.window_start();
        let fresh = |slot: &&Slot| {
            slot.fresh(turn.now) > 0
                && turn.fleet.agent(slot.agent).attached()
                && unused(slot, &self.limit, turn.fleet, start) > 0
        };
        let slots = self.counter.windows[self.at].slots.iter();
        slots.filter(fresh).map(|slot| slot.raised.0 + FRESH).min()
    }

    /// Tells agents that ask in vain not to ask again. Returns when something may be free again.
    fn exhaust(&mut self, turn: &mut Turn<'_>) -> Option<Time> {
        let start = self.window_start();
        let window = &mut self.counter.windows[self.at];
        window.exhausted = true;
        let until = window.next_release(&self.limit, turn.now);
        let wait = millis(until, turn.now);
        for i in 0..self.counter.windows[self.at].slots.len() {
            let slot = &self.counter.windows[self.at].slots[i];
            if slot.want == 0 || slot.denied || !turn.fleet.agent(slot.agent).attached() {
                continue;
            }
            let ceiling = budget::ceiling(slot, &self.limit, turn.fleet, start).max(slot.used);
            let lent = pledged_elsewhere(slot, &self.limit, turn.fleet, start);
            turn.tally.exhausted += 1;
            self.decide(i, ceiling, Some(wait), turn);
            let slot = &mut self.counter.windows[self.at].slots[i];
            slot.lent = lent;
            slot.book = Some(ceiling);
        }
        if self.limit.rolling() {
            return Some(until);
        }
        // What busy agents keep for themselves may turn out to lie idle.
        let leftover = self.counter.windows[self.at].used() < self.limit.amount;
        leftover.then_some((turn.now + BUSY * 2).min(until))
    }

    /// Budget came back: agents that were told not to ask may ask again.
    fn reopen(&mut self, turn: &mut Turn<'_>) {
        if self.free <= 0 {
            return;
        }
        let start = self.window_start();
        self.counter.windows[self.at].exhausted = false;
        for i in 0..self.counter.windows[self.at].slots.len() {
            let slot = &self.counter.windows[self.at].slots[i];
            if slot.denied && turn.fleet.agent(slot.agent).attached() {
                let ceiling = budget::ceiling(slot, &self.limit, turn.fleet, start).max(slot.used);
                self.decide(i, ceiling, None, turn);
            }
        }
    }
}

/// How long an agent need not ask, in milliseconds.
fn millis(until: Time, now: Time) -> u64 {
    u64::try_from(until.since(now).as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Slot {
    /// What the agent wants for requests that it has already. It asks for twice as much.
    fn waiting(&self) -> u64 {
        self.want.div_ceil(2)
    }

    /// What it was just granted for requests that are being woken, as far as it is not used yet.
    fn fresh(&self, now: Time) -> u64 {
        let (at, used) = self.raised;
        if at + FRESH > now { used.saturating_sub(self.used) } else { 0 }
    }
}

/// Applies what an agent said of its ceiling. `applied` is the last revision that it had applied in
/// `session` when it said so.
pub fn confirm(slot: &mut Slot, ceiling: u64, session: StreamId, applied: u64) {
    let (sent_in, revision) = slot.sent;
    if sent_in == session && revision > applied {
        return;
    }
    // A recall may come after more was used: that, too, was taken from this manager's budget, and
    // must not count as brought along when the agent comes back from another manager.
    slot.book = Some(ceiling.max(slot.used));
    slot.recalling = false;
}
