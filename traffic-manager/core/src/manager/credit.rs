//! The decision plane: what agents hold, want and give back.

use weir_proto::{
    decision::{Attach, CreditEntry, CreditFrame},
    time::{Time, WindowStart},
    usage::{KeyDef, KeyId, UsageEntry},
};

use super::{Manager, unnamed::Unnamed, usage::names::Names};
use crate::{
    feed::Verdict,
    fleet::{AgentIx, Attached},
    grants,
    ledger::{CellIx, CounterIx, Word},
    message::{Output, StreamId},
};

/// When an agent may ask again about a counter for which there was no room.
const NO_ROOM_MS: u64 = 1_000;

/// One subscriber.
#[derive(Debug, Clone)]
pub(super) struct Session {
    agent: AgentIx,
    seq: u64,
    names: Names,
    unnamed: Unnamed,
    /// What it holds is still arriving.
    listing: bool,
    /// Names of what it held.
    listed: usize,
    /// Windows begun later were nobody's when it attached: what it holds of them is its own share.
    pledged_before: Time,
    /// It followed another manager meanwhile, which may have passed on what it held.
    strayed: bool,
}

impl Manager {
    pub(super) fn on_credit(
        &mut self,
        session: StreamId,
        mut frame: CreditFrame,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        if frame.attach.is_some() && self.credit.contains_key(&session) {
            self.totals.refused_frames += 1;
            let text = "a session attaches once, in its first frame";
            return self.close_session(session, text, now, out);
        }
        if let Some(attach) = frame.attach.take()
            && !self.begin_session(session, attach, now, out)
        {
            return;
        }
        let Some(mut state) = self.credit.remove(&session) else {
            self.totals.refused_frames += 1;
            out.push(Output::CloseSession(session, "the first frame must attach".to_owned()));
            return;
        };
        if frame.seq != state.seq + 1 || !self.define(&mut state, &frame.keys) {
            let text = format!("frame {} came after {}; subscribe again", frame.seq, state.seq);
            self.credit.insert(session, state);
            self.totals.refused_frames += 1;
            return self.close_session(session, &text, now, out);
        }
        state.seq = frame.seq;
        self.fleet.pledge(state.agent, frame.now, now);
        for entry in &frame.entries {
            self.take_entry(session, &mut state, entry, &frame, now);
        }
        if frame.holdings_complete {
            if std::mem::take(&mut state.listing) {
                state.listed = state.names.len();
            }
            self.fleet.ready(state.agent, now);
        }
        if frame.promised_view > 0 {
            let told = self.fleet.promised(session, frame.promised_view, frame.now, now);
            if let Some(announcement) = told {
                self.announce(&announcement, now);
            }
        }
        state.unnamed.trim();
        self.feeds.processed(session, frame.seq);
        self.credit.insert(session, state);
        if frame.leaving {
            self.fleet.leave(session, now);
            self.end_session(session, now);
            out.push(Output::CloseSession(session, "goodbye".to_owned()));
        }
    }

    fn begin_session(
        &mut self,
        session: StreamId,
        attach: Attach,
        now: Time,
        out: &mut Vec<Output>,
    ) -> bool {
        let life = attach.identity.life.clone();
        let pledged_before = attach.pledged_until;
        let strayed = attach.former_manager.as_ref().is_some_and(|m| *m != self.config.life);
        match self.fleet.attach(session, attach, now) {
            Attached::Refused(reason) => {
                self.totals.refused_frames += 1;
                self.credit.remove(&session);
                self.feeds.close(session);
                out.push(Output::CloseSession(session, reason));
                return false;
            }
            Attached::Welcome { replaced, void } => {
                if let Some(old) = replaced.filter(|old| *old != session) {
                    self.end_session(old, now);
                    out.push(Output::CloseSession(old, format!("{} subscribed anew", life.id)));
                }
                if void {
                    self.void_budgets();
                }
            }
        }
        let Some(agent) = self.fleet.session_agent(session) else { return false };
        let opened = Session {
            agent,
            seq: 0,
            names: Names::default(),
            unnamed: Unnamed::default(),
            listing: true,
            listed: 0,
            pledged_before,
            strayed,
        };
        self.credit.insert(session, opened);
        self.feeds.open(session);
        let hello = self.hello();
        self.feeds.fill(session, |frame| frame.hello = Some(hello));
        for part in self.policies.snapshot() {
            let last = part.last;
            self.feeds.fill(session, |frame| {
                frame.policies = Some(part);
                frame.snapshot_complete = last;
            });
            self.feeds.seal(session);
        }
        true
    }

    /// Another manager had the whole fleet: what agents hold is all that is left of this one's budget.
    fn void_budgets(&mut self) {
        for (_, counter) in self.ledger.iter_mut() {
            for slot in counter.windows.iter_mut().flat_map(|w| w.slots.iter_mut()) {
                slot.carry = slot.book.map_or(0, |b| i64::try_from(b).unwrap_or(i64::MAX));
            }
        }
    }

    fn take_entry(
        &mut self,
        session: StreamId,
        state: &mut Session,
        entry: &CreditEntry,
        frame: &CreditFrame,
        now: Time,
    ) {
        let Some(ix) = self.named(state, entry.key, now) else {
            return self.turn_away(session, state, entry);
        };
        let usage = UsageEntry {
            key: entry.key,
            window: entry.window,
            used: entry.used,
            rejected: entry.rejected,
        };
        let word = if state.listing { Word::Replayed } else { Word::Asked };
        let Some(name) = self.ledger.merge(ix, state.agent, &usage, frame.stamp, word, now) else {
            return;
        };
        self.take_ceiling(ix, name, session, state, entry, frame.applied, now);
        self.dirty.insert((ix, name));
    }

    /// Takes in names. False when there are too many.
    fn define(&mut self, state: &mut Session, defs: &[KeyDef]) -> bool {
        let new = defs.iter().map(|def| (def.id, &def.key)).collect();
        let Ok(complete) = self.learn(state.agent, &mut state.names, &new) else { return false };
        for def in defs {
            state.unnamed.remove(def.id);
        }
        let nobody = |def: &&KeyDef| state.names.cell(def.id) == CellIx::default();
        for def in defs.iter().filter(|_| !complete).filter(nobody) {
            state.unnamed.put(def.id, def.key.clone());
        }
        !state.names.too_many()
    }

    /// The counter that the agent calls `id`; `None` for unknown ids and when the ledger is full.
    fn named(&mut self, state: &mut Session, id: KeyId, now: Time) -> Option<CounterIx> {
        if let Some(key) = state.unnamed.get(id).filter(|key| self.ledger.has_room_for(key)) {
            let new = std::iter::once((id, key)).collect();
            if self.learn(state.agent, &mut state.names, &new) == Ok(true) {
                state.unnamed.remove(id);
            }
        }
        self.counter_at(state.names.cell(id), now)
    }

    /// When the ledger is nearly full: the session with the most names beyond what its agent held when
    /// it attached. Sessions forget no name; an agent that subscribes anew names what it holds now.
    pub(super) fn hoarder(&self) -> Option<StreamId> {
        if !self.ledger.crowded() {
            return None;
        }
        let settled = self.credit.iter().filter(|(_, session)| !session.listing);
        let later = settled.map(|(id, s)| (s.names.len().saturating_sub(s.listed), *id));
        let (names, session) = later.max()?;
        // Sessions below this have less than an eighth of the ledger between them.
        let enough = names.saturating_mul(8 * self.credit.len()) > self.ledger.most_known();
        enough.then_some(session)
    }

    /// There is no room for the counter: the agent must not wait for an answer that cannot come.
    fn turn_away(&mut self, session: StreamId, state: &Session, entry: &CreditEntry) {
        let cell = state.names.cell(entry.key);
        let key = self.ledger.key(cell).or_else(|| state.unnamed.get(entry.key));
        let Some(key) = key.filter(|_| entry.want > 0) else { return };
        let verdict = Verdict {
            window: entry.window,
            ceiling: entry.ceiling,
            exhausted: true,
            retry_after_ms: NO_ROOM_MS,
        };
        self.totals.tally.exhausted += 1;
        self.feeds.turn_away(session, key, verdict);
    }

    #[expect(clippy::too_many_arguments, reason = "one entry in its full context")]
    fn take_ceiling(
        &mut self,
        ix: CounterIx,
        name: WindowStart,
        session: StreamId,
        state: &Session,
        entry: &CreditEntry,
        applied: u64,
        now: Time,
    ) {
        let Some(counter) = self.ledger.get_mut(ix) else { return };
        let limit = counter.limit.clone();
        let fleet = &self.fleet;
        let window = counter.window(entry.window, now);
        // What it brings from elsewhere is its own: the budget here neither grows nor shrinks by it.
        let brought = state.listing && state.strayed && name.time() <= state.pledged_before;
        let mut before = (0, 0);
        if let Some(l) = limit.as_deref().filter(|_| brought) {
            let slot = window.find(state.agent);
            let agent = fleet.agent(state.agent);
            let default =
                if agent.pledged(name) { agent.share(name).default_of(l.amount) } else { 0 };
            let held = slot.and_then(|s| s.book).unwrap_or(default);
            before = (held, grants::reserved(slot, state.agent, l, name, fleet, now));
        }
        let slot = window.slot(state.agent, entry.window, now);
        if slot.birth != entry.window {
            return;
        }
        if let Some(l) = limit.as_deref() {
            slot.lent = grants::pledged_elsewhere(slot, l, fleet, name);
        }
        if brought {
            let most = entry.ceiling.max(entry.used);
            slot.carry += signed(most) - signed(before.0);
            slot.lent = before.1.saturating_sub(most);
        }
        grants::confirm(slot, entry.ceiling, session, applied);
        slot.want = entry.want;
        if entry.want > 0 {
            slot.asked_at = now;
            slot.denied = false;
        }
        let first = !slot.charged;
        slot.charged = true;
        // A usage stream may have told of later use already, which was left to this entry.
        let recent = entry.recent.saturating_add(slot.used.saturating_sub(entry.used));
        if let Some(l) = limit.filter(|l| first && l.rolling()) {
            window.spent.charge(recent, &l, now);
        }
    }

    /// Ends a session from this side.
    pub(super) fn close_session(
        &mut self,
        session: StreamId,
        text: &str,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        self.end_session(session, now);
        out.push(Output::CloseSession(session, text.to_owned()));
    }

    pub(super) fn end_session(&mut self, session: StreamId, now: Time) {
        if let Some(state) = self.credit.remove(&session) {
            self.release(state.names);
        }
        self.feeds.close(session);
        self.fleet.detach(session, now);
    }
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
