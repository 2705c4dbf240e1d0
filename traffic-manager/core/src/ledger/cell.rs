//! What one agent reported of one counter, in a cache line.

use weir_proto::{
    time::{Time, WindowStart},
    usage::UsageEntry,
};

use crate::fleet::AgentIx;

/// A cell's place. 0 is a cell of nobody, which accepts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CellIx(pub(super) u32);

/// No window has this name.
pub(super) const NONE: WindowStart = WindowStart(u64::MAX);

/// One agent's amounts in one window of one counter. The cell that a stream's name leads to is the
/// agent's newest window; older ones are cells of their own until they are forgotten.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Cell {
    pub(super) window: WindowStart,
    pub(super) used: u64,
    pub(super) rejected: u64,
    /// Stamp of the amounts.
    pub(super) stamp: u64,
    /// When `used` last changed.
    pub(super) active_at: Time,
    pub(super) agent: AgentIx,
    /// The counter's place.
    pub(super) place: u32,
    /// The counter's next cell.
    pub(super) next: CellIx,
    /// Names that lead here. Where there are none, the cell goes with its window.
    pub(super) names: u32,
}

impl Cell {
    fn new(agent: AgentIx, place: u32) -> Self {
        Cell {
            window: NONE,
            used: 0,
            rejected: 0,
            stamp: 0,
            active_at: Time::ZERO,
            agent,
            place,
            next: CellIx(0),
            names: 0,
        }
    }

    /// Takes the amounts of an entry about its window, unless it has newer ones.
    pub(super) fn take(&mut self, entry: &UsageEntry, stamp: u64, now: Time) {
        if stamp < self.stamp {
            return;
        }
        self.stamp = stamp;
        if entry.used != self.used {
            self.active_at = now;
        }
        self.used = entry.used;
        self.rejected = entry.rejected;
    }

    /// Begins with what an entry says of a window.
    pub(super) fn begin(&mut self, entry: &UsageEntry, stamp: u64, now: Time) {
        self.window = entry.window;
        self.used = entry.used;
        self.rejected = entry.rejected;
        self.stamp = stamp;
        self.active_at = now;
    }

    /// Forgets its window.
    pub(super) fn clear(&mut self) {
        self.window = NONE;
    }
}

/// All cells.
#[derive(Debug, Clone)]
pub(super) struct Cells {
    slab: Vec<Cell>,
    free: Vec<CellIx>,
}

impl Cells {
    pub(super) fn new() -> Self {
        Cells { slab: vec![Cell::new(0, u32::MAX)], free: Vec::new() }
    }

    /// A new cell; `None` when their numbers are used up.
    pub(super) fn add(&mut self, agent: AgentIx, place: u32) -> Option<CellIx> {
        if let Some(ix) = self.free.pop() {
            self.slab[ix.0 as usize] = Cell::new(agent, place);
            return Some(ix);
        }
        let ix = CellIx(u32::try_from(self.slab.len()).ok()?);
        self.slab.push(Cell::new(agent, place));
        Some(ix)
    }

    /// Cells in use.
    pub(super) fn len(&self) -> usize {
        self.slab.len() - 1 - self.free.len()
    }

    /// Its number may be given to another.
    pub(super) fn free(&mut self, ix: CellIx) {
        self.slab[ix.0 as usize] = Cell::new(0, u32::MAX);
        self.free.push(ix);
    }

    #[inline]
    pub(super) fn get(&self, ix: CellIx) -> &Cell {
        &self.slab[ix.0 as usize]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, ix: CellIx) -> &mut Cell {
        &mut self.slab[ix.0 as usize]
    }

    /// The cells that begin with `first`.
    pub(super) fn list(&self, first: CellIx) -> impl Iterator<Item = (CellIx, &Cell)> {
        let mut next = first;
        std::iter::from_fn(move || {
            let (ix, cell) = (next, self.get(next));
            next = cell.next;
            (ix != CellIx(0)).then_some((ix, cell))
        })
    }
}
