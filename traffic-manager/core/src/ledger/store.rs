//! The counters: bringing their windows up to date, and forgetting them.

use std::sync::Arc;

use weir_proto::time::{Time, WindowStart};

use super::{
    Counter, CounterIx, LimitInfo, WindowState, Windows,
    cell::{CellIx, Cells, NONE},
    closing::{Closings, Ended},
    index::Index,
};

/// A counter, or the name of one that is not counted now. The generation is odd while it is counted.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) generation: u32,
    pub(super) cells: CellIx,
    pub(super) counter: Option<Counter>,
}

impl Place {
    pub(super) fn live(&self) -> bool {
        self.generation % 2 == 1
    }
}

/// All counters; bounded: `room` says how.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub(super) places: Vec<Place>,
    pub(super) free: Vec<u32>,
    pub(super) index: Index,
    pub(super) cells: Cells,
    pub(super) live: usize,
    pub(super) max: usize,
    /// Of all places.
    pub(super) key_bytes: usize,
    pub(super) closings: Closings,
    /// Times that a counter was not named or not counted because the ledger was full.
    pub refused: u64,
}

impl Ledger {
    /// An empty ledger that counts at most `max` counters, and knows at most twice as many. The `seed` should be hard to guess.
    pub fn new(max: usize, seed: u64) -> Self {
        Ledger {
            places: Vec::new(),
            free: Vec::new(),
            index: Index::new(seed),
            cells: Cells::new(),
            live: 0,
            max,
            key_bytes: 0,
            closings: Closings::default(),
            refused: 0,
        }
    }

    /// Live counters.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    pub(super) fn ix(&self, index: u32) -> CounterIx {
        CounterIx { index, generation: self.places[index as usize].generation }
    }

    pub(super) fn live_place(&mut self, ix: CounterIx) -> Option<&mut Place> {
        let place = self.places.get_mut(ix.index as usize)?;
        (place.generation == ix.generation && place.live()).then_some(place)
    }

    /// The counter with its windows as far as credit is at stake in them, unless it has left.
    pub fn get(&self, ix: CounterIx) -> Option<&Counter> {
        let place = self.places.get(ix.index as usize)?;
        if place.generation == ix.generation { place.counter.as_ref() } else { None }
    }

    /// The counter with all windows up to date, unless it has left.
    pub fn get_mut(&mut self, ix: CounterIx) -> Option<&mut Counter> {
        let place = self.places.get_mut(ix.index as usize)?;
        if place.generation != ix.generation || !place.live() {
            return None;
        }
        let counter = place.counter.as_mut()?;
        for (_, cell) in self.cells.list(place.cells) {
            counter.bring(cell);
        }
        Some(counter)
    }

    /// A copy of the counter with all windows, for a look.
    pub fn read(&self, ix: CounterIx) -> Option<Counter> {
        let mut counter = self.get(ix)?.clone();
        for (_, cell) in self.cells.list(self.places.get(ix.index as usize)?.cells) {
            counter.bring(cell);
        }
        Some(counter)
    }

    /// No window of a counter has more use than this, unless it is a rolling one.
    pub fn used_at_most(&self, ix: CounterIx) -> u64 {
        let windows = self.get(ix).into_iter().flat_map(|counter| &counter.windows);
        let first = self.places.get(ix.index as usize).map_or(CellIx(0), |place| place.cells);
        let cells = self.cells.list(first).filter(|(_, cell)| cell.window != NONE);
        let told = cells.map(|(_, cell)| cell.used);
        windows.map(WindowState::used).chain(told).fold(0, u64::saturating_add)
    }

    /// Every counter, in place order, as [`Ledger::get`] shows it.
    pub fn iter(&self) -> impl Iterator<Item = (CounterIx, &Counter)> {
        self.places.iter().enumerate().filter(|(_, place)| place.live()).filter_map(|(i, place)| {
            let index = u32::try_from(i).ok()?;
            Some((CounterIx { index, generation: place.generation }, place.counter.as_ref()?))
        })
    }

    /// Every counter as [`Ledger::get`] shows it, to change what is not usage.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (CounterIx, &mut Counter)> {
        let live = self.places.iter_mut().enumerate().filter(|(_, place)| place.live());
        live.filter_map(|(i, place)| {
            let index = u32::try_from(i).ok()?;
            Some((CounterIx { index, generation: place.generation }, place.counter.as_mut()?))
        })
    }

    /// The counter counts against another limit from now on, or against none. Usage stays, unless the
    /// window changed its kind.
    pub fn set_limit(&mut self, ix: CounterIx, limit: Option<Arc<LimitInfo>>) {
        if limit.is_none() {
            self.close_early(ix);
        }
        let Some(place) = self.live_place(ix) else { return };
        let Some(counter) = &mut place.counter else { return };
        let other = limit.as_ref().is_some_and(|l| l.rolling() != counter.rolling());
        counter.limit = limit;
        if other {
            counter.windows = Windows::default();
            self.forget(ix, |_| true);
        }
    }

    /// Forgets what the cells hold of some windows.
    fn forget(&mut self, ix: CounterIx, over: impl Fn(WindowStart) -> bool) {
        let mut at = self.places[ix.index as usize].cells;
        while at != CellIx(0) {
            let cell = self.cells.get_mut(at);
            if over(cell.window) {
                cell.clear();
            }
            at = cell.next;
        }
        self.drop_cells(ix.index, |_, cell| cell.names == 0 && cell.window == NONE);
    }

    /// Forgets windows that are over, and the counter when none is left. Tells of each that ends;
    /// returns when to look again.
    pub fn expire(
        &mut self,
        ix: CounterIx,
        now: Time,
        mut ended: impl FnMut(&Ended<'_>),
    ) -> Option<Time> {
        let windows = self.windows_of(ix)?;
        let counter = self.places[ix.index as usize].counter.as_mut()?;
        let over = |start| windows.iter().any(|w| w.start == start && w.until <= now);
        self.closings.end_minutes(counter, over);
        counter.windows.retain(|w| !over(w.start));
        for window in windows.iter().filter(|w| w.until <= now) {
            if let Some(limit) = &counter.limit {
                let (start, admitted, refused) = (window.start, window.used, window.rejected);
                let end = Ended { key: &counter.key, limit, start, admitted, refused };
                self.closings.end(&end);
                ended(&end);
            }
        }
        self.forget(ix, over);
        let next = windows.iter().map(|w| w.until).filter(|until| *until > now).min();
        if next.is_none() {
            self.close(ix);
        }
        next
    }

    /// Counts it no more; its names stay.
    fn close(&mut self, ix: CounterIx) {
        let Some(place) = self.live_place(ix) else { return };
        place.generation = place.generation.wrapping_add(1);
        if let Some(counter) = &mut place.counter {
            (counter.limit, counter.windows) = (None, Windows::default());
        }
        self.live -= 1;
        self.vacate(ix.index);
    }
}
