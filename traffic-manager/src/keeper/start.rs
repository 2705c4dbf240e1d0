//! How the keeper starts, and what it is made of.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::{mpsc, oneshot};
use traffic_manager_core::{
    accounts::Closed, manager::PolicyChange, policies::StoredPolicy, replica::Replica, roles::Roles,
};

use super::{
    Keeper, asks::Asks, errands::Errands, links::Links, office::Office, recall::Recall, task::Task,
    turns::Turns, waiters::Waiters,
};
use crate::{
    clock::Clock, driver::Driver, peers::LinkEvent, stop::Stop, store::StoreHandle,
    telemetry::Telemetry,
};

/// The record of the store that holds the highest epochs seen.
pub(crate) const EPOCHS: &[u8] = b"epochs";

/// What the keeper is made of.
pub(crate) struct Parts {
    /// Loaded from the store.
    pub(crate) replica: Replica,
    /// Where changes become durable.
    pub(crate) store: StoreHandle,
    /// Whom winners are told to.
    pub(crate) driver: Driver,
    /// A copy for this task.
    pub(crate) clock: Clock,
    /// What links tell.
    pub(crate) links: mpsc::Receiver<LinkEvent>,
    /// Windows that closed, from the driver.
    pub(crate) closed: mpsc::Receiver<Vec<Closed>>,
    /// The roles of this manager.
    pub(crate) roles: Roles,
    /// Its priority for them.
    pub(crate) priority: u32,
    /// Where dropped frames are counted.
    pub(crate) telemetry: Arc<Telemetry>,
}

/// Puts the policies in force that the store had, before anybody is served.
pub(crate) async fn install(replica: &Replica, driver: &Driver) {
    let revision = replica.policies_revision();
    let winners = replica.winners().map(|winner| {
        PolicyChange::Put(StoredPolicy {
            policy: Arc::clone(&winner.policy),
            tag: winner.tag.clone(),
            revision,
        })
    });
    let policies: Vec<PolicyChange> = winners.collect();
    if !policies.is_empty() {
        let told = driver.with(move |manager, now, outputs| {
            manager.install_policies(policies, now, outputs);
        });
        // A driver that is gone takes the manager with it.
        let _ = told.await;
    }
}

/// Starts the keeper. It runs until `shutdown` says so. The first receiver resolves when the peers that
/// are up have told what they know; the second when the keeper has ended.
pub(crate) fn start(
    parts: Parts,
    shutdown: Stop,
) -> (Keeper, oneshot::Receiver<()>, oneshot::Receiver<()>) {
    let (keeper, asks, writes) = Keeper::new();
    let (synced, synchronised) = oneshot::channel();
    let (done, finished) = oneshot::channel();
    let mut clock = parts.clock;
    let now = clock.now();
    let mut task = Task {
        replica: parts.replica,
        store: parts.store,
        errands: Errands::new(parts.driver),
        clock,
        links: Links::new(parts.telemetry.dropped_by_links.clone()),
        dropped: parts.telemetry.dropped_for_store.clone(),
        office: Office::new(parts.roles, now),
        closed: parts.closed,
        priority: parts.priority,
        ready: false,
        recall: Recall::default(),
        asks: Asks::default(),
        waiters: Waiters::default(),
        backlog: VecDeque::new(),
        turns: Turns::default(),
        synced: Some(synced),
        outputs: Vec::new(),
    };
    tokio::spawn(async move {
        task.run(asks, writes, parts.links, shutdown).await;
        // Nobody waits for us any more if this fails.
        let _ = done.send(());
    });
    (keeper, synchronised, finished)
}
