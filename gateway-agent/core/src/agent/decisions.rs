//! What the manager says: time, policies, views, ceilings.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use weir_proto::{
    decision::{CreditEntry, Decision, DecisionFrame, PolicyUpdate},
    key::CounterKey,
    matcher::PolicySet,
    policy::Policy,
    share::{Share, View},
    time::{Time, WindowStart},
};

use super::Agent;
use crate::{
    counter::Counter,
    credit,
    message::{Notice, Output},
    receiver::Step,
};

/// By how much the estimate of manager time may fall per frame, so that drifting clocks stay together.
const DRIFT_MICROS: i64 = 50;

impl Agent {
    pub(super) fn on_decision(
        &mut self,
        frame: DecisionFrame,
        now: Time,
        steps: &mut Vec<Step>,
        out: &mut Vec<Output>,
    ) {
        let Some(session) = &mut self.session else { return };
        if frame.revision != session.applied + 1 {
            let connection = session.connection;
            let why = format!("revision {} came after {}", frame.revision, session.applied);
            self.receiver.closed(connection, &why, now, steps);
            steps.push(Step::Disconnect(connection));
            return;
        }
        session.applied = frame.revision;
        session.learn(frame.keys);
        let first = session.life.is_none();
        if let Some(hello) = frame.hello {
            out.push(Output::Notice(Notice::Attached(session.manager, hello.life.id.to_string())));
            session.life = Some(hello.life);
        }
        session.ready |= frame.snapshot_complete;
        self.sync(frame.manager_time, first, now);
        if let Some(update) = frame.policies {
            self.take_policies(update, out);
        }
        if let Some((view, from)) = frame.install {
            self.install(view, from, out);
        }
        let confirm = self.take_decisions(&frame.decisions, now);
        if let Some(view) = frame.propose {
            self.promise(view, now, out);
        }
        self.publish();
        if !confirm.is_empty() {
            self.send_credit(confirm, now, out, |_| ());
        }
        if !frame.decisions.is_empty() {
            out.push(Output::Wake);
        }
    }

    /// Follows the manager's clock: the least delayed frame tells best. Time never falls.
    fn sync(&mut self, manager: Time, first: bool, now: Time) {
        let signed = |t: Time| i64::try_from(t.as_micros()).unwrap_or(i64::MAX);
        let told = signed(manager) - signed(now);
        if self.synced {
            self.standing.not_before = self.standing.manager_time(now);
        }
        self.standing.offset = if first || !self.synced {
            told
        } else {
            told.max(self.standing.offset - DRIFT_MICROS)
        };
        if !self.synced {
            self.beat_at = now;
        }
        self.synced = true;
    }

    fn take_policies(&mut self, update: PolicyUpdate, out: &mut Vec<Output>) {
        let Some(session) = &mut self.session else { return };
        let mut set = match session.arriving.take() {
            Some(set) => set,
            None if update.full => BTreeMap::new(),
            None => self.policies.clone(),
        };
        for json in &update.put {
            match parse(json) {
                Ok(policy) => {
                    set.insert(policy.name.as_str().to_owned(), Arc::new(policy));
                }
                Err(why) => out.push(Output::Notice(Notice::BadPolicy(why))),
            }
        }
        for name in &update.deleted {
            set.remove(name);
        }
        if !update.last {
            session.arriving = Some(set);
            return;
        }
        self.revision = update.revision;
        let compiled = Arc::new(PolicySet::compile(update.revision, set.values().cloned()));
        self.policies = set;
        self.table.enforce(Arc::clone(&compiled));
        out.push(Output::Policies(compiled));
        out.push(Output::Wake);
    }

    /// Promises to own no more than in the proposed view, from now on, whoever asks later.
    fn promise(&mut self, view: View, now: Time, out: &mut Vec<Output>) {
        let newest = self.promised.as_ref().map_or(0, |p| p.number).max(self.view.number);
        if view.number <= newest {
            return;
        }
        let number = view.number;
        let share = view.share(&self.config.identity.life);
        let present = self.standing.history.current();
        self.promised = Some(view);
        let time = self.manager_time(now);
        self.standing.number += 1;
        if present != Share::NONE {
            let least = present.least(share);
            self.standing.history.push(time + Duration::from_micros(1), least);
        }
        self.send_credit(Vec::new(), now, out, |frame| frame.promised_view = number);
    }

    fn install(&mut self, view: View, from: Time, out: &mut Vec<Output>) {
        if view.number < self.view.number {
            return;
        }
        let share = view.share(&self.config.identity.life);
        self.standing.number += 1;
        self.standing.history.push(from, share);
        if self.promised.as_ref().is_some_and(|p| p.number <= view.number) {
            self.promised = None;
        }
        out.push(Output::Notice(Notice::Member { view: view.number, fleet: view.fleet }));
        out.push(Output::Wake);
        self.view = view;
    }

    /// Applies ceilings; returns what must be confirmed.
    fn take_decisions(
        &mut self,
        decisions: &[Decision],
        now: Time,
    ) -> Vec<(CounterKey, CreditEntry)> {
        let mut confirm: Vec<u32> = Vec::new();
        let mut foreign = Vec::new();
        for decision in decisions {
            let Some(key) = self.session.as_ref().and_then(|s| s.named(decision.key)) else {
                continue;
            };
            let slot = self.table.slot(key).or_else(|| self.open(key, decision, now));
            match slot.and_then(|slot| Some((slot, self.table.at(slot)?))) {
                Some((slot, mut counter)) => {
                    if apply(&mut counter, decision, now) {
                        confirm.push(slot);
                    }
                }
                None => foreign.push((key.clone(), credit::nothing(decision.key, decision.window))),
            }
        }
        let mut entries = self.entries(&confirm, false, now);
        entries.extend(foreign);
        entries
    }

    /// A counter that nobody has asked for yet; `None` without a limit or room for it.
    fn open(&self, key: &CounterKey, decision: &Decision, now: Time) -> Option<u32> {
        let policies = self.table.snapshot();
        let limit = policies.policies.get(key.policy())?.limit(key.limit(), key.halves().1)?;
        let family = self.table.family(key, &limit);
        // A rolling counter that has left is another one when it comes back.
        let start = if family.rolling {
            WindowStart(self.standing.manager_time(now).as_secs())
        } else {
            decision.window
        };
        let name = self.table.name(&family, key.halves().1);
        Some(self.table.open(&name, start)?.slot)
    }
}

/// True when the manager must be told what came of it.
fn apply(counter: &mut Counter, decision: &Decision, now: Time) -> bool {
    let retry = Duration::from_millis(decision.retry_after_ms);
    let until = decision.exhausted.then(|| now + retry);
    if counter.family().is_some_and(|family| family.rolling) {
        if decision.window == WindowStart(0) {
            counter.freeze();
            return true;
        }
        let confirm = counter.apply(decision.window, decision.ceiling, until);
        counter.keep(now);
        return confirm;
    }
    if decision.window < counter.window {
        return false;
    }
    counter.roll(decision.window);
    counter.apply(decision.window, decision.ceiling, until)
}

fn parse(json: &[u8]) -> Result<Policy, String> {
    let value = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    Policy::from_json(&value).map_err(|e| e.to_string())
}
