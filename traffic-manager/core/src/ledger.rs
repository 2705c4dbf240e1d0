//! Counters, their windows, and what each agent used and holds in them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use foldhash::fast::FixedState;
use weir_proto::{
    key::CounterKey,
    policy::Accuracy,
    time::{Time, WindowStart},
    window::{Algorithm, Window},
};

use crate::{
    fleet::{AgentIx, SKEW},
    message::StreamId,
    meter::Ring,
};

/// Closed windows stay readable for this long, and late usage still lands in them.
pub const GRACE: Duration = Duration::from_secs(5);

/// Windows kept per counter. More are not alive at once; whoever sends more is wrong or hostile.
const WINDOWS: usize = 8;

/// The limit that a counter counts against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitInfo {
    /// Name of the policy.
    pub policy: Arc<str>,
    /// Amount per window.
    pub amount: u64,
    /// Length.
    pub window: Window,
    /// How it rolls.
    pub algorithm: Algorithm,
    /// As declared.
    pub accuracy: Accuracy,
}

impl LimitInfo {
    /// Whether windows have no fixed start.
    pub fn rolling(&self) -> bool {
        self.algorithm != Algorithm::FixedWindow
    }
}

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
    /// When `used` last changed.
    pub active_at: Time,
    /// It was told that the window is exhausted.
    pub denied: bool,
    /// A recall is under way.
    pub recalling: bool,
    /// Rolling: its `recent` use is in the ring.
    pub charged: bool,
}

impl Slot {
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
    /// Rolling: what was spent when.
    pub ring: Ring,
    /// A look at its budget is due then.
    pub look_at: Option<Time>,
    /// Last change of any kind.
    pub touched: Time,
}

impl WindowState {
    fn new(start: WindowStart, now: Time) -> Self {
        WindowState {
            start,
            slots: Vec::new(),
            exhausted: false,
            turn: 0,
            ring: Ring::default(),
            look_at: None,
            touched: now,
        }
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
                if self.slots[i].birth < birth {
                    self.slots[i] = Slot::new(agent, birth, now);
                }
                i
            }
            Err(i) => {
                self.slots.insert(i, Slot::new(agent, birth, now));
                i
            }
        };
        &mut self.slots[i]
    }
}

/// One counter.
#[derive(Debug, Clone)]
pub struct Counter {
    /// Its key.
    pub key: CounterKey,
    /// `None` while no such policy is known here: usage is kept, nothing is granted.
    pub limit: Option<Arc<LimitInfo>>,
    /// Oldest first.
    pub windows: Vec<WindowState>,
}

impl Counter {
    /// The name under which a report for `window` is kept.
    fn window_name(&self, window: WindowStart) -> WindowStart {
        match &self.limit {
            Some(limit) if limit.rolling() => WindowStart(0),
            _ => window,
        }
    }

    /// Counts against another limit from now on, or against none. Usage stays, unless the window
    /// changed its kind.
    pub fn set_limit(&mut self, limit: Option<Arc<LimitInfo>>) {
        let rolling = |l: &Option<Arc<LimitInfo>>| l.as_ref().is_some_and(|l| l.rolling());
        if limit.is_some() && rolling(&self.limit) != rolling(&limit) {
            self.windows.clear();
        }
        self.limit = limit;
    }

    /// Whether a report about `window` can be true now: windows of another grid, of the far future or
    /// long past are not kept.
    pub fn plausible(&self, window: WindowStart, now: Time) -> bool {
        let Some(limit) = self.limit.as_ref().filter(|l| !l.rolling()) else { return true };
        let length = limit.window.duration();
        limit.window.start_at(window.time()) == window
            && window.time() <= now + length + SKEW
            && window.time() + length + GRACE > now
    }

    /// The state for a report about `window`, made if missing.
    pub fn window(&mut self, window: WindowStart, now: Time) -> &mut WindowState {
        let name = self.window_name(window);
        if self.windows.len() >= WINDOWS && self.windows.iter().all(|w| w.start != name) {
            self.windows.remove(0);
        }
        let i = match self.windows.binary_search_by_key(&name, |w| w.start) {
            Ok(i) => i,
            Err(i) => {
                self.windows.insert(i, WindowState::new(name, now));
                i
            }
        };
        let state = &mut self.windows[i];
        state.touched = now;
        state
    }
}

/// When the state of `window` may be forgotten.
pub fn expiry(limit: Option<&LimitInfo>, window: &WindowState) -> Time {
    match limit {
        Some(l) if l.rolling() => window.touched + l.window.duration() * 2 + GRACE,
        Some(l) => l.window.end(window.start).max(window.touched) + GRACE,
        None => window.touched + Duration::from_secs(60),
    }
}

#[derive(Debug, Clone)]
struct Place {
    generation: u32,
    counter: Option<Counter>,
}

/// All counters; bounded.
#[derive(Debug, Clone)]
pub struct Ledger {
    places: Vec<Place>,
    free: Vec<u32>,
    by_key: HashMap<CounterKey, u32, FixedState>,
    max: usize,
    /// Counters that were not kept because the ledger was full.
    pub refused: u64,
}

impl Ledger {
    /// An empty ledger for at most `max` counters.
    pub fn new(max: usize) -> Self {
        Ledger { places: Vec::new(), free: Vec::new(), by_key: HashMap::default(), max, refused: 0 }
    }

    /// Live counters.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    fn ix(&self, index: u32) -> CounterIx {
        CounterIx { index, generation: self.places[index as usize].generation }
    }

    /// The counter of `key`, made by `limit` if missing. `None` when the ledger is full.
    pub fn open(
        &mut self,
        key: &CounterKey,
        limit: impl FnOnce() -> Option<Arc<LimitInfo>>,
    ) -> Option<CounterIx> {
        if let Some(index) = self.by_key.get(key) {
            return Some(self.ix(*index));
        }
        if self.by_key.len() >= self.max {
            self.refused += 1;
            return None;
        }
        let counter = Counter { key: key.clone(), limit: limit(), windows: Vec::new() };
        let index = match self.free.pop() {
            Some(index) => {
                self.places[index as usize].counter = Some(counter);
                index
            }
            None => {
                let index = u32::try_from(self.places.len()).ok()?;
                self.places.push(Place { generation: 0, counter: Some(counter) });
                index
            }
        };
        self.by_key.insert(key.clone(), index);
        Some(self.ix(index))
    }

    /// The counter, unless it has left.
    pub fn get(&self, ix: CounterIx) -> Option<&Counter> {
        let place = self.places.get(ix.index as usize)?;
        if place.generation == ix.generation { place.counter.as_ref() } else { None }
    }

    /// The counter, unless it has left.
    pub fn get_mut(&mut self, ix: CounterIx) -> Option<&mut Counter> {
        let place = self.places.get_mut(ix.index as usize)?;
        if place.generation == ix.generation { place.counter.as_mut() } else { None }
    }

    /// Every counter, in place order.
    pub fn iter(&self) -> impl Iterator<Item = (CounterIx, &Counter)> {
        self.places.iter().enumerate().filter_map(|(i, place)| {
            let index = u32::try_from(i).ok()?;
            let counter = place.counter.as_ref()?;
            Some((CounterIx { index, generation: place.generation }, counter))
        })
    }

    /// Every counter, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (CounterIx, &mut Counter)> {
        self.places.iter_mut().enumerate().filter_map(|(i, place)| {
            let index = u32::try_from(i).ok()?;
            let generation = place.generation;
            Some((CounterIx { index, generation }, place.counter.as_mut()?))
        })
    }

    /// Forgets the counter.
    pub fn remove(&mut self, ix: CounterIx) {
        let Some(place) = self.places.get_mut(ix.index as usize) else { return };
        if place.generation != ix.generation {
            return;
        }
        if let Some(counter) = place.counter.take() {
            self.by_key.remove(&counter.key);
            place.generation = place.generation.wrapping_add(1);
            self.free.push(ix.index);
        }
    }
}
