//! One connection: HTTP or gRPC, from its first byte to its last.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::{rls::RateLimits, workers::Port};

/// Calls that one connection may have open; more wait at the client, by HTTP/2's own means.
const MAX_STREAMS: u32 = 1_024;
/// A silent connection is asked for a sign of life after this, and closed after this much again.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Bytes of the headers of one call.
const MAX_HEADERS: u32 = 16 << 10;
/// Calls that a client opened and cancelled before they were looked at; with more it is taken for an
/// attack ("rapid reset") and the connection is closed.
const MAX_PENDING_RESETS: usize = 64;
/// Streams that the server had to reset because of the client's errors, likewise.
const MAX_ERROR_RESETS: usize = 256;
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
            Port::Grpc => self.serve_grpc(stream, stop).await,
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

    async fn serve_grpc(self, stream: TcpStream, stop: impl Future<Output = ()>) {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADERS)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_ERROR_RESETS)
            .auto_date_header(false);
        let grpc = self.grpc;
        let service = service_fn(move |request| Arc::clone(&grpc).call(request));
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = stop => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a gRPC connection broke");
        }
    }
}
