//! Verdicts: match, count, decide. The request path.
//!
//! Policies are met in evaluation order; every limit must admit, or none is charged.

use std::{
    cell::RefCell,
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arc_swap::Guard;
use weir_proto::{
    matcher::{CompiledLimit, CompiledPolicy, Hit, PolicySet, Scratch},
    policy::{Level, Mode, OnLimit, Policy},
    request::Request,
    time::{Time, WindowStart},
    window::Algorithm,
};

use crate::{
    counter::{Answer, Ask, Counter},
    standing::Standing,
    table::Table,
};

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A limit is used up.
    Limit,
    /// A deny policy applies.
    Denied,
    /// No manager is reachable, and the policy says `closed`.
    Disconnected,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It may pass; it is counted.
    Allowed,
    /// It may not; nothing is counted but the refusal.
    Refused(Reason),
    /// It may not now, but its ceiling may rise within `wait`: an asynchronous caller waits for
    /// [`crate::Output::Wake`] and checks again. Nothing is counted.
    Pending {
        /// The policy's `max_wait`.
        wait: Duration,
    },
}

/// The limit that decided, or the one with the least left.
#[derive(Debug, Clone)]
pub struct LimitStatus {
    /// Its policy.
    pub policy: Arc<CompiledPolicy>,
    /// Its place among the policy's limits, as [`CompiledLimit::id`].
    pub limit_id: Arc<str>,
    /// The limit.
    pub amount: u64,
    /// Window length.
    pub window: Duration,
    /// The window's name: its start in manager time.
    pub start: WindowStart,
    /// What this agent may still admit in the window without asking.
    pub remaining: u64,
    /// Until the window ends.
    pub reset: Duration,
    /// After a refusal: when asking again makes sense.
    pub retry_after: Option<Duration>,
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Whether it may pass.
    pub outcome: Outcome,
    /// The policy that decided; the tightest one met when it may pass.
    pub policy: Option<Arc<CompiledPolicy>>,
    /// The limit that refused, or the tightest one met.
    pub limit: Option<LimitStatus>,
    /// Policies in shadow mode that would have refused.
    pub shadow: Vec<Arc<CompiledPolicy>>,
    /// A limit is exceeded, but its policy lets requests pass (`on_limit: allow`).
    pub over_quota: bool,
}

impl Verdict {
    /// Whether the request may pass.
    pub fn allowed(&self) -> bool {
        self.outcome == Outcome::Allowed
    }
}

#[derive(Default)]
struct Buffers {
    scratch: Scratch,
    key: Vec<u8>,
    charged: Vec<Charge>,
}

/// What was counted for a request, in case it must be taken back.
struct Charge(Arc<Counter>, WindowStart);

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// Answers checks from local memory; shared by all request threads.
#[derive(Debug, Clone)]
pub struct Checker {
    table: Arc<Table>,
}

impl Checker {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Checker { table }
    }

    /// Policies in force.
    pub fn policies(&self) -> Arc<PolicySet> {
        self.table.policies.load_full()
    }

    /// Checks and counts a request of this cost at local time `now`; a refusal is final.
    pub fn check(&self, request: &Request<'_>, cost: u64, now: Time) -> Verdict {
        let mut verdict = self.run(request, cost, now, true);
        if let Outcome::Pending { .. } = verdict.outcome {
            verdict.outcome = Outcome::Refused(Reason::Limit);
        }
        verdict
    }

    /// As [`Checker::check`], but may answer [`Outcome::Pending`]. Repeat until it is decided, then
    /// settle for `check`.
    pub fn try_check(&self, request: &Request<'_>, cost: u64, now: Time) -> Verdict {
        self.run(request, cost, now, false)
    }

    fn run(&self, request: &Request<'_>, cost: u64, now: Time, last: bool) -> Verdict {
        let standing = self.table.standing.load();
        let policies = self.table.policies.load();
        BUFFERS.with_borrow_mut(|buffers| {
            let Buffers { scratch, key, charged } = buffers;
            charged.clear();
            let mut round = Round {
                table: &self.table,
                standing,
                cost,
                now,
                last,
                key,
                charged,
                verdict: Verdict {
                    outcome: Outcome::Allowed,
                    policy: None,
                    limit: None,
                    shadow: Vec::new(),
                    over_quota: false,
                },
            };
            policies.resolve(request, scratch, |hit| round.meet(&hit));
            round.finish()
        })
    }
}

/// One request on its way through the policies.
struct Round<'a> {
    table: &'a Table,
    standing: Guard<Arc<Standing>>,
    cost: u64,
    now: Time,
    last: bool,
    key: &'a mut Vec<u8>,
    charged: &'a mut Vec<Charge>,
    verdict: Verdict,
}

impl Round<'_> {
    fn meet(&mut self, hit: &Hit<'_>) -> ControlFlow<()> {
        let shadow = hit.policy.policy.mode == Mode::Shadow;
        if hit.policy.policy.level == Level::Deny {
            if shadow {
                self.verdict.shadow.push(Arc::clone(hit.policy));
                return ControlFlow::Continue(());
            }
            self.verdict.outcome = Outcome::Refused(Reason::Denied);
            self.verdict.policy = Some(Arc::clone(hit.policy));
            self.verdict.limit = None;
            return ControlFlow::Break(());
        }
        for limit in hit.limits {
            self.count(hit, limit, shadow)?;
        }
        ControlFlow::Continue(())
    }

    fn count(&mut self, hit: &Hit<'_>, limit: &CompiledLimit, shadow: bool) -> ControlFlow<()> {
        hit.key_into(limit, self.key);
        let policy = &hit.policy.policy;
        let force = policy.on_limit == OnLimit::Allow && !shadow;
        let Some((counter, answer)) = self.ask(limit, policy, false) else {
            self.verdict.outcome = Outcome::Refused(Reason::Limit);
            return ControlFlow::Break(());
        };
        if answer.admitted {
            self.charged.push(Charge(counter, answer.window));
            if !shadow {
                self.note(hit.policy, limit, &answer);
            }
            return ControlFlow::Continue(());
        }
        if shadow {
            self.verdict.shadow.push(Arc::clone(hit.policy));
            return ControlFlow::Continue(());
        }
        if force && !answer.disconnected {
            let forced = self.ask(limit, policy, true);
            self.charged.extend(forced.map(|(counter, a)| Charge(counter, a.window)));
            self.verdict.over_quota = true;
            self.note(hit.policy, limit, &Answer { admitted: true, ..answer });
            return ControlFlow::Continue(());
        }
        self.verdict.outcome = if answer.disconnected {
            Outcome::Refused(Reason::Disconnected)
        } else if answer.uncertain && !policy.max_wait.is_zero() {
            Outcome::Pending { wait: policy.max_wait }
        } else {
            Outcome::Refused(Reason::Limit)
        };
        self.verdict.limit = Some(status(hit.policy, limit, &answer));
        self.verdict.policy = Some(Arc::clone(hit.policy));
        ControlFlow::Break(())
    }

    fn ask(
        &mut self,
        limit: &CompiledLimit,
        policy: &Policy,
        force: bool,
    ) -> Option<(Arc<Counter>, Answer)> {
        loop {
            let counter = self.find_or_open(limit, policy)?;
            let answer = counter.ask(&Ask {
                limit,
                policy,
                standing: &self.standing,
                newest: &self.table.newest,
                cost: self.cost,
                now: self.now,
                force,
                last: self.last && !force && policy.on_limit != OnLimit::Allow,
            });
            if answer.again {
                // The counter left the table, or the owner began to list what it holds, between the
                // look-up and the lock.
                self.standing = self.table.standing.load();
                std::hint::spin_loop();
                continue;
            }
            self.table.touch(&counter);
            if answer.wake {
                self.table.heat(&counter);
            }
            return Some((counter, answer));
        }
    }

    fn find_or_open(&self, limit: &CompiledLimit, policy: &Policy) -> Option<Arc<Counter>> {
        if let Some(counter) = self.table.find(self.key) {
            return Some(counter);
        }
        let time = self.standing.manager_time(self.now);
        let start = match limit.limit.algorithm {
            Algorithm::FixedWindow => limit.limit.window.start_at(time),
            Algorithm::SlidingWindow => WindowStart(time.as_secs()),
        };
        self.table.open(self.key, policy.name.as_str(), limit, start)
    }

    /// Keeps the tightest limit met, by the part of it that is left.
    fn note(&mut self, policy: &Arc<CompiledPolicy>, limit: &CompiledLimit, answer: &Answer) {
        let tighter = self.verdict.limit.as_ref().is_none_or(|known| {
            u128::from(answer.remaining) * u128::from(known.amount)
                < u128::from(known.remaining) * u128::from(limit.limit.amount)
        });
        if tighter {
            self.verdict.limit = Some(status(policy, limit, answer));
            self.verdict.policy = Some(Arc::clone(policy));
        }
    }

    fn finish(self) -> Verdict {
        if !matches!(self.verdict.outcome, Outcome::Pending { .. }) || self.last {
            self.table.checks.fetch_add(1, Ordering::Relaxed);
        }
        if self.verdict.outcome != Outcome::Allowed {
            for Charge(counter, window) in self.charged.iter() {
                counter.refund(self.cost, *window);
                self.table.touch(counter);
            }
        }
        self.charged.clear();
        self.verdict
    }
}

fn status(policy: &Arc<CompiledPolicy>, limit: &CompiledLimit, answer: &Answer) -> LimitStatus {
    LimitStatus {
        policy: Arc::clone(policy),
        limit_id: Arc::clone(&limit.id),
        amount: limit.limit.amount,
        window: limit.limit.window.duration(),
        start: answer.window,
        remaining: answer.remaining,
        reset: answer.reset,
        retry_after: (!answer.admitted).then_some(answer.retry),
    }
}
