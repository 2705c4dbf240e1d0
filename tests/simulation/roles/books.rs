//! Records of usage on top of roles: what each manager's store holds, and what it must hold in the end.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use traffic_manager_core::accounts::{Accounts, Amounts, Closed, Duty, MINUTE, Part, UsageRecord};
use weir_proto::{key::CounterKey, time::Time};
use weir_simulator::chance::Chance;

use super::world::{BEGIN, Node};

/// Policy and start: one counter for each policy.
type Name = (String, u64);
pub(crate) type Records = BTreeMap<Name, UsageRecord>;

/// Records are removed at this age: some in each run, so that removing meets writing.
const KEEP: Duration = Duration::from_secs(100);

fn name(record: &UsageRecord) -> Name {
    (record.policy.clone(), record.start)
}

fn join(records: &mut Records, record: &UsageRecord) {
    records
        .entry(name(record))
        .and_modify(|known| known.join(record))
        .or_insert_with(|| record.clone());
}

/// What a manager that saw this should see written.
fn expected(policy: &str, closed: &Closed) -> UsageRecord {
    let Closed { start, secs, amounts, .. } = *closed;
    let (short, key) = (secs < MINUTE, vec!["k".to_owned()]);
    let parts = if short { vec![Part { start, amounts }] } else { Vec::new() };
    let start = if short { start - start % MINUTE } else { start };
    let (policy, limit, secs) = (policy.to_owned(), "requests".to_owned(), secs.max(MINUTE));
    UsageRecord { policy, limit, key, start, secs, amounts, parts }
}

/// What one manager has of records.
pub(crate) struct Book {
    accounts: Accounts,
    /// Its disk.
    records: Rc<Records>,
    /// What it took from each peer last.
    taken: BTreeMap<usize, Rc<Records>>,
}

impl Default for Book {
    fn default() -> Self {
        Book { accounts: Accounts::new(10_000), records: Rc::default(), taken: BTreeMap::new() }
    }
}

impl Book {
    /// Only the disk is left.
    pub(crate) fn crash(&mut self) {
        *self = Book { records: Rc::clone(&self.records), ..Book::default() };
    }

    pub(crate) fn to_send(&self, books: bool) -> Option<Rc<Records>> {
        books.then(|| Rc::clone(&self.records))
    }

    /// A peer's records, but for what is too old to be kept.
    pub(crate) fn receive(&mut self, from: usize, records: Rc<Records>, now: Time) {
        if self.taken.get(&from).is_some_and(|taken| Rc::ptr_eq(taken, &records)) {
            return;
        }
        let news = |r: &&UsageRecord| {
            !r.expired(KEEP, now) && self.records.get(&name(r)).is_none_or(|own| !own.covers(r))
        };
        let news: Vec<UsageRecord> = records.values().filter(news).cloned().collect();
        self.write(&news);
        self.taken.insert(from, records);
    }

    pub(crate) fn write(&mut self, records: &[UsageRecord]) {
        if records.is_empty() {
            return;
        }
        let own = Rc::make_mut(&mut self.records);
        for record in records {
            join(own, record);
            self.accounts.seen(&own[&name(record)]);
        }
    }

    pub(crate) fn due(&mut self, duty: Duty, now: Time) -> Vec<UsageRecord> {
        let records = &self.records;
        self.accounts.due(duty, now, 20, |record| {
            let old = record.expired(KEEP, now).then_some(record);
            records.get(&name(record)).or(old).cloned()
        })
    }

    /// Removes what is too old.
    pub(crate) fn sweep(&mut self, now: Time) {
        if self.records.values().any(|record| record.expired(KEEP, now)) {
            Rc::make_mut(&mut self.records).retain(|_, record| !record.expired(KEEP, now));
        }
    }
}

/// What really happened, and who saw it.
pub(crate) struct Books {
    chance: Chance,
    /// In some runs, managers miss some of what agents tell.
    partial: bool,
    seed: u64,
    /// What each saw in its present life.
    noted: Vec<Records>,
    /// What anybody saw, dead or alive.
    all: Records,
}

impl Books {
    pub(crate) fn new(seed: u64, managers: usize) -> Books {
        let mut chance = Chance::new(seed ^ 0xb00c);
        let partial = chance.one_in(2);
        let noted = vec![Records::new(); managers];
        Books { chance, partial, seed, noted, all: Records::new() }
    }

    pub(crate) fn crash(&mut self, n: usize) {
        self.noted[n].clear();
    }

    /// A window closes: of 5 s, of a minute, or of five, of some counter. Every manager that runs sees it.
    pub(crate) fn close(&mut self, nodes: &mut [Node], now: u64) {
        let secs = *self.chance.pick(&[5, 5, MINUTE, 300]);
        // Some are told late, and soon too old.
        let late = if self.chance.one_in(4) { 90 } else { 0 };
        let start = (BEGIN + now) / 1_000_000 - late;
        let start = start - start % secs;
        let policy = format!("p{}-{}", secs, self.chance.below(3));
        // A window comes to one amount, whenever it is told of.
        let mut amounts = Chance::new(self.seed ^ start ^ secs << 40);
        let whole = Amounts { admitted: amounts.between(2, 100), refused: amounts.below(10) };
        for (n, node) in nodes.iter_mut().enumerate().filter(|(_, node)| node.roles.is_some()) {
            let missed = self.partial && self.chance.one_in(3);
            let admitted = if missed { whole.admitted / 2 } else { whole.admitted };
            let amounts = Amounts { admitted, ..whole };
            let key = CounterKey::new(&policy, "requests", &["k"]).expect("a key");
            let closed = Closed { key, start, secs, amounts, edge: Amounts::default() };
            node.book.accounts.note(&closed, node.clock(now));
            let record = expected(&policy, &closed);
            join(&mut self.noted[n], &record);
            join(&mut self.all, &record);
        }
    }

    /// Long after the last fault all stores are equal; each record is there, once, and says what the
    /// best-informed of those that lived on saw.
    pub(crate) fn balance(&self, nodes: &[Node], now: u64) {
        for (name, seen) in self.noted.iter().flatten() {
            for node in nodes {
                if seen.expired(KEEP, node.clock(now) + Duration::from_secs(2)) {
                    continue;
                }
                let record = node.book.records.get(name).expect("a record of each period");
                assert!(record.covers(seen), "{record:?} is less than {seen:?}");
                assert_eq!(record, &nodes[0].book.records[name], "stores differ");
            }
        }
        for (name, record) in nodes.iter().flat_map(|node| node.book.records.iter()) {
            assert!(self.all[name].covers(record), "{record:?} is more than anybody saw");
        }
        for node in nodes {
            assert!(node.book.accounts.is_empty(), "candidates that nobody writes");
            assert_eq!(node.book.accounts.dropped(), 0);
        }
    }
}
