//! What this manager knows of windows that go on, for managers that start, and what others know.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Bound,
    time::Duration,
};

use weir_proto::{
    convert::{MAX_COUNTERS_BYTES, MAX_FRAME_BYTES},
    counters::{CounterAgent, CounterPart, CounterState, Counters, CountersCursor},
    id::MAX_NAME,
    key::MAX_KEY_BYTES,
    time::{Time, WindowStart},
};

use super::Manager;
use crate::{
    fleet::{AgentIx, SKEW},
    ledger::{CounterIx, GRACE, Known, Pick, Recalled},
    limits::{LimitInfo, Meter},
    meter::SLOTS,
};

/// Most bytes that a piece is asked for; the last counter in it may go beyond.
const MOST: usize = (1 << 20) - (64 << 10);
/// Places looked at for one piece, so that it takes some milliseconds at most.
const LOOKS: u32 = 50_000;
/// Most bytes that one part takes, and one amount with its age.
const PART: usize = 33;
const SPENT: usize = 14;
/// Most bytes that one agent takes: its names, and what surrounds them.
const AGENT: usize = 24 + 3 * (3 + MAX_NAME);

/// Most bytes of a piece with its last counter: a key, what a window's sub-windows hold, a part and its
/// agent.
pub(crate) const MAX_PIECE: usize =
    MOST + MAX_KEY_BYTES + SPENT * (SLOTS as usize + 3) + PART + AGENT;
const _: () = assert!(MAX_PIECE <= MAX_COUNTERS_BYTES && MAX_COUNTERS_BYTES < MAX_FRAME_BYTES);

/// Which counters to tell, and how much at once.
#[derive(Debug, Clone, Copy)]
pub struct Export {
    /// Where the piece before ended; `None` = from the beginning.
    pub cursor: Option<CountersCursor>,
    /// Bytes of the piece, about; at most some 900 KiB.
    pub budget: usize,
    /// Only windows that are longer than this.
    pub longer_than: Duration,
    /// Only what was used since then.
    pub since: Time,
    /// Requests in flight, too.
    pub in_flight: bool,
}

impl Export {
    /// Everything, in pieces of 256 KiB, from the beginning.
    pub fn all() -> Self {
        Export {
            cursor: None,
            budget: 256 << 10,
            longer_than: Duration::ZERO,
            since: Time::ZERO,
            in_flight: true,
        }
    }
}

/// One piece in the making.
struct Piece {
    counters: Counters,
    places: BTreeMap<AgentIx, u32>,
    bytes: usize,
}

impl Manager {
    /// One piece of what is known of windows that go on: of every life of an agent, living or gone, heard
    /// here or by another manager. Counters that are there from the first piece to the last are told,
    /// whatever comes and goes meanwhile.
    pub fn export_counters(&self, export: &Export, now: Time) -> Counters {
        let starting = self.recovery(now).is_some();
        let counters = Counters { starting, taken_at: now, ..Counters::default() };
        let mut piece = Piece { counters, places: BTreeMap::new(), bytes: 0 };
        let pick = Pick {
            longer_than: export.longer_than,
            since: export.since,
            in_flight: export.in_flight,
        };
        let budget = export.budget.min(MOST);
        let mut told = export.cursor;
        let from = told.map_or(0, |cursor| cursor.place);
        for place in from..self.ledger.places() {
            if piece.bytes >= budget || place - from >= LOOKS {
                piece.counters.next = told;
                break;
            }
            let after = told.filter(|cursor| cursor.place == place);
            if let Some(known) = self.ledger.known_at(place, &pick, now) {
                let last = self.tell(&known, place, after, &mut piece, budget, now);
                if last.is_some() {
                    piece.counters.next = last;
                    break;
                }
            }
            told =
                Some(CountersCursor { place, window: WindowStart(u64::MAX), agent: AgentIx::MAX });
        }
        piece.counters
    }

    /// Adds the counter's parts that come after `after`. Where the budget ended, if it did.
    fn tell(
        &self,
        known: &Known<'_>,
        place: u32,
        after: Option<CountersCursor>,
        piece: &mut Piece,
        budget: usize,
        now: Time,
    ) -> Option<CountersCursor> {
        let from = after.map_or(Bound::Unbounded, |c| Bound::Excluded((c.window, c.agent)));
        let mut parts = known.parts.range((from, Bound::Unbounded)).peekable();
        parts.peek()?;
        // What was spent is told once, with the parts that it is about.
        let whole = after.is_none() && known.limit.meter == Meter::Sliding;
        let rolling = known.limit.rolling();
        let spent = if whole { known.spent(now) } else { Vec::new() };
        let key = known.counter.key.clone();
        piece.bytes += key.as_bytes().len() + SPENT * (spent.len() + 1);
        let mut state = CounterState { key, rolling, spent, parts: Vec::new() };
        let mut last = None;
        while let Some(((window, agent), part)) = parts.next() {
            let number = self.introduce(*agent, piece);
            let charged = part.charged && whole;
            state.parts.push(CounterPart { agent: number, charged, ..*part });
            piece.bytes += PART;
            if piece.bytes >= budget && parts.peek().is_some() {
                last = Some(CountersCursor { place, window: *window, agent: *agent });
                break;
            }
        }
        piece.counters.states.push(state);
        last
    }

    /// The agent's place in the piece.
    fn introduce(&self, agent: AgentIx, piece: &mut Piece) -> u32 {
        let next = u32::try_from(piece.places.len()).unwrap_or(u32::MAX);
        match piece.places.entry(agent) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(place) => {
                let record = self.fleet.agent(agent);
                let identity = record.identity.clone();
                let texts = [identity.life.id.as_str(), &identity.gateway_group, &identity.version];
                piece.bytes +=
                    AGENT - 3 * MAX_NAME + texts.iter().map(|text| text.len()).sum::<usize>();
                let alive = record.usage.is_some() && record.gone.is_none();
                piece.counters.agents.push(CounterAgent { identity, alive });
                *place.insert(next)
            }
        }
    }

    /// Takes in what another manager, or a checkpoint, knows. It only adds to what is known to be used: the
    /// agent's own word is better (see [`Ledger::recall`](crate::ledger::Ledger::recall)), and about the agent
    /// itself nothing is believed. Pieces may come doubled and in any order. Returns how many parts were of use.
    pub fn import_counters(&mut self, counters: &Counters, now: Time) -> usize {
        let mut agents = Vec::with_capacity(counters.agents.len());
        for CounterAgent { identity, alive } in &counters.agents {
            agents.push(self.fleet.recall(identity, now));
            self.expect(&identity.life, *alive);
        }
        let mut taken = 0;
        for state in &counters.states {
            let Some(limit) = self.limits.of(&state.key) else { continue };
            if limit.rolling() != state.rolling {
                continue; // the policy is another one by now
            }
            let known = |part: &CounterPart| {
                let agent = (*agents.get(part.agent as usize)?)?;
                let record = self.fleet.agent(agent);
                let speaks = record.usage.is_some() || record.session.is_some();
                current(&limit, part, now).then_some(Recalled { agent, speaks, part: *part })
            };
            let parts: Vec<Recalled> = state.parts.iter().filter_map(known).collect();
            taken += self.take_in(state, &parts, now);
        }
        taken
    }

    fn take_in(&mut self, state: &CounterState, parts: &[Recalled], now: Time) -> usize {
        let Some(first) = parts.first() else { return 0 };
        let mut cells = Vec::new();
        let key = std::iter::once(state.key.as_bytes());
        let named = self.ledger.name(first.agent, key, &mut cells);
        let Some(cell) = cells.pop().filter(|_| named.is_ok()) else { return 0 };
        let counter: Option<CounterIx> = self.counter_at(cell, now);
        if let Some(ix) = counter {
            self.ledger.recall(ix, state, parts, now);
        }
        self.ledger.unname(cell);
        if counter.is_some() { parts.len() } else { 0 }
    }
}

/// Whether the part can be about a window that goes on.
fn current(limit: &LimitInfo, part: &CounterPart, now: Time) -> bool {
    let (start, length) = (part.window.time(), limit.window.duration());
    let begun = start <= now + SKEW + if limit.rolling() { SKEW } else { length };
    part.stamp > 0 && begun && (limit.rolling() || start + length + GRACE > now)
}

#[cfg(test)]
mod tests;
