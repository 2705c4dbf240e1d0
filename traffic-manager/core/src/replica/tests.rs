//! Prepare, commit, apply; and replicas that talk over a network made by hand.

mod bounds;
mod lifecycle;
mod plausible;
mod talk;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use serde_json::json;
use weir_proto::{
    id::{ManagerId, ManagerLife},
    peer::{Audit, Delta, Entry, Usage, UsageKey},
    policy::Policy,
};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn life(n: u64) -> ManagerLife {
    ManagerLife { id: ManagerId::new(&format!("tm-{n}")).expect("a name"), incarnation: 1 }
}

fn replica(n: u64, group: usize) -> Replica {
    Replica::new(Config::new(life(n), group), Time::from_secs(1))
}

fn at(secs: u64) -> Time {
    Time::from_secs(1_000_000 + secs)
}

fn policy(name: &str, requests: u64) -> Policy {
    let limit = json!({ "requests": requests, "window": "1m" });
    Policy::from_json(&json!({ "name": name, "level": "api", "limits": [limit] })).expect("valid")
}

fn apply(replica: &mut Replica, change: Change, now: Time) -> Vec<Output> {
    let mut out = Vec::new();
    replica.apply(change, now, &mut out);
    out
}

fn put(replica: &mut Replica, name: &str, requests: u64, now: Time) -> Vec<Output> {
    let change = replica.put(&policy(name, requests), "anna", now).expect("there is room");
    apply(replica, change, now)
}

fn requests(replica: &Replica, name: &str) -> Option<u64> {
    replica.winner(name).map(|winner| winner.policy.limits[0].amount)
}

/// All that `replica` has, as a peer would send it.
fn everything(replica: &Replica) -> Delta {
    let keys: Vec<EntryKey> =
        replica.entries.policies().keys().cloned().map(EntryKey::Policy).collect();
    let state = |key: &EntryKey| entries::entry(key, &replica.entries.get(key)?);
    Delta { number: 0, entries: keys.iter().filter_map(state).collect() }
}

/// `to` hears everything about policies that `from` has.
fn tell(from: &Replica, to: &mut Replica, now: Time) -> Vec<Output> {
    let change = to.receive(&from.config.me, everything(from), now);
    apply(to, change, now)
}

fn disk(change: &Change, disk: &mut BTreeMap<Bytes, Bytes>) {
    for (key, value) in change.writes() {
        match value {
            Some(value) => disk.insert(key, value),
            None => disk.remove(&key),
        };
    }
}
