//! The one task that owns the replica and the store.
//!
//! Every write goes through it, one after the other: *prepare* (the replica says what would change),
//! *commit* (the store has it, durably), *apply* (it is true, peers and the driver are told). A store that
//! refuses leaves memory and disk as they were. While the store or the driver works, the task goes on to
//! answer questions, to take frames and to send heartbeats.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};
use traffic_manager_core::replica::{Change, Replica, WriteId};
use weir_proto::time::Time;

pub(crate) use self::{
    office::{CANDIDATES, Office},
    start::{EPOCHS, Parts, install, start},
};
use crate::store::StoreError;

mod asks;
mod errands;
mod links;
mod office;
mod recall;
mod start;
mod task;
#[cfg(test)]
mod tests;
mod turns;
mod waiters;

/// Writes that wait for those before them; who comes then waits to get in.
const WRITES: usize = 256;
/// Questions that wait; likewise.
const QUESTIONS: usize = 1_024;

/// The keeper is gone: the manager shuts down, or its task died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the manager is shutting down; a write may still have happened, so read before you try again"
)]
pub(crate) struct Stopped;

/// Why a write did not happen; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteFault<E> {
    /// The one who prepared it said no.
    #[error("refused")]
    Refused(E),
    /// The store could not take it.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The manager ends. Whether the write happened is not known.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// A write that is durable here.
#[derive(Debug)]
pub(crate) struct Written<R> {
    /// What was prepared with it.
    pub(crate) result: R,
    /// Its name; `None` if there was nothing to write.
    pub(crate) id: Option<WriteId>,
}

/// Asks the replica something.
type Question = Box<dyn FnOnce(&Replica, Time) + Send>;
/// Asks about roles and records.
type OfficeQuestion = Box<dyn FnOnce(&Office, Time) + Send>;
/// Prepares a write; `None` = there is nothing to write.
type Prepare = Box<dyn FnOnce(&Replica, Time) -> Option<Change> + Send>;

/// What the keeper is asked to do.
enum Ask {
    Question(Question),
    Office(OfficeQuestion),
    /// Tell peers that this manager serves.
    Serving,
    /// Ask peers what they know of windows that go on; or ask no more.
    Recall(bool),
    /// Tell when this many peers have the write.
    Await(WriteId, usize, oneshot::Sender<usize>),
}

struct WriteJob {
    prepare: Prepare,
    done: oneshot::Sender<errands::Written>,
}

/// A handle on the keeper; cheap to clone.
#[derive(Clone)]
pub(crate) struct Keeper {
    asks: mpsc::Sender<Ask>,
    writes: mpsc::Sender<WriteJob>,
}

impl Keeper {
    fn new() -> (Keeper, mpsc::Receiver<Ask>, mpsc::Receiver<WriteJob>) {
        let (asks, questions) = mpsc::channel(QUESTIONS);
        let (writes, jobs) = mpsc::channel(WRITES);
        (Keeper { asks, writes }, questions, jobs)
    }

    /// Asks the replica something.
    pub(crate) fn ask<R, F>(
        &self,
        question: F,
    ) -> impl Future<Output = Result<R, Stopped>> + Send + 'static
    where
        R: Send + 'static,
        F: FnOnce(&Replica, Time) -> R + Send + 'static,
    {
        let asks = self.asks.clone();
        async move {
            let (answer, result) = oneshot::channel();
            let question: Question = Box::new(move |replica, now| {
                // Fails if the asker has gone.
                let _ = answer.send(question(replica, now));
            });
            asks.send(Ask::Question(question)).await.map_err(|_| Stopped)?;
            result.await.map_err(|_| Stopped)
        }
    }

    /// Asks about roles and records.
    pub(crate) async fn ask_office<R, F>(&self, question: F) -> Result<R, Stopped>
    where
        R: Send + 'static,
        F: FnOnce(&Office, Time) -> R + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let question: OfficeQuestion = Box::new(move |office, now| {
            // Fails if the asker has gone.
            let _ = answer.send(question(office, now));
        });
        self.asks.send(Ask::Office(question)).await.map_err(|_| Stopped)?;
        result.await.map_err(|_| Stopped)
    }

    /// Asks peers what they know of windows that go on, or asks no more.
    pub(crate) async fn recall(&self, ask: bool) {
        // A keeper that is gone takes the manager with it.
        let _ = self.asks.send(Ask::Recall(ask)).await;
    }

    /// Tells peers that this manager serves.
    pub(crate) async fn serving(&self) {
        // A keeper that is gone takes the manager with it.
        let _ = self.asks.send(Ask::Serving).await;
    }

    /// Writes what `prepare` makes of the replica as it is when its turn comes; resolves when that is
    /// durable and in force here.
    pub(crate) fn write<R, E, F>(
        &self,
        prepare: F,
    ) -> impl Future<Output = Result<Written<R>, WriteFault<E>>> + Send + 'static
    where
        R: Send + 'static,
        E: Send + 'static,
        F: FnOnce(&Replica, Time) -> Result<(Option<Change>, R), E> + Send + 'static,
    {
        let writes = self.writes.clone();
        async move {
            let (said, result) = oneshot::channel();
            let prepare: Prepare = Box::new(move |replica, now| match prepare(replica, now) {
                Ok((change, result)) => {
                    let _ = said.send(Ok(result));
                    change
                }
                Err(error) => {
                    let _ = said.send(Err(error));
                    None
                }
            });
            let (done, end) = oneshot::channel();
            writes.send(WriteJob { prepare, done }).await.map_err(|_| Stopped)?;
            let result = result.await.map_err(|_| Stopped)?.map_err(WriteFault::Refused)?;
            let id = end.await.map_err(|_| Stopped)?.map_err(WriteFault::Store)?;
            Ok(Written { result, id })
        }
    }

    /// Waits until `peers` peers have the write, at most so long; tells how many have it.
    pub(crate) async fn replicated(&self, write: WriteId, peers: usize, within: Duration) -> usize {
        let (done, count) = oneshot::channel();
        if self.asks.send(Ask::Await(write, peers, done)).await.is_err() {
            return 0;
        }
        match tokio::time::timeout(within, count).await {
            Ok(count) => count.unwrap_or(0),
            Err(_) => self.ask(move |replica, _| replica.holders(write)).await.unwrap_or(0),
        }
    }
}
