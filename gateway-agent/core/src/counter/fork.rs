//! Copies of counters, for explorers of the protocol.

use super::{Counter, cold::Cold};

impl Counter {
    /// A counter in the same state that shares nothing with this one, apart from its pace while alone,
    /// which begins anew.
    pub(crate) fn fork(&self) -> Counter {
        Counter {
            family: self.family.clone(),
            window: self.window,
            used: self.used,
            ceiling: self.ceiling,
            mark: self.mark,
            asked_at: self.asked_at,
            offered: self.offered,
            id: self.id,
            cold: self.cold.as_ref().map(|cold| Box::new(cold.fork())),
            dirty: self.dirty,
            hot: self.hot,
            parts_len: self.parts_len,
            parts: self.parts,
        }
    }
}

impl Cold {
    fn fork(&self) -> Cold {
        Cold {
            closed: self.closed.clone(),
            rejected: self.rejected,
            exhausted_until: self.exhausted_until,
            tight: self.tight,
            beyond: self.beyond,
            beyond_at: self.beyond_at,
            last_use: self.last_use,
            granted_use: self.granted_use,
            base_at: self.base_at,
            base: self.base,
            before: self.before,
            capped_at: self.capped_at,
            pace: None,
            parts: self.parts.clone(),
        }
    }
}
