//! Whose counter it is: the family, and the parts of the key.

use std::sync::Arc;

use weir_proto::{key::CounterKey, time::WindowStart, usage::KeyId};

use super::{Counter, SPILLED};
use crate::table::Family;

impl Counter {
    /// Makes this the counter of a key, without use. `start` names its first window.
    pub fn begin(&mut self, family: &Arc<Family>, parts: &[u8], id: KeyId, start: WindowStart) {
        *self =
            Counter { family: Some(Arc::clone(family)), window: start, id, ..Counter::default() };
        match (self.parts.get_mut(..parts.len()), u8::try_from(parts.len())) {
            (Some(inline), Ok(len)) => {
                inline.copy_from_slice(parts);
                self.parts_len = len;
            }
            _ => {
                self.parts_len = SPILLED;
                self.cold().parts = Some(parts.into());
            }
        }
    }

    /// Whether this is the counter of that key.
    #[inline]
    pub fn is(&self, family: &Arc<Family>, parts: &[u8]) -> bool {
        self.family.as_ref().is_some_and(|own| Arc::ptr_eq(own, family)) && self.parts() == parts
    }

    /// The second half of its key.
    #[inline]
    pub fn parts(&self) -> &[u8] {
        match self.parts.get(..usize::from(self.parts_len)) {
            Some(parts) => parts,
            None => self.spilled(),
        }
    }

    #[cold]
    fn spilled(&self) -> &[u8] {
        self.cold.as_ref().and_then(|cold| cold.parts.as_deref()).unwrap_or_default()
    }

    /// What it shares with the other counters of its limit; `None` if it is nobody's counter.
    pub fn family(&self) -> Option<&Arc<Family>> {
        self.family.as_ref()
    }

    /// Its name, unless it is nobody's counter.
    pub fn key(&self) -> Option<CounterKey> {
        self.family.as_ref()?.key(self.parts())
    }
}
