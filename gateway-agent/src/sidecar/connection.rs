//! One connection: HTTP or gRPC, from its first byte to its last.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::{
    rls::{self, RateLimits},
    workers::Port,
};

/// Requests that one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 256;
/// Bytes of the headers of one HTTP/2 request.
const MAX_HEADERS: u32 = 16 << 10;
/// How long the head of an HTTP/1.1 request may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// What a worker serves on its connections.
#[derive(Clone)]
pub(crate) struct Servers {
    pub(crate) http: Router,
    pub(crate) grpc: Arc<RateLimits>,
}

impl Servers {
    /// Serves a connection until it ends, or until `stop` and the last answer after that.
    pub(crate) async fn serve(self, port: Port, stream: TcpStream, stop: impl Future<Output = ()>) {
        match port {
            Port::Http => self.serve_http(stream, stop).await,
            Port::Grpc => rls::serve(self.grpc, stream, stop).await,
        }
    }

    async fn serve_http(self, stream: TcpStream, stop: impl Future<Output = ()>) {
        let router = self.http.map_request(|request: Request<Incoming>| request.map(Body::new));
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        builder.http2().max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEADERS);
        let io = TokioIo::new(stream);
        let mut connection = pin!(builder.serve_connection(io, TowerToHyperService::new(router)));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = stop => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP connection broke");
        }
    }
}
