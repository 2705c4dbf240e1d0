//! The asynchronous face of a store: a thread owns it, a bounded queue leads to it.
//!
//! What waits in the queue is committed together: a disk needs as long to make one change durable
//! as a hundred.

use std::{sync::Arc, thread};

use tokio::sync::{mpsc, oneshot};

use super::{
    Batch, Identity, Place, Refusals, Report, Snapshot, Store, StoreError, Table, refusals::Counts,
};

/// Requests that wait. When it is full, callers wait.
const QUEUE: usize = 256;
/// Most batches of a joint commit.
const JOINT_BATCHES: usize = 128;
/// A joint commit takes no further batch beyond this size.
const JOINT_BYTES: usize = 4 * 1024 * 1024;

/// A record as it was loaded: table, key, value.
pub type Record = (Table, Vec<u8>, Vec<u8>);

/// A store's records as of one moment, and whose they are.
pub(super) type Lent = (Identity, Box<dyn Snapshot>);

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

enum Request {
    Commit(Batch, Answer<()>),
    Check(Answer<Report>),
    Snapshot(Answer<Lent>),
    Shutdown(oneshot::Sender<()>),
}

/// A store that is open on a thread of its own. Clones lead to the same one. The thread ends after
/// [`StoreHandle::shutdown`], or when the last clone is gone.
#[derive(Clone)]
pub struct StoreHandle {
    requests: mpsc::Sender<Request>,
    refused: Arc<Counts>,
}

impl StoreHandle {
    /// Opens a store and loads all that is in it.
    ///
    /// # Errors
    /// The store is in use, cannot be reached, or is not fit for use.
    pub async fn open(
        place: Place,
        identity: Identity,
    ) -> Result<(StoreHandle, Vec<Record>), StoreError> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let (answer, opened) = oneshot::channel();
        spawn(move || match open(&place, &identity) {
            Ok((store, records)) => {
                if answer.send(Ok(records)).is_ok() {
                    serve(store, queue);
                }
            }
            Err(error) => drop(answer.send(Err(error))),
        })?;
        let records = opened.await.unwrap_or(Err(StoreError::Stopped))?;
        Ok((StoreHandle { requests, refused: Arc::default() }, records))
    }

    /// Gives an open store its thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(store: Box<dyn Store>) -> Result<StoreHandle, StoreError> {
        let (requests, queue) = mpsc::channel(QUEUE);
        spawn(move || serve(store, queue))?;
        Ok(StoreHandle { requests, refused: Arc::default() })
    }

    /// Writes a batch: all of it, and durable on return. Waits while the queue is full. When the
    /// caller stops waiting, the batch may still be written.
    ///
    /// # Errors
    /// Why nothing of it was written.
    pub async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let done = match batch.bounded() {
            Ok(()) => self.ask(|answer| Request::Commit(batch, answer)).await,
            Err(error) => Err(error),
        };
        done.inspect_err(|error| self.refused.count(error))
    }

    /// How often commits were refused.
    pub fn refusals(&self) -> Refusals {
        self.refused.read()
    }

    /// Examines the whole store. Commits wait meanwhile.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub async fn check(&self) -> Result<Report, StoreError> {
        self.ask(Request::Check).await
    }

    /// The records as of one moment after this call, to be read on another thread; see
    /// [`Store::snapshot`].
    pub(super) async fn snapshot(&self) -> Result<Lent, StoreError> {
        self.ask(Request::Snapshot).await
    }

    /// Closes the store after everything that was asked before; later requests get
    /// [`StoreError::Stopped`]. Returns when it is closed, so that another process can open it.
    pub async fn shutdown(&self) {
        let (answer, closed) = oneshot::channel();
        if self.requests.send(Request::Shutdown(answer)).await.is_ok() {
            // An error means that the thread is gone: closed as well.
            let _ = closed.await;
        }
    }

    /// Resolves when the store's thread has ended: it was asked to, the store must be opened anew
    /// ([`Store::is_over`]), or by a defect.
    pub async fn closed(&self) {
        self.requests.closed().await;
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| StoreError::Stopped)?;
        answered.await.unwrap_or(Err(StoreError::Stopped))
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    let thread = thread::Builder::new().name("weir-store".to_owned()).spawn(run);
    thread.map(drop).map_err(|error| StoreError::from_io("thread", &error))
}

fn open(place: &Place, identity: &Identity) -> Result<(Box<dyn Store>, Vec<Record>), StoreError> {
    let mut store = place.open(identity)?;
    let mut records = Vec::new();
    store.load(&mut |table, key, value| {
        records.push((table, key.to_vec(), value.to_vec()));
        Ok(())
    })?;
    Ok((store, records))
}

/// Answers requests until the shutdown, or until the store is over. Callers that have gone get no answer, which is no fault.
fn serve(mut store: Box<dyn Store>, mut queue: mpsc::Receiver<Request>) {
    let mut next = None;
    while let Some(request) = next.take().or_else(|| queue.blocking_recv()) {
        match request {
            Request::Commit(batch, answer) => {
                let group = group((batch, answer), &mut queue, &mut next);
                commit(store.as_mut(), group);
            }
            Request::Check(answer) => drop(answer.send(store.check())),
            Request::Snapshot(answer) => {
                let identity = store.identity().clone();
                drop(answer.send(store.snapshot().map(|snapshot| (identity, snapshot))));
            }
            Request::Shutdown(answer) => {
                drop(store);
                drop(queue);
                let _ = answer.send(());
                return;
            }
        }
        if store.is_over() {
            tracing::error!(
                "the store is closed: the manager must be started anew, and read it then"
            );
            return;
        }
    }
}

type Waiting = (Batch, Answer<()>);

/// This commit and those that wait behind it; what is no commit becomes `next`.
fn group(
    first: Waiting,
    queue: &mut mpsc::Receiver<Request>,
    next: &mut Option<Request>,
) -> Vec<Waiting> {
    let mut bytes = first.0.bytes();
    let mut group = vec![first];
    while group.len() < JOINT_BATCHES && bytes < JOINT_BYTES {
        match queue.try_recv() {
            Ok(Request::Commit(batch, answer)) => {
                bytes += batch.bytes();
                group.push((batch, answer));
            }
            Ok(other) => {
                *next = Some(other);
                break;
            }
            Err(_) => break,
        }
    }
    group
}

/// Commits a group together; if there is no space for all, each alone: a small one may still fit.
fn commit(store: &mut dyn Store, mut group: Vec<Waiting>) {
    if let [(batch, _)] = group.as_slice() {
        let result = store.commit(batch);
        return answer(group, &result);
    }
    let mut joint = Batch::new();
    for (batch, _) in &group {
        joint.append(batch.clone());
    }
    match store.commit(&joint) {
        Err(StoreError::Full { .. }) => {
            for (batch, answer) in group.drain(..) {
                drop(answer.send(store.commit(&batch)));
            }
        }
        result => answer(group, &result),
    }
}

fn answer(group: Vec<Waiting>, result: &Result<(), StoreError>) {
    for (_, answer) in group {
        drop(answer.send(result.clone()));
    }
}

#[cfg(test)]
mod tests;
