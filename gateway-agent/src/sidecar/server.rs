//! Listening, serving, and ending in good order.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use axum::serve::ListenerExt;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};
use tonic::transport::server::TcpIncoming;

use super::{gate::Gate, http, rls, settings::Settings};
use crate::{Agent, ConnectError};

/// How long requests in flight may take after the servers stopped accepting.
const DRAIN: Duration = Duration::from_secs(2);
/// How often metrics are folded.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why the sidecar does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another program has the port, or we may not use it.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The agent did not start.
    #[error(transparent)]
    Agent(#[from] ConnectError),
    /// Health and reflection are made of the generated descriptors.
    #[error("the gRPC services cannot be described: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A server gave up.
    #[error("the {server} server ended: {reason}")]
    Ended {
        /// Which.
        server: &'static str,
        /// Why.
        reason: String,
    },
}

/// A sidecar that listens, with an agent that connects.
#[derive(Debug)]
pub struct Sidecar {
    agent: Agent,
    http: TcpListener,
    grpc: TcpListener,
    http_address: SocketAddr,
    grpc_address: SocketAddr,
}

impl Sidecar {
    /// Listens on both ports and starts the agent. Requests wait until [`Sidecar::serve`].
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn start(settings: Settings) -> Result<Sidecar, ServeError> {
        let (http, http_address) = listen(settings.http).await?;
        let (grpc, grpc_address) = listen(settings.grpc).await?;
        tracing::info!(
            agent = %settings.agent.id(),
            http = %http_address,
            grpc = %grpc_address,
            managers = ?settings.agent.managers(),
            version = env!("CARGO_PKG_VERSION"),
            "gateway agent starts"
        );
        let agent = Agent::connect(settings.agent)?;
        Ok(Sidecar { agent, http, grpc, http_address, grpc_address })
    }

    /// Where HTTP is served: the real port, where the configuration said 0.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Where gRPC is served.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// The agent behind the servers.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Serves until `shutdown` resolves; then stops accepting, answers what it has accepted, and
    /// takes the agent out of the fleet.
    ///
    /// # Errors
    /// A server that ends by itself.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let gate = Gate::new(self.agent.clone());
        let (stop, stopped) = watch::channel(false);
        let mut servers = JoinSet::new();
        servers.spawn(serve_http(self.http, gate.clone(), wait(stopped.clone())));
        servers.spawn(serve_grpc(self.grpc, gate.clone(), wait(stopped)));
        let upkeep = AbortOnDrop(tokio::spawn(upkeep(gate)));

        let ended = tokio::select! {
            () = shutdown => None,
            ended = servers.join_next() => ended,
        };
        tracing::info!("gateway agent stops: answering what is in flight");
        stop.send_replace(true);
        let drained = timeout(DRAIN, async { while servers.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!("connections did not end in time and are cut");
        }
        self.agent.shutdown().await;
        drop(upkeep);
        tracing::info!("gateway agent has left");
        match ended {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(error),
            Some(Err(panic)) => {
                Err(ServeError::Ended { server: "HTTP or gRPC", reason: panic.to_string() })
            }
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let actual = listener.local_addr().map_err(failed)?;
    Ok((listener, actual))
}

async fn serve_http(
    listener: TcpListener,
    gate: Gate,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    // Answers are small and clients wait for them.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, http::router(gate))
        .with_graceful_shutdown(stop)
        .await
        .map_err(|error| ServeError::Ended { server: "HTTP", reason: error.to_string() })
}

async fn serve_grpc(
    listener: TcpListener,
    gate: Gate,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    rls::server(gate)
        .await?
        .serve_with_incoming_shutdown(incoming, stop)
        .await
        .map_err(|error| ServeError::Ended { server: "gRPC", reason: error.to_string() })
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone means the end as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn upkeep(gate: Gate) {
    let mut ticks = interval(UPKEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        gate.telemetry.upkeep();
    }
}

/// Ends a task with its owner.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
