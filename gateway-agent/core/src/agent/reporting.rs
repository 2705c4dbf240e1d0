//! What the agent says: usage to every manager, questions and pledges to the one it follows.

use std::{sync::Arc, time::Duration};

use weir_proto::{
    decision::{CreditEntry, CreditFrame},
    key::CounterKey,
    matcher::PolicySet,
    time::Time,
    usage::{AgentStatus, KeyId, UsageEntry},
};

use super::{
    Agent, BEAT, COLLECT, SKEW, SWEEP,
    waiting::{Judge, longest},
};
use crate::{counter::Amounts, credit, message::Output, usage::State};

/// Windows that ended this long ago are of no use to a manager that returns.
const STALE: Duration = Duration::from_secs(600);
/// A retired counter's number is not used again for so long: by then nothing kept speaks of it.
const QUARANTINE: Duration = Duration::from_secs(900);
/// A usage link is given a sign of life this often.
const LINK_BEAT: Duration = Duration::from_millis(200);

fn entry(id: KeyId, amounts: Amounts) -> UsageEntry {
    let Amounts { window, used, rejected } = amounts;
    UsageEntry { key: id, window, used, rejected }
}

impl Agent {
    /// Asks for more, at once or when questions have been collected for a moment.
    pub(super) fn poke(&mut self, now: Time, out: &mut Vec<Output>) {
        let at = self.asked_at + COLLECT;
        if at <= now {
            self.ask(now, out);
        } else {
            self.ask_at = Some(at);
        }
    }

    pub(super) fn ask(&mut self, now: Time, out: &mut Vec<Output>) {
        self.ask_at = None;
        self.asked_at = now;
        let hot = self.table.take_hot();
        if self.session.is_none() || hot.is_empty() {
            return;
        }
        let entries = self.entries(&hot, true, now);
        for part in credit::frames(entries) {
            self.send_credit(part, now, out, |_| ());
        }
        self.watch_hot(&hot, now);
    }

    pub(super) fn entries(
        &mut self,
        slots: &[u32],
        asking: bool,
        now: Time,
    ) -> Vec<(CounterKey, CreditEntry)> {
        let snapshot = self.table.snapshot();
        let (table, standing) = (&self.table, &self.standing);
        let entry = |slot: &u32| {
            let mut counter = table.at(*slot)?;
            let family = Arc::clone(counter.family()?);
            let policies = &snapshot.policies;
            let entry = credit::entry(&mut counter, &family, policies, standing, asking, now);
            Some((counter.key()?, entry))
        };
        slots.iter().filter_map(entry).collect()
    }

    /// Every ceiling that differs from the default of its window, or is used beyond it.
    pub(super) fn holdings(&mut self, now: Time) -> Vec<(CounterKey, CreditEntry)> {
        let time = self.manager_time(now);
        let snapshot = self.table.snapshot();
        let policies = &snapshot.policies;
        // A manager whose clock is behind may still grant in windows that have ended here.
        let ended = self.outbox.closed(time - SKEW);
        let mut held: Vec<_> = ended.map(|c| (c.key.clone(), credit::ended(&c.entry))).collect();
        let (table, standing) = (&self.table, &self.standing);
        for slot in 0..table.slots() {
            let Some(mut counter) = table.at(slot) else { continue };
            let Some(family) = counter.family().cloned() else { continue };
            let over = !family.rolling && family.window.end(counter.window) + SKEW <= time;
            let default = policies
                .get(&family.policy)
                .and_then(|p| p.limit(&family.limit, counter.parts()))
                .map_or(0, |l| standing.history.at(counter.window).default_of(l.capacity));
            let opened = counter.set_ceiling().is_none() && counter.used <= default;
            if over || (opened && !family.rolling) {
                continue;
            }
            let entry = credit::entry(&mut counter, &family, policies, standing, false, now);
            held.extend(counter.key().map(|key| (key, entry)));
        }
        held
    }

    /// Sends a frame on the session, if there is one. Every frame pledges up to its time.
    pub(super) fn send_credit(
        &mut self,
        entries: Vec<(CounterKey, CreditEntry)>,
        now: Time,
        out: &mut Vec<Output>,
        fill: impl FnOnce(&mut CreditFrame),
    ) {
        let time = self.manager_time(now);
        let stamp = self.next_stamp();
        let Some(session) = &mut self.session else { return };
        let mut frame = session.frame(time, stamp, entries);
        fill(&mut frame);
        self.standing.pledged_until = self.standing.pledged_until.max(time);
        out.push(Output::Credit(session.connection, frame));
    }

    /// Pledges and sweeps; the next beat falls on a multiple of 100 ms of manager time, so that the
    /// share of a window is pledged as soon as the window begins.
    pub(super) fn beat(&mut self, now: Time, out: &mut Vec<Output>) {
        self.send_credit(Vec::new(), now, out, |_| ());
        self.publish_pledge();
        let beat = u64::try_from(BEAT.as_micros()).unwrap_or(u64::MAX);
        let past = self.standing.manager_time(now).as_micros() % beat;
        self.beat_at = now + Duration::from_micros(beat - past);
        self.table.expire_leases(now);
        self.sweep(now);
        self.pump(now, out);
    }

    /// Without a session the pledge matters to checks; with one the snapshot may lag behind.
    fn publish_pledge(&self) {
        if self.session.is_none() {
            self.publish();
        }
    }

    /// Looks at some counters and lets idle ones leave.
    fn sweep(&mut self, now: Time) {
        let time = self.manager_time(now);
        let end = self.table.slots().min(self.swept.saturating_add(SWEEP));
        for slot in self.swept..end {
            if self.waiting.has(slot) {
                continue;
            }
            let Some(id) = self.table.retire(slot, time - SKEW, now) else { continue };
            self.waiting.forget(slot);
            self.outbox.forget_name(id);
            if let Some(session) = &mut self.session {
                session.undefine(id);
            }
            self.retired.push_back((now, id));
        }
        self.swept = if end < self.table.slots() { end } else { 0 };
        while let Some((at, id)) = self.retired.front().copied() {
            if at + QUARANTINE > now {
                break;
            }
            self.retired.pop_front();
            self.table.free(id);
        }
    }

    /// Collects what changed into a batch and lets every link take it.
    pub(super) fn flush(&mut self, now: Time, out: &mut Vec<Output>) {
        // Without a manager to follow, what is used is used on nobody's books.
        let followed = self.session.as_ref().is_some_and(|session| session.ready);
        self.collect(now, !followed || self.standing.isolated);
        self.pump(now, out);
    }

    /// Puts into the outbox what changed since the last batch and may not wait, or all.
    pub(super) fn collect(&mut self, now: Time, all: bool) {
        let due = self.waiting.take(now, all);
        let waited = due.len();
        let mut slots = due;
        slots.sort_unstable();
        for slot in self.table.take_dirty() {
            if slots[..waited].binary_search(&slot).is_err() {
                slots.push(slot);
            }
        }
        self.tell(slots, waited, all, now);
        self.at_risk.turn(now);
        let stale = self.manager_time(now) - STALE;
        self.outbox.forget(stale);
    }

    pub(super) fn judge<'a>(&'a self, policies: &'a PolicySet, now: Time) -> Judge<'a> {
        let time = self.standing.manager_time(now);
        Judge::new(&self.standing, policies, longest(self.config.flush), time)
    }

    /// Puts the counters of these slots into the outbox, of which the first `waited` have waited.
    pub(super) fn tell(&mut self, slots: Vec<u32>, waited: usize, all: bool, now: Time) {
        let stamp = &mut self.stamp;
        let mut stamp = || {
            *stamp += 1;
            *stamp
        };
        let longest = longest(self.config.flush);
        let snapshot = self.table.snapshot();
        let time = self.standing.manager_time(now);
        let mut judge = Judge::new(&self.standing, &snapshot.policies, longest, time);
        for (i, slot) in slots.into_iter().enumerate() {
            let Some(mut counter) = self.table.at(slot) else { continue };
            let waited = i < waited;
            // What was told between batches is still marked.
            if !std::mem::take(&mut counter.dirty) && !waited {
                continue;
            }
            if !all && !waited && judge.may_wait(&self.waiting, slot, &counter) {
                self.waiting.wait(slot, now + longest);
                continue;
            }
            let untold = self.waiting.untold(slot, &counter);
            self.at_risk.note(untold);
            if judge.busy(untold, &counter) {
                self.near.watch(slot);
            }
            self.waiting.tell(slot, counter.amounts());
            let (id, closed) = (counter.id, counter.take_closed());
            let key = || counter.key();
            let mut full = false;
            for amounts in closed {
                let end = counter.family().map(|family| family.window.end(amounts.window));
                full |= self.outbox.add(key, entry(id, amounts), end);
            }
            full |= self.outbox.add(key, entry(id, counter.amounts()), None);
            drop(counter);
            if full {
                self.outbox.seal(&mut stamp);
            }
        }
        self.outbox.seal(stamp);
        self.near.plan(super::near::LOOK, now);
    }

    /// Counters of which something was not reported yet.
    pub(super) fn unsent(&self) -> u64 {
        (self.table.dirty_len() + self.waiting.len()) as u64
    }

    /// For how long the oldest change has not been reported.
    pub(super) fn unsent_for(&self, now: Time) -> Duration {
        let flush = self.config.flush;
        let batch = match self.table.dirty_len() {
            0 => Duration::ZERO,
            _ => (now + flush).since(self.flush_at),
        };
        batch.max(self.waiting.age(longest(flush), now))
    }

    /// Sends on every usage link what it can take.
    pub(super) fn pump(&mut self, now: Time, out: &mut Vec<Output>) {
        for manager in 0..self.links.len() {
            if self.links[manager].connection.is_some() && self.links[manager].wants_state {
                let state = self.state();
                let stamp = &mut self.stamp;
                self.links[manager].load_state(state, || {
                    *stamp += 1;
                    *stamp
                });
            }
            loop {
                let status = self.agent_status();
                let stamp = &mut self.stamp;
                let link = &mut self.links[manager];
                let due = link.restless || link.sent_at() + LINK_BEAT <= now;
                let beat = || {
                    due.then(|| {
                        *stamp += 1;
                        *stamp
                    })
                };
                let frame =
                    link.next_frame(&self.outbox, &self.config.identity, || status, beat, now);
                let (Some(frame), Some(connection)) = (frame, link.connection) else { break };
                out.push(Output::Usage(manager, connection, frame));
            }
        }
    }

    /// Everything that is counted now, and the windows that ended lately.
    fn state(&mut self) -> State {
        let mut state = State::new(&self.outbox);
        for slot in 0..self.table.slots() {
            let Some(counter) = self.table.at(slot) else { continue };
            let Some(key) = counter.key() else { continue };
            for amounts in counter.closed() {
                state.add(&key, entry(counter.id, *amounts));
            }
            let amounts = counter.amounts();
            if amounts.used > 0 || amounts.rejected > 0 {
                state.add(&key, entry(counter.id, amounts));
            } else {
                state.add_name(&self.outbox, counter.id, &key);
            }
        }
        state
    }

    fn agent_status(&self) -> AgentStatus {
        let checks = self.table.checks.sum();
        AgentStatus {
            active_manager: self
                .session
                .as_ref()
                .and_then(|s| s.life.as_ref())
                .map(|life| life.id.to_string())
                .unwrap_or_default(),
            view_number: self.view.number,
            fleet: self.standing.history.current().fleet,
            policies_revision: self.revision,
            decision_revision: self.session.as_ref().map_or(0, |s| s.applied),
            unsent: self.unsent(),
            dropped: self.outbox.dropped,
            checks,
            failovers: self.receiver.failovers,
        }
    }

    /// Says goodbye: from now on nothing is admitted on any ceiling.
    pub(super) fn leave(&mut self, now: Time, out: &mut Vec<Output>) {
        self.standing.number += 1;
        self.standing.history = weir_proto::share::ShareHistory::default();
        self.publish();
        let all: Vec<u32> = (0..self.table.slots()).collect();
        for slot in &all {
            if let Some(mut counter) = self.table.at(*slot) {
                counter.freeze();
            }
        }
        self.collect(now, true);
        self.pump(now, out);
        let entries = self.entries(&all, false, now);
        let mut parts = credit::frames(entries);
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            self.send_credit(part, now, out, |_| ());
        }
        self.send_credit(last, now, out, |frame| frame.leaving = true);
        self.left = true;
    }
}
