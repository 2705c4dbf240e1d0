//! What the agent says: usage to every manager, questions and pledges to the one it follows.

use std::{sync::Arc, time::Duration};

use weir_proto::{
    decision::{CreditEntry, CreditFrame},
    key::CounterKey,
    time::Time,
    usage::{AgentStatus, UsageEntry},
};

use super::{Agent, BEAT, COLLECT, SKEW, SWEEP};
use crate::{
    counter::{Amounts, Counter},
    credit,
    message::Output,
    usage::State,
};

/// Windows that ended this long ago are of no use to a manager that returns.
const STALE: Duration = Duration::from_secs(600);
/// A retired counter's number is not used again for so long: by then nothing kept speaks of it.
const QUARANTINE: Duration = Duration::from_secs(900);
/// A usage link is given a sign of life this often.
const LINK_BEAT: Duration = Duration::from_millis(200);

fn entry(counter: &Counter, amounts: Amounts) -> UsageEntry {
    UsageEntry {
        key: counter.id,
        window: amounts.window,
        used: amounts.used,
        rejected: amounts.rejected,
    }
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
        for part in entries.chunks(crate::usage::FRAME_ENTRIES) {
            self.send_credit(part.to_vec(), now, out, |_| ());
        }
    }

    pub(super) fn entries(
        &mut self,
        counters: &[Arc<Counter>],
        asking: bool,
        now: Time,
    ) -> Vec<(CounterKey, CreditEntry)> {
        let policies = self.table.policies.load_full();
        counters
            .iter()
            .filter_map(|counter| {
                let mut state = counter.lock();
                if state.dead() {
                    return None;
                }
                let entry =
                    credit::entry(counter, &mut state, &policies, &self.standing, asking, now);
                Some((counter.key.clone(), entry))
            })
            .collect()
    }

    /// Every ceiling that differs from the default of its window, or is used beyond it.
    pub(super) fn holdings(&mut self, now: Time) -> Vec<(CounterKey, CreditEntry)> {
        self.adopt();
        let time = self.manager_time(now);
        let policies = self.table.policies.load_full();
        // A manager whose clock is behind may still grant in windows that have ended here.
        let ended = self.outbox.closed(time - SKEW);
        let mut held: Vec<_> = ended.map(|c| (c.key.clone(), credit::ended(&c.entry))).collect();
        for counter in self.counters.values() {
            let mut state = counter.lock();
            let over = !counter.rolling && counter.window.end(state.window) + SKEW <= time;
            let default = policies
                .get(counter.key.policy())
                .and_then(|p| p.limit(counter.key.limit()))
                .map_or(0, |l| self.standing.history.at(state.window).default_of(l.limit.amount));
            if over || (state.ceiling.is_none() && state.used <= default && !counter.rolling) {
                continue;
            }
            let entry = credit::entry(counter, &mut state, &policies, &self.standing, false, now);
            held.push((counter.key.clone(), entry));
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
        self.adopt();
        self.sweep(now);
        self.pump(now, out);
    }

    /// Without a session the pledge matters to checks; with one the snapshot may lag behind.
    fn publish_pledge(&self) {
        if self.session.is_none() {
            self.publish();
        }
    }

    /// Takes over counters that checks have made.
    pub(super) fn adopt(&mut self) {
        for counter in self.table.take_born() {
            self.counters.insert(counter.id, counter);
        }
    }

    /// Looks at some counters and lets idle ones leave.
    fn sweep(&mut self, now: Time) {
        let time = self.manager_time(now);
        let some: Vec<Arc<Counter>> =
            self.counters.range(self.swept..).take(SWEEP).map(|(_, c)| Arc::clone(c)).collect();
        self.swept = match some.last() {
            Some(last) if some.len() == SWEEP => last.id.saturating_add(1),
            _ => 0,
        };
        for counter in some {
            if !self.table.retire(&counter, time - SKEW, now) {
                continue;
            }
            self.counters.remove(&counter.id);
            self.outbox.forget_name(counter.id);
            if let Some(session) = &mut self.session {
                session.undefine(counter.id);
            }
            self.retired.push_back((now, counter.id));
        }
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
        self.collect(now);
        self.pump(now, out);
    }

    /// Puts what changed since the last batch into the outbox.
    pub(super) fn collect(&mut self, now: Time) {
        self.adopt();
        let stamp = &mut self.stamp;
        let mut stamp = || {
            *stamp += 1;
            *stamp
        };
        for counter in self.table.take_dirty() {
            let mut state = counter.lock();
            let mut full = false;
            for amounts in state.closed.drain(..) {
                let end = counter.window.end(amounts.window);
                full |= self.outbox.add(&counter.key, entry(&counter, amounts), Some(end));
            }
            let (window, used, rejected) = (state.window, state.used, state.rejected);
            let amounts = Amounts { window, used, rejected };
            full |= self.outbox.add(&counter.key, entry(&counter, amounts), None);
            if full {
                self.outbox.seal(&mut stamp);
            }
        }
        self.outbox.seal(stamp);
        let stale = self.manager_time(now) - STALE;
        self.outbox.forget(stale);
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
                let due = link.sent_at() + LINK_BEAT <= now;
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
        self.adopt();
        let mut state = State::new(&self.outbox);
        for counter in self.counters.values() {
            let locked = counter.lock();
            for amounts in &locked.closed {
                state.add(&counter.key, entry(counter, *amounts));
            }
            if locked.used > 0 || locked.rejected > 0 {
                let (window, used, rejected) = (locked.window, locked.used, locked.rejected);
                let amounts = Amounts { window, used, rejected };
                state.add(&counter.key, entry(counter, amounts));
            } else {
                state.add_name(&self.outbox, counter.id, &counter.key);
            }
        }
        state
    }

    fn agent_status(&self) -> AgentStatus {
        let checks = self.table.checks.load(std::sync::atomic::Ordering::Relaxed);
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
            unsent: self.table.dirty_len() as u64,
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
        self.adopt();
        let all: Vec<Arc<Counter>> = self.counters.values().cloned().collect();
        for counter in &all {
            counter.lock().freeze();
        }
        self.flush(now, out);
        let entries = self.entries(&all, false, now);
        let mut parts: Vec<Vec<_>> =
            entries.chunks(crate::usage::FRAME_ENTRIES).map(<[_]>::to_vec).collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            self.send_credit(part, now, out, |_| ());
        }
        self.send_credit(last, now, out, |frame| frame.leaving = true);
        self.left = true;
    }
}
