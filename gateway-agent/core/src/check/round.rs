//! One request on its way through the policies.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use weir_proto::{
    amount::{Charging, MAX_AMOUNT, Unit},
    matcher::{CompiledLimit, Hit},
    policy::{Level, Mode, OnLimit, Policy},
    time::WindowStart,
    usage::KeyId,
};

use super::{
    Ask, Cost, LimitStatus, Outcome, PolicyRef, Reason, Seen, Verdict, policy_ref::Policies,
};
use crate::{
    counter::{self, Answer},
    standing::{Counted, Snapshot},
    table::{Family, Found, Held, Name, Table},
};

/// What was counted for a request, in case it must be taken back.
#[derive(Debug)]
pub(super) struct Charge {
    slot: u32,
    id: KeyId,
    window: WindowStart,
    cost: u64,
    /// Given back when the request is over, after this at the latest.
    lease: Option<Duration>,
}

/// See the module's documentation.
pub(super) struct Round<'a> {
    table: &'a Table,
    snapshot: &'a Arc<Snapshot>,
    /// A newer one, if the first was too old.
    newer: Option<Arc<Snapshot>>,
    policies: &'a Arc<Policies>,
    ask: Ask,
    charged: &'a mut Vec<Charge>,
    /// Filled where the caller wants it: moving it would cost as much as finding the counter.
    verdict: &'a mut Verdict,
}

impl<'a> Round<'a> {
    #[inline(always)]
    pub(super) fn new(
        (table, seen): (&'a Table, &'a Seen),
        charged: &'a mut Vec<Charge>,
        ask: Ask,
        verdict: &'a mut Verdict,
    ) -> Self {
        let Seen { snapshot, policies } = seen;
        Round { table, snapshot, newer: None, policies, ask, charged, verdict }
    }

    fn policy(&self, slot: u32) -> PolicyRef {
        PolicyRef::at(self.policies, slot)
    }

    #[inline(always)]
    pub(super) fn meet(&mut self, hit: &Hit<'_>, cost: Cost<'_>) -> ControlFlow<()> {
        let shadow = hit.policy.policy.mode == Mode::Shadow;
        if hit.policy.policy.level == Level::Deny {
            return self.deny(hit, shadow);
        }
        for limit in hit.limits.iter().filter(|limit| hit.stands(limit)) {
            let cost = cost.of(&limit.limit.unit);
            // What a request has nothing of, it does not meet.
            let none = cost == 0 && limit.charging == Charging::Ahead;
            if !none || limit.limit.unit == Unit::Requests {
                self.count(hit, limit, cost, shadow)?;
            }
        }
        match hit.brought {
            Some(limit) => self.count_brought(hit, limit, cost, shadow),
            None => ControlFlow::Continue(()),
        }
    }

    #[cold]
    fn count_brought(
        &mut self,
        hit: &Hit<'_>,
        limit: &CompiledLimit,
        cost: Cost<'_>,
        shadow: bool,
    ) -> ControlFlow<()> {
        self.count(hit, limit, cost.of(&limit.limit.unit), shadow)
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
    fn count(
        &mut self,
        hit: &Hit<'_>,
        limit: &CompiledLimit,
        cost: u64,
        shadow: bool,
    ) -> ControlFlow<()> {
        let Some(answer) = self.ask(hit, limit, cost, false) else {
            self.verdict.outcome = Outcome::Refused(Reason::Limit);
            return ControlFlow::Break(());
        };
        if !answer.admitted {
            return self.refused(hit, limit, cost, shadow, answer);
        }
        if !shadow && self.verdict.outcome == Outcome::Allowed {
            self.note(hit, limit, cost, &answer);
        }
        ControlFlow::Continue(())
    }

    #[cold]
    fn refused(
        &mut self,
        hit: &Hit<'_>,
        limit: &CompiledLimit,
        cost: u64,
        shadow: bool,
        answer: Answer,
    ) -> ControlFlow<()> {
        let policy = &hit.policy.policy;
        if shadow {
            self.verdict.shadow.push(self.policy(hit.slot));
            return ControlFlow::Continue(());
        }
        let waits = answer.uncertain && !policy.max_wait.is_zero() && !self.ask.last;
        if policy.on_limit == OnLimit::Allow && !answer.disconnected && !waits {
            self.ask(hit, limit, cost, true);
            // Whoever could not ask in time does not know.
            self.verdict.over_quota |= !answer.uncertain || answer.beyond;
            self.note(hit, limit, cost, &answer);
            return ControlFlow::Continue(());
        }
        let retry_after = Some(Duration::from_micros(answer.retry));
        let status = self.status(hit, limit, cost, &answer);
        self.verdict.limit = Some(LimitStatus { retry_after, ..status });
        if waits {
            // The other limits are asked all the same: what they lack arrives in the same wait, and one
            // that is used up makes it needless.
            self.verdict.outcome = Outcome::Pending { wait: self.patience().max(policy.max_wait) };
            return ControlFlow::Continue(());
        }
        let disconnected = answer.disconnected;
        let reason = if disconnected { Reason::Disconnected } else { Reason::Limit };
        self.verdict.outcome = Outcome::Refused(reason);
        ControlFlow::Break(())
    }

    /// How long the request waits anyway.
    fn patience(&self) -> Duration {
        match self.verdict.outcome {
            Outcome::Pending { wait } => wait,
            _ => Duration::ZERO,
        }
    }

    /// Asks the limit's counter. What it admits is charged. `None` when there is no room for a
    /// counter, not even for the shared one.
    #[inline(always)]
    fn ask(
        &mut self,
        hit: &Hit<'_>,
        limit: &CompiledLimit,
        cost: u64,
        force: bool,
    ) -> Option<Answer> {
        let (table, snapshot) = (self.table, self.snapshot);
        let counted = snapshot.families.get(limit.index as usize)?;
        let policy: &Policy = &hit.policy.policy;
        let brought;
        let own = if limit.brought {
            brought = table.brought(policy.name.as_str(), limit);
            &brought
        } else {
            &counted.own
        };
        let name = table.name(own, hit.parts);
        loop {
            let (mut found, family, limit) = match table.find(&name) {
                Some(found) => (found, own, limit),
                None => match self.open(&name) {
                    Some(found) => (found, own, limit),
                    None => {
                        let shared = hit.policy.usual(limit).unwrap_or(limit);
                        (self.overflow(counted)?, &counted.overflow, shared)
                    }
                },
            };
            let standing = &self.newer.as_ref().unwrap_or(snapshot).standing;
            let Ask { now, last, peek } = self.ask;
            let answer = found.counter.ask(&counter::Ask {
                family,
                limit,
                policy,
                standing,
                newest: &table.newest,
                cost,
                peek,
                now,
                force,
                last: last && !force && policy.on_limit != OnLimit::Allow,
            });
            if answer.again {
                // The owner began to list what it holds after this thread had looked.
                drop(found);
                self.newer = Some(table.snapshot());
                std::hint::spin_loop();
                continue;
            }
            if !peek {
                table.touch(&mut found);
            }
            if answer.admitted && !peek {
                let held = limit.charging == Charging::Held;
                self.charged.push(Charge {
                    slot: found.slot,
                    id: found.counter.id,
                    window: answer.window,
                    cost,
                    lease: held.then(|| limit.limit.window.duration()),
                });
            }
            if answer.wake {
                table.heat(found);
            }
            return Some(answer);
        }
    }

    /// The counter of a key that was not found, if there is room for it.
    #[cold]
    fn open(&self, name: &Name<'_>) -> Option<Found<'a>> {
        self.table.open(name, self.start(name.family))
    }

    /// The counter that stands in for keys without room, with the amount of keys that are no exception.
    #[cold]
    fn overflow(&self, counted: &Counted) -> Option<Found<'a>> {
        self.table.overflow(&counted.overflow, self.start(&counted.overflow))
    }

    /// The window of a new counter.
    fn start(&self, family: &Family) -> WindowStart {
        let standing = &self.newer.as_ref().unwrap_or(self.snapshot).standing;
        let time = standing.manager_time(self.ask.now);
        if family.rolling { WindowStart(time.as_secs()) } else { family.window.start_at(time) }
    }

    /// Keeps the tightest limit met, by the part of it that is left.
    #[inline(always)]
    fn note(&mut self, hit: &Hit<'_>, limit: &CompiledLimit, cost: u64, answer: &Answer) {
        let unlimited = limit.limit.is_unlimited();
        let tighter = self.verdict.limit.as_ref().is_none_or(|known| {
            let looser = u128::from(answer.remaining) * u128::from(known.amount)
                >= u128::from(known.remaining) * u128::from(limit.limit.amount);
            // What refuses nothing tells nothing.
            !unlimited && (known.amount == MAX_AMOUNT || !looser)
        });
        if tighter {
            self.verdict.limit = Some(self.status(hit, limit, cost, answer));
        }
    }

    #[inline(always)]
    fn status(
        &self,
        hit: &Hit<'_>,
        limit: &CompiledLimit,
        cost: u64,
        answer: &Answer,
    ) -> LimitStatus {
        LimitStatus {
            policy: self.policy(hit.slot),
            index: limit.index,
            brought: limit.brought.then(|| Arc::new(limit.clone())),
            amount: limit.limit.amount,
            window: limit.limit.window.length_of(answer.window),
            start: answer.window,
            remaining: answer.remaining,
            reset: limit
                .limit
                .refilled_in(answer.remaining)
                .unwrap_or(Duration::from_micros(answer.reset)),
            retry_after: None,
            cost,
            uncertain: answer.uncertain,
            alone: answer.alone && !answer.beyond,
        }
    }

    #[inline(always)]
    pub(super) fn finish(&mut self) {
        if self.ask.peek {
            return;
        }
        if self.verdict.outcome == Outcome::Allowed
            && self.charged.iter().any(|c| c.lease.is_some())
        {
            self.hold();
        }
        if self.ask.last || self.verdict.outcome == Outcome::Allowed {
            self.table.checks.add();
        }
        if self.verdict.outcome != Outcome::Allowed {
            self.take_back();
        }
    }

    /// Notes what is given back when the request is over. Without room for that it is refused.
    #[cold]
    fn hold(&mut self) {
        let now = self.ask.now;
        let held = self.charged.iter().filter_map(|charge| {
            let Charge { slot, id, window, cost, lease } = *charge;
            Some(Held { slot, id, window, cost, until: now + lease? })
        });
        self.verdict.lease = self.table.hold(held.collect());
        if self.verdict.lease.is_none() {
            self.verdict.outcome = Outcome::Refused(Reason::Limit);
        }
    }

    /// Adds an amount to the limit's counter, or takes it back where it is negative: from the present
    /// fixed window only. What rolling counters were charged leaves them with time, and may have left
    /// already. False when nothing changed.
    pub(super) fn change(&mut self, hit: &Hit<'_>, limit: &CompiledLimit, change: i64) -> bool {
        if change > 0 {
            return self.ask(hit, limit, change.unsigned_abs(), true).is_some();
        }
        let Some(counted) = self.snapshot.families.get(limit.index as usize) else { return false };
        let brought;
        let family = if limit.brought {
            brought = self.table.brought(hit.policy.policy.name.as_str(), limit);
            &brought
        } else {
            &counted.own
        };
        let name = self.table.name(family, hit.parts);
        let Some(mut found) = self.table.find(&name) else { return false };
        let window = found.counter.window;
        let time = self.snapshot.standing.manager_time(self.ask.now);
        let present = !family.rolling && time < family.window.end(window);
        if !present || found.counter.used == 0 {
            return false;
        }
        found.counter.refund(change.unsigned_abs(), window);
        self.table.touch(&mut found);
        true
    }

    /// All or nothing: what the limits before the one that refused have counted.
    #[cold]
    fn take_back(&self) {
        for Charge { slot, id, window, cost, .. } in self.charged.iter() {
            self.table.refund(*slot, *id, *window, *cost);
        }
    }
}
