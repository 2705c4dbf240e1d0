//! Verdicts: match, count, decide. The request path.
//!
//! Policies are met in evaluation order; every limit must admit, or none is charged.

use std::{cell::Cell, ops::Deref, sync::Arc, time::Duration};

use weir_proto::{
    amount::{Amounts, Unit},
    matcher::{CompiledLimit, CompiledPolicy, PolicySet, Scratch},
    request::Request,
    time::{Time, WindowStart},
};

use self::{
    policy_ref::Policies,
    round::{Charge, Round},
};
use crate::{
    standing::Snapshot,
    table::{LeaseId, Table},
};

mod policy_ref;
mod report;
mod round;
pub use self::{policy_ref::PolicyRef, report::Reported};

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
    pub policy: PolicyRef,
    /// Its place in the policy's set, as
    /// [`CompiledLimit::index`](weir_proto::matcher::CompiledLimit::index).
    pub index: u32,
    /// The limit itself, if the request brought it along.
    pub brought: Option<Arc<CompiledLimit>>,
    /// The limit.
    pub amount: u64,
    /// How long this window lasts.
    pub window: Duration,
    /// The window's name: its start in manager time.
    pub start: WindowStart,
    /// What this agent may still admit in the window without asking.
    pub remaining: u64,
    /// Until the window ends.
    pub reset: Duration,
    /// After a refusal: when asking again makes sense.
    pub retry_after: Option<Duration>,
    /// What the request counts as in it.
    pub cost: u64,
    /// After a refusal: nobody said in time how much is left.
    pub uncertain: bool,
    /// After a refusal: no manager is reachable, and what this agent may use alone is used up.
    pub alone: bool,
}

impl LimitStatus {
    /// The limit's id in its policy.
    pub fn limit_id(&self) -> &str {
        self.limit().map_or("", |limit| &limit.id)
    }

    /// The limit.
    pub fn limit(&self) -> Option<&CompiledLimit> {
        self.brought.as_deref().or_else(|| self.policy.limit_at(self.index))
    }
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Whether it may pass.
    pub outcome: Outcome,
    /// The limit that refused, or the tightest one met.
    pub limit: Option<LimitStatus>,
    /// The deny policy that refused.
    pub denied_by: Option<PolicyRef>,
    /// Policies in shadow mode that would have refused.
    pub shadow: Vec<PolicyRef>,
    /// A limit is exceeded, but its policy lets requests pass (`on_limit: allow`).
    pub over_quota: bool,
    /// What the request holds of limits of concurrency, until it is released.
    pub lease: Option<LeaseId>,
}

impl Verdict {
    fn allowed_so_far() -> Self {
        Verdict {
            outcome: Outcome::Allowed,
            limit: None,
            denied_by: None,
            shadow: Vec::new(),
            over_quota: false,
            lease: None,
        }
    }

    /// Whether the request may pass.
    pub fn allowed(&self) -> bool {
        self.outcome == Outcome::Allowed
    }

    /// The policy that decided; the tightest one met when the request may pass.
    pub fn policy(&self) -> Option<&CompiledPolicy> {
        let limit = self.limit.as_ref().map(|limit| &limit.policy);
        self.denied_by.as_ref().or(limit).map(Deref::deref)
    }
}

/// An amount that no policy can count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownAmount {
    /// Its name.
    pub name: String,
    /// The names of custom amounts that policies count, in order.
    pub known: Vec<String>,
}

/// What a request counts as.
#[derive(Clone, Copy)]
enum Cost<'a> {
    /// So many requests, and nothing else.
    Requests(u64),
    Amounts(&'a Amounts),
}

impl Cost<'_> {
    #[inline(always)]
    fn of(self, unit: &Unit) -> u64 {
        match self {
            Cost::Requests(requests) if *unit == Unit::Requests => requests,
            Cost::Requests(_) => u64::from(*unit == Unit::Concurrency),
            Cost::Amounts(amounts) => amounts.of(unit),
        }
    }
}

/// How it is asked.
#[derive(Clone, Copy)]
struct Ask {
    /// Local time.
    now: Time,
    /// A refusal is final.
    last: bool,
    /// Count nothing.
    peek: bool,
}

/// What a thread keeps from check to check, so that it need not touch what others touch.
#[derive(Default)]
struct Local {
    seen: Option<Seen>,
    scratch: Scratch,
    charged: Vec<Charge>,
}

/// The newest snapshot that the thread has seen.
struct Seen {
    snapshot: Arc<Snapshot>,
    /// Its policies, for verdicts.
    policies: Arc<Policies>,
}

impl Seen {
    fn new(snapshot: Arc<Snapshot>) -> Self {
        Seen { policies: Arc::new(Policies(Arc::clone(&snapshot.policies))), snapshot }
    }
}

thread_local! {
    /// Taken for the time of a check.
    static LOCAL: Cell<Option<Box<Local>>> = const { Cell::new(None) };
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
        Arc::clone(&self.table.snapshot().policies)
    }

    /// The first of `units` that no policy can count, be it off, while there are policies at all: a
    /// misspelt name of a custom amount.
    pub fn unknown<'u>(&self, units: impl Iterator<Item = &'u Unit>) -> Option<UnknownAmount> {
        let mut custom = units.filter(|unit| matches!(unit, Unit::Custom(_))).peekable();
        custom.peek()?;
        let policies = self.policies();
        policies.policies().next()?;
        let name = custom.find(|unit| !policies.counts(unit))?.to_string();
        Some(UnknownAmount { name, known: policies.amounts().map(str::to_owned).collect() })
    }

    /// Checks and counts a request of this cost at local time `now`; a refusal is final.
    #[inline]
    pub fn check(&self, request: &Request<'_>, cost: u64, now: Time) -> Verdict {
        self.run(request, Cost::Requests(cost), Ask { now, last: true, peek: false })
    }

    /// Checks and counts a request of these amounts, which may be known in part only: the rest is
    /// reported later. A refusal is final.
    pub fn check_amounts(&self, request: &Request<'_>, amounts: &Amounts, now: Time) -> Verdict {
        self.run(request, Cost::Amounts(amounts), Ask { now, last: true, peek: false })
    }

    /// What a check would answer now; nothing is counted.
    pub fn peek(&self, request: &Request<'_>, amounts: &Amounts, now: Time) -> Verdict {
        self.run(request, Cost::Amounts(amounts), Ask { now, last: true, peek: true })
    }

    /// As [`Checker::peek`], but may answer [`Outcome::Pending`], as [`Checker::try_check`] does.
    pub fn try_peek(&self, request: &Request<'_>, amounts: &Amounts, now: Time) -> Verdict {
        self.run(request, Cost::Amounts(amounts), Ask { now, last: false, peek: true })
    }

    /// Gives back what a request held. False if it was given back before, or its time was over.
    pub fn release(&self, lease: LeaseId) -> bool {
        self.table.release(lease)
    }

    /// As [`Checker::check`], but may answer [`Outcome::Pending`], and counts no refusal. Repeat
    /// until it is decided, then settle for `check`.
    #[inline]
    pub fn try_check(&self, request: &Request<'_>, amounts: &Amounts, now: Time) -> Verdict {
        self.run(request, Cost::Amounts(amounts), Ask { now, last: false, peek: false })
    }

    #[inline(always)]
    fn run(&self, request: &Request<'_>, cost: Cost<'_>, ask: Ask) -> Verdict {
        let mut verdict = Verdict::allowed_so_far();
        self.fill(request, cost, ask, &mut verdict);
        verdict
    }

    /// Decides about a request; `verdict` allows it so far.
    #[inline(never)]
    fn fill(&self, request: &Request<'_>, cost: Cost<'_>, ask: Ask, verdict: &mut Verdict) {
        let mut local = LOCAL.try_with(Cell::take).ok().flatten().unwrap_or_default();
        let Local { seen, scratch, charged } = &mut *local;
        let seen = match seen {
            Some(seen) if self.table.is_newest(&seen.snapshot) => seen,
            seen => seen.insert(Seen::new(self.table.snapshot())),
        };
        charged.clear();
        let mut round = Round::new((&self.table, seen), charged, ask, verdict);
        let time = seen.snapshot.standing.manager_time(ask.now);
        let policies = &seen.snapshot.policies;
        policies.resolve(request, time, scratch, |hit| round.meet(&hit, cost));
        round.finish();
        // Fails while the thread ends; then nothing is kept.
        let _ = LOCAL.try_with(|kept| kept.set(Some(local)));
    }
}
