//! Writes the counters of long windows into the store, each ten seconds, and reads them at a start.

use std::time::Duration;

use traffic_manager_core::checkpoint::{Checkpoint, INTERVAL};

use crate::{
    clock::Clock,
    driver::Driver,
    stop::Stop,
    store::{Batch, Record, StoreHandle, Table},
};

/// Between two steps of one round, so that the driver serves others in between.
const BREATH: Duration = Duration::from_millis(20);

/// Takes in what a former life wrote. The policies must be in force: they say what the rows mean.
pub(crate) async fn read(records: &[Record], driver: &Driver, clock: &mut Clock) -> Checkpoint {
    let mut checkpoint = Checkpoint::default();
    let rows = records.iter().filter(|(table, _, _)| *table == Table::Counters);
    for (_, key, value) in rows {
        match checkpoint.load(key, value, clock.now()) {
            Ok(counters) => {
                let taken = driver.with(move |manager, now, _| {
                    manager.import_counters(&counters, now);
                });
                if taken.await.is_err() {
                    break;
                }
            }
            Err(error) => tracing::warn!("a checkpoint of counters is left out: {error}"),
        }
    }
    checkpoint
}

/// Writes until the shutdown.
pub(crate) async fn keep(
    mut checkpoint: Checkpoint,
    store: StoreHandle,
    driver: Driver,
    mut clock: Clock,
    mut shutdown: Stop,
) {
    loop {
        let pause = checkpoint.next_step().since(clock.now()).clamp(BREATH, INTERVAL);
        tokio::select! {
            () = shutdown.requested() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let step = driver.with(move |manager, now, _| {
            let writes = checkpoint.step(manager, now);
            (checkpoint, writes)
        });
        let Ok((next, writes)) = step.await else { return };
        checkpoint = next;
        let mut batch = Batch::new();
        for (key, value) in writes {
            batch.write(Table::Counters, key, value);
        }
        if !batch.is_empty()
            && let Err(error) = store.commit(batch).await
        {
            tracing::error!("the counters of long windows could not be stored: {error}");
            checkpoint.failed();
            tokio::select! {
                () = shutdown.requested() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }
}
