//! Pacing of rolling windows by one agent alone.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::FakeRelativeClock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use weir_proto::{
    amount::Charging,
    policy::OnDisconnect,
    time::Time,
    window::{Algorithm, Window},
};

use super::{Ask, Counter};

impl Counter {
    /// Alone, a rolling counter spends no more than its share of what it holds: one length later the
    /// others pace themselves at theirs, and both fall in one window.
    pub(super) fn cap(&mut self, ask: &Ask<'_>) {
        let standing = ask.standing;
        let credit = ask.family.rolling && ask.family.charging != Charging::Flagged;
        if !credit || self.cold().capped_at == standing.isolated_at {
            return;
        }
        self.cold().capped_at = standing.isolated_at;
        // An earlier isolation may have had another share.
        self.cold().pace = None;
        let limit = ask.limit.capacity;
        let share = standing.history.current().of(limit);
        // What is in flight counts, and nothing else.
        let held = ask.family.charging == Charging::Held;
        let most = if held { share.max(self.used) } else { self.used.saturating_add(share) };
        self.fix_ceiling(self.ceiling(limit, ask.family, standing).min(most));
    }

    /// A rolling counter was given something: it does not count as idle, or it would lose that at once.
    pub fn keep(&mut self, now: Time) {
        if self.set_ceiling().is_some_and(|ceiling| ceiling > self.used) {
            self.cold().last_use = now;
        }
    }

    /// Alone for a whole window length: a rolling counter is paced at its share.
    pub(super) fn paced(&mut self, ask: &Ask<'_>, how: OnDisconnect) -> bool {
        let standing = ask.standing;
        let paced = ask.family.rolling
            && !matches!(ask.family.charging, Charging::Held | Charging::Flagged);
        if !paced || !standing.isolated || how != OnDisconnect::Local {
            return false;
        }
        let time = standing.manager_time(ask.now);
        let length = ask.family.length();
        // What was used on ceilings counts for one length.
        let granted = self.granted_use();
        let recent = granted != Time::ZERO && granted + length > ask.now;
        if recent || time <= standing.alone_from(true) + length {
            return false;
        }
        let share = standing.history.current();
        let limit = &ask.limit.limit;
        let pace = self.cold().pace.get_or_insert_with(|| {
            Box::new(match limit.algorithm {
                Algorithm::TokenBucket => {
                    Pace::bucket(share.of(limit.capacity()), share.of(limit.amount), limit.window)
                }
                _ => Pace::new(share.of(limit.amount), length),
            })
        });
        if ask.force {
            pace.charge(ask.cost, ask.now);
            return true;
        }
        pace.admit(ask.need(), ask.now)
    }
}

/// Admits at most a share in any window of the full length: half of it as burst, half as refill
/// (GCRA admits burst + rate × length in the worst window).
#[derive(Debug)]
pub struct Pace {
    limiter: Option<
        RateLimiter<
            NotKeyed,
            InMemoryState,
            FakeRelativeClock,
            NoOpMiddleware<governor::nanos::Nanos>,
        >,
    >,
    clock: FakeRelativeClock,
    at: Time,
    started: bool,
    /// In which one unit comes back.
    period: Duration,
    /// What was charged without being asked comes back until then.
    owed_until: Time,
}

impl Pace {
    /// For this share per window of `length`.
    pub fn new(share: u64, length: Duration) -> Self {
        let refill = u32::try_from(share / 2).unwrap_or(u32::MAX).max(1);
        // With a share of 1 the one request must not be joined by a refill in the same window.
        let period = if share == 1 { length } else { length / refill };
        Pace::of(share.div_ceil(2), period)
    }

    /// A bucket of `burst` that `refill` per window fills.
    pub fn bucket(burst: u64, refill: u64, window: Window) -> Self {
        let period = window.duration() / u32::try_from(refill).unwrap_or(u32::MAX).max(1);
        Pace::of(if refill > 0 { burst } else { 0 }, period)
    }

    /// So much at once, and one unit more in each period.
    fn of(burst: u64, period: Duration) -> Self {
        let clock = FakeRelativeClock::default();
        let period = period.max(Duration::from_nanos(1));
        let burst = NonZeroU32::new(u32::try_from(burst).unwrap_or(u32::MAX));
        let quota = burst.and_then(|b| Some(Quota::with_period(period)?.allow_burst(b)));
        let limiter = quota.map(|q| RateLimiter::direct_with_clock(q, clock.clone()));
        Pace { limiter, clock, at: Time::ZERO, started: false, period, owed_until: Time::ZERO }
    }

    /// Charges what is over already: nothing passes until it has come back.
    pub fn charge(&mut self, cost: u64, now: Time) {
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        self.owed_until = self.owed_until.max(now) + self.period.saturating_mul(cost);
    }

    /// Whether `cost` passes at local time `now`.
    pub fn admit(&mut self, cost: u64, now: Time) -> bool {
        if now < self.owed_until {
            return false;
        }
        if self.started {
            self.clock.advance(now.since(self.at));
        }
        self.started = true;
        self.at = self.at.max(now);
        let Some(limiter) = &self.limiter else { return false };
        let Some(cost) = u32::try_from(cost).ok().and_then(NonZeroU32::new) else {
            return cost == 0;
        };
        matches!(limiter.check_n(cost), Ok(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_window_holds_at_most_the_share() {
        for share in [1u64, 2, 3, 10, 101] {
            let length = Duration::from_secs(10);
            let mut pace = Pace::new(share, length);
            let start = Time::from_secs(1000);
            let admitted: Vec<Time> = (0..60_000u64)
                .map(|ms| start + Duration::from_millis(ms))
                .filter(|at| pace.admit(1, *at))
                .collect();
            for (i, from) in admitted.iter().enumerate() {
                let within = admitted[i..].iter().take_while(|at| at.since(*from) < length).count();
                assert!(within as u64 <= share, "share {share}: {within} from {from:?}");
            }
            assert!(admitted.len() as u64 >= share, "share {share} is usable");
        }
    }

    #[test]
    fn no_share_admits_nothing() {
        assert!(!Pace::new(0, Duration::from_secs(1)).admit(1, Time::from_secs(1)));
    }
}
