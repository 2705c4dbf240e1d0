//! The queue, joint commits and the end, over stores that fail when told to.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
};

use weir_proto::{id::ManagerId, time::Time};

use super::*;
use crate::store::{MemoryStore, Visit};

/// What a test can see of a store that a thread owns, and a gate that holds commits up.
#[derive(Default)]
struct Shared {
    commits: Mutex<Vec<usize>>,
    gate: Mutex<()>,
}

/// Refuses batches of more than `room` changes as a full disk does.
struct Narrow {
    inner: MemoryStore,
    shared: Arc<Shared>,
    room: usize,
}

impl Store for Narrow {
    fn identity(&self) -> &Identity {
        self.inner.identity()
    }

    fn load(&mut self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.inner.load(visit)
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.inner.snapshot()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let _gate = self.shared.gate.lock().unwrap();
        self.shared.commits.lock().unwrap().push(batch.len());
        if batch.len() > self.room {
            return Err(StoreError::Full { place: "here".into(), detail: "full".into() });
        }
        self.inner.commit(batch)
    }

    fn check(&mut self) -> Result<Report, StoreError> {
        self.inner.check()
    }
}

fn identity() -> Identity {
    Identity { manager: ManagerId::new("tm-1").unwrap(), created: Time::ZERO }
}

fn narrow(room: usize) -> (StoreHandle, Arc<Shared>) {
    let shared = Arc::new(Shared::default());
    let inner = MemoryStore::new(identity());
    let store = Narrow { inner, shared: Arc::clone(&shared), room };
    (StoreHandle::start(Box::new(store)).unwrap(), shared)
}

fn batch(key: &str, changes: usize) -> Batch {
    let mut batch = Batch::new();
    for number in 0..changes {
        batch.put(Table::Entries, format!("{key}/{number}"), "value");
    }
    batch
}

/// Polls a call once, which puts it into the queue.
fn enqueue<T>(call: &mut Pin<Box<impl Future<Output = T>>>) {
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

/// Commits these at once, while the gate is closed, so that all but the first wait.
async fn together(
    handle: &StoreHandle,
    shared: &Shared,
    batches: Vec<Batch>,
) -> Vec<Result<(), StoreError>> {
    let mut calls: Vec<_> = batches.into_iter().map(|b| Box::pin(handle.commit(b))).collect();
    {
        let _gate = shared.gate.lock().unwrap();
        calls.iter_mut().for_each(enqueue);
    }
    futures_util::future::join_all(calls).await
}

#[tokio::test]
async fn waiting_batches_are_committed_together() {
    let (handle, shared) = narrow(1_000);
    let results = together(&handle, &shared, (0..50).map(|i| batch(&i.to_string(), 1)).collect());
    assert!(results.await.iter().all(Result::is_ok));
    let commits = shared.commits.lock().unwrap().clone();
    assert_eq!(commits.iter().sum::<usize>(), 50);
    assert!(commits.len() <= 3, "{commits:?}");
    assert_eq!(handle.check().await.unwrap().records, [50, 0, 0]);
}

#[tokio::test]
async fn without_room_for_all_those_that_fit_are_committed() {
    let (handle, shared) = narrow(2);
    let batches = vec![batch("a", 1), batch("b", 2), batch("c", 3), batch("d", 1)];
    let results = together(&handle, &shared, batches).await;
    let fits: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(fits, [true, true, false, true]);
    assert!(matches!(results[2], Err(StoreError::Full { .. })));
    assert_eq!(handle.refusals(), Refusals([1, 0, 0, 0]), "what a full disk refused is counted");
    assert_eq!(handle.check().await.unwrap().records, [4, 0, 0]);
}

#[tokio::test]
async fn a_shutdown_comes_after_what_was_asked_before_and_ends_everything() {
    let (handle, shared) = narrow(10);
    let mut first = Box::pin(handle.commit(batch("a", 1)));
    let mut second = Box::pin(handle.commit(batch("b", 1)));
    let mut end = Box::pin(handle.shutdown());
    {
        let _gate = shared.gate.lock().unwrap();
        enqueue(&mut first);
        enqueue(&mut second);
        enqueue(&mut end);
    }
    assert_eq!((first.await, second.await), (Ok(()), Ok(())));
    end.await;
    assert_eq!(handle.commit(batch("c", 1)).await, Err(StoreError::Stopped));
    assert_eq!(handle.check().await, Err(StoreError::Stopped));
    handle.closed().await;
    handle.shutdown().await;
}

#[tokio::test]
async fn a_record_that_is_too_large_is_the_callers_fault_alone() {
    let (handle, _) = narrow(10);
    let mut large = Batch::new();
    large.put(Table::Entries, vec![0; crate::store::MAX_KEY + 1], "value");
    let error = handle.commit(large).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { what: "key", .. }), "{error}");
    assert!(!error.may_pass());
    assert_eq!(handle.commit(Batch::new()).await, Ok(()));
    assert_eq!(handle.refusals(), Refusals([0, 0, 0, 1]));
}
