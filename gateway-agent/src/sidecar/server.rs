//! Listening, serving, and ending in good order.

use std::{future::Future, io, net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::sleep};

use super::{
    connection::Servers,
    gate::Gate,
    http,
    rls::{self, RateLimits},
    settings::Settings,
    workers::{Port, Workers},
};
use crate::{Agent, ConnectError, HeaderStyle};

/// How long requests in flight may take after the servers stopped accepting.
const DRAIN: Duration = Duration::from_secs(2);
/// Before accepting is tried again, when the system has no room for another connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

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
    /// The system gives no threads.
    #[error("cannot start {count} worker threads: {source}; set listen.workers to fewer")]
    Workers {
        /// How many were wanted.
        count: NonZeroUsize,
        /// Why not.
        source: io::Error,
    },
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
    workers: NonZeroUsize,
    headers: HeaderStyle,
    request_limits: bool,
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
            workers = settings.workers,
            managers = ?settings.agent.managers(),
            version = env!("CARGO_PKG_VERSION"),
            "gateway agent starts"
        );
        let Settings { workers, headers, request_limits, .. } = settings;
        let agent = Agent::connect(settings.agent)?;
        Ok(Sidecar {
            agent,
            http,
            grpc,
            http_address,
            grpc_address,
            workers,
            headers,
            request_limits,
        })
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
    /// The workers have threads of their own; the agent's links, and accepting, stay on the present
    /// runtime, which need not have more than one.
    ///
    /// # Errors
    /// The workers do not start, or a server ends by itself.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Sidecar { headers, request_limits, .. } = self;
        let gate = Gate { headers, request_limits, ..Gate::new(self.agent.clone()) };
        let workers = start_workers(self.workers, &gate).await?;
        let workers = Arc::new(workers);
        let (stop, stopped) = watch::channel(false);
        let mut doors = JoinSet::new();
        for (port, listener) in [(Port::Http, self.http), (Port::Grpc, self.grpc)] {
            doors.spawn(accept(port, listener, Arc::clone(&workers), wait(stopped.clone())));
        }

        let ended = tokio::select! {
            () = shutdown => None,
            ended = doors.join_next() => ended,
        };
        tracing::info!("gateway agent stops: answering what is in flight");
        stop.send_replace(true);
        while doors.join_next().await.is_some() {}
        let drained = match Arc::into_inner(workers) {
            Some(workers) => workers.drain(DRAIN).await,
            None => false,
        };
        if !drained {
            tracing::warn!("connections did not end in time and are cut");
        }
        self.agent.shutdown().await;
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

/// Threads that serve both ports.
pub(super) async fn start_workers(count: NonZeroUsize, gate: &Gate) -> Result<Workers, ServeError> {
    let others = rls::routes().await?;
    let servers = || Servers {
        http: http::router(gate.clone()),
        grpc: Arc::new(RateLimits::new(gate.clone(), others.clone())),
    };
    let refused = |port| gate.telemetry.refused_connections(port);
    Workers::start(count.get(), servers, refused)
        .map_err(|source| ServeError::Workers { count, source })
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let actual = listener.local_addr().map_err(failed)?;
    Ok((listener, actual))
}

/// Takes connections in and hands them to the workers, until `stop`.
async fn accept(
    port: Port,
    listener: TcpListener,
    workers: Arc<Workers>,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let hand_on = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if workers.hand(port, stream).await.is_err() {
                        return;
                    }
                }
                // The client is gone already, or the system has no room: others may have better luck.
                Err(error) => {
                    tracing::warn!(%error, ?port, "a connection could not be accepted");
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    };
    tokio::select! {
        () = hand_on => {
            Err(ServeError::Ended { server: "worker", reason: "its thread is gone".to_owned() })
        }
        () = stop => Ok(()),
    }
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone means the end as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
