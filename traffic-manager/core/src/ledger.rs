//! Counters, their windows, and what each agent used and holds in them.
//!
//! What agents report lands in *cells*, one cache line for each agent and counter. A counter that is
//! only counted consists of its cells. Where credit is at stake it has [`WindowState`]s, too, with a
//! [`Slot`] for each agent: [`Ledger::get_mut`] brings them up to date from the cells, and
//! [`Ledger::read`] shows the sum of both. By stamp the newer of cell and slot is true.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use weir_proto::{
    key::CounterKey,
    time::{Time, WindowStart},
    usage::UsageEntry,
};

pub use crate::limits::LimitInfo;
use crate::{
    accounts::Amounts,
    fleet::{AgentIx, SKEW},
    message::StreamId,
    meter::Spent,
};

mod cell;
mod closing;
mod index;
mod naming;
mod recall;
mod report;
mod room;
mod store;
use cell::Cell;
pub use cell::CellIx;
pub use closing::Ended;
pub use naming::TOGETHER;
pub use recall::{Known, Pick, Recalled};
pub use store::Ledger;
#[cfg(test)]
mod tests;

/// Closed windows stay readable for this long, and late usage still lands in them.
pub const GRACE: Duration = Duration::from_secs(5);

/// Windows kept per counter. More are not alive at once; whoever sends more is wrong or hostile.
const WINDOWS: usize = 8;

/// A counter's place; `generation` tells a reused place from the former counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterIx {
    index: u32,
    generation: u32,
}

/// What one agent's life used and holds in one window.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Whose.
    pub agent: AgentIx,
    /// Rolling counters: when the agent opened its counter.
    pub birth: WindowStart,
    /// Stamp of the newest amounts.
    pub stamp: u64,
    /// Admitted.
    pub used: u64,
    /// Refused.
    pub rejected: u64,
    /// The highest ceiling that may be in force; `None` = the default, never changed.
    pub book: Option<u64>,
    /// While not incumbent: what this agent brought along in excess of its pledged share.
    pub carry: i64,
    /// What it held here and came back without: other managers may have passed it on.
    pub lent: u64,
    /// Session and revision of the last decision sent: a report that has applied it settles `book`.
    pub sent: (StreamId, u64),
    /// Need beyond `used` that the agent announced, not yet granted.
    pub want: u64,
    /// When it last announced a need.
    pub asked_at: Time,
    /// When its ceiling was last raised, and what it will have used then when the requests that it had
    /// already are served.
    pub raised: (Time, u64),
    /// When `used` last changed.
    pub active_at: Time,
    /// It was told that the window is exhausted.
    pub denied: bool,
    /// A recall is under way.
    pub recalling: bool,
    /// Rolling: its `recent` use is among what was spent.
    pub charged: bool,
}

impl Slot {
    /// The agent has said nothing of it yet: its birth, too, is a guess.
    pub fn presumed(&self) -> bool {
        self.stamp == 0
    }

    fn new(agent: AgentIx, birth: WindowStart, now: Time) -> Self {
        Slot {
            agent,
            birth,
            stamp: 0,
            used: 0,
            rejected: 0,
            book: None,
            carry: 0,
            lent: 0,
            sent: (StreamId(0), 0),
            want: 0,
            asked_at: now,
            raised: (Time::ZERO, 0),
            active_at: now,
            denied: false,
            recalling: false,
            charged: false,
        }
    }
}

/// One window of a counter. Rolling counters have a single one, named 0.
#[derive(Debug, Clone)]
pub struct WindowState {
    /// Its name.
    pub start: WindowStart,
    /// By agent, in agent order.
    pub slots: Vec<Slot>,
    /// Nothing is left and nothing can be recalled.
    pub exhausted: bool,
    /// Rotates who gets the odd unit.
    pub turn: usize,
    /// Rolling: what was spent and still counts.
    pub spent: Spent,
    /// A look at its budget is due then.
    pub look_at: Option<Time>,
    /// Last change of any kind.
    pub touched: Time,
    /// Rolling: what was told in the present minute, where usage is recorded.
    minute: Option<Box<closing::Minute>>,
}

impl WindowState {
    fn new(start: WindowStart, now: Time) -> Self {
        WindowState {
            start,
            slots: Vec::new(),
            exhausted: false,
            turn: 0,
            spent: Spent::default(),
            look_at: None,
            touched: now,
            minute: None,
        }
    }

    /// When something may leave: the end of a fixed window, or part of a rolling one.
    pub fn next_release(&self, limit: &LimitInfo, now: Time) -> Time {
        if limit.rolling() {
            self.spent.next_release(limit, now)
        } else {
            limit.window.end(self.start)
        }
    }

    /// What is in flight. The requests of an agent that is gone may go on without it, but not beyond
    /// the lease.
    pub fn in_flight(&self, gone: impl Fn(AgentIx) -> bool, lease: Duration, now: Time) -> u64 {
        let over = |slot: &Slot| gone(slot.agent) && slot.active_at + lease <= now;
        self.slots.iter().filter(|slot| !over(slot)).map(|slot| slot.used).sum()
    }

    /// Admitted by all agents.
    pub fn used(&self) -> u64 {
        self.slots.iter().map(|s| s.used).sum()
    }

    /// Refused by all agents.
    pub fn rejected(&self) -> u64 {
        self.slots.iter().map(|s| s.rejected).sum()
    }

    /// The slot of `agent`, if it has one.
    pub fn find(&self, agent: AgentIx) -> Option<&Slot> {
        self.slots.binary_search_by_key(&agent, |s| s.agent).ok().map(|i| &self.slots[i])
    }

    /// The slot of `agent`, made if it is missing or of an earlier birth.
    pub fn slot(&mut self, agent: AgentIx, birth: WindowStart, now: Time) -> &mut Slot {
        let i = match self.slots.binary_search_by_key(&agent, |s| s.agent) {
            Ok(i) => {
                let slot = &mut self.slots[i];
                if slot.birth < birth {
                    *slot = Slot::new(agent, birth, now);
                } else if slot.presumed() {
                    slot.birth = birth;
                }
                i
            }
            Err(i) => {
                if self.slots.is_empty() {
                    self.slots.reserve_exact(1); // many counters have one agent
                }
                self.slots.insert(i, Slot::new(agent, birth, now));
                i
            }
        };
        &mut self.slots[i]
    }
}

/// Windows of a counter, oldest first. None take no room beside the counter.
#[derive(Debug, Clone, Default)]
#[expect(clippy::box_collection, reason = "8 bytes instead of 24 where nothing is granted")]
pub struct Windows(Option<Box<Vec<WindowState>>>);

impl Windows {
    fn list(&mut self) -> &mut Vec<WindowState> {
        self.0.get_or_insert_with(|| Box::new(Vec::with_capacity(1)))
    }

    fn retain(&mut self, keep: impl FnMut(&WindowState) -> bool) {
        let Some(list) = &mut self.0 else { return };
        list.retain(keep);
        if list.is_empty() {
            self.0 = None;
        }
    }
}

impl Deref for Windows {
    type Target = [WindowState];
    fn deref(&self) -> &[WindowState] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl<'a> IntoIterator for &'a Windows {
    type Item = &'a WindowState;
    type IntoIter = std::slice::Iter<'a, WindowState>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl DerefMut for Windows {
    fn deref_mut(&mut self) -> &mut [WindowState] {
        self.0.as_deref_mut().map_or(&mut [], Vec::as_mut_slice)
    }
}

/// One counter.
#[derive(Debug, Clone)]
pub struct Counter {
    /// Its key.
    pub key: CounterKey,
    /// `None` while no such policy is known here: usage is kept, nothing is granted.
    pub limit: Option<Arc<LimitInfo>>,
    /// Where credit is at stake; see the module's documentation.
    pub windows: Windows,
}

impl Counter {
    /// The name under which a report for `window` is kept.
    fn window_name(&self, window: WindowStart) -> WindowStart {
        match &self.limit {
            Some(limit) if limit.rolling() => WindowStart(0),
            _ => window,
        }
    }

    fn rolling(&self) -> bool {
        self.limit.as_ref().is_some_and(|l| l.rolling())
    }

    /// Whether a report about `window` can be true now: windows of another grid, of the far future or
    /// long past are not kept.
    pub fn plausible(&self, window: WindowStart, now: Time) -> bool {
        let Some(limit) = self.limit.as_ref().filter(|l| !l.rolling()) else { return true };
        // The bounds first: whoever tells nonsense must not make calendars reckon far and wide.
        window.time() <= now + limit.window.duration() + SKEW
            && window.time() + limit.window.duration() + GRACE > now
            && limit.window.start_at(window.time()) == window
            && limit.window.end(window) + GRACE > now
    }

    /// The state for a report about `window`, made if missing.
    pub fn window(&mut self, window: WindowStart, now: Time) -> &mut WindowState {
        let name = self.window_name(window);
        let windows = self.windows.list();
        if windows.len() >= WINDOWS && windows.iter().all(|w| w.start != name) {
            windows.remove(0);
        }
        let i = match windows.binary_search_by_key(&name, |w| w.start) {
            Ok(i) => i,
            Err(i) => {
                windows.insert(i, WindowState::new(name, now));
                i
            }
        };
        let state = &mut windows[i];
        state.touched = state.touched.max(now);
        state
    }
}

impl Counter {
    /// Takes over what a cell holds, unless the slot has newer amounts.
    fn bring(&mut self, cell: &Cell) {
        if cell.window == cell::NONE {
            return;
        }
        let window = self.window(cell.window, cell.active_at);
        let slot = window.slot(cell.agent, cell.window, cell.active_at);
        if cell.stamp < slot.stamp {
            return;
        }
        slot.stamp = cell.stamp;
        if cell.used != slot.used {
            slot.active_at = cell.active_at;
        }
        slot.used = cell.used;
        slot.rejected = cell.rejected;
    }

    /// A report of a rolling counter, which is charged to the ring: the newest stamp wins. Returns the
    /// window's name, and how much is new and of this minute.
    fn merge_rolling(
        &mut self,
        agent: AgentIx,
        entry: &UsageEntry,
        stamp: u64,
        word: Word,
        now: Time,
    ) -> (WindowStart, Amounts) {
        let limit = self.limit.clone();
        let window = self.window(entry.window, now);
        let name = window.start;
        if window.find(agent).is_some_and(|s| s.birth > entry.window && !s.presumed()) {
            // About a counter that the agent has since opened anew.
            return (name, Amounts::default());
        }
        // An agent that was out of sight may have been idle since long before it tells.
        let heard = if word == Word::Replayed { Time::ZERO } else { now };
        let new = window.find(agent).is_none();
        let slot = window.slot(agent, entry.window, now);
        if stamp < slot.stamp {
            return (name, Amounts::default());
        }
        let live = word == Word::Reported;
        let grown = entry.used.saturating_sub(slot.used);
        let recent = live || !slot.presumed() || closing::of_this_minute(entry.window, now);
        let rejected = entry.rejected.saturating_sub(slot.rejected);
        let charge = slot.charged || live;
        // A slot that a state replay made stays uncharged until the agent tells its recent use.
        slot.charged |= live && slot.stamp == 0;
        slot.stamp = stamp;
        if new {
            slot.active_at = heard;
        } else if entry.used != slot.used {
            slot.active_at = slot.active_at.max(heard);
        }
        slot.used = entry.used;
        slot.rejected = entry.rejected;
        if let Some(limit) = limit.filter(|_| charge) {
            window.spent.charge(grown, &limit, now);
        }
        let new = Amounts { admitted: grown, refused: rejected };
        (name, if recent { new } else { Amounts::default() })
    }
}

/// How an agent came to tell what it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// With all that it counts, as it connects.
    Replayed,
    /// With its ceiling, in a session that goes on.
    Asked,
    /// On a usage stream that had its whole state before.
    Reported,
}

/// When what was `touched` then in a window that began at `start` may be forgotten.
fn expiry(limit: Option<&LimitInfo>, start: WindowStart, touched: Time) -> Time {
    match limit {
        Some(l) if l.rolling() => touched + l.horizon * 2 + GRACE,
        Some(l) => l.window.end(start).max(touched) + GRACE,
        None => touched + Duration::from_secs(60),
    }
}
