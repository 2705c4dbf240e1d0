//! One connection: HTTP or gRPC, from its first byte to its last.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tower::ServiceExt;

use super::{
    patient::Patient,
    rls::{self, RateLimits},
    workers::Port,
};

/// Requests that one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 256;
/// Bytes of the headers of one HTTP/2 request.
const MAX_HEADERS: u32 = 16 << 10;
/// How long the head of an HTTP/1.1 request, and the first request of any connection, may take to
/// arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How often an HTTP/2 client is asked for a sign of life; without one it is closed after as much.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// A client that takes nothing of what waits for it for so long is closed.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What a worker serves on its connections.
#[derive(Clone)]
pub(crate) struct Servers {
    pub(crate) http: Router,
    pub(crate) grpc: Arc<RateLimits>,
}

impl Servers {
    /// Serves a connection until it ends, or until `stop` and the last answer after that.
    pub(crate) async fn serve(self, port: Port, stream: TcpStream, stop: impl Future<Output = ()>) {
        let stream = Patient::new(stream, STALL_TIMEOUT);
        match port {
            Port::Http => serve_http(self.http, HEAD_TIMEOUT, stream, stop).await,
            Port::Grpc => rls::serve(self.grpc, stream, stop).await,
        }
    }
}

async fn serve_http(
    router: Router,
    head_timeout: Duration,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    stop: impl Future<Output = ()>,
) {
    let asked = Arc::new(AtomicBool::new(false));
    let silent = silent(Arc::clone(&asked), head_timeout);
    let router = router.map_request(move |request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        request.map(Body::new)
    });
    let builder = builder(head_timeout);
    let io = TokioIo::new(stream);
    let mut connection = pin!(builder.serve_connection(io, TowerToHyperService::new(router)));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = silent => {
            connection.as_mut().graceful_shutdown();
            // Its goodbye may be for nobody.
            timeout(head_timeout, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection broke");
    }
}

fn builder(head_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS);
    builder
}

/// Resolves when the first request is late: no timeout of the library's counts before it knows
/// which HTTP a client speaks.
async fn silent(asked: Arc<AtomicBool>, patience: Duration) {
    sleep(patience).await;
    if asked.load(Ordering::Relaxed) {
        pending().await
    }
}

#[cfg(test)]
mod tests;
