//! Taking in what agents report.

use std::sync::Arc;

use weir_proto::{
    time::{Time, WindowStart},
    usage::UsageEntry,
};

use super::{
    CounterIx, Ledger, LimitInfo, WINDOWS, Word,
    cell::{Cell, CellIx, NONE},
};
use crate::fleet::AgentIx;

impl Ledger {
    /// The cell's counter, if it is counted.
    pub fn counter_of(&self, cell: CellIx) -> Option<CounterIx> {
        let index = self.cells.get(cell).place;
        let place = self.places.get(index as usize)?;
        place.live().then(|| self.ix(index))
    }

    /// Counts the cell's counter from now on. `None` when the ledger is full.
    pub fn open(&mut self, cell: CellIx, limit: Option<Arc<LimitInfo>>) -> Option<CounterIx> {
        if let Some(ix) = self.counter_of(cell) {
            return Some(ix);
        }
        if self.live >= self.max {
            self.refused += 1;
            return None;
        }
        let index = self.cells.get(cell).place;
        let place = self.places.get_mut(index as usize)?;
        place.counter.as_mut()?.limit = limit;
        place.generation = place.generation.wrapping_add(1);
        self.live += 1;
        Some(self.ix(index))
    }

    /// Whether the cell is of the window: a look that reads its line.
    #[inline]
    pub fn is_at(&self, cell: CellIx, window: WindowStart) -> bool {
        self.cells.get(cell).window == window
    }

    /// Takes an entry if it is about the cell's own window.
    #[inline]
    pub fn take(&mut self, cell: CellIx, entry: &UsageEntry, stamp: u64, now: Time) -> bool {
        let cell = self.cells.get_mut(cell);
        let own = cell.window == entry.window;
        if own {
            cell.take(entry, stamp, now);
        }
        own
    }

    /// Takes an entry about any window of the agent: the newest stamp wins. Returns the window's name,
    /// if the entry can be true.
    pub fn merge(
        &mut self,
        ix: CounterIx,
        agent: AgentIx,
        entry: &UsageEntry,
        stamp: u64,
        word: Word,
        now: Time,
    ) -> Option<WindowStart> {
        let counter = self.live_place(ix)?.counter.as_mut()?;
        if !counter.plausible(entry.window, now) || entry.window == NONE {
            return None;
        }
        if counter.rolling() {
            let (name, new) = counter.merge_rolling(agent, entry, stamp, word, now);
            self.gather(ix, new, now);
            return Some(name);
        }
        let cell = self.cell_of(ix.index, agent);
        if cell == CellIx(0) {
            return None;
        }
        let own = self.cells.get(cell).window;
        if self.take(cell, entry, stamp, now) {
            return Some(entry.window);
        }
        if own == NONE || own < entry.window {
            self.turn(ix, cell);
            self.cells.get_mut(cell).begin(entry, stamp, now);
        } else {
            let first = self.places[ix.index as usize].cells;
            let same = |c: &Cell| c.agent == agent && c.window == entry.window;
            let former = self.cells.list(first).find(|(_, c)| same(c)).map(|(ix, _)| ix);
            match former {
                Some(former) => {
                    self.take(former, entry, stamp, now);
                }
                None => self.add_former(ix, agent, |cell| cell.begin(entry, stamp, now)),
            }
        }
        Some(entry.window)
    }

    /// Puts what the cell holds of a window that has ended elsewhere.
    fn turn(&mut self, ix: CounterIx, cell: CellIx) {
        let Cell { window, used, rejected, stamp, active_at, agent, .. } = *self.cells.get(cell);
        if window == NONE {
            return;
        }
        let counter = self.places[ix.index as usize].counter.as_mut();
        match counter.filter(|c| c.windows.iter().any(|w| w.start == window)) {
            Some(counter) => counter.bring(self.cells.get(cell)),
            None => self.add_former(ix, agent, |former| {
                (former.window, former.used, former.rejected) = (window, used, rejected);
                (former.stamp, former.active_at) = (stamp, active_at);
            }),
        }
    }

    /// A cell for a window that is not the agent's newest. Of too many, the oldest goes.
    fn add_former(&mut self, ix: CounterIx, agent: AgentIx, fill: impl FnOnce(&mut Cell)) {
        let first = self.places[ix.index as usize].cells;
        let former = |c: &Cell| c.agent == agent && c.names == 0;
        let count = self.cells.list(first).filter(|(_, c)| former(c)).count();
        if count >= WINDOWS {
            let oldest = self.cells.list(first).filter(|(_, c)| former(c));
            if let Some((oldest, _)) = oldest.min_by_key(|(_, c)| c.window) {
                self.drop_cells(ix.index, |ix, _| ix == oldest);
            }
        }
        let added = self.add_cell(ix.index, agent);
        if added != CellIx(0) {
            fill(self.cells.get_mut(added));
        }
    }
}
