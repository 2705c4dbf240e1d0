//! What a manager is made of behind its ports: the driver, the keeper with its store, the links to peers;
//! how they start, recover what was known before, and end.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use traffic_manager_core::{
    Manager,
    manager::Missing,
    replica::{Config as ReplicaConfig, Replica},
    roles::{Epochs, Roles, RolesConfig},
};
use weir_proto::{id::ManagerLife, peer::PeerHello, policy::Policy, time::Time};

use crate::{
    auth::Guard,
    checkpoint,
    clock::Clock,
    config::Config,
    driver::{self, Driver},
    keeper::{self, EPOCHS, Keeper, WriteFault},
    peers::{Directory, EVENTS, LinkEvent, Me, PeerService, dial},
    security::PeerAccess,
    stop::{self, Stop, Stopper},
    store::{Batch, Identity, Place, Record, StoreError, StoreHandle, Table},
    telemetry::Telemetry,
};

/// How long a manager that starts waits for peers to tell what they know.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked whether all is recovered.
const LOOK: Duration = Duration::from_millis(20);
/// How often it is looked whether the store takes a policies file that it refused.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the last counters may take into the store. What is not there by then, agents and peers have.
const LAST_ROUND: Duration = Duration::from_secs(5);
/// Lists of windows that closed, on their way to the keeper; the driver keeps what comes beyond.
const ACCOUNTS: usize = 16;
/// The record of the store that holds the newest incarnation.
const INCARNATION: &[u8] = b"incarnation";

/// A running manager without its ports.
pub(crate) struct Group {
    pub(crate) driver: Driver,
    pub(crate) keeper: Keeper,
    pub(crate) store: StoreHandle,
    me: Me,
    numbers: dial::LinkNumbers,
    group: usize,
    synced: Option<oneshot::Receiver<()>>,
    /// `None` once they have ended.
    driver_done: Option<oneshot::Receiver<()>>,
    keeper_done: Option<oneshot::Receiver<()>>,
    /// Writes counters into the store.
    checkpoints: Option<JoinHandle<()>>,
    /// Ends the driver, once nobody needs it any more.
    driver_end: Stopper,
}

/// Resolves when the task has ended; at once if that was noticed before.
async fn done(task: &mut Option<oneshot::Receiver<()>>) {
    if let Some(end) = task {
        // An error means that it died.
        let _ = end.await;
        *task = None;
    }
}

impl Group {
    /// Opens the store and starts everything that does not serve a port.
    pub(crate) async fn start(
        config: &Config,
        security: (PeerAccess, Guard),
        telemetry: &Arc<Telemetry>,
        stop: &Stop,
    ) -> anyhow::Result<Group> {
        let opened = Opened::open(config).await?;
        Group::go_on(opened, config, security, telemetry, stop).await
    }

    async fn go_on(
        opened: Opened,
        config: &Config,
        security: (PeerAccess, Guard),
        telemetry: &Arc<Telemetry>,
        stop: &Stop,
    ) -> anyhow::Result<Group> {
        let Opened { store, records, life, replica, mut clock } = opened;
        let roles = roles(config, &life, epochs(&records), clock.now());
        let (accounts, closed) = mpsc::channel(ACCOUNTS);
        let (driver_end, end) = stop::stop();
        let (driver, driver_done) = driver::start(
            config,
            &life,
            clock.clone(),
            accounts,
            Arc::clone(telemetry),
            (stop.clone(), end),
        );
        keeper::install(&replica, &driver).await;
        let checkpoint = checkpoint::read(&records, &driver, &mut clock).await;
        let checkpoints = (config.store != Place::Memory).then(|| {
            let (store, driver) = (store.clone(), driver.clone());
            tokio::spawn(checkpoint::keep(checkpoint, store, driver, clock.clone(), stop.clone()))
        });
        let peers = config.peers.clone();
        let recovering = move |manager: &mut Manager, now, _: &mut _| {
            manager.recover(peers, PATIENCE * 3, now);
        };
        driver.with(recovering).await?;
        let (events, links) = mpsc::channel(EVENTS);
        let me = introduce(config, life, security, telemetry, events);
        let numbers = dial::LinkNumbers::default();
        for address in &config.peers {
            let (address, me, numbers) = (address.clone(), me.clone(), numbers.clone());
            tokio::spawn(dial::keep(address, me, numbers, clock.clone(), stop.clone()));
        }
        let parts = keeper::Parts {
            replica,
            store: store.clone(),
            driver: driver.clone(),
            clock,
            links,
            closed,
            roles,
            priority: config.priority,
            telemetry: Arc::clone(telemetry),
        };
        let (keeper, synced, keeper_done) = keeper::start(parts, stop.clone());
        let (synced, driver_done) = (Some(synced), Some(driver_done));
        Ok(Group {
            driver,
            keeper,
            store,
            me,
            numbers,
            group: config.peers.len() + 1,
            synced,
            driver_done,
            keeper_done: Some(keeper_done),
            checkpoints,
            driver_end,
        })
    }

    /// What serves the peers that dial.
    pub(crate) fn peers(&self) -> PeerService {
        PeerService { me: self.me.clone(), numbers: self.numbers.clone() }
    }

    /// Whom it met where.
    pub(crate) fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.me.directory)
    }

    /// Waits, though not for ever, until peers have told what they know; then offers the policies of the
    /// start-up file, which are older than anything that was written since.
    pub(crate) fn recover(
        &mut self,
        file: Vec<Policy>,
    ) -> impl Future<Output = anyhow::Result<()>> + use<> {
        let (synced, keeper) = (self.synced.take(), self.keeper.clone());
        let (driver, group) = (self.driver.clone(), self.group);
        let directory = self.directory();
        async move {
            let told = async {
                tokio::select! {
                    _ = async { synced?.await.ok() } => true,
                    () = directory.absence(group - 1), if group > 1 => false,
                }
            };
            if timeout(PATIENCE, told).await != Ok(true) {
                tracing::warn!(
                    out_of_reach = directory.absent().join(", "),
                    "no peer has told its policies; going on with those known here"
                );
            }
            let file = Arc::new(file);
            if !offer(&keeper, &file).await? {
                tracing::error!(
                    "the policies file could not be stored: going on with the policies known here; it is \
                     offered again once the store takes writes"
                );
                tokio::spawn(offer_later(keeper.clone(), file));
            }
            recall(&keeper, &driver, &directory).await;
            keeper.serving().await;
            Ok(())
        }
    }

    /// Resolves when a task has died.
    pub(crate) async fn ended(&mut self) {
        tokio::select! {
            () = done(&mut self.driver_done) => {}
            () = done(&mut self.keeper_done) => {}
            () = self.store.closed() => {}
        }
    }

    /// Waits for the tasks, which were told to stop, and closes the store.
    pub(crate) async fn close(mut self) {
        // It ends at once; an error means that it has ended before.
        let _ = timeout(PATIENCE, done(&mut self.keeper_done)).await;
        if let Some(checkpoints) = self.checkpoints.take()
            && timeout(LAST_ROUND, checkpoints).await.is_err()
        {
            tracing::warn!("some counters were not stored in time; agents and peers have them");
        }
        self.driver_end.stop();
        let _ = timeout(PATIENCE, done(&mut self.driver_done)).await;
        if timeout(PATIENCE, self.store.shutdown()).await.is_err() {
            tracing::error!("the store did not close in time; what was acknowledged is in it");
        }
    }
}

fn roles(config: &Config, life: &ManagerLife, stored: Epochs, now: Time) -> Roles {
    let roles = RolesConfig {
        me: life.clone(),
        priority: config.priority,
        fail_back: config.fail_back,
        group: config.peers.len() + 1,
    };
    Roles::new(roles, stored, now)
}

/// What links to peers need to know of this manager.
fn introduce(
    config: &Config,
    life: ManagerLife,
    (access, guard): (PeerAccess, Guard),
    telemetry: &Telemetry,
    events: mpsc::Sender<LinkEvent>,
) -> Me {
    Me {
        greeting: PeerHello { life, version: env!("CARGO_PKG_VERSION").to_owned() },
        events,
        malformed: telemetry.malformed_peers.clone(),
        access,
        guard,
        directory: Arc::new(Directory::new(&config.peers)),
    }
}

/// What a former life left, and the replica made of it.
struct Opened {
    store: StoreHandle,
    records: Vec<Record>,
    life: ManagerLife,
    replica: Replica,
    clock: Clock,
}

impl Opened {
    async fn open(config: &Config) -> anyhow::Result<Opened> {
        let mut clock = Clock::start();
        let identity = Identity { manager: config.id.clone(), created: clock.now() };
        let (store, records) = StoreHandle::open(config.store.clone(), identity).await?;
        Opened::from_records(config, store, records, clock).await
    }

    async fn from_records(
        config: &Config,
        store: StoreHandle,
        records: Vec<Record>,
        mut clock: Clock,
    ) -> anyhow::Result<Opened> {
        let now = clock.now();
        let life = next_life(config, &records, clock.started());
        let mut replica =
            Replica::new(ReplicaConfig::new(life.clone(), config.peers.len() + 1), now);
        for (_, key, value) in records.iter().filter(|(table, _, _)| *table == Table::Entries) {
            let loaded = replica.load(key, value);
            loaded.context("the store cannot be used; it was not changed")?;
        }
        begin_life(&store, &life).await?;
        Ok(Opened { store, records, life, replica, clock })
    }
}

/// Waits, though not for ever, until peers and agents have told what is counted in windows that go on.
async fn recall(keeper: &Keeper, driver: &Driver, directory: &Directory) {
    keeper.recall(true).await;
    let missing = |missing: &Missing| tracing::info!("{missing}");
    let mut said = None;
    loop {
        let away = directory.absent();
        // A driver that is gone takes the manager with it.
        let look = driver.with(move |manager, now, _| {
            away.iter().for_each(|address| manager.peer_told(address));
            manager.recovery(now)
        });
        let look = look.await;
        let Ok(Some(left)) = look else { break };
        if said.replace(left.clone()).is_none() {
            missing(&left);
        }
        tokio::time::sleep(LOOK).await;
    }
    keeper.recall(false).await;
}

/// A later incarnation than any before, even if the wall clock was set back since.
fn next_life(config: &Config, records: &[Record], wall: u64) -> ManagerLife {
    let former = records.iter().find(|(table, key, _)| *table == Table::Meta && key == INCARNATION);
    let former = former.and_then(|(_, _, value)| value.as_slice().try_into().ok());
    let former = former.map_or(0, u64::from_be_bytes);
    ManagerLife { id: config.id.clone(), incarnation: wall.max(former.saturating_add(1)) }
}

/// Stores it, so that the next one is later.
async fn begin_life(store: &StoreHandle, life: &ManagerLife) -> anyhow::Result<()> {
    let mut batch = Batch::new();
    batch.put(Table::Meta, INCARNATION, life.incarnation.to_be_bytes());
    match store.commit(batch).await {
        // It still serves; the next life is later by the wall clock, which is not set back as a rule.
        Err(error @ StoreError::Full { .. }) => {
            tracing::error!("the manager starts, but cannot write: {error}");
            Ok(())
        }
        result => Ok(result?),
    }
}

/// The roles' epochs that a former life has seen.
fn epochs(records: &[Record]) -> Epochs {
    let stored = records.iter().find(|(table, key, _)| *table == Table::Meta && key == EPOCHS);
    stored.and_then(|(_, _, value)| Epochs::decode(value)).unwrap_or_default()
}

/// Offers the file's policies until the store has taken them, or the manager ends.
async fn offer_later(keeper: Keeper, file: Arc<Vec<Policy>>) {
    loop {
        tokio::time::sleep(AGAIN).await;
        // The office tries now and then whether the store writes.
        let Ok(refused) = keeper.ask_office(|office, _| office.refused()).await else { return };
        if refused.is_some() {
            continue;
        }
        match offer(&keeper, &file).await {
            Ok(false) => {}
            Ok(true) => return,
            Err(error) => {
                tracing::error!("{error:#}");
                return;
            }
        }
    }
}

/// Offers the file's policies; false if the store refused them for now.
async fn offer(keeper: &Keeper, file: &Arc<Vec<Policy>>) -> anyhow::Result<bool> {
    if file.is_empty() {
        return Ok(true);
    }
    let (file, count) = (Arc::clone(file), file.len());
    let written = keeper.write(move |replica, now| {
        let change = replica.offer_file(&file, now);
        let differ = file.iter().filter(|policy| {
            let winner = replica.winner(policy.name.as_str());
            winner.is_some_and(|winner| *winner.policy != **policy)
        });
        let differ: Vec<String> = differ.map(|policy| policy.name.to_string()).collect();
        Ok::<_, std::convert::Infallible>((Some(change), differ))
    });
    match written.await {
        Ok(written) => {
            tracing::info!("policies in the policies file: {count}");
            if !written.result.is_empty() {
                tracing::warn!(
                    "the policies file has another version of {}; the stored one stays in force; to change it, use \
                     the admin API or `traffic-manager policy apply`",
                    written.result.join(", ")
                );
            }
            Ok(true)
        }
        Err(WriteFault::Refused(never)) => match never {},
        Err(WriteFault::Store(error)) if error.may_pass() => Ok(false),
        Err(WriteFault::Store(error)) => {
            Err(anyhow::anyhow!("cannot store the policies file: {error}"))
        }
        // The shutdown came first.
        Err(WriteFault::Stopped(_)) => Ok(true),
    }
}

#[cfg(test)]
mod tests;
