//! Envoy's rate limit service, version 3.
//!
//! As in Envoy's reference service, each descriptor is a check of its own: one that is refused does
//! not keep the others from counting, and the whole is over the limit when any of them is. A
//! descriptor's entries are both `request.descriptors[0]` and, where an entry is named like an
//! attribute, that attribute: see [`request`]. The most specific rule that it meets, of those that
//! policies name, is `request.rule`: see [`rules`].
//!
//! Negative hits are taken back from fixed windows. Limits that a descriptor brings along (`limit`) count
//! where the agent's configuration and the policy allow it; elsewhere they are ignored, because Envoy would
//! let a refused call pass uncounted.
//!
//! | module | holds |
//! |---|---|
//! | `connection` | HTTP/2: calls arrive and leave in batches |
//! | `call` | one call, at once or later |
//! | `frame` | gRPC's messages, errors and ends |
//! | `request`, `rules`, `response` | descriptors in, the rules that they meet, verdicts out |
//! | `others` | health and reflection on the same port, served by tonic |

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use prost::Message;
use tonic::{Status, service::Routes};
use weir_proto::wire::envoy::{
    extensions::common::ratelimit::v3::RateLimitDescriptor,
    service::ratelimit::v3::RateLimitRequest,
};

use self::rules::Met;
use super::gate::Gate;
use crate::{Amounts, Changes, Outcome, Unit, Verdict};

pub(crate) use self::{connection::serve, others::routes};

mod call;
mod connection;
mod frame;
mod others;
mod request;
mod response;
mod rules;

/// Largest request, in bytes.
const MAX_MESSAGE: usize = 256 << 10;
/// The call that gateways make.
const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// What is served on the gRPC port.
pub(crate) struct RateLimits {
    gate: Gate,
    others: Routes,
    /// It was said that limits of requests are ignored.
    warned: AtomicBool,
}

/// A descriptor as policies see it, and what it counts as.
struct Check<'a> {
    described: weir_proto::request::Request<'a>,
    hits: u64,
    /// The hits are given back.
    back: bool,
}

impl RateLimits {
    pub(crate) fn new(gate: Gate, others: Routes) -> Self {
        Self { gate, others, warned: AtomicBool::new(false) }
    }

    /// Decides about every descriptor that needs not wait, in order; `true` if these are all. What
    /// is in `verdicts` is counted, and not looked at again.
    fn decide(&self, message: &[u8], verdicts: &mut Vec<Verdict>) -> Result<bool, Status> {
        let request = decode(message)?;
        self.gate.agent.with_rules(|rules| {
            let met = Met::of(&request, rules);
            for check in self.checks(&request, &met)?.iter().skip(verdicts.len()) {
                let verdict = match check.back {
                    true => Some(self.give_back(check)),
                    false => self.gate.try_check(&check.described, check.hits),
                };
                match verdict {
                    Some(verdict) => verdicts.push(verdict),
                    None => return Ok(false),
                }
            }
            Ok(true)
        })
    }

    /// Takes hits back. Nothing is refused by that, whatever is left afterwards.
    fn give_back(&self, check: &Check<'_>) -> Verdict {
        let mut changes = Changes::default();
        changes.add(Unit::Requests, i64::try_from(check.hits).unwrap_or(i64::MAX).saturating_neg());
        self.gate.agent.report(&check.described, &changes);
        let verdict = self.gate.agent.peek_at_once(&check.described, &Amounts::from(0));
        Verdict { outcome: Outcome::Allowed, ..verdict }
    }

    /// Decides about the descriptors after those that are decided; each may wait. While one does,
    /// only it and the message are kept: a message takes many times its length when it is read.
    async fn decide_later(
        &self,
        message: Bytes,
        mut verdicts: Vec<Verdict>,
    ) -> Result<Vec<Verdict>, Status> {
        while !self.decide(&message, &mut verdicts)? {
            let mut request = decode(&message)?;
            let met = self.gate.agent.with_rules(|rules| Met::of(&request, rules).into_owned());
            let descriptor = request.descriptors.swap_remove(verdicts.len());
            request.descriptors = Vec::new();
            let hits = request::hits(&request, &descriptor);
            let described = self.describe(&request, &descriptor, &met, verdicts.len())?;
            verdicts.push(self.gate.check(&described, hits).await);
        }
        Ok(verdicts)
    }

    /// All are understood before the first counts, so that a refused call charges nothing.
    fn checks<'a>(
        &self,
        request: &'a RateLimitRequest,
        met: &'a Met<'_>,
    ) -> Result<Vec<Check<'a>>, Status> {
        request::validate(request).map_err(Status::invalid_argument)?;
        let check = |(index, descriptor)| {
            let described = self.describe(request, descriptor, met, index)?;
            let hits = request::hits(request, descriptor);
            Ok(Check { described, hits, back: descriptor.is_negative_hits })
        };
        request.descriptors.iter().enumerate().map(check).collect()
    }

    fn describe<'a>(
        &self,
        request: &'a RateLimitRequest,
        descriptor: &'a RateLimitDescriptor,
        met: &'a Met<'_>,
        index: usize,
    ) -> Result<weir_proto::request::Request<'a>, Status> {
        let described = request::describe(&request.domain, descriptor, met, index)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        if !self.gate.request_limits {
            if descriptor.limit.is_some() {
                self.warn_once();
            }
            return Ok(described);
        }
        let limit = request::limit(descriptor)
            .map_err(|error| Status::invalid_argument(format!("descriptors[{index}].{error}")))?;
        Ok(match limit {
            Some(limit) => described.limit(limit),
            None => described,
        })
    }

    #[cold]
    fn warn_once(&self) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a descriptor brings a limit along, and is judged by the policies alone; set \
                 request_limits = true if all callers of this agent may choose limits"
            );
        }
    }
}

fn decode(message: &[u8]) -> Result<RateLimitRequest, Status> {
    RateLimitRequest::decode(message)
        .map_err(|error| Status::internal(format!("not a RateLimitRequest: {error}")))
}

#[cfg(test)]
mod tests;
