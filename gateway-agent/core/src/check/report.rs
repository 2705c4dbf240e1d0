//! What becomes known after the response: amounts to add or to take back.

use std::ops::ControlFlow;

use weir_proto::{
    amount::Changes,
    matcher::{CompiledLimit, Hit, Scratch},
    policy::Level,
    request::Request,
    time::Time,
};

use super::{Ask, Checker, Local, Seen, Verdict, round::Round};

/// What came of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reported {
    /// Limits whose counters changed.
    pub limits: u32,
}

impl Checker {
    /// Adds to the counters that a request of these attributes meets, over their limits if need be;
    /// negative amounts are taken back from the present fixed window, never below zero, and not from
    /// rolling counters. Limits of concurrency are left alone: see [`Checker::release`].
    pub fn report(&self, request: &Request<'_>, changes: &Changes, now: Time) -> Reported {
        if changes.is_empty() {
            return Reported::default();
        }
        let seen = Seen::new(self.table.snapshot());
        let (mut scratch, mut local) = (Scratch::default(), Local::default());
        let mut reported = Reported::default();
        let mut verdict = Verdict::allowed_so_far();
        let mut round = Round::new(
            (&self.table, &seen),
            &mut local.charged,
            Ask { now, last: true, peek: false },
            &mut verdict,
        );
        let mut change = |hit: &Hit<'_>, limit: &CompiledLimit| {
            let change = changes.of(&limit.limit.unit);
            if change != 0 && round.change(hit, limit, change) {
                reported.limits += 1;
            }
        };
        let time = seen.snapshot.standing.manager_time(now);
        seen.snapshot.policies.resolve(request, time, &mut scratch, |hit| {
            if hit.policy.policy.level != Level::Deny {
                hit.counted().for_each(|limit| change(&hit, limit));
            }
            ControlFlow::Continue(())
        });
        reported
    }
}
