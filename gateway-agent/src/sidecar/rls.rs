//! Envoy's rate limit service, version 3.
//!
//! As in Envoy's reference service, each descriptor is a check of its own: one that is refused does
//! not keep the others from counting, and the whole is over the limit when any of them is. A
//! descriptor's entries are both `request.descriptors[0]` and, where an entry is named like an
//! attribute, that attribute: see [`request`].
//!
//! Not supported, and refused rather than misread: negative hits. Limits that a descriptor brings
//! along (`limit`) are ignored: limits come from policies.

use std::time::Duration;

use tonic::{
    Request, Response, Status,
    transport::{Server, server::Router},
};
use weir_proto::{
    request::RequestError,
    wire::{
        self,
        envoy::service::ratelimit::v3::{
            RateLimitRequest, RateLimitResponse,
            rate_limit_service_server::{RateLimitService, RateLimitServiceServer},
        },
    },
};

use super::gate::Gate;

mod request;
mod response;

/// Largest request, in bytes.
const MAX_MESSAGE: usize = 256 << 10;
/// Calls that one connection may have open; more wait at the client, by HTTP/2's own means.
const MAX_STREAMS: u32 = 1_024;
/// A silent connection is asked for a sign of life after this, and closed after this much again.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// The gRPC server: rate limits, health, reflection.
pub(crate) async fn server(gate: Gate) -> Result<Router, tonic_reflection::server::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<RateLimitServiceServer<Service>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("envoy.service.ratelimit.v3.RateLimitService")
            .with_service_name("grpc.health.v1.Health")
    };
    let service = RateLimitServiceServer::new(Service { gate });
    Ok(Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(service.max_decoding_message_size(MAX_MESSAGE))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}

struct Service {
    gate: Gate,
}

#[tonic::async_trait]
impl RateLimitService for Service {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let request = request.into_inner();
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
        Ok(Response::new(response::of(&verdicts)))
    }
}

#[cfg(test)]
mod tests;
