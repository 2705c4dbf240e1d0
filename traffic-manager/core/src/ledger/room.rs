//! How much the ledger may hold, counted or only named.

use weir_proto::key::{CounterKey, MAX_KEY_BYTES};

use super::Ledger;

/// Counters that are counted or only named, for each that may be counted.
const PLACES: usize = 2;
/// Bytes of keys for each counter that may be counted.
const KEY_BYTES: usize = 256;
/// Cells for each counter that may be counted, and for few counters altogether: 64 bytes each.
const CELLS: usize = 16;
const FEW_CELLS: usize = 1 << 20;

/// Whether `part` of `whole` is more than `n` of `d` equal parts.
fn beyond(part: usize, whole: usize, n: usize, d: usize) -> bool {
    part > whole / d * n + whole % d * n / d
}

impl Ledger {
    /// Counters that are counted or named.
    pub fn known(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Most counters that are counted or named.
    pub fn most_known(&self) -> usize {
        self.max.saturating_mul(PLACES)
    }

    fn most_key_bytes(&self) -> usize {
        self.max.saturating_mul(KEY_BYTES).max(MAX_KEY_BYTES)
    }

    fn most_cells(&self) -> usize {
        self.max.saturating_mul(CELLS).max(FEW_CELLS)
    }

    /// Whether one more counter may be known.
    pub fn has_room_for(&self, key: &CounterKey) -> bool {
        self.known() < self.most_known()
            && self.key_bytes + key.as_bytes().len() <= self.most_key_bytes()
    }

    /// Whether one more cell may be kept.
    pub(super) fn has_room_for_cell(&self) -> bool {
        self.cells.len() < self.most_cells()
    }

    /// Whether some bound is used up to more than `n` of `d` parts.
    fn used(&self, n: usize, d: usize) -> bool {
        beyond(self.known(), self.most_known(), n, d)
            || beyond(self.key_bytes, self.most_key_bytes(), n, d)
            || beyond(self.cells.len(), self.most_cells(), n, d)
    }

    /// It is nearly full.
    pub fn crowded(&self) -> bool {
        self.used(7, 8)
    }

    /// Half of it is free.
    pub fn roomy(&self) -> bool {
        !self.used(1, 2)
    }
}
