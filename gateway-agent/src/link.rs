//! What both kinds of link share: how a connection is made, and how long to wait before the next
//! attempt.

use std::{
    error::Error,
    hash::{BuildHasher, RandomState},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status,
    codegen::Service,
    transport::{Channel, Endpoint, Uri},
};

use crate::{access::Access, config::ManagerUrl};

/// How long TCP may take to connect.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);
/// How long name resolution and connecting may take together. A resolver that hangs must not keep
/// the next attempt waiting.
const RESOLVE_TIMEOUT: Duration = Duration::from_millis(800);
/// How long the TLS handshake may take on top of that.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(700);
/// How long the manager may take to answer a call with its headers: a process that is stopped
/// still accepts connections, by its kernel.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the last frames of a link that is being closed may take to leave.
pub(crate) const LINGER: Duration = Duration::from_millis(250);
/// A silent connection is asked for a sign of life after this, and closed after this much again.
/// Without it a cut cable would look like a manager with nothing to say.
const KEEPALIVE: Duration = Duration::from_millis(500);

/// First pause between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between attempts: a manager that comes back is found within half a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A new connection. The name is resolved anew each time, so that a manager that moved is found.
pub(crate) async fn connect(manager: &ManagerUrl, access: &Access) -> Result<Channel, String> {
    // The endpoint counts the handshake as a part of connecting.
    let handshake = if manager.is_https() { HANDSHAKE_TIMEOUT } else { Duration::ZERO };
    let endpoint = Endpoint::from(manager.uri().clone())
        .connect_timeout(CONNECT_TIMEOUT + handshake)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    let opened = match access.tls() {
        Some(tls) if manager.is_https() => {
            let opening = endpoint.connect_with_connector(Dial(tls));
            timeout(RESOLVE_TIMEOUT + handshake, opening).await
        }
        _ => timeout(RESOLVE_TIMEOUT, endpoint.connect()).await,
    };
    match opened {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(format!("cannot connect: {}", root_cause(&error))),
        Err(_) => Err("cannot connect: timed out".to_owned()),
    }
}

/// A call with the agent's token.
///
/// # Errors
/// The token cannot be used, in words.
pub(crate) fn call<T>(access: &Access, frames: T) -> Result<Request<T>, String> {
    let mut request = Request::new(frames);
    if let Some(value) = access.authorization()? {
        request.metadata_mut().insert("authorization", value);
    }
    Ok(request)
}

/// Connects with TLS.
struct Dial(Arc<ClientConfig>);

impl Service<Uri> for Dial {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let tls = TlsConnector::from(Arc::clone(&self.0));
        Box::pin(async move {
            let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
            // Brackets of an IPv6 address are for the URL alone.
            let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let port = url.port_u16().unwrap_or_default();
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(host).map_err(|error| invalid(error.to_string()))?;
            Ok(TokioIo::new(tls.connect(name, stream).await?))
        })
    }
}

/// An ended call in words.
pub(crate) fn describe(status: &Status) -> String {
    match status.source() {
        Some(source) => format!("{}: {}", status.message(), root_cause(source)),
        None => format!("{}: {}", status.code(), status.message()),
    }
}

/// The innermost reason: the outer ones only say that something failed.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The driver's end of an open link: frames go in, and dropping it ends the link.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    frames: mpsc::Sender<T>,
    _open: oneshot::Sender<()>,
}

impl<T> Outbox<T> {
    /// An outbox for `bound` frames that wait for the network, what reads them, and what resolves
    /// when the outbox is dropped.
    pub(crate) fn new(bound: usize) -> (Self, ReceiverStream<T>, oneshot::Receiver<()>) {
        let (frames, waiting) = mpsc::channel(bound);
        let (open, dropped) = oneshot::channel();
        (Self { frames, _open: open }, ReceiverStream::new(waiting), dropped)
    }

    /// Queues a frame. `false` when the queue is full, which means that the link hangs: the frames
    /// of a link must arrive without gaps, so that the caller drops the link.
    pub(crate) fn send(&self, frame: T) -> bool {
        self.frames.try_send(frame).is_ok()
    }
}

/// Pauses between attempts: doubling, capped, and scattered, so that a fleet does not return to a
/// restarted manager in one instant.
#[derive(Debug)]
pub(crate) struct Backoff {
    ceiling: Duration,
    random: u64,
}

impl Backoff {
    /// From the start. `seed` sets the scatter; see [`entropy`].
    pub(crate) fn new(seed: u64) -> Self {
        // Xorshift stays at zero for ever.
        Self { ceiling: FIRST_PAUSE, random: seed | 1 }
    }

    /// After a success: the next failure is the first again.
    pub(crate) fn reset(&mut self) {
        self.ceiling = FIRST_PAUSE;
    }

    /// How long to wait now: between half of the current ceiling and all of it.
    pub(crate) fn pause(&mut self) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let half = self.ceiling / 2;
        let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        self.ceiling = (self.ceiling * 2).min(LONGEST_PAUSE);
        half + Duration::from_micros(self.random % (micros + 1))
    }
}

/// A random number of the process.
pub(crate) fn entropy() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_cap_and_scatter() {
        for seed in [0, 1, entropy()] {
            let mut backoff = Backoff::new(seed);
            let mut ceiling = FIRST_PAUSE;
            for _ in 0..100 {
                let pause = backoff.pause();
                assert!(ceiling / 2 <= pause && pause <= ceiling, "{pause:?} of {ceiling:?}");
                ceiling = (ceiling * 2).min(LONGEST_PAUSE);
            }
            backoff.reset();
            assert!(backoff.pause() <= FIRST_PAUSE);
        }
    }
}
