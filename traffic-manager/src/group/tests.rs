//! A store that is full when the manager starts.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::{
    config::Settings,
    store::{MemoryStore, Report, Snapshot, Store, Visit},
};

/// Longer than any machine takes.
const SOON: Duration = Duration::from_secs(60);

/// Refuses everything while the disk is full.
struct Disk {
    inner: MemoryStore,
    full: Arc<AtomicBool>,
}

impl Store for Disk {
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
        if self.full.load(Ordering::Relaxed) {
            return Err(StoreError::Full { place: "here".into(), detail: "full".into() });
        }
        self.inner.commit(batch)
    }

    fn check(&mut self) -> Result<Report, StoreError> {
        self.inner.check()
    }
}

#[tokio::test]
async fn a_policies_file_that_finds_the_disk_full_waits_and_the_manager_serves() {
    let settings = Settings { id: Some("tm-1".into()), ..Settings::default() };
    let config = Config::resolve(settings).unwrap();
    let telemetry = Telemetry::new().unwrap();
    let (_stopper, stop) = stop::stop();
    let access = (PeerAccess::load(&config).unwrap(), Guard::open(Arc::clone(&telemetry)));
    let mut clock = Clock::start();
    let identity = Identity { manager: config.id.clone(), created: clock.now() };
    let full = Arc::new(AtomicBool::new(true));
    let disk = Disk { inner: MemoryStore::new(identity), full: Arc::clone(&full) };
    let store = StoreHandle::start(Box::new(disk)).unwrap();
    let opened = Opened::from_records(&config, store, Vec::new(), clock).await.unwrap();
    let mut group = Group::go_on(opened, &config, access, &telemetry, &stop).await.unwrap();
    let limit = serde_json::json!({ "requests": 1, "window": "1m" });
    let document = serde_json::json!({ "name": "p", "level": "api", "limits": [limit] });
    let policy = Policy::from_json(&document).unwrap();
    group.recover(vec![policy]).await.expect("it starts all the same");
    let keeper = group.keeper.clone();
    let stored = async || keeper.ask(|replica, _| replica.winner("p").is_some()).await.unwrap();
    assert!(!stored().await);
    full.store(false, Ordering::Relaxed);
    let offered = async {
        while !stored().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, offered).await.expect("the file is offered again");
}
