//! The usage plane: merging what agents report.

use weir_proto::{
    key::KeyError,
    time::Time,
    usage::{AgentIdentity, Names as NewNames, UsageEntry, UsageFrame},
};

use self::names::Names;
use super::Manager;
use crate::{
    fleet::AgentIx,
    ledger::{CellIx, CounterIx, TOGETHER, Word},
    manager::timers::Timer,
    message::{Output, StreamId},
};

pub(super) mod names;

#[derive(Debug, Clone)]
pub(super) struct UsageStream {
    agent: AgentIx,
    names: Names,
    /// The agent's whole state has come: what is new from now on happened now.
    pub(super) live: bool,
    /// There was no room for a counter that it named.
    refused: bool,
}

impl Manager {
    pub(super) fn on_usage(
        &mut self,
        stream: StreamId,
        frame: UsageFrame,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        if let Err(reason) = self.meet_usage(stream, &frame, now) {
            return self.end_usage(stream, reason, now, out);
        }
        let Some(mut state) = self.usage.remove(&stream) else {
            let reason = "identity is missing in the first frame".to_owned();
            return self.end_usage(stream, reason, now, out);
        };
        for id in &frame.forgotten {
            self.ledger.unname(state.names.forget(*id));
        }
        let named = self.learn(state.agent, &mut state.names, &frame.names);
        let fault = match named {
            Err(error) => Some(format!("names[].key {error}")),
            Ok(_) if state.names.too_many() => Some("too many keys named; reconnect".to_owned()),
            Ok(complete) => {
                state.refused |= !complete;
                None
            }
        };
        if let Some(reason) = fault {
            self.usage.insert(stream, state);
            return self.end_usage(stream, reason, now, out);
        }
        self.totals.usage_frames += 1;
        self.totals.usage_entries += frame.entries.len() as u64;
        self.merge_all(&state, &frame.entries, frame.seq, now);
        state.live |= frame.state_complete;
        self.fleet.hear(state.agent, now);
        if let Some(status) = frame.status {
            self.fleet.agent_mut(state.agent).tell(status, &self.config.life);
        }
        let retry = state.refused && self.ledger.roomy();
        self.usage.insert(stream, state);
        out.push(Output::Ack(stream, frame.seq));
        if let Some(reason) = self.rivals(stream, now) {
            return self.end_rival(stream, &reason, now, out);
        }
        if retry {
            // The agent names everything again, and tells all that it counted.
            self.on_usage_closed(stream, now);
            let reason = "there is room again for counters that were refused; reconnect";
            out.push(Output::CloseUsage(stream, reason.to_owned()));
        }
    }

    /// What it told is merged, but it is no part of the fleet.
    fn rivals(&mut self, stream: StreamId, now: Time) -> Option<String> {
        let agent = self.usage.get(&stream)?.agent;
        self.fleet.rivals(agent, now)
    }

    fn end_rival(&mut self, stream: StreamId, reason: &str, now: Time, out: &mut Vec<Output>) {
        let agent = self.usage.get(&stream).map(|state| state.agent);
        let session = agent.and_then(|agent| self.fleet.agent(agent).session);
        if let Some(session) = session {
            self.close_session(session, reason, now, out);
        }
        self.end_usage(stream, reason.to_owned(), now, out);
    }

    /// Opens the stream with its first frame; the same frame again changes nothing.
    fn meet_usage(
        &mut self,
        stream: StreamId,
        frame: &UsageFrame,
        now: Time,
    ) -> Result<(), String> {
        let Some(identity) = &frame.identity else { return Ok(()) };
        match self.usage.get(&stream) {
            Some(state) if self.fleet.agent(state.agent).identity.life != identity.life => {
                Err("a stream has one identity, in its first frame".to_owned())
            }
            Some(_) => Ok(()),
            None => {
                let agent = self.fleet.meet(identity, now)?;
                self.open_usage(stream, agent, identity);
                Ok(())
            }
        }
    }

    /// Takes names in. The keys are checked where they are new. False when some found no room.
    pub(super) fn learn(
        &mut self,
        agent: AgentIx,
        names: &mut Names,
        new: &NewNames,
    ) -> Result<bool, KeyError> {
        if new.is_empty() {
            return Ok(true);
        }
        let mut complete = true;
        let mut cells = Vec::with_capacity(new.len());
        let result = self.ledger.name(agent, new.iter().map(|(_, key)| key), &mut cells);
        for ((id, _), cell) in new.iter().zip(cells) {
            complete &= cell != CellIx::default();
            self.ledger.unname(names.put(id, cell));
        }
        result.map(|()| complete)
    }

    /// The stream has ended.
    pub(super) fn release(&mut self, names: Names) {
        for cell in names.into_cells() {
            self.ledger.unname(cell);
        }
    }

    /// Merges the entries of a frame. Those of a counter's present window cost two reads of memory,
    /// name and cell, and the reads of [`TOGETHER`] entries do not wait for one another.
    fn merge_all(&mut self, state: &UsageStream, entries: &[UsageEntry], stamp: u64, now: Time) {
        let mut cells = [CellIx::default(); TOGETHER];
        for entries in entries.chunks(TOGETHER) {
            let mut ready = 0_u32;
            for (cell, entry) in cells.iter_mut().zip(entries) {
                *cell = state.names.cell(entry.key);
            }
            for (cell, entry) in cells.iter().zip(entries) {
                ready += u32::from(self.ledger.is_at(*cell, entry.window));
            }
            // Only so that the reads take place here, all at once.
            std::hint::black_box(ready);
            for (cell, entry) in cells.iter().zip(entries) {
                if !self.ledger.take(*cell, entry, stamp, now)
                    && let Some(ix) = self.counter_at(*cell, now)
                {
                    let word = if state.live { Word::Reported } else { Word::Replayed };
                    self.ledger.merge(ix, state.agent, entry, stamp, word, now);
                }
            }
        }
    }

    fn open_usage(&mut self, stream: StreamId, agent: AgentIx, identity: &AgentIdentity) {
        let record = self.fleet.agent_mut(agent);
        record.identity = identity.clone();
        record.usage = Some(stream);
        let opened = UsageStream { agent, names: Names::default(), live: false, refused: false };
        self.usage.insert(stream, opened);
    }

    /// Ends a stream from this side.
    fn end_usage(&mut self, stream: StreamId, reason: String, now: Time, out: &mut Vec<Output>) {
        self.on_usage_closed(stream, now);
        self.totals.refused_frames += 1;
        out.push(Output::CloseUsage(stream, reason));
    }

    pub(super) fn on_usage_closed(&mut self, stream: StreamId, now: Time) {
        if let Some(state) = self.usage.remove(&stream) {
            let record = self.fleet.agent_mut(state.agent);
            if record.usage == Some(stream) {
                record.usage = None;
                record.note_end(now);
            }
            self.release(state.names);
        }
    }

    /// The cell's counter, which is counted from now on; `None` when the ledger is full.
    pub(super) fn counter_at(&mut self, cell: CellIx, now: Time) -> Option<CounterIx> {
        if let Some(ix) = self.ledger.counter_of(cell) {
            return Some(ix);
        }
        let key = self.ledger.key(cell)?;
        let limit = self.limits.of(key);
        let ix = self.ledger.open(cell, limit)?;
        self.timers.set(now + crate::ledger::GRACE, Timer::Expire(ix));
        Some(ix)
    }
}
