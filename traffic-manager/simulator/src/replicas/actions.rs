//! What users, operators and bad luck do.

use std::time::Duration;

use serde_json::json;
use traffic_manager_core::replica::{AuditFilter, Change, Record, Replica, WriteError, WriteId};
use weir_proto::{
    peer::{Audit, AuditKey, Register, Usage, UsageKey, VersionHash},
    policy::Policy,
    time::Time,
};

use super::{
    node::Disk,
    world::{Event, World},
};

/// A document that nobody else writes.
fn policy(name: &str, number: u64) -> Option<Policy> {
    let limit = json!({ "requests": number + 1, "window": "1m" });
    Policy::from_json(&json!({ "name": name, "level": "api", "limits": [limit] })).ok()
}

impl World {
    /// One random thing, and when the next one comes.
    pub(super) fn act(&mut self) {
        if self.acts >= self.plan.actions {
            return;
        }
        self.acts += 1;
        let n = self.nodes.len() as u64;
        let i = usize::try_from(self.chance.below(n)).unwrap_or(0);
        let names = self.policies();
        let name = self.chance.pick(&names).clone();
        match self.chance.below(20) {
            0..=5 => {
                self.put(i, &name);
            }
            // At one moment, so that stamps may be equal.
            6 | 7 => {
                let others: Vec<usize> = (0..self.nodes.len()).collect();
                for j in others {
                    if j == i || self.chance.one_in(2) {
                        self.put(j, &name);
                    }
                }
            }
            8 | 9 => self.delete(i, &name),
            10 | 11 => self.settle(i),
            12 => self.offer_file(i, &names),
            13 => self.record(i),
            14..=16 if self.plan.cuts => self.cut(),
            17 | 18 => self.restart(i),
            _ => {
                let disk = self.nodes[i].disk.clone();
                self.nodes[i].backups.push(disk);
            }
        }
        let mean = u64::try_from(self.plan.pause.as_micros()).unwrap_or(0);
        let pause = Duration::from_micros(self.chance.below(2 * mean + 1));
        self.after(pause, Event::Act);
    }

    fn replica(&self, i: usize) -> Option<(&Replica, Time)> {
        let node = &self.nodes[i];
        Some((node.replica.as_ref()?, node.clock(self.age)))
    }

    pub(super) fn put(&mut self, i: usize, name: &str) -> Option<WriteId> {
        let number = self.chance.below(1 << 40);
        let (replica, now) = self.replica(i)?;
        let change = replica.put(&policy(name, number)?, "anna", now).ok()?;
        self.log(|| format!("tm-{i}: put {name} {number}"));
        self.write(i, name, change, None)
    }

    fn delete(&mut self, i: usize, name: &str) {
        let change = self.replica(i).and_then(|(replica, now)| replica.delete(name, "anna", now));
        if let Some(change) = change {
            self.log(|| format!("tm-{i}: delete {name}"));
            self.write(i, name, change, None);
        }
    }

    /// A loser is restored or dismissed.
    fn settle(&mut self, i: usize) {
        let restore = self.chance.one_in(2);
        let Some((replica, now)) = self.replica(i) else { return };
        let Some(conflict) = replica.conflicts().last() else { return };
        let loser = || {
            let body = conflict.body.as_ref().ok_or(WriteError::Deletion)?;
            let document = serde_json::from_slice(body).map_err(|_| WriteError::NoConflict)?;
            Policy::from_json(&document).map_err(|_| WriteError::NoConflict)
        };
        let change = if restore {
            loser().and_then(|policy| replica.restore(conflict.id, &policy, "anna", now))
        } else {
            replica.dismiss(conflict.id, "anna", now)
        };
        if let Ok(change) = change {
            self.log(|| format!("tm-{i}: settle {} {} {restore}", conflict.name, conflict.id));
            self.write(i, &conflict.name, change, Some(conflict.id));
        }
    }

    /// Stores a write and tells its author, if it is still there to be told.
    fn write(
        &mut self,
        i: usize,
        name: &str,
        change: Change,
        also: Option<VersionHash>,
    ) -> Option<WriteId> {
        let before: Option<Register> = self.nodes[i].replica.as_ref()?.register(name);
        let write = change.write()?;
        let stored = self.store(i, change);
        // What a manager has stored before it died is a write, too, though nobody was told.
        let now = self.nodes[i].clock(self.age);
        let me = self.nodes[i].life.clone();
        let after = match &self.nodes[i].replica {
            Some(replica) => replica.register(name),
            None => self.nodes[i].loaded(now).ok()?.register(name),
        };
        let hash = self.oracle.written(before.as_ref(), also, &after?, &me);
        let out = stored?;
        let Some(hash) = hash else {
            self.fail(format!("tm-{i}: a write of {name} is not there"));
            return None;
        };
        self.oracle.acknowledged(name, hash);
        self.written.insert((i, me.incarnation, write), (name.to_owned(), hash));
        self.outputs(i, out);
        Some(write)
    }

    fn offer_file(&mut self, i: usize, names: &[String]) {
        // One of two files, so that equal ones meet as well as different ones.
        let number = self.chance.below(2);
        let policies: Vec<Policy> = names.iter().filter_map(|name| policy(name, number)).collect();
        let Some((replica, now)) = self.replica(i) else { return };
        let change = replica.offer_file(&policies, now);
        self.log(|| format!("tm-{i}: file {number}"));
        if !change.is_empty()
            && let Some(out) = self.store(i, change)
        {
            self.outputs(i, out);
        }
    }

    fn record(&mut self, i: usize) {
        let (admitted, key) = (self.chance.below(1_000), self.chance.below(3));
        let Some((replica, now)) = self.replica(i) else { return };
        let audit = Audit {
            at: now,
            actor: "anna".to_owned(),
            action: "denied".to_owned(),
            policy: "p0".to_owned(),
            tag: String::new(),
            detail: format!("{admitted}"),
        };
        let key = UsageKey {
            policy: "p0".to_owned(),
            limit: "1m".to_owned(),
            key: vec![format!("{key}")],
            start_secs: 60,
            length_secs: 60,
        };
        let usage = Usage { admitted, ..Usage::default() };
        let records = vec![Record::Audit(audit), Record::Usage(key.clone(), usage)];
        let change = replica.record(records, now);
        let me = self.nodes[i].life.clone();
        let before = self.audits_of(i);
        let Some(out) = self.store(i, change) else { return };
        if self.audits_of(i) != before + 1 {
            self.fail(format!("tm-{i}: an audit record is not there"));
        }
        self.oracle.recorded_audit(AuditKey { origin: me, seq: before + 1 });
        self.oracle.recorded_usage(key, admitted);
        self.outputs(i, out);
    }

    /// How many records of its present life a manager has.
    fn audits_of(&self, i: usize) -> u64 {
        let Some((replica, _)) = self.replica(i) else { return 0 };
        let filter = AuditFilter::default();
        let all = replica.audit(&filter);
        all.filter(|(key, _)| key.origin == self.nodes[i].life).count() as u64
    }

    /// Cuts or heals some directions. Ends may notice, or not.
    fn cut(&mut self) {
        let heal = self.chance.one_in(3);
        let one_way = self.chance.one_in(3);
        let side = self.chance.draw();
        self.log(|| format!("cut {side:b} heal {heal} one way {one_way}"));
        for (i, j) in self.pairs() {
            let crosses = (side >> i) & 1 != (side >> j) & 1;
            let this_way = !one_way || (side >> i) & 1 == 1;
            if !(crosses && this_way) {
                continue;
            }
            self.network.set_cut(i, j, !heal);
            if self.plan.noticed && self.chance.one_in(2) {
                let peer = self.nodes[j].life.clone();
                let pause = Duration::from_millis(self.chance.below(1_000));
                self.after(pause, Event::Link { at: i, peer, up: heal });
            }
        }
    }

    /// The process ends; its disk stays, or is an old copy, or is empty.
    fn restart(&mut self, i: usize) {
        self.stop(i);
        if self.chance.one_in(4) {
            self.nodes[i].skew = self.random_skew();
        }
        if !self.plan.disks_fail || self.chance.one_in(2) {
            self.log(|| format!("tm-{i}: stops"));
            return;
        }
        let backups = &self.nodes[i].backups;
        let old = if backups.is_empty() || self.chance.one_in(3) {
            Disk::new()
        } else {
            self.chance.pick(backups).clone()
        };
        self.log(|| format!("tm-{i}: stops, with a disk of {} entries", old.len()));
        self.nodes[i].disk = old;
        let disks = self.nodes.iter().map(|node| node.loaded(node.clock(self.age)));
        match disks.collect::<Result<Vec<Replica>, String>>() {
            Ok(disks) => self.oracle.disks_are(&disks),
            Err(error) => self.fail(error),
        }
    }
}
