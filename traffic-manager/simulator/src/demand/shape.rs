//! How requests follow each other.

use std::time::Duration;

use crate::chance::Chance;

/// A rule that gives the times of requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// At random, with this rate on average (requests per second).
    Poisson(f64),
    /// At equal distances, at this rate.
    Steady(f64),
    /// So many requests, evenly within a time, and again and again.
    Burst {
        /// How many.
        requests: u64,
        /// Within which time.
        within: Duration,
        /// From one begin to the next; `None` = once.
        every: Option<Duration>,
    },
    /// At random at this rate, for a while, then nothing for a while.
    OnOff {
        /// Rate while on.
        rate: f64,
        /// How long.
        on: Duration,
        /// How long not.
        off: Duration,
    },
    /// At random, with a rate that changes evenly.
    Ramp {
        /// At the begin.
        from: f64,
        /// At the end.
        to: f64,
    },
}

impl Shape {
    /// The first request after `after` of a stream that runs `from` to `to`; the first of all may
    /// come at `after` itself.
    pub(super) fn next(
        &self,
        after: Duration,
        (from, to): (Duration, Duration),
        first: bool,
        chance: &mut Chance,
    ) -> Option<Duration> {
        match *self {
            Shape::Poisson(rate) => Some(after + chance.pause(rate)),
            Shape::Steady(rate) if first => {
                // Streams that begin together do not beat together.
                Some(after + Duration::from_secs_f64(chance.unit() / rate))
            }
            Shape::Steady(rate) => Some(after + Duration::from_secs_f64(1.0 / rate)),
            Shape::Burst { requests, within, every } => {
                burst(after.saturating_sub(from), requests, within, every, first).map(|t| from + t)
            }
            Shape::OnOff { rate, on, off } => {
                let mut at = after;
                loop {
                    at += chance.pause(rate);
                    let period = (on + off).as_secs_f64();
                    let phase = at.saturating_sub(from).as_secs_f64() % period;
                    if phase < on.as_secs_f64() {
                        return Some(at);
                    }
                    at += Duration::from_secs_f64(period - phase);
                    if at > to {
                        return None;
                    }
                }
            }
            Shape::Ramp { from: low, to: high } => {
                let most = low.max(high);
                let length = to.saturating_sub(from).as_secs_f64();
                let mut at = after;
                while at <= to {
                    at += chance.pause(most);
                    let part = at.saturating_sub(from).as_secs_f64() / length;
                    if chance.unit() * most < low + (high - low) * part {
                        return Some(at);
                    }
                }
                None
            }
        }
    }

    /// Requests within so long, about.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn expected(&self, length: Duration) -> f64 {
        let seconds = length.as_secs_f64();
        match *self {
            Shape::Poisson(rate) | Shape::Steady(rate) => rate * seconds,
            Shape::Burst { requests, every, .. } => {
                requests as f64 * every.map_or(1.0, |every| 1.0 + seconds / every.as_secs_f64())
            }
            Shape::OnOff { rate, on, off } => {
                rate * seconds * on.as_secs_f64() / (on + off).as_secs_f64()
            }
            Shape::Ramp { from, to } => (from + to) / 2.0 * seconds,
        }
    }
}

/// The next request of a burst after `after`, both counted from the stream's begin.
fn burst(
    after: Duration,
    requests: u64,
    within: Duration,
    every: Option<Duration>,
    first: bool,
) -> Option<Duration> {
    if first {
        return Some(Duration::ZERO);
    }
    let step = within / u32::try_from(requests).unwrap_or(u32::MAX).max(1);
    let begin = match every {
        Some(every) => Duration::from_micros(
            after.as_micros().checked_div(every.as_micros()).unwrap_or(0) as u64
                * u64::try_from(every.as_micros()).unwrap_or(u64::MAX),
        ),
        None => Duration::ZERO,
    };
    let next = after + step.max(Duration::from_micros(1));
    // The last one comes a step before the end.
    if next + step / 2 < begin + within {
        return Some(next);
    }
    every.map(|every| begin + every)
}
