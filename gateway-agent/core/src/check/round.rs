//! One request on its way through the policies.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use weir_proto::{
    matcher::{CompiledLimit, Hit},
    policy::{Level, Mode, OnLimit, Policy},
    time::{Time, WindowStart},
    usage::KeyId,
};

use super::{LimitStatus, Outcome, PolicyRef, Reason, Seen, Verdict, policy_ref::Policies};
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

/// See the module's documentation.
pub(super) struct Round<'a> {
    table: &'a Table,
    snapshot: &'a Arc<Snapshot>,
    /// A newer one, if the first was too old.
    newer: Option<Arc<Snapshot>>,
    policies: &'a Arc<Policies>,
    cost: u64,
    now: Time,
    last: bool,
    charged: &'a mut Vec<Charge>,
    /// Filled where the caller wants it: moving it would cost as much as finding the counter.
    verdict: &'a mut Verdict,
}

impl<'a> Round<'a> {
    #[inline(always)]
    pub(super) fn new(
        (table, seen): (&'a Table, &'a Seen),
        charged: &'a mut Vec<Charge>,
        (cost, now, last): (u64, Time, bool),
        verdict: &'a mut Verdict,
    ) -> Self {
        let Seen { snapshot, policies } = seen;
        Round { table, snapshot, newer: None, policies, cost, now, last, charged, verdict }
    }

    fn policy(&self, slot: u32) -> PolicyRef {
        PolicyRef::at(self.policies, slot)
    }

    #[inline(always)]
    pub(super) fn meet(&mut self, hit: &Hit<'_>) -> ControlFlow<()> {
        let shadow = hit.policy.policy.mode == Mode::Shadow;
        if hit.policy.policy.level == Level::Deny {
            return self.deny(hit, shadow);
        }
        for limit in hit.limits {
            self.count(hit, limit, shadow)?;
        }
        ControlFlow::Continue(())
    }

    #[cold]
    fn deny(&mut self, hit: &Hit<'_>, shadow: bool) -> ControlFlow<()> {
        let policy = self.policy(hit.slot);
        if shadow {
            self.verdict.shadow.push(policy);
            return ControlFlow::Continue(());
        }
        self.verdict.outcome = Outcome::Refused(Reason::Denied);
        self.verdict.limit = None;
        self.verdict.denied_by = Some(policy);
        ControlFlow::Break(())
    }

    #[inline(always)]
    fn count(&mut self, hit: &Hit<'_>, limit: &CompiledLimit, shadow: bool) -> ControlFlow<()> {
        let Some(answer) = self.ask(hit, limit, false) else {
            self.verdict.outcome = Outcome::Refused(Reason::Limit);
            return ControlFlow::Break(());
        };
        if !answer.admitted {
            return self.refused(hit, limit, shadow, answer);
        }
        if !shadow {
            self.note(hit, limit, &answer);
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
            self.verdict.shadow.push(self.policy(hit.slot));
            return ControlFlow::Continue(());
        }
        if policy.on_limit == OnLimit::Allow && !answer.disconnected {
            self.ask(hit, limit, true);
            self.verdict.over_quota = true;
            self.note(hit, limit, &answer);
            return ControlFlow::Continue(());
        }
        self.verdict.outcome = if answer.disconnected {
            Outcome::Refused(Reason::Disconnected)
        } else if answer.uncertain && !policy.max_wait.is_zero() && !self.last {
            Outcome::Pending { wait: policy.max_wait }
        } else {
            Outcome::Refused(Reason::Limit)
        };
        let retry_after = Some(Duration::from_micros(answer.retry));
        let status = self.status(hit, limit, &answer);
        self.verdict.limit = Some(LimitStatus { retry_after, ..status });
        ControlFlow::Break(())
    }

    /// Asks the limit's counter. What it admits is charged. `None` when there is no room for a
    /// counter, not even for the shared one.
    #[inline(always)]
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
    #[inline(always)]
    fn note(&mut self, hit: &Hit<'_>, limit: &CompiledLimit, answer: &Answer) {
        let tighter = self.verdict.limit.as_ref().is_none_or(|known| {
            u128::from(answer.remaining) * u128::from(known.amount)
                < u128::from(known.remaining) * u128::from(limit.limit.amount)
        });
        if tighter {
            self.verdict.limit = Some(self.status(hit, limit, answer));
        }
    }

    #[inline(always)]
    fn status(&self, hit: &Hit<'_>, limit: &CompiledLimit, answer: &Answer) -> LimitStatus {
        LimitStatus {
            policy: self.policy(hit.slot),
            index: limit.index,
            amount: limit.limit.amount,
            window: limit.limit.window.length_of(answer.window),
            start: answer.window,
            remaining: answer.remaining,
            reset: Duration::from_micros(answer.reset),
            retry_after: None,
        }
    }

    #[inline(always)]
    pub(super) fn finish(&mut self) {
        if self.last || self.verdict.outcome == Outcome::Allowed {
            self.table.checks.add();
        }
        if self.verdict.outcome != Outcome::Allowed {
            self.take_back();
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
