//! What explorers of the protocol need: copies of an agent, what it may admit, and its state as text.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use weir_proto::{key::CounterKey, time::Time, time::WindowStart};

use super::Agent;
use crate::{check::Checker, table::Waker};

impl Agent {
    /// An agent in the same state that shares nothing with this one. What paces rolling counters
    /// while alone begins anew in the copy.
    pub fn fork(&self, waker: Waker) -> (Agent, Arc<Checker>) {
        let table = Arc::new(self.table.fork(waker));
        let agent = Agent {
            config: self.config.clone(),
            table: Arc::clone(&table),
            standing: self.standing.clone(),
            receiver: self.receiver.clone(),
            session: self.session.clone(),
            former: self.former.clone(),
            links: self.links.clone(),
            refusals: self.refusals.clone(),
            outbox: self.outbox.clone(),
            stamp: self.stamp,
            waiting: self.waiting.clone(),
            near: self.near.clone(),
            at_risk: self.at_risk,
            swept: self.swept,
            retired: self.retired.clone(),
            policies: self.policies.clone(),
            revision: self.revision,
            view: self.view.clone(),
            promised: self.promised.clone(),
            synced: self.synced,
            detached_at: self.detached_at,
            beat_at: self.beat_at,
            flush_at: self.flush_at,
            ask_at: self.ask_at,
            asked_at: self.asked_at,
            left: self.left,
        };
        (agent, Arc::new(Checker::new(table)))
    }

    /// Up to where requests at local time `now` may use the fixed window `window` of this counter: its
    /// ceiling, or what it would open with; 0 once the window is over here. A `strict` policy is
    /// assumed.
    pub fn in_force(&self, key: &CounterKey, window: WindowStart, now: Time) -> u64 {
        let snapshot = self.table.snapshot();
        let policy = snapshot.policies.get(key.policy());
        let Some(limit) = policy.and_then(|policy| policy.limit(key.limit(), key.halves().1))
        else {
            return 0;
        };
        let (limit, standing) = (&limit.limit, &snapshot.standing);
        if limit.window.end(window) <= standing.manager_time(now) {
            return 0;
        }
        if let Some(counter) = self.table.slot(key).and_then(|slot| self.table.at(slot)) {
            if let Some(family) = counter.family().filter(|_| counter.window == window) {
                return counter.ceiling(limit.capacity(), family, standing);
            }
            if counter.window > window {
                return 0;
            }
        }
        standing.opening(limit.capacity(), window, false)
    }

    /// Writes everything that what it does next depends on, apart from its configuration and
    /// policies. Two agents of one configuration with the same text behave alike from here on.
    ///
    /// # Errors
    /// Those of `into`.
    pub fn trace(&self, into: &mut impl fmt::Write) -> fmt::Result {
        write!(
            into,
            "{:?}{:?}{:?}{:?}{:?}{:?}",
            self.standing, self.receiver, self.session, self.former, self.links, self.outbox,
        )?;
        write!(
            into,
            "{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}",
            (self.stamp, self.revision, self.synced, self.left),
            self.view,
            self.promised,
            self.detached_at,
            (self.beat_at, self.flush_at),
            self.ask_at,
            self.asked_at,
            (&self.retired, &self.waiting, &self.near),
            self.table.newest.load(Ordering::Relaxed),
        )?;
        self.table.trace(into)
    }
}
