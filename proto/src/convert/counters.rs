//! What managers tell each other of windows that go on; `counters.proto` says how it is packed.

use std::time::Duration;

use prost::Message;

use super::{
    MAX_AMOUNT, MAX_ENTRIES, MAX_TIME_MS, WireError, bounded,
    packed::{LAST_WINDOW, Scan, broken},
};
use crate::{
    counters::{CounterAgent, CounterPart, CounterState, Counters, CountersAsk, CountersCursor},
    key::{CounterKey, KeyError, MAX_KEY_BYTES},
    time::{Time, WindowStart},
    usage::put,
    wire::weir::v1 as wire,
};

/// Most bytes of one piece.
pub const MAX_COUNTERS_BYTES: usize = 1 << 20;
/// Largest stamp that is told: 49 bits. Agents count frames, and come nowhere near.
const MAX_STAMP: u64 = (1 << 49) - 1;
const FIELD: &str = "counters";

const CHARGED: u64 = 0b001;
const REJECTED: u64 = 0b010;
const WINDOW: u64 = 0b100;

impl From<CountersAsk> for wire::CountersAsk {
    fn from(ask: CountersAsk) -> Self {
        let secs = u32::try_from(ask.min_window.as_secs()).unwrap_or(u32::MAX);
        wire::CountersAsk { min_window_secs: secs, cursor: ask.cursor.map(Into::into) }
    }
}

impl TryFrom<wire::CountersAsk> for CountersAsk {
    type Error = WireError;
    fn try_from(w: wire::CountersAsk) -> Result<Self, WireError> {
        Ok(CountersAsk {
            min_window: Duration::from_secs(w.min_window_secs.into()),
            cursor: w.cursor.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<CountersCursor> for wire::CountersCursor {
    fn from(c: CountersCursor) -> Self {
        wire::CountersCursor { place: c.place, window: c.window.0, agent: c.agent }
    }
}

impl TryFrom<wire::CountersCursor> for CountersCursor {
    type Error = WireError;
    fn try_from(w: wire::CountersCursor) -> Result<Self, WireError> {
        Ok(CountersCursor { place: w.place, window: WindowStart(w.window), agent: w.agent })
    }
}

impl From<Counters> for wire::Counters {
    fn from(c: Counters) -> Self {
        let mut bytes = Vec::new();
        let mut window = 0;
        c.states.iter().for_each(|state| put_state(state, &mut window, &mut bytes));
        let agent = |a: CounterAgent| wire::CounterAgent {
            identity: Some(a.identity.into()),
            alive: a.alive,
        };
        wire::Counters {
            agents: c.agents.into_iter().map(agent).collect(),
            counters: bytes.into(),
            next: c.next.map(Into::into),
            starting: c.starting,
            taken_at_ms: c.taken_at.as_millis(),
        }
    }
}

impl TryFrom<wire::Counters> for Counters {
    type Error = WireError;
    fn try_from(w: wire::Counters) -> Result<Self, WireError> {
        bounded("agents length", w.agents.len() as u64, MAX_ENTRIES as u64)?;
        bounded("counters length", w.counters.len() as u64, MAX_COUNTERS_BYTES as u64)?;
        let taken_at = bounded("taken_at_ms", w.taken_at_ms, MAX_TIME_MS)?;
        let agent = |a: wire::CounterAgent| {
            let identity = a.identity.ok_or(WireError::Missing("agents[].identity"))?;
            Ok(CounterAgent { identity: identity.try_into()?, alive: a.alive })
        };
        let agents = w.agents.into_iter().map(agent).collect::<Result<Vec<_>, WireError>>()?;
        let states = states(&w.counters, agents.len() as u64)?;
        Ok(Counters {
            agents,
            states,
            next: w.next.map(TryInto::try_into).transpose()?,
            starting: w.starting,
            taken_at: Time::from_millis(taken_at),
        })
    }
}

impl Counters {
    /// As bytes, to be stored.
    pub fn to_bytes(self) -> Vec<u8> {
        wire::Counters::from(self).encode_to_vec()
    }

    /// What [`Counters::to_bytes`] wrote.
    ///
    /// # Errors
    /// The field that breaks the bounds; bytes that are no piece at all miss it altogether.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let wire = wire::Counters::decode(bytes).map_err(|_| WireError::Missing(FIELD))?;
        wire.try_into()
    }
}

fn put_state(state: &CounterState, window: &mut u64, out: &mut Vec<u8>) {
    put(state.rolling.into(), out);
    put(state.key.as_bytes().len() as u64, out);
    out.extend_from_slice(state.key.as_bytes());
    put(state.spent.len() as u64, out);
    for (age, amount) in &state.spent {
        put(u64::try_from(age.as_millis()).unwrap_or(MAX_TIME_MS).min(MAX_TIME_MS), out);
        put(*amount.min(&MAX_AMOUNT), out);
    }
    put(state.parts.len() as u64, out);
    for part in &state.parts {
        let turned = part.window.0 != *window;
        let mut tag = u64::from(part.agent) << 3;
        tag |= if turned { WINDOW } else { 0 };
        tag |= if part.rejected > 0 { REJECTED } else { 0 };
        tag |= if part.charged { CHARGED } else { 0 };
        put(tag, out);
        if turned {
            let step = part.window.0.cast_signed().wrapping_sub(window.cast_signed());
            put(((step << 1) ^ (step >> 63)).cast_unsigned(), out);
            *window = part.window.0;
        }
        put(part.used.min(MAX_AMOUNT), out);
        if part.rejected > 0 {
            put(part.rejected.min(MAX_AMOUNT), out);
        }
        put(part.stamp.min(MAX_STAMP), out);
    }
}

/// The counters in `bytes`, whose parts name one of so many agents.
fn states(bytes: &[u8], agents: u64) -> Result<Vec<CounterState>, WireError> {
    let mut reader = Reader { scan: Scan { bytes, at: 0 }, left: MAX_ENTRIES as u64, window: 0 };
    let mut states = Vec::new();
    while reader.scan.more() {
        states.push(reader.state(agents)?);
    }
    Ok(states)
}

struct Reader<'a> {
    scan: Scan<'a>,
    /// Parts and spent amounts that may still come.
    left: u64,
    window: u64,
}

impl Reader<'_> {
    fn number(&mut self) -> Result<u64, WireError> {
        self.scan.number().ok_or_else(|| broken(FIELD, &self.scan))
    }

    fn amount(&mut self, field: &'static str) -> Result<u64, WireError> {
        bounded(field, self.number()?, MAX_AMOUNT)
    }

    /// How many follow. Each has two bytes at least.
    fn count(&mut self, field: &'static str) -> Result<u64, WireError> {
        let count = bounded(field, self.number()?, self.left)?;
        self.left -= count;
        let rest = (self.scan.bytes.len() - self.scan.at) as u64;
        bounded(field, count, rest / 2)
    }

    fn key(&mut self) -> Result<CounterKey, WireError> {
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if length > MAX_KEY_BYTES {
            return Err(KeyError::TooLong.into());
        }
        let (from, to) = (self.scan.at, self.scan.at + length);
        let problem = "ends inside a key";
        let cut = WireError::Packed { field: FIELD, problem, at: from };
        let key = self.scan.bytes.get(from..to).ok_or(cut)?;
        self.scan.at = to;
        Ok(CounterKey::parse(key)?)
    }

    fn state(&mut self, agents: u64) -> Result<CounterState, WireError> {
        let rolling = bounded("counters[].rolling", self.number()?, 1)? == 1;
        let key = self.key()?;
        let mut spent = Vec::new();
        for _ in 0..self.count("counters[].spent length")? {
            let age = bounded("counters[].spent[].age", self.number()?, MAX_TIME_MS)?;
            spent.push((Duration::from_millis(age), self.amount("counters[].spent[].amount")?));
        }
        let mut parts = Vec::new();
        for _ in 0..self.count("counters[].parts length")? {
            parts.push(self.part(agents)?);
        }
        Ok(CounterState { key, rolling, spent, parts })
    }

    fn part(&mut self, agents: u64) -> Result<CounterPart, WireError> {
        let tag = self.number()?;
        let agent = tag >> 3;
        if agent >= agents {
            let max = agents.saturating_sub(1);
            return Err(WireError::Range { field: "counters[].parts[].agent", value: agent, max });
        }
        if tag & WINDOW != 0 {
            let step = self.number()?;
            let step = (step >> 1) ^ (step & 1).wrapping_neg();
            self.window = self.window.wrapping_add(step);
            bounded("counters[].parts[].window", self.window, LAST_WINDOW)?;
        }
        let used = self.amount("counters[].parts[].used")?;
        let rejected =
            if tag & REJECTED != 0 { self.amount("counters[].parts[].rejected")? } else { 0 };
        Ok(CounterPart {
            agent: u32::try_from(agent).unwrap_or(u32::MAX),
            window: WindowStart(self.window),
            used,
            rejected,
            stamp: self.number()?,
            charged: tag & CHARGED != 0,
        })
    }
}

#[cfg(test)]
mod tests;
