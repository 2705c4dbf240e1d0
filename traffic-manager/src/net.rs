//! Listening sockets, with a bound on what they accept, plain or with TLS.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use self::patient::Patient;
use crate::{
    auth::{Guard, Refused, Why},
    tls::{Certificate, Port, TlsServer},
};

mod patient;

/// Most connections of one listener. What comes beyond is closed at once, so that an agent turns to
/// the next manager instead of waiting.
const MAX_CONNECTIONS: usize = 4_096;
/// Rest after a failed accept: out of file descriptors, for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Most TLS handshakes under way on one listener.
const MAX_HANDSHAKES: usize = 1_024;
/// A handshake that is not done by then is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of a port for HTTP/2 alone that has not begun by then is closed. Whoever has begun is asked
/// for signs of life by HTTP/2 itself.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// What every client of HTTP/2 says first (RFC 9113, 3.4), in bytes.
const PREFACE: usize = 24;
/// A client that takes nothing of what waits for it for so long is closed.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A listening socket.
pub(crate) struct Listener {
    socket: TcpListener,
    permits: Arc<Semaphore>,
    refused: metrics::Counter,
    /// How long a client may take to begin with HTTP/2, if nothing else is spoken here.
    begin: Option<Duration>,
    stall: Duration,
    tls: Option<Secured>,
    handshakes: JoinSet<Option<Connection>>,
}

/// What a listener with TLS needs.
#[derive(Clone)]
struct Secured {
    port: Port,
    server: Arc<TlsServer>,
    guard: Guard,
}

impl Listener {
    /// Binds `address`; `field` is where the configuration says it.
    pub(crate) async fn bind(
        address: SocketAddr,
        field: &str,
        refused: metrics::Counter,
    ) -> anyhow::Result<Listener> {
        let socket = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => anyhow::anyhow!(
                "{address} is in use by another program (another manager?); stop it, or set \
                 {field} (--{}) to a free address",
                field.replace("listen.", "listen-")
            ),
            _ => anyhow::Error::new(error).context(format!("cannot listen on {address} ({field})")),
        })?;
        Ok(Listener {
            socket,
            permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            refused,
            begin: None,
            stall: STALL_TIMEOUT,
            tls: None,
            handshakes: JoinSet::new(),
        })
    }

    /// Speaks TLS with everybody, if there is a `server`; `guard` is told of those who fail.
    pub(crate) fn secured(
        mut self,
        port: Port,
        server: Option<Arc<TlsServer>>,
        guard: &Guard,
    ) -> Listener {
        self.tls = server.map(|server| Secured { port, server, guard: guard.clone() });
        self
    }

    /// Speaks nothing but HTTP/2: a client that has not begun with it in time is closed.
    pub(crate) fn http2_only(mut self) -> Listener {
        self.begin = Some(self.stall.min(BEGIN_TIMEOUT));
        self
    }

    /// Waits no longer than that for anybody, so that tests need not.
    #[cfg(test)]
    pub(crate) fn impatient(mut self, limit: Duration) -> Listener {
        self.stall = limit;
        self
    }

    /// The address, with the port that the system chose if it was 0.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        self.socket.local_addr().context("cannot tell the listening address")
    }

    /// The next connection within the bound, after its handshake. Nobody waits for a slow
    /// handshake but the one who makes it. Safe to cancel.
    pub(crate) async fn accept(&mut self) -> Connection {
        loop {
            let accepted = tokio::select! {
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Some(connection)) => return connection.begins_within(self.begin),
                    Ok(None) | Err(_) => continue,
                },
                accepted = self.socket.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                self.refused.increment(1);
                continue;
            };
            // Without this a small frame waits for the acknowledgement of the last one.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!("cannot set TCP_NODELAY: {error}");
            }
            let stream = Patient::new(stream, self.stall);
            let Some(tls) = &self.tls else {
                let caller = Caller { address: Some(address), certificate: None };
                let connection = Connection::new(Stream::Plain(stream), caller, permit);
                return connection.begins_within(self.begin);
            };
            if self.handshakes.len() >= MAX_HANDSHAKES {
                self.refused.increment(1);
                continue;
            }
            self.handshakes.spawn(tls.clone().handshake(stream, address, permit));
        }
    }
}

impl Secured {
    async fn handshake(
        self,
        stream: Patient<TcpStream>,
        address: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) -> Option<Connection> {
        let acceptor = self.server.acceptor(self.port);
        let why = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                let chain = stream.get_ref().1.peer_certificates();
                let own = chain.and_then(|chain| chain.first()).and_then(Certificate::read);
                let caller = Caller { address: Some(address), certificate: own.map(Arc::new) };
                let stream = Stream::Tls(Box::new(stream));
                return Some(Connection::new(stream, caller, permit));
            }
            Ok(Err(error)) => {
                let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                let Some(fault) = fault else {
                    // It hung up, as those do who only look whether the port is open.
                    tracing::debug!(%address, "a handshake ended: {error}");
                    return None;
                };
                tracing::debug!(%address, "a handshake failed: {fault}");
                Why::of_handshake(fault)
            }
            Err(_) => Why::Handshake,
        };
        let what = "TLS handshake".to_owned();
        self.guard.refuse(&Refused {
            port: self.port,
            why,
            name: None,
            address: Some(address),
            what,
        });
        None
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    /// Where it comes from; `None` in tests without a socket.
    pub(crate) address: Option<SocketAddr>,
    /// The certificate that it proved to have.
    pub(crate) certificate: Option<Arc<Certificate>>,
}

/// A connection that counts against its listener's bound until it is dropped.
pub(crate) struct Connection {
    stream: Stream,
    /// `None` once the client has begun, or need not.
    beginning: Option<Beginning>,
    caller: Caller,
    _permit: OwnedSemaphorePermit,
}

/// A client that is to begin with HTTP/2.
struct Beginning {
    /// Bytes that are still to come.
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

enum Stream {
    Plain(Patient<TcpStream>),
    Tls(Box<TlsStream<Patient<TcpStream>>>),
}

impl Connection {
    fn new(stream: Stream, caller: Caller, permit: OwnedSemaphorePermit) -> Connection {
        Connection { stream, beginning: None, caller, _permit: permit }
    }

    fn begins_within(mut self, limit: Option<Duration>) -> Connection {
        let beginning = |limit| Beginning { missing: PREFACE, deadline: Box::pin(sleep(limit)) };
        self.beginning = limit.map(beginning);
        self
    }

    /// Who is at the other end.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        let Some(beginning) = &mut self.beginning else { return outcome };
        beginning.missing = beginning.missing.saturating_sub(buf.filled().len() - before);
        if beginning.missing == 0 {
            self.beginning = None;
        } else if outcome.is_pending() && beginning.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        outcome
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests;
