//! Where counters live: chunks of slots that never move and are never freed, so that a slot's number is
//! always safe to follow. Whose counter a slot holds is known under its lock alone.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use spin::mutex::{SpinMutex, SpinMutexGuard};

use crate::counter::Counter;

/// Slots of the first chunk: each of the next has twice as many, until [`CHUNK`] are reached.
const FIRST: usize = 1 << 6;
/// Slots of a chunk at most; a multiple of 64.
const CHUNK: usize = 1 << 11;
/// Chunks that are smaller, and the slots in all of them.
const SMALL: usize = (CHUNK / FIRST).trailing_zeros() as usize;
const IN_SMALL: usize = CHUNK - FIRST;
/// How often a busy lock is tried before the processor is given to others.
const SPINS: u32 = 100;

/// A counter, locked. Held for a few dozen instructions; never while another one is wanted.
pub(crate) type Guard<'a> = SpinMutexGuard<'a, Counter, spin::relax::Yield>;

/// Lock and counter in two cache lines that the processor fetches together. A lock of one byte that
/// spins, because a fair or parking one costs a second locked instruction per check.
#[derive(Debug, Default)]
#[repr(C, align(128))]
struct Slot {
    counter: SpinMutex<Counter, spin::relax::Yield>,
    /// The fingerprint of the counter's key, or of one that was here: a hint. It is in the second line
    /// so that looking at it and at the lock fetches both lines at once.
    tag: AtomicU32,
}

#[derive(Debug)]
struct Chunk {
    slots: Box<[Slot]>,
    /// A bit for each slot that changed since the last batch.
    dirty: Box<[AtomicU64]>,
}

/// All slots.
#[derive(Debug)]
pub(super) struct Slots {
    chunks: Box<[OnceLock<Chunk>]>,
    /// Slots ever used: the first so many.
    used: AtomicUsize,
}

impl Chunk {
    fn new(slots: usize) -> Self {
        Chunk {
            slots: (0..slots).map(|_| Slot::default()).collect(),
            dirty: (0..slots / 64).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

/// Number of a slot's chunk, and the slot's place in it.
#[inline]
fn place(slot: usize) -> (usize, usize) {
    if slot >= IN_SMALL {
        let slot = slot - IN_SMALL;
        return (SMALL + slot / CHUNK, slot % CHUNK);
    }
    // Chunk `n` begins at (2^n − 1) × FIRST.
    let chunk = (slot / FIRST + 1).ilog2() as usize;
    (chunk, slot - ((1 << chunk) - 1) * FIRST)
}

fn size(chunk: usize) -> usize {
    if chunk < SMALL { FIRST << chunk } else { CHUNK }
}

impl Slots {
    /// With room for at least so many counters; memory is taken as they come.
    pub(super) fn new(most: usize) -> Self {
        Slots {
            chunks: (0..SMALL + most.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect(),
            used: AtomicUsize::new(0),
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let chunks = self.chunks.iter().filter_map(OnceLock::get);
        let slots: usize = chunks.map(|chunk| chunk.slots.len()).sum();
        slots * size_of::<Slot>() + slots / 8 + self.chunks.len() * size_of::<OnceLock<Chunk>>()
    }

    /// How many were ever used.
    pub(super) fn used(&self) -> u32 {
        u32::try_from(self.used.load(Ordering::Acquire)).unwrap_or(u32::MAX)
    }

    /// A slot that was never used. For the one writer.
    pub(super) fn add(&self) -> Option<u32> {
        let next = self.used.load(Ordering::Relaxed);
        let (chunk, _) = place(next);
        self.chunks.get(chunk)?.get_or_init(|| Chunk::new(size(chunk)));
        self.used.store(next + 1, Ordering::Release);
        u32::try_from(next).ok()
    }

    #[inline]
    fn slot(&self, slot: u32) -> Option<&Slot> {
        let (chunk, slot) = place(slot as usize);
        self.chunks.get(chunk)?.get()?.slots.get(slot)
    }

    /// Says whose counter is in a slot that the caller has locked.
    pub(super) fn tag(&self, slot: u32, fingerprint: u32) {
        if let Some(slot) = self.slot(slot) {
            slot.tag.store(fingerprint, Ordering::Relaxed);
        }
    }

    /// Locks a slot if its counter can have this fingerprint.
    #[inline(always)]
    pub(super) fn lock_tagged(&self, slot: u32, fingerprint: u32) -> Option<Guard<'_>> {
        let slot = self.slot(slot)?;
        let busy = slot.counter.is_locked();
        if slot.tag.load(Ordering::Relaxed) != fingerprint {
            return None;
        }
        if !busy && let Some(guard) = slot.counter.try_lock_weak() {
            return Some(guard);
        }
        Some(Self::wait(&slot.counter))
    }

    /// Locks a slot.
    pub(super) fn lock(&self, slot: u32) -> Option<Guard<'_>> {
        Some(Self::wait(&self.slot(slot)?.counter))
    }

    #[cold]
    fn wait(lock: &SpinMutex<Counter, spin::relax::Yield>) -> Guard<'_> {
        for _ in 0..SPINS {
            // Looks before it locks: waiting does not take the line away from the holder.
            if !lock.is_locked()
                && let Some(guard) = lock.try_lock_weak()
            {
                return guard;
            }
            std::hint::spin_loop();
        }
        lock.lock()
    }

    /// Notes that a slot changed. Its lock is held.
    pub(super) fn mark(&self, slot: u32) {
        let (chunk, place) = place(slot as usize);
        let chunk = self.chunks.get(chunk).and_then(OnceLock::get);
        let word = chunk.and_then(|chunk| chunk.dirty.get(place / 64));
        if let Some(word) = word {
            word.fetch_or(1 << (place % 64), Ordering::AcqRel);
        }
    }

    fn words(&self) -> impl Iterator<Item = (usize, &AtomicU64)> {
        let chunks = self.chunks.iter().map_while(OnceLock::get);
        chunks.flat_map(|chunk| chunk.dirty.iter()).enumerate()
    }

    /// How many are marked.
    pub(super) fn marked(&self) -> usize {
        let bits = self.words().map(|(_, word)| word.load(Ordering::Relaxed).count_ones() as usize);
        bits.sum()
    }

    /// Takes the marks away; the slots that had one, ascending.
    pub(super) fn take_marked(&self) -> Vec<u32> {
        let mut taken = Vec::new();
        for (number, word) in self.words() {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = word.swap(0, Ordering::AcqRel);
            while bits > 0 {
                let slot = number * 64 + bits.trailing_zeros() as usize;
                taken.extend(u32::try_from(slot));
                bits &= bits - 1;
            }
        }
        taken
    }
}
