//! The table under several threads: nothing that was counted is lost or counted for another key, while
//! counters are made, charged, reported and taken out, the table grows, and fingerprints collide.

#![expect(clippy::disallowed_methods, reason = "threads are what is tested")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use gateway_agent_core::table::{Found, Table};
use serde_json::json;
use weir_proto::{
    key::CounterKey,
    matcher::PolicySet,
    policy::{OnDisconnect, Policy},
    time::{Time, WindowStart},
};

const THREADS: usize = 3;

fn table(max: usize) -> Table {
    let document = json!({ "name": "p", "level": "api", "key": ["user"],
        "limits": [{ "requests": 1, "window": "1m" }] });
    let policy = Policy::from_json(&document).expect("the policy is valid");
    let table = Table::new(max, OnDisconnect::Local, 7, Arc::new(|| ()));
    table.enforce(Arc::new(PolicySet::compile(1, [Arc::new(policy)])));
    table
}

/// The parts of a key with one part.
fn parts(key: usize) -> Vec<u8> {
    let text = format!("user-{key}");
    [&[u8::try_from(text.len()).expect("it is short")], text.as_bytes()].concat()
}

/// Counts one for the key, as a check does.
fn count(table: &Table, key: usize) {
    let snapshot = table.snapshot();
    let counted = &snapshot.families[0];
    let parts = parts(key);
    let name = table.name(&counted.own, &parts);
    let start = WindowStart(60);
    let found = table.find(&name).or_else(|| table.open(&name, start));
    let mut found: Found<'_> =
        found.or_else(|| table.overflow(&counted.overflow, start)).expect("there is room");
    found.counter.used += 1;
    table.touch(&mut found);
}

/// What the owner has heard of.
#[derive(Default)]
struct Owner {
    /// By slot: the key of the counter there and what was last reported of it.
    present: BTreeMap<u32, (CounterKey, u64)>,
    /// What counters that left had counted.
    total: BTreeMap<CounterKey, u64>,
    retired: usize,
}

impl Owner {
    fn report(&mut self, table: &Table) {
        for slot in table.take_dirty() {
            let mut counter = table.at(slot).expect("the owner alone takes counters out");
            counter.dirty = false;
            self.present.insert(slot, (counter.key().expect("it has one"), counter.used));
        }
    }

    /// Takes out what nobody has charged since the last report.
    fn retire(&mut self, table: &Table) {
        for slot in 0..table.slots() {
            if table.retire(slot, Time::MAX, Time::MAX).is_some() {
                self.leave(slot);
                self.retired += 1;
            }
        }
    }

    fn leave(&mut self, slot: u32) {
        let (key, used) = self.present.remove(&slot).expect("it was reported before it left");
        *self.total.entry(key).or_default() += used;
    }

    fn finish(mut self) -> BTreeMap<CounterKey, u64> {
        for slot in self.present.keys().copied().collect::<Vec<_>>() {
            self.leave(slot);
        }
        self.total
    }
}

/// Threads count `rounds` times each of `keys` keys; what the owner heard in the end.
fn run(table: &Table, keys: usize, rounds: usize, retire: bool) -> BTreeMap<CounterKey, u64> {
    let done = AtomicBool::new(false);
    let mut owner = Owner::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    for step in 0..keys * rounds {
                        // Threads go through the keys in different orders and meet now and then.
                        count(table, step * (2 * thread + 1) % keys);
                    }
                })
            })
            .collect();
        let owner = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                owner.report(table);
                if retire {
                    owner.retire(table);
                }
            }
        });
        for thread in threads {
            thread.join().expect("no thread panics");
        }
        done.store(true, Ordering::Release);
        owner.join().expect("the owner does not panic");
    });
    owner.report(table);
    if retire {
        owner.retire(table);
        assert_eq!(table.len(), 0, "all are idle in the end");
        assert!(owner.retired >= keys);
    }
    owner.finish()
}

fn assert_each(total: &BTreeMap<CounterKey, u64>, keys: usize, rounds: usize) {
    assert_eq!(total.len(), keys);
    for (key, used) in total {
        assert_eq!(*used, (THREADS * rounds) as u64, "{key}");
    }
}

// Prime numbers of keys: every stride goes through all of them.

#[test]
fn growing_loses_nothing() {
    let table = table(100_000);
    assert_each(&run(&table, 50_021, 2, false), 50_021, 2);
    assert_eq!(table.len(), 50_021);
}

#[test]
fn counters_that_leave_and_come_back_lose_nothing() {
    let table = table(100_000);
    assert_each(&run(&table, 10_007, 10, true), 10_007, 10);
}

#[test]
fn equal_fingerprints_are_not_confused() {
    for bits in [0, 3] {
        let table = table(10_000).with_hash_bits(bits);
        assert_each(&run(&table, 499, 20, true), 499, 20);
    }
}

#[test]
fn a_full_table_counts_further_keys_together() {
    let table = table(1_000);
    let total = run(&table, 5_003, 3, false);
    assert_eq!(table.len(), 1_001, "the shared counter comes on top");
    assert_eq!(total.values().sum::<u64>(), (THREADS * 3 * 5_003) as u64);
    let shared = CounterKey::new("p", "requests/1m/fixed_window", &["(overflow)"]);
    let shared = total[&shared.expect("a key")];
    assert_eq!(shared, table.overflowed.load(Ordering::Relaxed));
    assert_eq!(shared, (THREADS * 3 * (5_003 - 1_000)) as u64);
}
