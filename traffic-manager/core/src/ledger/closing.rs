//! Windows that end: what they came to, and what becomes of it where usage is recorded.
//!
//! Fixed windows are visited when they expire, anyway. Rolling counters never end: what is new in a
//! minute is summed up as it comes, and told when the minute is over.

use std::{collections::BTreeMap, time::Duration};

use weir_proto::{
    key::CounterKey,
    time::{Time, WindowStart},
};

use super::{
    Counter, CounterIx, Ledger, LimitInfo, WindowState,
    cell::{Cell, NONE},
    expiry,
};
use crate::{
    accounts::{Amounts, Closed, MINUTE},
    limits::Meter,
};

/// Managers hear of the same use within this: agents wait for up to 1 s while little happens, and clocks
/// differ by as much.
const EDGE: u64 = 3;

/// A window that has ended.
#[derive(Debug)]
pub struct Ended<'a> {
    /// The counter.
    pub key: &'a CounterKey,
    /// Its limit.
    pub limit: &'a LimitInfo,
    /// The window's name.
    pub start: WindowStart,
    /// Admitted by all agents.
    pub admitted: u64,
    /// Refused by all agents.
    pub refused: u64,
}

/// What a rolling counter used in a minute, as it was told.
#[derive(Debug, Clone)]
pub(super) struct Minute {
    /// Its number since 1970.
    at: u64,
    amounts: Amounts,
    /// What came next to the minute's bounds.
    edge: Amounts,
}

impl Minute {
    fn closed(self, key: &CounterKey) -> Closed {
        let Minute { at, amounts, edge } = self;
        Closed { key: key.clone(), start: at * MINUTE, secs: MINUTE, amounts, edge }
    }

    fn end(at: u64) -> Time {
        Time::from_secs((at + 1).saturating_mul(MINUTE))
    }
}

/// Whether what an agent counts since then belongs to the present minute.
pub(super) fn of_this_minute(birth: WindowStart, now: Time) -> bool {
    birth.0.saturating_add(EDGE) >= now.as_secs() - now.as_secs() % MINUTE
}

/// What has closed and was not taken yet; nothing unless usage is recorded.
#[derive(Debug, Clone, Default)]
pub(super) struct Closings {
    on: bool,
    closed: Vec<Closed>,
    /// Rolling counters, by the minute in which something was told of them.
    minutes: BTreeMap<u64, Vec<CounterIx>>,
}

impl Closings {
    /// A window has ended, or its limit is about to be unknown.
    pub(super) fn end(&mut self, ended: &Ended<'_>) {
        let Ended { key, limit, start, admitted, refused } = *ended;
        if !self.on || limit.rolling() || admitted == 0 && refused == 0 {
            return;
        }
        let secs = limit.window.length_of(start).as_secs();
        let (amounts, edge) = (Amounts { admitted, refused }, Amounts::default());
        self.closed.push(Closed { key: key.clone(), start: start.0, secs, amounts, edge });
    }

    /// Tells what windows that are over had in their present minute.
    pub(super) fn end_minutes(
        &mut self,
        counter: &mut Counter,
        over: impl Fn(WindowStart) -> bool,
    ) {
        if !self.on {
            return;
        }
        let Counter { key, windows, .. } = counter;
        for window in windows.iter_mut().filter(|w| over(w.start)) {
            self.closed.extend(window.minute.take().map(|minute| minute.closed(key)));
        }
    }
}

impl Ledger {
    /// Keeps what closes for [`Ledger::take_closed`].
    pub fn record_usage(&mut self) {
        self.closings.on = true;
    }

    /// What closed since the last time; at most one for each window that was looked at.
    pub fn take_closed(&mut self) -> Vec<Closed> {
        std::mem::take(&mut self.closings.closed)
    }

    /// When [`Ledger::end_minute`] has something to do.
    pub fn minute_ends(&self) -> Option<Time> {
        self.closings.minutes.first_key_value().map(|(at, _)| Minute::end(*at))
    }

    /// Tells the minutes of rolling counters that are over, of at most `most` counters.
    pub fn end_minute(&mut self, now: Time, most: usize) {
        let mut left = most;
        while let Some(mut list) = self.closings.minutes.first_entry() {
            let at = *list.key();
            if Minute::end(at) > now || left == 0 {
                return;
            }
            let counters = list.get_mut();
            let some = counters.split_off(counters.len().saturating_sub(left));
            if counters.is_empty() {
                list.remove();
            }
            left -= some.len();
            for ix in some {
                let place = self.places.get_mut(ix.index as usize);
                let place = place.filter(|p| p.generation == ix.generation);
                let Some(counter) = place.and_then(|p| p.counter.as_mut()) else { continue };
                let Counter { key, windows, .. } = counter;
                for window in windows.iter_mut() {
                    let over = window.minute.take_if(|minute| minute.at == at);
                    self.closings.closed.extend(over.map(|minute| minute.closed(key)));
                }
            }
        }
    }

    /// A rolling counter has so much more.
    pub(super) fn gather(&mut self, ix: CounterIx, new: Amounts, now: Time) {
        if !self.closings.on || new == Amounts::default() {
            return;
        }
        let Some(counter) = self.places[ix.index as usize].counter.as_mut() else { return };
        if counter.limit.as_ref().is_none_or(|limit| limit.meter == Meter::Gauge) {
            return;
        }
        let Counter { key, windows, .. } = counter;
        let Some(window) = windows.iter_mut().next() else { return };
        let (at, second) = (now.as_secs() / MINUTE, now.as_secs() % MINUTE);
        if window.minute.as_ref().is_none_or(|minute| minute.at < at) {
            let fresh = Minute { at, amounts: Amounts::default(), edge: Amounts::default() };
            let former = window.minute.replace(Box::new(fresh));
            self.closings.closed.extend(former.map(|minute| minute.closed(key)));
            self.closings.minutes.entry(at).or_default().push(ix);
        }
        if let Some(minute) = &mut window.minute {
            minute.amounts = minute.amounts.plus(new);
            if second < EDGE || second + EDGE >= MINUTE {
                minute.edge = minute.edge.plus(new);
            }
        }
    }

    /// The limit is about to be unknown: what its windows came to so far is told now, as nothing will be
    /// known of them later.
    pub(super) fn close_early(&mut self, ix: CounterIx) {
        if !self.closings.on {
            return;
        }
        let Some(windows) = self.windows_of(ix) else { return };
        let Some(counter) = self.places[ix.index as usize].counter.as_mut() else { return };
        self.closings.end_minutes(counter, |_| true);
        let Some(limit) = &counter.limit else { return };
        for window in windows {
            let (start, admitted, refused) = (window.start, window.used, window.rejected);
            self.closings.end(&Ended { key: &counter.key, limit, start, admitted, refused });
        }
    }

    /// All windows of a counter, with what slots and cells know of them.
    pub(super) fn windows_of(&mut self, ix: CounterIx) -> Option<Vec<Closing>> {
        self.live_place(ix)?;
        let place = &mut self.places[ix.index as usize];
        let (first, counter) = (place.cells, place.counter.as_mut()?);
        if !counter.windows.is_empty() {
            self.cells.list(first).for_each(|(_, cell)| counter.bring(cell));
        }
        let limit = counter.limit.as_deref();
        let mut windows: Vec<Closing> =
            counter.windows.iter().map(|w| Closing::of(limit, w)).collect();
        let full = windows.len();
        for (_, cell) in self.cells.list(first).filter(|(_, cell)| cell.window != NONE) {
            let until = expiry(limit, cell.window, cell.active_at);
            match windows.iter().position(|w| w.start == cell.window) {
                Some(i) if i < full => {} // brought there before
                Some(i) => windows[i].add(cell, until),
                None => windows.push(Closing::new(cell, until)),
            }
        }
        windows.sort_unstable();
        Some(windows)
    }
}

/// A window's amounts over all agents, and until when they are kept.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Closing {
    pub(super) start: WindowStart,
    pub(super) used: u64,
    pub(super) rejected: u64,
    pub(super) until: Time,
}

impl Closing {
    fn of(limit: Option<&LimitInfo>, window: &WindowState) -> Self {
        let until = expiry(limit, window.start, window.touched);
        // What a minute has so far must not be forgotten: it would be told twice, each time in part.
        let minute = window.minute.as_ref().map(|minute| Minute::end(minute.at));
        let until = until.max(minute.map_or(Time::ZERO, |end| end + Duration::from_secs(EDGE)));
        Closing { start: window.start, used: window.used(), rejected: window.rejected(), until }
    }

    fn new(cell: &Cell, until: Time) -> Self {
        Closing { start: cell.window, used: cell.used, rejected: cell.rejected, until }
    }

    fn add(&mut self, cell: &Cell, until: Time) {
        self.used = self.used.saturating_add(cell.used);
        self.rejected = self.rejected.saturating_add(cell.rejected);
        self.until = self.until.max(until);
    }
}
