//! What all counters of one limit have in common.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use weir_proto::{
    amount::Charging, key::CounterKey, matcher::CompiledLimit, time::WindowStart, window::Window,
};

/// A policy's limit as the counters see it: the first half of their keys, and their window. One family
/// lives for one first half, so that families are compared by address.
#[derive(Debug)]
pub struct Family {
    /// Never given twice: it tells equal parts of two families apart in the hash.
    pub(super) number: u64,
    prefix: Box<[u8]>,
    /// The policy's name.
    pub policy: Box<str>,
    /// The limit's id in it.
    pub limit: Box<str>,
    /// The window.
    pub window: Window,
    /// Whether windows have no fixed start.
    pub rolling: bool,
    /// How use is charged.
    pub charging: Charging,
    /// See [`Family::length`], in seconds.
    length: AtomicU64,
}

impl Family {
    /// Tells it from every other family of the table.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The bytes with which the keys begin.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Rolling counters: after so long without use nothing of it counts any more. It never shrinks while
    /// the family lives, so that it is never shorter than a manager thinks.
    pub fn length(&self) -> Duration {
        Duration::from_secs(self.length.load(Ordering::Relaxed))
    }

    /// The window whose share applies: a rolling counter opens with a share that has been its own for
    /// a whole length, as what the share's former owner used may still count.
    pub fn basis(&self, window: WindowStart) -> WindowStart {
        if !self.rolling {
            return window;
        }
        WindowStart(window.0.saturating_sub(self.length.load(Ordering::Relaxed)))
    }

    /// The whole key of a counter with these parts.
    pub fn key(&self, parts: &[u8]) -> Option<CounterKey> {
        CounterKey::parse(&[&self.prefix, parts].concat()).ok()
    }
}

/// The families in use: those of the policies in force, and of counters that are left of others.
#[derive(Debug, Default)]
pub(super) struct Families(Mutex<Known>);

#[derive(Debug, Clone, Default)]
struct Known {
    by_prefix: BTreeMap<Box<[u8]>, Weak<Family>>,
    made: u64,
    /// So many are there before it is worth looking for those that nobody uses.
    prune_at: usize,
}

/// Families that are looked through for nothing at most.
const FEW: usize = 1_024;

impl Known {
    fn prune(&mut self) {
        self.by_prefix.retain(|_, family| family.strong_count() > 0);
        self.prune_at = FEW.max(2 * self.by_prefix.len());
    }
}

impl Families {
    /// The family with this first half, if it is in use.
    pub(super) fn get(&self, prefix: &[u8]) -> Option<Arc<Family>> {
        self.0.lock().by_prefix.get(prefix)?.upgrade()
    }

    /// The family with this first half of a key of `policy`'s `limit`.
    pub(super) fn of(&self, prefix: &[u8], policy: &str, limit: &CompiledLimit) -> Arc<Family> {
        let mut known = self.0.lock();
        let length = limit.limit.horizon().secs();
        if let Some(family) = known.by_prefix.get(prefix).and_then(Weak::upgrade) {
            family.length.fetch_max(length, Ordering::Relaxed);
            return family;
        }
        known.made += 1;
        let family = Arc::new(Family {
            number: known.made,
            prefix: prefix.into(),
            policy: policy.into(),
            limit: limit.id.as_ref().into(),
            window: limit.limit.window,
            rolling: limit.limit.rolling(),
            charging: limit.charging,
            length: AtomicU64::new(length),
        });
        known.by_prefix.insert(prefix.into(), Arc::downgrade(&family));
        if known.by_prefix.len() > known.prune_at {
            known.prune();
        }
        family
    }

    /// The same, to go on with apart.
    pub(super) fn fork(&self) -> Families {
        Families(Mutex::new(self.0.lock().clone()))
    }

    /// Forgets those that nobody uses any more.
    pub(super) fn prune(&self) {
        self.0.lock().prune();
    }
}
