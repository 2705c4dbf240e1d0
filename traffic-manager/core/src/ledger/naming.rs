//! From keys to cells, and away again.

use weir_proto::key::{CounterKey, KeyError};

use super::{
    Counter, CounterIx, Ledger, Windows,
    cell::{Cell, CellIx, NONE},
    index::Fingerprint,
    store::Place,
};
use crate::fleet::AgentIx;

/// Names that are looked up together, and entries that are merged together: so many reads of memory
/// are under way at once.
pub const TOGETHER: usize = 32;

/// A key that is looked up.
#[derive(Clone, Copy, Default)]
struct Wanted<'a> {
    key: &'a [u8],
    print: Fingerprint,
    guess: Option<u32>,
}

impl Ledger {
    /// The cells of `agent` for counters with these keys, each named once more. Keys that are not
    /// known yet are checked; those for which there is no room get the cell of nobody.
    ///
    /// # Errors
    /// The first key that is not canonical: nothing after it was named.
    pub fn name<'a>(
        &mut self,
        agent: AgentIx,
        keys: impl Iterator<Item = &'a [u8]>,
        cells: &mut Vec<CellIx>,
    ) -> Result<(), KeyError> {
        let mut keys = keys.peekable();
        let mut batch = [Wanted::default(); TOGETHER];
        while keys.peek().is_some() {
            let mut count = 0;
            for (wanted, key) in batch.iter_mut().zip(keys.by_ref().take(TOGETHER)) {
                *wanted = Wanted { key, print: self.index.fingerprint(key), guess: None };
                count += 1;
            }
            let batch = &mut batch[..count];
            for wanted in batch.iter_mut() {
                wanted.guess = self.index.guess(wanted.print);
            }
            self.touch(batch);
            for Wanted { key, print, guess } in batch {
                let place = match guess.filter(|place| self.is_key(*place, key)) {
                    Some(place) => Some(place),
                    None => self.place_of(key, *print)?,
                };
                cells.push(place.map_or(CellIx(0), |place| self.named_cell(place, agent)));
            }
        }
        Ok(())
    }

    /// Reads what the guesses lead to, place, then key and cell, so that these reads do not wait for
    /// one another as they would in the search.
    fn touch(&self, batch: &[Wanted<'_>]) {
        let mut heads = [CellIx(0); TOGETHER];
        let mut read = 0_u64;
        for (head, wanted) in heads.iter_mut().zip(batch) {
            let Some(place) = wanted.guess.map(|place| &self.places[place as usize]) else {
                continue;
            };
            *head = place.cells;
        }
        for (head, wanted) in heads.iter().zip(batch) {
            let Some(place) = wanted.guess.map(|place| &self.places[place as usize]) else {
                continue;
            };
            let key = place.counter.as_ref().map_or(&[][..], |c| c.key.as_bytes());
            let ends = key.first().copied().unwrap_or(0) ^ key.last().copied().unwrap_or(0);
            read ^= u64::from(ends) ^ self.cells.get(*head).stamp;
        }
        std::hint::black_box(read);
    }

    /// The counter of a key, if it is counted.
    pub fn find(&self, key: &CounterKey) -> Option<CounterIx> {
        let key = key.as_bytes();
        let fingerprint = self.index.fingerprint(key);
        let index = self.index.find(fingerprint, |place| self.is_key(place, key))?;
        self.places.get(index as usize)?.live().then(|| self.ix(index))
    }

    fn is_key(&self, place: u32, key: &[u8]) -> bool {
        let counter = self.places[place as usize].counter.as_ref();
        counter.is_some_and(|c| c.key.as_bytes() == key)
    }

    /// The agent's cell, with one name more.
    fn named_cell(&mut self, place: u32, agent: AgentIx) -> CellIx {
        let cell = self.cell_of(place, agent);
        if cell == CellIx(0) {
            self.vacate(place); // made in vain
        } else {
            self.cells.get_mut(cell).names += 1;
        }
        cell
    }

    /// The place of a key that the first guess did not find; `None` when there is no room for it.
    fn place_of(&mut self, key: &[u8], fingerprint: Fingerprint) -> Result<Option<u32>, KeyError> {
        if let Some(place) = self.index.find(fingerprint, |place| self.is_key(place, key)) {
            return Ok(Some(place));
        }
        let key = CounterKey::parse(key)?;
        if !self.has_room_for(&key) {
            self.refused += 1;
            return Ok(None);
        }
        self.key_bytes += key.as_bytes().len();
        let counter = Some(Counter { key, limit: None, windows: Windows::default() });
        let index = match self.free.pop() {
            Some(index) => {
                self.places[index as usize].counter = counter;
                index
            }
            None => {
                // Cells run out first: they have as many numbers.
                let index = u32::try_from(self.places.len()).map_err(|_| KeyError::TooLong)?;
                self.places.push(Place { generation: 0, cells: CellIx(0), counter });
                index
            }
        };
        self.index.insert(fingerprint, index);
        Ok(Some(index))
    }

    /// The agent's cell for the counter: the one of its newest window, made if there is none.
    pub(super) fn cell_of(&mut self, place: u32, agent: AgentIx) -> CellIx {
        let first = self.places[place as usize].cells;
        let head = self.cells.get(first);
        if head.agent == agent && head.names > 0 {
            return first;
        }
        let own = self.cells.list(first).filter(|(_, cell)| cell.agent == agent);
        let newest = own.max_by_key(|(_, cell)| (cell.names > 0, cell.window));
        match newest {
            Some((ix, _)) => ix,
            None => self.add_cell(place, agent),
        }
    }

    /// A new cell, or the cell of nobody when there is no room.
    pub(super) fn add_cell(&mut self, place: u32, agent: AgentIx) -> CellIx {
        let room = self.has_room_for_cell();
        let Some(ix) = room.then(|| self.cells.add(agent, place)).flatten() else {
            self.refused += 1;
            return CellIx(0);
        };
        self.cells.get_mut(ix).next = self.places[place as usize].cells;
        self.places[place as usize].cells = ix;
        ix
    }

    /// One name less for the cell.
    pub fn unname(&mut self, cell: CellIx) {
        if cell == CellIx(0) {
            return;
        }
        let state = self.cells.get_mut(cell);
        state.names = state.names.saturating_sub(1);
        let place = state.place;
        if state.names == 0 && state.window == NONE {
            self.drop_cells(place, |ix, _| ix == cell);
            self.vacate(place);
        }
    }

    /// Takes cells out of their counter's list.
    pub(super) fn drop_cells(&mut self, place: u32, which: impl Fn(CellIx, &Cell) -> bool) {
        let mut before = CellIx(0);
        let mut at = self.places[place as usize].cells;
        while at != CellIx(0) {
            let cell = self.cells.get(at);
            let next = cell.next;
            if which(at, cell) {
                match before {
                    CellIx(0) => self.places[place as usize].cells = next,
                    before => self.cells.get_mut(before).next = next,
                }
                self.cells.free(at);
            } else {
                before = at;
            }
            at = next;
        }
    }

    /// Gives the place away if it is neither counted nor named.
    pub(super) fn vacate(&mut self, index: u32) {
        let place = &mut self.places[index as usize];
        if place.live() || place.cells != CellIx(0) {
            return;
        }
        if let Some(counter) = place.counter.take() {
            let fingerprint = self.index.fingerprint(counter.key.as_bytes());
            self.index.remove(fingerprint, index);
            self.key_bytes -= counter.key.as_bytes().len();
            self.free.push(index);
        }
    }

    /// The key of the cell's counter.
    pub fn key(&self, cell: CellIx) -> Option<&CounterKey> {
        let place = self.places.get(self.cells.get(cell).place as usize)?;
        place.counter.as_ref().map(|c| &c.key)
    }
}
