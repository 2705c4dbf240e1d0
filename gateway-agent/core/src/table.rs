//! All counters of the agent: found by key without a lock or an allocation, bounded, with marks and a
//! queue for the owner.
//!
//! Request threads find, make and charge counters; the owner alone takes them out. So the owner may
//! keep slot numbers, and everybody else must look a counter up again.

use std::{
    hash::Hasher,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use foldhash::{SharedSeed, fast::FoldHasher};
use parking_lot::Mutex;
use weir_proto::{
    key::{CounterKey, MAX_KEY_BYTES},
    matcher::{CompiledLimit, PolicySet},
    policy::OnDisconnect,
    time::{Time, WindowStart},
    usage::KeyId,
};

pub(crate) use self::slots::Guard;
use self::{
    family::Families,
    index::{Index, Shape},
    leases::Leases,
    slots::Slots,
    tally::Tally,
};
pub use self::{
    family::Family,
    leases::{Held, LeaseId, MAX_LEASES},
};
use crate::standing::{Counted, Snapshot, Standing};

mod clear;
mod family;
mod fork;
mod index;
mod leases;
mod slots;
mod tally;

/// What stands in for the key's parts once the table is full: one counter for all further keys.
pub const OVERFLOW: &str = "(overflow)";
/// Its canonical bytes.
const OVERFLOW_PARTS: &[u8] = b"\x0a(overflow)";
/// Room for counters of keys that found none, beside the others: one per limit.
const OVERFLOW_ROOM: usize = 1 << 20;
/// Most counters that a table has room for.
const MOST: usize = 1 << 28;

/// Called when the owner has something to do; must not block.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// A key to look up.
#[derive(Debug, Clone, Copy)]
pub struct Name<'a> {
    /// Its first half.
    pub family: &'a Arc<Family>,
    /// Its second half.
    pub parts: &'a [u8],
    fingerprint: u32,
}

/// A locked counter, and where it is.
#[derive(Debug)]
pub struct Found<'a> {
    /// The slot.
    pub slot: u32,
    /// The counter.
    pub counter: Guard<'a>,
}

/// Counters and what all threads share.
pub struct Table {
    seed: SharedSeed,
    /// Bits of the hash that are used; all but in tests.
    mask: u32,
    index: Index,
    slots: Slots,
    writer: Mutex<Writer>,
    live: AtomicUsize,
    max: usize,
    hot: Mutex<Vec<u32>>,
    waker: Waker,
    families: Families,
    leases: Leases,
    snapshot: Mutex<Arc<Snapshot>>,
    /// Where the snapshot lies. Who holds a snapshot at this address holds the newest.
    address: AtomicUsize,
    /// The newest standing's number: raised before the owner lists what it holds.
    pub newest: AtomicU64,
    /// Checks answered.
    pub checks: Tally,
    /// Requests counted in an overflow counter.
    pub overflowed: AtomicU64,
}

/// For whoever makes or takes out counters.
struct Writer {
    shape: Shape,
    vacant: Vec<u32>,
    next: KeyId,
    free: Vec<KeyId>,
}

fn address(snapshot: &Arc<Snapshot>) -> usize {
    Arc::as_ptr(snapshot) as usize
}

impl Table {
    /// An empty table for about `max` counters. The seed decides where keys lie and nothing else;
    /// who does not know it cannot choose keys that collide.
    pub fn new(max: usize, on_disconnect: OnDisconnect, seed: u64, waker: Waker) -> Self {
        let max = max.clamp(1, MOST);
        let (index, shape) = Index::new(max + OVERFLOW_ROOM.min(max));
        let snapshot = Arc::new(Snapshot {
            standing: Standing::new(on_disconnect),
            policies: Arc::new(PolicySet::compile(0, [])),
            families: Arc::new([]),
        });
        Table {
            seed: SharedSeed::from_u64(seed),
            mask: u32::MAX,
            index,
            slots: Slots::new(max + OVERFLOW_ROOM),
            writer: Mutex::new(Writer { shape, vacant: Vec::new(), next: 0, free: Vec::new() }),
            live: AtomicUsize::new(0),
            max,
            hot: Mutex::default(),
            waker,
            families: Families::default(),
            leases: Leases::default(),
            address: AtomicUsize::new(address(&snapshot)),
            snapshot: Mutex::new(snapshot),
            newest: AtomicU64::new(0),
            checks: Tally::default(),
            overflowed: AtomicU64::new(0),
        }
    }

    /// The same with so many bits of hash, so that tests can make keys collide.
    #[must_use]
    pub fn with_hash_bits(self, bits: u32) -> Self {
        let mask = u32::MAX.checked_shr(32 - bits.min(32)).unwrap_or(0);
        Table { mask, ..self }
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.lock())
    }

    /// Whether this is the newest. An address is not given to another snapshot while this one lives.
    #[inline]
    pub fn is_newest(&self, snapshot: &Arc<Snapshot>) -> bool {
        self.address.load(Ordering::Acquire) == address(snapshot)
    }

    fn replace(&self, change: impl FnOnce(&Snapshot) -> Snapshot) {
        let mut snapshot = self.snapshot.lock();
        *snapshot = Arc::new(change(&snapshot));
        self.address.store(address(&snapshot), Ordering::Release);
    }

    /// Puts a standing in force.
    pub fn publish(&self, standing: &Standing) {
        self.replace(|old| Snapshot {
            standing: standing.clone(),
            policies: Arc::clone(&old.policies),
            families: Arc::clone(&old.families),
        });
        self.newest.store(standing.number, Ordering::SeqCst);
    }

    /// Puts policies in force.
    pub fn enforce(&self, policies: Arc<PolicySet>) {
        let mut families: Vec<(u32, Counted)> = Vec::new();
        for policy in policies.compiled() {
            let name = policy.policy.name.as_str();
            for limit in policy.all_limits() {
                let own = self.families.of(limit.prefix(), name, limit);
                // Its amount is that of keys that are no exception.
                let usual = policy.usual(limit).unwrap_or(limit);
                let shared = CounterKey::new(name, &usual.id, &[OVERFLOW]);
                let overflow = shared.map_or_else(
                    |_| Arc::clone(&own),
                    |key| self.families.of(key.halves().0, name, usual),
                );
                families.push((limit.index, Counted { own, overflow }));
            }
        }
        families.sort_by_key(|(index, _)| *index);
        let families: Arc<[Counted]> = families.into_iter().map(|(_, counted)| counted).collect();
        self.replace(|old| Snapshot { standing: old.standing.clone(), policies, families });
        self.families.prune();
    }

    /// The family of a limit that a request brings along.
    #[cold]
    pub fn brought(&self, policy: &str, limit: &CompiledLimit) -> Arc<Family> {
        self.families.of(limit.prefix(), policy, limit)
    }

    /// Live counters.
    pub fn len(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key with these halves.
    #[inline]
    pub fn name<'a>(&self, family: &'a Arc<Family>, parts: &'a [u8]) -> Name<'a> {
        let mut hasher = FoldHasher::with_seed(family.number, &self.seed);
        hasher.write(parts);
        let hash = hasher.finish();
        #[expect(clippy::cast_possible_truncation, reason = "both halves go in")]
        let fingerprint = (hash ^ (hash >> 32)) as u32 & self.mask;
        Name { family, parts, fingerprint }
    }

    /// The counter of that key, locked. Without the writers' lock it may be missed.
    #[inline(always)]
    pub fn find(&self, name: &Name<'_>) -> Option<Found<'_>> {
        self.index.find(name.fingerprint, |slot| {
            let counter = self.slots.lock_tagged(slot, name.fingerprint)?;
            counter.is(name.family, name.parts).then_some(Found { slot, counter })
        })
    }

    /// The slot of the counter with this key. For the owner.
    pub fn slot(&self, key: &CounterKey) -> Option<u32> {
        let (prefix, parts) = key.halves();
        let family = self.families.get(prefix)?;
        let _writer = self.writer.lock();
        Some(self.find(&self.name(&family, parts))?.slot)
    }

    /// The family of such keys, made if missing.
    pub fn family(&self, key: &CounterKey, limit: &CompiledLimit) -> Arc<Family> {
        self.families.of(key.halves().0, key.policy(), limit)
    }

    /// The counter of that key, locked; made if missing, unless the table is full or the key is too
    /// long. `start` names its window.
    pub fn open(&self, name: &Name<'_>, start: WindowStart) -> Option<Found<'_>> {
        let mut writer = self.writer.lock();
        if let Some(found) = self.find(name) {
            return Some(found);
        }
        let long = name.family.prefix().len() + name.parts.len() > MAX_KEY_BYTES;
        if long || self.len() >= self.max {
            return None;
        }
        self.insert(&mut writer, name, start)
    }

    /// The counter that stands in for all keys of a limit that find no room.
    pub fn overflow(&self, family: &Arc<Family>, start: WindowStart) -> Option<Found<'_>> {
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        let name = self.name(family, OVERFLOW_PARTS);
        if let Some(found) = self.find(&name) {
            return Some(found);
        }
        let mut writer = self.writer.lock();
        match self.find(&name) {
            Some(found) => Some(found),
            None => self.insert(&mut writer, &name, start),
        }
    }

    fn insert(
        &self,
        writer: &mut Writer,
        name: &Name<'_>,
        start: WindowStart,
    ) -> Option<Found<'_>> {
        let slot = writer.vacant.pop().or_else(|| self.slots.add())?;
        let mut counter = self.slots.lock(slot)?;
        if !self.index.insert(&mut writer.shape, name.fingerprint, slot) {
            writer.vacant.push(slot);
            return None;
        }
        let id = writer.free.pop().unwrap_or_else(|| {
            writer.next += 1;
            writer.next - 1
        });
        counter.begin(name.family, name.parts, id, start);
        self.slots.tag(slot, name.fingerprint);
        self.live.fetch_add(1, Ordering::Relaxed);
        Some(Found { slot, counter })
    }

    /// Slots ever used: all counters are below.
    pub fn slots(&self) -> u32 {
        self.slots.used()
    }

    /// The counter in a slot, locked; `None` if it is nobody's. For the owner.
    pub fn at(&self, slot: u32) -> Option<Guard<'_>> {
        self.slots.lock(slot).filter(|counter| counter.family().is_some())
    }

    /// Notes that a locked counter changed.
    #[inline]
    pub fn touch(&self, found: &mut Found<'_>) {
        if found.counter.mark_dirty() {
            self.slots.mark(found.slot);
        }
    }

    /// Notes that the owner should ask for more, and wakes it.
    pub fn heat(&self, mut found: Found<'_>) {
        if !found.counter.mark_hot() {
            return;
        }
        let slot = found.slot;
        drop(found);
        let first = {
            let mut hot = self.hot.lock();
            hot.push(slot);
            hot.len() == 1
        };
        if first {
            (self.waker)();
        }
    }

    /// Takes the slots whose counters changed; each can be marked anew once [`Counter::dirty`] is
    /// cleared.
    ///
    /// [`Counter::dirty`]: crate::counter::Counter::dirty
    pub fn take_dirty(&self) -> Vec<u32> {
        self.slots.take_marked()
    }

    /// How many changed since the last batch.
    pub fn dirty_len(&self) -> usize {
        self.slots.marked()
    }

    /// Takes the slots of the counters near their ceilings; they can be marked anew at once.
    pub fn take_hot(&self) -> Vec<u32> {
        let taken = std::mem::take(&mut *self.hot.lock());
        for slot in &taken {
            if let Some(mut counter) = self.slots.lock(*slot) {
                counter.hot = false;
            }
        }
        taken
    }

    /// Takes an idle counter out, if it is still idle. Its number when it left.
    pub fn retire(&self, slot: u32, time: Time, now: Time) -> Option<KeyId> {
        if !self.at(slot)?.idle(time, now) {
            return None;
        }
        // Nobody makes a counter of the same name meanwhile, and under its lock nobody charges it.
        let mut writer = self.writer.lock();
        let mut counter = self.at(slot).filter(|counter| counter.idle(time, now))?;
        let family = Arc::clone(counter.family()?);
        let fingerprint = self.name(&family, counter.parts()).fingerprint;
        self.index.remove(&mut writer.shape, fingerprint, slot);
        let id = counter.id;
        *counter = Default::default();
        writer.vacant.push(slot);
        self.live.fetch_sub(1, Ordering::Relaxed);
        Some(id)
    }

    /// The number of a retired counter may be used again.
    pub fn free(&self, id: KeyId) {
        self.writer.lock().free.push(id);
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("counters", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
