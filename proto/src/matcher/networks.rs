//! Slots filed under networks.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::fast::FixedState;
use ipnet::IpNet;

/// One hash table, asked once per prefix length in use: a handful, however many networks there are.
#[derive(Debug, Default)]
pub(super) struct Networks {
    v4: BTreeSet<u8>,
    v6: BTreeSet<u8>,
    slots: HashMap<IpNet, Vec<u32>, FixedState>,
    absent: Arc<AtomicU64>,
}

impl Networks {
    /// Files a slot; gives the counter of requests without an address.
    pub(super) fn insert(&mut self, network: IpNet, slot: u32) -> Arc<AtomicU64> {
        let lengths = if network.addr().is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        lengths.insert(network.prefix_len());
        self.slots.entry(network.trunc()).or_default().push(slot);
        Arc::clone(&self.absent)
    }

    /// Whether nothing is filed.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Adds the slots of all networks that hold the address.
    pub(super) fn candidates(&self, ip: Option<IpAddr>, out: &mut Vec<u32>) {
        if self.slots.is_empty() {
            return;
        }
        let Some(ip) = ip else {
            self.absent.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let lengths = if ip.is_ipv4() { &self.v4 } else { &self.v6 };
        let networks = lengths.iter().filter_map(|&length| IpNet::new(ip, length).ok());
        for network in networks {
            out.extend(self.slots.get(&network.trunc()).into_iter().flatten());
        }
    }
}
