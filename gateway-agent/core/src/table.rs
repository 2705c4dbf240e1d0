//! All counters of the agent: found by key without allocating, bounded, with queues for the owner.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use weir_proto::{
    key::CounterKey,
    matcher::{CompiledLimit, PolicySet},
    policy::OnDisconnect,
    time::{Time, WindowStart},
    usage::KeyId,
};

use crate::{counter::Counter, standing::Standing};

/// What stands in for the key's parts once the table is full: one counter for all further keys.
pub const OVERFLOW: &str = "(overflow)";

/// Called when the owner has something to do; must not block.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Counters and what all threads share.
pub struct Table {
    counters: DashMap<CounterKey, Arc<Counter>, RandomState>,
    max: usize,
    numbers: Mutex<Numbers>,
    dirty: Mutex<Vec<Arc<Counter>>>,
    hot: Mutex<Vec<Arc<Counter>>>,
    waker: Waker,
    /// The owner's standing.
    pub standing: ArcSwap<Standing>,
    /// Its number: raised before the owner lists what it holds.
    pub newest: AtomicU64,
    /// Policies in force.
    pub policies: ArcSwap<PolicySet>,
    /// Checks answered.
    pub checks: AtomicU64,
    /// Requests counted in an overflow counter.
    pub overflowed: AtomicU64,
}

#[derive(Default)]
struct Numbers {
    next: KeyId,
    free: Vec<KeyId>,
    born: Vec<Arc<Counter>>,
}

impl Table {
    /// An empty table for about `max` counters.
    pub fn new(max: usize, on_disconnect: OnDisconnect, waker: Waker) -> Self {
        Table {
            counters: DashMap::with_hasher(RandomState::default()),
            max: max.max(1),
            numbers: Mutex::default(),
            dirty: Mutex::default(),
            hot: Mutex::default(),
            waker,
            standing: ArcSwap::from_pointee(Standing::new(on_disconnect)),
            newest: AtomicU64::new(0),
            policies: ArcSwap::from_pointee(PolicySet::compile(0, [])),
            checks: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
        }
    }

    /// Live counters.
    pub fn len(&self) -> usize {
        self.counters.len()
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.counters.is_empty()
    }

    /// The counter with these canonical bytes.
    pub fn find(&self, key: &[u8]) -> Option<Arc<Counter>> {
        self.counters.get(key).map(|c| Arc::clone(&c))
    }

    /// The counter with these canonical bytes, made if missing. `start` names its window. Keys that
    /// do not fit, because the table is full or they are too long, share one counter per limit.
    pub fn open(
        &self,
        key: &[u8],
        policy: &str,
        limit: &CompiledLimit,
        start: WindowStart,
    ) -> Option<Arc<Counter>> {
        if let Some(counter) = self.find(key) {
            return Some(counter);
        }
        let room = self.counters.len() < self.max;
        if let Some(parsed) = CounterKey::parse(key).ok().filter(|_| room) {
            return Some(self.insert(parsed, limit, start));
        }
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        let shared = CounterKey::new(policy, &limit.id, &[OVERFLOW]).ok()?;
        Some(self.find(shared.as_bytes()).unwrap_or_else(|| self.insert(shared, limit, start)))
    }

    fn insert(&self, key: CounterKey, limit: &CompiledLimit, start: WindowStart) -> Arc<Counter> {
        let entry = self.counters.entry(key.clone()).or_insert_with(|| {
            let mut numbers = self.numbers.lock();
            let id = numbers.free.pop().unwrap_or_else(|| {
                numbers.next += 1;
                numbers.next - 1
            });
            let counter = Arc::new(Counter::new(id, key, limit, start));
            numbers.born.push(Arc::clone(&counter));
            counter
        });
        Arc::clone(&entry)
    }

    /// Notes that the counter changed.
    pub fn touch(&self, counter: &Arc<Counter>) {
        if counter.mark_dirty() {
            self.dirty.lock().push(Arc::clone(counter));
        }
    }

    /// Notes that the owner should ask for more, and wakes it.
    pub fn heat(&self, counter: &Arc<Counter>) {
        if counter.mark_hot() {
            let first = {
                let mut hot = self.hot.lock();
                hot.push(Arc::clone(counter));
                hot.len() == 1
            };
            if first {
                (self.waker)();
            }
        }
    }

    /// Takes the changed counters; they can be marked anew at once.
    pub fn take_dirty(&self) -> Vec<Arc<Counter>> {
        let taken = std::mem::take(&mut *self.dirty.lock());
        for counter in &taken {
            counter.dirty.store(false, Ordering::Release);
        }
        taken
    }

    /// How many changed since the last batch.
    pub fn dirty_len(&self) -> usize {
        self.dirty.lock().len()
    }

    /// Takes the counters near their ceilings.
    pub fn take_hot(&self) -> Vec<Arc<Counter>> {
        let taken = std::mem::take(&mut *self.hot.lock());
        for counter in &taken {
            counter.hot.store(false, Ordering::Release);
        }
        taken
    }

    /// Counters made since the last call.
    pub fn take_born(&self) -> Vec<Arc<Counter>> {
        std::mem::take(&mut self.numbers.lock().born)
    }

    /// Takes an idle counter out, if it is still idle. True when it left.
    pub fn retire(&self, counter: &Arc<Counter>, time: Time, now: Time) -> bool {
        // Under the map's lock, so that no check finds a counter that is out of use.
        let idle = |_: &CounterKey, c: &Arc<Counter>| c.lock().retire(c, time, now);
        self.counters.remove_if(&counter.key, idle).is_some()
    }

    /// The number of a retired counter may be used again.
    pub fn free(&self, id: KeyId) {
        self.numbers.lock().free.push(id);
    }
}

/// For explorers of the protocol.
impl Table {
    /// The copy of `counter` among the copies made so far, or a new one.
    pub(crate) fn copy(
        counter: &Arc<Counter>,
        copies: &mut BTreeMap<KeyId, Arc<Counter>>,
    ) -> Arc<Counter> {
        Arc::clone(copies.entry(counter.id).or_insert_with(|| Arc::new(counter.fork())))
    }

    /// A table in the same state that shares nothing with this one.
    pub(crate) fn fork(&self, waker: Waker, copies: &mut BTreeMap<KeyId, Arc<Counter>>) -> Table {
        let mut all = |counters: &[Arc<Counter>]| -> Vec<Arc<Counter>> {
            counters.iter().map(|counter| Table::copy(counter, copies)).collect()
        };
        let (dirty, hot) = (all(&self.dirty.lock()), all(&self.hot.lock()));
        let numbers = self.numbers.lock();
        let born = all(&numbers.born);
        let numbers = Numbers { next: numbers.next, free: numbers.free.clone(), born };
        let counters = DashMap::with_hasher_and_shard_amount(RandomState::default(), 2);
        for counter in &self.counters {
            counters.insert(counter.key().clone(), Table::copy(counter.value(), copies));
        }
        Table {
            counters,
            max: self.max,
            numbers: Mutex::new(numbers),
            dirty: Mutex::new(dirty),
            hot: Mutex::new(hot),
            waker,
            standing: ArcSwap::new(self.standing.load_full()),
            newest: AtomicU64::new(self.newest.load(Ordering::SeqCst)),
            policies: ArcSwap::new(self.policies.load_full()),
            checks: AtomicU64::new(self.checks.load(Ordering::Relaxed)),
            overflowed: AtomicU64::new(self.overflowed.load(Ordering::Relaxed)),
        }
    }

    /// Writes what is queued for the owner, and what checks see of it.
    pub(crate) fn trace(&self, into: &mut impl std::fmt::Write) -> std::fmt::Result {
        let ids = |counters: &[Arc<Counter>]| counters.iter().map(|c| c.id).collect::<Vec<_>>();
        let numbers = self.numbers.lock();
        write!(
            into,
            "{:?}{:?}{:?}{:?}{}",
            numbers.born,
            ids(&self.dirty.lock()),
            ids(&self.hot.lock()),
            self.standing.load(),
            numbers.next,
        )
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("counters", &self.len()).finish_non_exhaustive()
    }
}
