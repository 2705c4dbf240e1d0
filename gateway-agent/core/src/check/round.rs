//! One request on its way through the policies.

use std::{ops::ControlFlow, sync::Arc};

use weir_proto::{
    matcher::{CompiledLimit, Hit},
    policy::{Level, Mode, OnLimit, Policy},
    time::{Time, WindowStart},
    usage::KeyId,
    window::Window,
};

use super::{LimitStatus, Outcome, PolicyRef, Reason, Verdict, policy_ref::Policies};
use crate::{
    counter::{Answer, Ask},
    standing::{Counted, Snapshot},
    table::{Found, Name, Table},
};

/// What was counted for a request, in case it must be taken back.
#[derive(Debug)]
pub(super) struct Charge {
    slot: u32,
    id: KeyId,
    window: WindowStart,
}

/// A limit that was met, and what its counter said.
struct Met {
    slot: u32,
    index: u32,
    amount: u64,
    window: Window,
    answer: Answer,
}

impl Met {
    fn new(hit: &Hit<'_>, limit: &CompiledLimit, answer: Answer) -> Self {
        let (amount, window) = (limit.limit.amount, limit.limit.window);
        Met { slot: hit.slot, index: limit.index, amount, window, answer }
    }
}

/// See the module's documentation.
pub(super) struct Round<'a> {
    table: &'a Table,
    snapshot: &'a Arc<Snapshot>,
    /// A newer one, if the first was too old.
    newer: Option<Arc<Snapshot>>,
    cost: u64,
    now: Time,
    last: bool,
    charged: &'a mut Vec<Charge>,
    outcome: Outcome,
    met: Option<Met>,
    denied: Option<u32>,
    shadow: Vec<u32>,
    over_quota: bool,
}

impl<'a> Round<'a> {
    #[inline]
    pub(super) fn new(
        table: &'a Table,
        snapshot: &'a Arc<Snapshot>,
        charged: &'a mut Vec<Charge>,
        cost: u64,
        now: Time,
        last: bool,
    ) -> Self {
        Round {
            table,
            snapshot,
            newer: None,
            cost,
            now,
            last,
            charged,
            outcome: Outcome::Allowed,
            met: None,
            denied: None,
            shadow: Vec::new(),
            over_quota: false,
        }
    }

    #[inline]
    pub(super) fn meet(&mut self, hit: &Hit<'_>) -> ControlFlow<()> {
        let shadow = hit.policy.policy.mode == Mode::Shadow;
        if hit.policy.policy.level == Level::Deny {
            if shadow {
                self.shadow.push(hit.slot);
                return ControlFlow::Continue(());
            }
            self.outcome = Outcome::Refused(Reason::Denied);
            self.denied = Some(hit.slot);
            self.met = None;
            return ControlFlow::Break(());
        }
        for limit in hit.limits {
            self.count(hit, limit, shadow)?;
        }
        ControlFlow::Continue(())
    }

    #[inline]
    fn count(&mut self, hit: &Hit<'_>, limit: &CompiledLimit, shadow: bool) -> ControlFlow<()> {
        let Some(answer) = self.ask(hit, limit, false) else {
            self.outcome = Outcome::Refused(Reason::Limit);
            return ControlFlow::Break(());
        };
        if !answer.admitted {
            return self.refused(hit, limit, shadow, answer);
        }
        if !shadow {
            self.note(hit, limit, answer);
        }
        ControlFlow::Continue(())
    }

    #[cold]
    fn refused(
        &mut self,
        hit: &Hit<'_>,
        limit: &CompiledLimit,
        shadow: bool,
        answer: Answer,
    ) -> ControlFlow<()> {
        let policy = &hit.policy.policy;
        if shadow {
            self.shadow.push(hit.slot);
            return ControlFlow::Continue(());
        }
        if policy.on_limit == OnLimit::Allow && !answer.disconnected {
            self.ask(hit, limit, true);
            self.over_quota = true;
            self.note(hit, limit, Answer { admitted: true, ..answer });
            return ControlFlow::Continue(());
        }
        self.outcome = if answer.disconnected {
            Outcome::Refused(Reason::Disconnected)
        } else if answer.uncertain && !policy.max_wait.is_zero() && !self.last {
            Outcome::Pending { wait: policy.max_wait }
        } else {
            Outcome::Refused(Reason::Limit)
        };
        self.met = Some(Met::new(hit, limit, answer));
        ControlFlow::Break(())
    }

    /// Asks the limit's counter. What it admits is charged. `None` when there is no room for a
    /// counter, not even for the shared one.
    #[inline]
    fn ask(&mut self, hit: &Hit<'_>, limit: &CompiledLimit, force: bool) -> Option<Answer> {
        let (table, snapshot) = (self.table, self.snapshot);
        let counted = snapshot.families.get(limit.index as usize)?;
        let policy: &Policy = &hit.policy.policy;
        let name = table.name(&counted.own, hit.parts);
        loop {
            let mut found = match table.find(&name) {
                Some(found) => found,
                None => self.open(counted, &name)?,
            };
            let standing = &self.newer.as_ref().unwrap_or(snapshot).standing;
            let answer = found.counter.ask(&Ask {
                family: &counted.own,
                limit,
                policy,
                standing,
                newest: &table.newest,
                cost: self.cost,
                now: self.now,
                force,
                last: self.last && !force && policy.on_limit != OnLimit::Allow,
            });
            if answer.again {
                // The owner began to list what it holds after this thread had looked.
                drop(found);
                self.newer = Some(table.snapshot());
                std::hint::spin_loop();
                continue;
            }
            table.touch(&mut found);
            if answer.admitted {
                let (slot, id) = (found.slot, found.counter.id);
                self.charged.push(Charge { slot, id, window: answer.window });
            }
            if answer.wake {
                table.heat(found);
            }
            return Some(answer);
        }
    }

    /// The counter of a key that was not found.
    #[cold]
    fn open<'t>(&self, counted: &Counted, name: &Name<'_>) -> Option<Found<'t>>
    where
        'a: 't,
    {
        let standing = &self.newer.as_ref().unwrap_or(self.snapshot).standing;
        let time = standing.manager_time(self.now);
        let family = &counted.own;
        let start =
            if family.rolling { WindowStart(time.as_secs()) } else { family.window.start_at(time) };
        let table: &'a Table = self.table;
        table.open(name, start).or_else(|| table.overflow(&counted.overflow, start))
    }

    /// Keeps the tightest limit met, by the part of it that is left.
    #[inline]
    fn note(&mut self, hit: &Hit<'_>, limit: &CompiledLimit, answer: Answer) {
        let tighter = self.met.as_ref().is_none_or(|known| {
            u128::from(answer.remaining) * u128::from(known.amount)
                < u128::from(known.answer.remaining) * u128::from(limit.limit.amount)
        });
        if tighter {
            self.met = Some(Met::new(hit, limit, answer));
        }
    }

    #[inline]
    pub(super) fn finish(self, policies: &Arc<Policies>) -> Verdict {
        if !matches!(self.outcome, Outcome::Pending { .. }) {
            self.table.checks.add();
        }
        if self.outcome != Outcome::Allowed {
            self.take_back();
        }
        let policy = |slot: u32| PolicyRef::at(policies, slot);
        let shadow = if self.shadow.is_empty() {
            Vec::new()
        } else {
            self.shadow.iter().map(|slot| policy(*slot)).collect()
        };
        let limit = self.met.map(|met| LimitStatus {
            policy: policy(met.slot),
            index: met.index,
            amount: met.amount,
            window: met.window.duration(),
            start: met.answer.window,
            remaining: met.answer.remaining,
            reset: met.answer.reset,
            retry_after: (!met.answer.admitted).then_some(met.answer.retry),
        });
        Verdict {
            outcome: self.outcome,
            limit,
            denied_by: self.denied.map(policy),
            shadow,
            over_quota: self.over_quota,
        }
    }

    /// All or nothing: what the limits before the one that refused have counted.
    #[cold]
    fn take_back(&self) {
        for Charge { slot, id, window } in self.charged.iter() {
            // A counter that has left since then has reported what it counted.
            let Some(counter) = self.table.at(*slot).filter(|counter| counter.id == *id) else {
                continue;
            };
            let mut found = Found { slot: *slot, counter };
            found.counter.refund(self.cost, *window);
            self.table.touch(&mut found);
        }
    }
}
