//! The gRPC port: usage, decisions, replication, health and reflection.

use std::{sync::Arc, time::Duration};

use futures_util::stream;
use tonic::transport::{Server, server::Router};
use tower::layer::util::{Identity, Stack};
use weir_proto::{
    convert::MAX_FRAME_BYTES,
    wire::{
        DESCRIPTORS,
        weir::v1::{
            decisions_server::DecisionsServer, peers_server::PeersServer, usage_server::UsageServer,
        },
    },
};

use crate::{
    auth::{Guard, GuardLayer},
    broker::Broker,
    driver::Driver,
    ingest::Ingest,
    net::{Connection, Listener},
    peers::PeerService,
    stop::Stop,
    telemetry::Telemetry,
};

/// An agent that is cut off is noticed within a second: its share is then held for it, but its
/// session no longer fills a queue.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Streams of one connection; an agent needs two.
const MAX_STREAMS: u32 = 64;

/// Who answers.
pub(crate) struct Services {
    /// Usage and decisions.
    pub(crate) driver: Driver,
    /// Replication.
    pub(crate) peers: PeerService,
}
/// Every service stands behind the guard.
type GuardedStack = Stack<GuardLayer, Identity>;

/// Serves until `shutdown`, then until every stream has ended.
pub(crate) async fn serve(
    listener: Listener,
    services: Services,
    telemetry: Arc<Telemetry>,
    guard: Guard,
    mut shutdown: Stop,
) -> anyhow::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<UsageServer<Ingest>>().await;
    health.set_serving::<DecisionsServer<Broker>>().await;
    health.set_serving::<PeersServer<PeerService>>().await;
    let router = router(services, telemetry, guard)?.add_service(health_service);
    let connections = stream::unfold(listener.http2_only(), async |mut listener: Listener| {
        let connection = listener.accept().await;
        Some((Ok::<Connection, std::io::Error>(connection), listener))
    });
    let stop = async move {
        shutdown.requested().await;
        health.set_not_serving::<UsageServer<Ingest>>().await;
        health.set_not_serving::<DecisionsServer<Broker>>().await;
    };
    router.serve_with_incoming_shutdown(Box::pin(connections), stop).await?;
    Ok(())
}

fn router(
    services: Services,
    telemetry: Arc<Telemetry>,
    guard: Guard,
) -> anyhow::Result<Router<GuardedStack>> {
    let Services { driver, peers: service } = services;
    let usage =
        Ingest { driver: driver.clone(), telemetry: Arc::clone(&telemetry), guard: guard.clone() };
    let decisions = Broker { driver, telemetry, guard: guard.clone() };
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .max_concurrent_streams(MAX_STREAMS)
        .layer(GuardLayer(guard))
        .add_service(UsageServer::new(usage).max_decoding_message_size(MAX_FRAME_BYTES))
        .add_service(DecisionsServer::new(decisions).max_decoding_message_size(MAX_FRAME_BYTES))
        .add_service(PeersServer::new(service).max_decoding_message_size(MAX_FRAME_BYTES))
        .add_service(reflection().build_v1()?)
        // Tools that are a few years old ask for this one.
        .add_service(reflection().build_v1alpha()?))
}

#[cfg(test)]
mod tests;
