//! One manager: a replica, its disk, and what a shell does between them.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use traffic_manager_core::replica::{Change, Config, Output, Replica};
use weir_proto::{
    id::{ManagerId, ManagerLife},
    time::Time,
};

/// Begin of the virtual time on a clock without skew: some day, in microseconds.
const EPOCH: u64 = 1_750_000_000_000_000;

/// What a store holds.
pub(super) type Disk = BTreeMap<Bytes, Bytes>;

/// A manager, running or not.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) life: ManagerLife,
    pub(super) disk: Disk,
    /// Copies of the disk, made now and then.
    pub(super) backups: Vec<Disk>,
    pub(super) replica: Option<Replica>,
    /// What the driver was told to serve: name and tag.
    pub(super) serving: BTreeMap<String, String>,
    pub(super) synced: bool,
    /// The lives that its links lead to.
    pub(super) links: BTreeMap<ManagerId, ManagerLife>,
    /// Difference of its clock in microseconds.
    pub(super) skew: i64,
    group: usize,
}

impl Node {
    pub(super) fn new(index: usize, group: usize) -> Node {
        // The name is well formed: it is made of letters and a digit.
        let id = ManagerId::new(&format!("tm-{index}"));
        #[expect(clippy::expect_used, reason = "letters and a digit are a name")]
        let id = id.expect("a name");
        Node {
            life: ManagerLife { id, incarnation: 0 },
            disk: Disk::new(),
            backups: Vec::new(),
            replica: None,
            serving: BTreeMap::new(),
            synced: false,
            links: BTreeMap::new(),
            skew: 0,
            group,
        }
    }

    /// This manager's time.
    pub(super) fn clock(&self, age: Duration) -> Time {
        let micros = EPOCH + u64::try_from(age.as_micros()).unwrap_or(0);
        Time::from_micros(micros.saturating_add_signed(self.skew))
    }

    /// The virtual time at which its clock shows `time`.
    pub(super) fn age_at(&self, time: Time) -> Duration {
        let micros = time.as_micros().saturating_add_signed(-self.skew);
        Duration::from_micros(micros.saturating_sub(EPOCH))
    }

    /// A replica of what the disk holds.
    pub(super) fn loaded(&self, now: Time) -> Result<Replica, String> {
        load(&self.disk, &self.life, self.group, now)
    }

    /// A new life.
    pub(super) fn start(&mut self, age: Duration) -> Result<(), String> {
        self.life.incarnation += 1;
        let replica = self.loaded(self.clock(age))?;
        let held = replica.winners();
        self.serving = held.map(|w| (w.policy.name.to_string(), w.tag.clone())).collect();
        self.replica = Some(replica);
        self.synced = false;
        self.links.clear();
        Ok(())
    }

    /// A link to a life is open. What leads to an ended one leads nowhere.
    pub(super) fn reaches(&mut self, peer: &ManagerLife, up: bool) {
        let known = self.links.get(&peer.id).map_or(0, |life| life.incarnation);
        if up && known < peer.incarnation {
            self.links.insert(peer.id.clone(), peer.clone());
        }
    }

    /// Makes the change durable.
    pub(super) fn commit(&mut self, change: &Change) {
        for (key, value) in change.writes() {
            match value {
                Some(value) => self.disk.insert(key, value),
                None => self.disk.remove(&key),
            };
        }
    }

    /// What the driver does with outputs.
    pub(super) fn serve(&mut self, output: &Output) {
        match output {
            Output::Policy { name, winner: Some(winner), .. } => {
                self.serving.insert(name.clone(), winner.tag.clone());
            }
            Output::Policy { name, winner: None, .. } => {
                self.serving.remove(name);
            }
            Output::Synced => self.synced = true,
            _ => {}
        }
    }
}

/// A replica of what a disk holds.
pub(super) fn load(
    disk: &Disk,
    life: &ManagerLife,
    group: usize,
    now: Time,
) -> Result<Replica, String> {
    let mut replica = Replica::new(Config::new(life.clone(), group), now);
    for (key, value) in disk {
        replica.load(key, value).map_err(|error| error.to_string())?;
    }
    Ok(replica)
}
