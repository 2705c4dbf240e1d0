//! Worker threads. Each has a runtime of its own and serves its connections alone, so that requests
//! of one core meet no queue or wake-up of another's. What they share is the table of counters, and
//! the metrics: a read lock and a few atomic additions for each check.
//!
//! One acceptor hands each new connection to the worker that has the fewest. Gateways open few
//! connections and keep them: `SO_REUSEPORT`, which spreads them by chance, would leave cores idle,
//! and would let a second agent take half of the port's connections without an error.

use std::{
    io,
    net::TcpStream as StdStream,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use metrics::Counter;
use tokio::{
    net::TcpStream,
    runtime,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use super::connection::Servers;

/// Most worker threads.
pub(crate) const MAX_WORKERS: NonZeroUsize = NonZeroUsize::new(256).expect("it is not zero");
/// Connections on their way to one worker; with more the acceptor waits.
const QUEUE: usize = 256;
/// Most open connections of one port; others are closed at once.
const MAX_CONNECTIONS: usize = 4_096;

/// Which of the sidecar's ports a connection came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// The HTTP API.
    Http,
    /// Envoy's rate limit service.
    Grpc,
}

/// What connections are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Go on.
    Serve,
    /// Answer what was asked, then end.
    Drain,
    /// End.
    Cut,
}

/// Every worker is gone, which no worker is by itself.
#[derive(Debug)]
pub(crate) struct Gone;

/// The worker threads; dropped, they end.
#[derive(Debug)]
pub(crate) struct Workers {
    workers: Vec<Worker>,
    http: Room,
    grpc: Room,
}

/// What a port has room for.
#[derive(Debug)]
struct Room {
    permits: Arc<Semaphore>,
    /// Counts connections that had none.
    refused: Counter,
}

impl Room {
    fn new(refused: Counter) -> Self {
        Self { permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)), refused }
    }
}

#[derive(Debug)]
struct Worker {
    sockets: mpsc::Sender<Socket>,
    open: Arc<AtomicUsize>,
    phase: watch::Sender<Phase>,
}

/// A connection on its way.
struct Socket {
    port: Port,
    stream: StdStream,
    open: Open,
}

/// Counts a connection, at its worker and its port, as long as it lives.
struct Open {
    count: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(count: &Arc<AtomicUsize>, permit: OwnedSemaphorePermit) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Open { count: Arc::clone(count), _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts so many threads, each with what `servers` makes for it. `refused` gives the counter of
    /// a port's connections beyond [`MAX_CONNECTIONS`].
    ///
    /// # Errors
    /// The system gives no thread, or no runtime's resources.
    pub(crate) fn start(
        count: usize,
        servers: impl Fn() -> Servers,
        refused: impl Fn(Port) -> Counter,
    ) -> io::Result<Workers> {
        let workers = (0..count).map(|number| Worker::start(number, servers()));
        let workers = workers.collect::<io::Result<_>>()?;
        let room = |port| Room::new(refused(port));
        Ok(Workers { workers, http: room(Port::Http), grpc: room(Port::Grpc) })
    }

    /// Hands a connection to the worker that has the fewest; closes it if its port has too many.
    pub(crate) async fn hand(&self, port: Port, stream: TcpStream) -> Result<(), Gone> {
        let room = match port {
            Port::Http => &self.http,
            Port::Grpc => &self.grpc,
        };
        let Ok(permit) = Arc::clone(&room.permits).try_acquire_owned() else {
            room.refused.increment(1);
            return Ok(());
        };
        let fewest = self.workers.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed));
        let worker = fewest.ok_or(Gone)?;
        // A connection that broke meanwhile is nobody's loss.
        let Ok(stream) = stream.into_std() else { return Ok(()) };
        let socket = Socket { port, stream, open: Open::new(&worker.open, permit) };
        worker.sockets.send(socket).await.map_err(|_| Gone)
    }

    /// Lets connections answer what was asked, for `patience` at most; says whether all ended.
    pub(crate) async fn drain(self, patience: Duration) -> bool {
        for worker in &self.workers {
            worker.phase.send_replace(Phase::Drain);
        }
        let all = async {
            for Worker { sockets, phase, .. } in &self.workers {
                // Both hold for the thread and for each of its connections.
                sockets.closed().await;
                phase.closed().await;
            }
        };
        timeout(patience, all).await.is_ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Cut);
    }
}

impl Worker {
    fn start(number: usize, servers: Servers) -> io::Result<Worker> {
        let (to_worker, sockets) = mpsc::channel(QUEUE);
        let (phase, told) = watch::channel(Phase::Serve);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let name = format!("weir-worker-{number}");
        let run = run(sockets, servers, told);
        thread::Builder::new().name(name).spawn(move || runtime.block_on(run))?;
        Ok(Worker { sockets: to_worker, open: Arc::default(), phase })
    }
}

/// A worker's life. What still runs at its end is cut with the runtime.
async fn run(mut sockets: mpsc::Receiver<Socket>, servers: Servers, told: watch::Receiver<Phase>) {
    let mut connections = JoinSet::new();
    let mut phase = told.clone();
    let work = async {
        let mut draining = told.clone();
        loop {
            tokio::select! {
                Some(socket) = sockets.recv() => {
                    connections.spawn(serve(socket, servers.clone(), told.clone()));
                }
                Some(_) = connections.join_next() => {}
                () = until(&mut draining, Phase::Drain) => break,
            }
        }
        sockets.close();
        while let Some(socket) = sockets.recv().await {
            connections.spawn(serve(socket, servers.clone(), told.clone()));
        }
        while connections.join_next().await.is_some() {}
    };
    tokio::select! {
        () = work => {}
        () = until(&mut phase, Phase::Cut) => {}
    }
}

async fn serve(socket: Socket, servers: Servers, mut phase: watch::Receiver<Phase>) {
    let Socket { port, stream, open } = socket;
    // Answers are small and clients wait for them.
    let _ = stream.set_nodelay(true);
    match TcpStream::from_std(stream) {
        Ok(stream) => servers.serve(port, stream, until(&mut phase, Phase::Drain)).await,
        Err(error) => tracing::warn!(%error, "a connection is lost"),
    }
    drop(open);
}

/// Resolves when the phase is reached or passed, or nobody is left to tell.
async fn until(phase: &mut watch::Receiver<Phase>, reached: Phase) {
    let _ = phase.wait_for(|phase| *phase >= reached).await;
}

#[cfg(test)]
mod tests;
