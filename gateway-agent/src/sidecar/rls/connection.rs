//! One HTTP/2 connection of the gRPC port.
//!
//! Calls that have arrived together are answered together, here and now, and leave in one write: no
//! task, queue or copy for each. Only a call that has to wait, for the rest of its message or for a
//! manager, gets a task of its own.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    PingPong, RecvStream,
    server::{Builder, Connection, SendResponse},
};
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::{JoinSet, coop::unconstrained},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{RateLimits, call::Call};

/// Calls that one connection may have open; more wait at the client, by HTTP/2's own means.
const MAX_STREAMS: u32 = 1_024;
/// How often a connection is asked for a sign of life; without one it is closed after this much.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long a client may take to begin with HTTP/2.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes of the headers of one call.
const MAX_HEADERS: u32 = 16 << 10;
/// Bytes that a connection may send before they are read, and one call of it.
const CONNECTION_WINDOW: u32 = 4 << 20;
const STREAM_WINDOW: u32 = 512 << 10;
/// Calls that a client opened and cancelled before they were looked at; with more it is taken for an
/// attack ("rapid reset") and the connection is closed. A gateway whose calls all time out while this
/// thread is held up cancels no more than it may have open, and they take no more memory than those.
const MAX_PENDING_RESETS: usize = MAX_STREAMS as usize;
/// Streams that the server had to reset because of the client's errors, likewise.
const MAX_ERROR_RESETS: usize = 256;

type Arrived = (Request<RecvStream>, SendResponse<Bytes>);

/// Serves a connection until it ends, or until `stop` and the last answer after that.
pub(crate) async fn serve(
    service: Arc<RateLimits>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    stop: impl Future<Output = ()>,
) {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_window_size(STREAM_WINDOW)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(Some(MAX_ERROR_RESETS));
    match timeout(HANDSHAKE, builder.handshake(stream)).await {
        Ok(Ok(connection)) => {
            if let Err(error) = Calls::new(service, connection).run(stop).await {
                tracing::debug!(%error, "a gRPC connection broke");
            }
        }
        Ok(Err(error)) => tracing::debug!(%error, "a client does not speak HTTP/2"),
        Err(_) => tracing::debug!("a client did not begin with HTTP/2"),
    }
}

/// The calls of one connection.
struct Calls<T> {
    service: Arc<RateLimits>,
    connection: Connection<T, Bytes>,
    life: Option<PingPong>,
    /// Arrived, and not looked at.
    arrived: Vec<Arrived>,
    /// One task for each call that has to wait; as many as streams at most.
    waiting: JoinSet<()>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Calls<T> {
    fn new(service: Arc<RateLimits>, mut connection: Connection<T, Bytes>) -> Self {
        let life = connection.ping_pong();
        Self { service, connection, life, arrived: Vec::new(), waiting: JoinSet::new() }
    }

    async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), h2::Error> {
        // A socket that always has more uses up the turn's budget, with which everything else would
        // look unready: these may go beyond it.
        let mut stop = pin!(unconstrained(stop));
        let (mut stopping, mut asked) = (false, false);
        let mut ticks = interval(KEEPALIVE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        loop {
            let Self { connection, arrived, life, waiting, .. } = &mut self;
            tokio::select! {
                biased;
                open = poll_fn(|cx| poll_arrivals(connection, arrived, cx)) => {
                    self.answer_all();
                    if !open? {
                        return Ok(());
                    }
                }
                () = poll_fn(|cx| poll_alive(life, cx)), if asked => asked = false,
                Some(_) = unconstrained(waiting.join_next()) => {}
                () = &mut stop, if !stopping => {
                    stopping = true;
                    connection.graceful_shutdown();
                }
                _ = unconstrained(ticks.tick()) => {
                    let silent = asked;
                    asked = life.as_mut().is_some_and(|life| life.send_ping(h2::Ping::opaque()).is_ok());
                    if silent {
                        tracing::debug!("a gRPC connection gave no sign of life");
                        return Ok(());
                    }
                }
            }
        }
    }

    fn answer_all(&mut self) {
        for (request, respond) in self.arrived.drain(..) {
            if let Some(call) = Call::answer(&self.service, request, respond) {
                self.waiting.spawn(call.finish(Arc::clone(&self.service)));
            }
        }
    }
}

/// Drives the connection until calls have arrived, and takes all that have; `false` at its end.
fn poll_arrivals<T: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<T, Bytes>,
    arrived: &mut Vec<Arrived>,
    cx: &mut Context<'_>,
) -> Poll<Result<bool, h2::Error>> {
    while arrived.len() < MAX_STREAMS as usize {
        match connection.poll_accept(cx) {
            Poll::Ready(Some(Ok(call))) => arrived.push(call),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
            Poll::Ready(None) => return Poll::Ready(Ok(false)),
            Poll::Pending if arrived.is_empty() => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready(Ok(true))
}

/// Resolves when the client has answered a ping; a connection that is about to end never does.
fn poll_alive(life: &mut Option<PingPong>, cx: &mut Context<'_>) -> Poll<()> {
    match life.as_mut().map(|life| life.poll_pong(cx)) {
        Some(Poll::Ready(Ok(_))) => Poll::Ready(()),
        _ => Poll::Pending,
    }
}

#[cfg(test)]
mod tests;
