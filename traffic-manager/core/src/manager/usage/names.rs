//! What a peer calls the counters on one stream.

use std::collections::BTreeMap;

use weir_proto::usage::KeyId;

use crate::ledger::CellIx;

/// Names kept per stream; a peer that needs more must open a new stream.
const MAX_NAMES: usize = 2_000_000;
/// Ids up to here, or up to [`DENSE`] times the number of names, have a place in a table.
const FIRST: usize = 1 << 16;
const DENSE: usize = 8;

/// Cells by id. Agents number their counters from 0, so that a table of 4 bytes an id holds them; ids
/// from far above are kept apart, so that nobody can make the table large by naming few.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    dense: Vec<CellIx>,
    sparse: BTreeMap<KeyId, CellIx>,
    count: usize,
}

impl Names {
    /// The cell of the counter that the peer calls `id`, or the cell of nobody.
    #[inline]
    pub(crate) fn cell(&self, id: KeyId) -> CellIx {
        match self.dense.get(id as usize) {
            Some(cell) if *cell != CellIx::default() => *cell,
            _ => self.sparse_cell(id),
        }
    }

    #[cold]
    fn sparse_cell(&self, id: KeyId) -> CellIx {
        self.sparse.get(&id).copied().unwrap_or_default()
    }

    /// Calls the cell `id` from now on. Returns the cell that was called so before.
    pub(crate) fn put(&mut self, id: KeyId, cell: CellIx) -> CellIx {
        let former = self.forget(id);
        if cell == CellIx::default() {
            return former;
        }
        self.count += 1;
        let at = id as usize;
        if at >= self.dense.len() && at < FIRST + DENSE * self.count {
            self.dense.resize(at + 1, CellIx::default());
        }
        match self.dense.get_mut(at) {
            Some(place) => *place = cell,
            None => {
                self.sparse.insert(id, cell);
            }
        }
        former
    }

    /// The id names nothing from now on. Returns the cell that was called so.
    pub(crate) fn forget(&mut self, id: KeyId) -> CellIx {
        let dense = self.dense.get_mut(id as usize).map(std::mem::take).unwrap_or_default();
        let cell = match dense {
            nobody if nobody == CellIx::default() => self.sparse.remove(&id).unwrap_or_default(),
            cell => cell,
        };
        self.count -= usize::from(cell != CellIx::default());
        cell
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether the peer has named more than is kept.
    pub(crate) fn too_many(&self) -> bool {
        self.count > MAX_NAMES
    }

    /// Every cell that has a name.
    pub(crate) fn into_cells(self) -> impl Iterator<Item = CellIx> {
        self.dense.into_iter().chain(self.sparse.into_values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    #[test]
    fn a_far_id_costs_no_table() {
        let (mut names, mut ledger) = (Names::default(), Ledger::new(10, 0));
        let keys = [b"\x01\x01p\x01l\x00".as_slice(), b"\x01\x01p\x01m\x00"];
        let mut cells = Vec::new();
        ledger.name(0, keys.into_iter(), &mut cells).expect("two keys");
        for id in [KeyId::MAX, 5] {
            assert_eq!(names.put(id, cells[0]), CellIx::default(), "nothing was called so");
            assert_eq!(names.cell(id), cells[0]);
            assert_eq!(names.put(id, cells[1]), cells[0], "the former one is told");
            assert_eq!(names.forget(id), cells[1]);
            assert_eq!(names.cell(id), CellIx::default());
        }
        assert!(names.dense.len() < 10);
    }
}
