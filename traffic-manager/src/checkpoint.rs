//! Writes the counters of long windows into the store, each ten seconds, those of shorter ones at the
//! end, and reads them at a start.

use std::time::Duration;

use traffic_manager_core::checkpoint::{Checkpoint, INTERVAL};
use weir_proto::time::Time;

use crate::{
    clock::Clock,
    driver::{Driver, Stopped},
    stop::Stop,
    store::{Batch, Record, StoreError, StoreHandle, Table},
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

/// Writes until the shutdown, and a last round then.
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
            () = shutdown.requested() => break,
            () = tokio::time::sleep(pause) => {}
        }
        let Ok((next, written)) = step(checkpoint, &store, &driver).await else { return };
        checkpoint = next;
        if let Err(error) = written {
            tracing::error!("the counters of long windows could not be stored: {error}");
            checkpoint.failed();
            tokio::select! {
                () = shutdown.requested() => break,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }
    checkpoint.finish();
    loop {
        let Ok((next, written)) = step(checkpoint, &store, &driver).await else { return };
        checkpoint = next;
        if let Err(error) = written {
            tracing::error!("the counters could not be stored before the end: {error}");
            return;
        }
        if checkpoint.next_step() > Time::ZERO {
            return;
        }
    }
}

/// One batch, and whether the store has it.
async fn step(
    mut checkpoint: Checkpoint,
    store: &StoreHandle,
    driver: &Driver,
) -> Result<(Checkpoint, Result<(), StoreError>), Stopped> {
    let step = driver.with(move |manager, now, _| {
        let writes = checkpoint.step(manager, now);
        (checkpoint, writes)
    });
    let (checkpoint, writes) = step.await?;
    let mut batch = Batch::new();
    for (key, value) in writes {
        batch.write(Table::Counters, key, value);
    }
    let written = if batch.is_empty() { Ok(()) } else { store.commit(batch).await };
    Ok((checkpoint, written))
}
