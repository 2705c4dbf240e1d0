//! Copies of counters, for explorers of the protocol.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::{Counter, State};

impl Counter {
    /// A counter in the same state that shares nothing with this one, apart from its pace while alone,
    /// which begins anew.
    pub(crate) fn fork(&self) -> Counter {
        Counter {
            id: self.id,
            key: self.key.clone(),
            window: self.window,
            rolling: self.rolling,
            dirty: AtomicBool::new(self.dirty.load(Ordering::Acquire)),
            hot: AtomicBool::new(self.hot.load(Ordering::Acquire)),
            state: Mutex::new(self.state.lock().fork()),
        }
    }
}

impl State {
    fn fork(&self) -> State {
        State {
            window: self.window,
            used: self.used,
            rejected: self.rejected,
            ceiling: self.ceiling,
            exhausted_until: self.exhausted_until,
            offered: self.offered,
            asked_at: self.asked_at,
            closed: self.closed.clone(),
            last_use: self.last_use,
            granted_use: self.granted_use,
            mark: self.mark,
            base_at: self.base_at,
            base: self.base,
            before: self.before,
            pace: None,
            beyond: self.beyond,
            beyond_at: self.beyond_at,
            capped_at: self.capped_at,
            dead: self.dead,
        }
    }
}
