//! How the rest of the program reaches the driver.

use super::*;

/// The driver is gone: the manager shuts down, or its task died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the manager is shutting down")]
pub(crate) struct Stopped;

/// A handle on the driver; cheap to clone.
#[derive(Clone)]
pub(crate) struct Driver {
    commands: mpsc::Sender<Command>,
    streams: Arc<AtomicU64>,
    life: ManagerLife,
    started: Time,
}

impl Driver {
    pub(super) fn new(commands: mpsc::Sender<Command>, life: ManagerLife, started: Time) -> Self {
        Driver { commands, streams: Arc::new(AtomicU64::new(1)), life, started }
    }

    /// A number for a new stream; never given twice.
    pub(crate) fn next_stream(&self) -> StreamId {
        StreamId(self.streams.fetch_add(1, Ordering::Relaxed))
    }

    /// This manager's name.
    pub(crate) fn id(&self) -> &ManagerId {
        &self.life.id
    }

    /// Which life of this manager it is.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.life.incarnation
    }

    /// When this life began, in manager time.
    pub(crate) fn started(&self) -> Time {
        self.started
    }

    /// Whether the driver takes commands.
    pub(crate) fn runs(&self) -> bool {
        !self.commands.is_closed()
    }

    /// Hands a command in; waits while the queue is full.
    pub(crate) async fn send(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }

    /// Runs `job` where the core is and returns what it returns.
    pub(crate) async fn with<R, F>(&self, job: F) -> Result<R, Stopped>
    where
        R: Send + 'static,
        F: FnOnce(&mut Manager, Time, &mut Vec<Output>) -> R + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        self.send(Command::With(Box::new(move |manager, now, outputs| {
            // Fails if the asker has gone; the job is done all the same.
            let _ = answer.send(job(manager, now, outputs));
        })))
        .await?;
        result.await.map_err(|_| Stopped)
    }
}
