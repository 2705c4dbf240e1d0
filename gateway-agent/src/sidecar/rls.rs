//! Envoy's rate limit service, version 3.
//!
//! As in Envoy's reference service, each descriptor is a check of its own: one that is refused does
//! not keep the others from counting, and the whole is over the limit when any of them is. A
//! descriptor's entries are both `request.descriptors[0]` and, where an entry is named like an
//! attribute, that attribute: see [`request`].
//!
//! Not supported, and refused rather than misread: negative hits. Limits that a descriptor brings
//! along (`limit`) are ignored: limits come from policies.
//!
//! The one call that matters is served right on HTTP/2 ([`frame`]); health and reflection on the
//! same port are tonic's.

use std::{convert::Infallible, sync::Arc};

use http::{Method, Request, Response};
use hyper::body::Incoming;
use prost::Message;
use tonic::{Code, Status, body::Body, service::Routes};
use tower::ServiceExt;
use weir_proto::{
    request::RequestError,
    wire::{
        self,
        envoy::service::ratelimit::v3::{
            RateLimitRequest, rate_limit_service_server::SERVICE_NAME,
        },
    },
};

use self::frame::Answer;
use super::gate::Gate;

mod frame;
mod request;
mod response;

/// Largest request, in bytes.
const MAX_MESSAGE: usize = 256 << 10;
/// The call that gateways make.
const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// What is served on the gRPC port.
pub(crate) struct RateLimits {
    gate: Gate,
    others: Routes,
}

/// Health and reflection.
///
/// # Errors
/// The generated descriptors are broken.
pub(crate) async fn others() -> Result<Routes, tonic_reflection::server::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status(SERVICE_NAME, tonic_health::ServingStatus::Serving).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(SERVICE_NAME)
            .with_service_name("grpc.health.v1.Health")
    };
    Ok(Routes::new(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .prepare())
}

impl RateLimits {
    pub(crate) fn new(gate: Gate, others: Routes) -> Self {
        Self { gate, others }
    }

    /// Answers one call.
    pub(crate) async fn call(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        if request.uri().path() != SHOULD_RATE_LIMIT || request.method() != Method::POST {
            let others = self.others.clone().oneshot(request.map(Body::new));
            let Ok(response) = others.await;
            return Ok(response.map(Answer::Other));
        }
        let (head, body) = request.into_parts();
        if let Some(refusal) = frame::refuse_head(&head.headers) {
            return Ok(refusal);
        }
        Ok(match self.should_rate_limit(&head.headers, body).await {
            Ok(message) => frame::ok(message),
            Err(status) => frame::failed(&status),
        })
    }

    async fn should_rate_limit(
        &self,
        headers: &http::HeaderMap,
        body: Incoming,
    ) -> Result<bytes::Bytes, Status> {
        let message = frame::read(headers, body, MAX_MESSAGE).await?;
        let request = RateLimitRequest::decode(message).map_err(|error| {
            Status::new(Code::Internal, format!("not a RateLimitRequest: {error}"))
        })?;
        request::validate(&request).map_err(Status::invalid_argument)?;
        // All are understood before the first counts, so that a refused call charges nothing.
        let checks = request
            .descriptors
            .iter()
            .map(|descriptor| {
                let described = request::describe(&request.domain, descriptor)?;
                Ok((described, request::hits(&request, descriptor)))
            })
            .collect::<Result<Vec<_>, RequestError>>()
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut verdicts = Vec::with_capacity(checks.len());
        for (described, hits) in &checks {
            verdicts.push(self.gate.check(described, *hits).await);
        }
        Ok(frame::write(&response::of(&verdicts)))
    }
}

#[cfg(test)]
mod tests;
