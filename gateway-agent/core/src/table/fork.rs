//! Copies of tables, and their state as text, for explorers of the protocol.

use std::{
    fmt,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use parking_lot::Mutex;

use super::{
    OVERFLOW_ROOM, Table, Waker, Writer,
    index::{Index, Shape},
    slots::Slots,
    tally::Tally,
};

impl Table {
    /// A table in the same state that shares nothing with this one but what never changes.
    pub(crate) fn fork(&self, waker: Waker) -> Table {
        let snapshot = self.snapshot();
        let (index, mut shape) = Index::new(self.max + OVERFLOW_ROOM.min(self.max));
        let slots = Slots::new(self.max + OVERFLOW_ROOM);
        self.copy_counters(&index, &mut shape, &slots);
        let writer = self.writer.lock();
        let (vacant, next, free) = (writer.vacant.clone(), writer.next, writer.free.clone());
        Table {
            seed: self.seed.clone(),
            mask: self.mask,
            index,
            slots,
            writer: Mutex::new(Writer { shape, vacant, next, free }),
            live: AtomicUsize::new(self.len()),
            max: self.max,
            hot: Mutex::new(self.hot.lock().clone()),
            waker,
            families: self.families.fork(),
            leases: self.leases.fork(),
            address: AtomicUsize::new(super::address(&snapshot)),
            snapshot: Mutex::new(snapshot),
            newest: AtomicU64::new(self.newest.load(Ordering::SeqCst)),
            checks: Tally::default(),
            overflowed: AtomicU64::new(self.overflowed.load(Ordering::Relaxed)),
        }
    }

    fn copy_counters(&self, index: &Index, shape: &mut Shape, slots: &Slots) {
        for slot in 0..self.slots() {
            slots.add();
            let (Some(counter), Some(mut copy)) = (self.at(slot), slots.lock(slot)) else {
                continue;
            };
            let Some(family) = counter.family() else { continue };
            let fingerprint = self.name(family, counter.parts()).fingerprint;
            *copy = counter.fork();
            slots.tag(slot, fingerprint);
            index.insert(shape, fingerprint, slot);
            if counter.dirty {
                slots.mark(slot);
            }
        }
    }

    /// Writes the counters, what is queued for the owner, and what checks see of it.
    pub(crate) fn trace(&self, into: &mut impl fmt::Write) -> fmt::Result {
        for slot in 0..self.slots() {
            if let Some(counter) = self.at(slot) {
                write!(into, "{slot}{:?}", *counter)?;
            }
        }
        let next = self.writer.lock().next;
        write!(into, "{:?}{:?}{next}", self.hot.lock(), self.snapshot().standing)
    }
}
