//! The usage plane: merging what agents report.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use weir_proto::{
    key::CounterKey,
    time::{Time, WindowStart},
    usage::{AgentIdentity, KeyDef, KeyId, UsageEntry, UsageFrame},
};

use super::Manager;
use crate::{
    fleet::AgentIx,
    ledger::CounterIx,
    message::{Output, StreamId},
};

/// Counters named by the peer on one stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(HashMap<KeyId, (CounterKey, Option<CounterIx>), FixedState>);

/// Names kept per stream; a peer that needs more must open a new stream.
const MAX_NAMES: usize = 2_000_000;

impl Names {
    /// What the peer calls `id`.
    pub(super) fn key(&self, id: KeyId) -> Option<&CounterKey> {
        self.0.get(&id).map(|(key, _)| key)
    }

    /// False when there are too many.
    pub(super) fn define(&mut self, defs: Vec<KeyDef>) -> bool {
        for def in defs {
            self.0.insert(def.id, (def.key, None));
        }
        self.0.len() <= MAX_NAMES
    }
}

#[derive(Debug, Clone)]
pub(super) struct UsageStream {
    agent: AgentIx,
    names: Names,
    /// The agent's whole state has come: what is new from now on happened now.
    live: bool,
}

impl Manager {
    pub(super) fn on_usage(
        &mut self,
        stream: StreamId,
        frame: UsageFrame,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let present =
            self.usage.get(&stream).map(|s| self.fleet.agent(s.agent).identity.life.clone());
        match (&frame.identity, present) {
            // The same frame again changes nothing.
            (Some(identity), Some(life)) if identity.life != life => {
                let reason = "a stream has one identity, in its first frame".to_owned();
                return self.end_usage(stream, reason, now, out);
            }
            (Some(identity), None) => match self.fleet.meet(identity, now) {
                Ok(agent) => self.open_usage(stream, agent, identity),
                Err(reason) => return self.refuse_usage(stream, reason, out),
            },
            _ => {}
        }
        let Some(mut state) = self.usage.remove(&stream) else {
            let reason = "identity is missing in the first frame".to_owned();
            return self.refuse_usage(stream, reason, out);
        };
        if !state.names.define(frame.keys) {
            self.usage.insert(stream, state);
            let reason = "too many keys named; reconnect".to_owned();
            return self.end_usage(stream, reason, now, out);
        }
        self.totals.usage_frames += 1;
        self.totals.usage_entries += frame.entries.len() as u64;
        for entry in &frame.entries {
            let Some(counter) = self.named(&mut state.names, entry.key, now) else { continue };
            self.merge(counter, state.agent, entry, frame.seq, state.live, now);
        }
        state.live |= frame.state_complete;
        self.fleet.hear(state.agent, now);
        let record = self.fleet.agent_mut(state.agent);
        if frame.status.is_some() {
            record.status = frame.status;
        }
        self.usage.insert(stream, state);
        out.push(Output::Ack(stream, frame.seq));
    }

    fn open_usage(&mut self, stream: StreamId, agent: AgentIx, identity: &AgentIdentity) {
        let record = self.fleet.agent_mut(agent);
        record.identity = identity.clone();
        record.usage = Some(stream);
        let opened = UsageStream { agent, names: Names::default(), live: false };
        self.usage.insert(stream, opened);
    }

    fn end_usage(&mut self, stream: StreamId, reason: String, now: Time, out: &mut Vec<Output>) {
        self.on_usage_closed(stream, now);
        self.refuse_usage(stream, reason, out);
    }

    fn refuse_usage(&mut self, stream: StreamId, reason: String, out: &mut Vec<Output>) {
        self.totals.refused_frames += 1;
        self.usage.remove(&stream);
        out.push(Output::CloseUsage(stream, reason));
    }

    pub(super) fn on_usage_closed(&mut self, stream: StreamId, now: Time) {
        if let Some(state) = self.usage.remove(&stream) {
            let record = self.fleet.agent_mut(state.agent);
            if record.usage == Some(stream) {
                record.usage = None;
                record.note_end(now);
            }
        }
    }

    /// The counter that the peer calls `id`; `None` for unknown ids and when the ledger is full.
    pub(super) fn named(&mut self, names: &mut Names, id: KeyId, now: Time) -> Option<CounterIx> {
        let (key, known) = names.0.get_mut(&id)?;
        if let Some(ix) = known.filter(|ix| self.ledger.get(*ix).is_some()) {
            return Some(ix);
        }
        let key = key.clone();
        let opened = self.open_counter(&key, now);
        if let Some(entry) = names.0.get_mut(&id) {
            entry.1 = opened;
        }
        opened
    }

    /// Takes in amounts: the newest stamp wins. Returns the window's name in the ledger.
    pub(super) fn merge(
        &mut self,
        ix: CounterIx,
        agent: AgentIx,
        entry: &UsageEntry,
        stamp: u64,
        live: bool,
        now: Time,
    ) -> Option<WindowStart> {
        let counter = self.ledger.get_mut(ix).filter(|c| c.plausible(entry.window, now))?;
        let rolling = counter.limit.as_ref().filter(|l| l.rolling()).map(|l| l.window.duration());
        let window = counter.window(entry.window, now);
        let name = window.start;
        if window.find(agent).is_some_and(|s| s.birth > entry.window) {
            return Some(name); // about a counter that the agent has since opened anew
        }
        let slot = window.slot(agent, entry.window, now);
        if stamp < slot.stamp {
            return Some(name);
        }
        let grown = entry.used.saturating_sub(slot.used);
        let charge = slot.charged || live;
        // A slot that a state replay made stays uncharged until the agent tells its recent use.
        slot.charged |= live && slot.stamp == 0;
        slot.stamp = stamp;
        if entry.used != slot.used {
            slot.active_at = now;
        }
        slot.used = entry.used;
        slot.rejected = entry.rejected;
        if let Some(length) = rolling.filter(|_| charge) {
            window.ring.charge(grown, length, now);
        }
        Some(name)
    }
}
