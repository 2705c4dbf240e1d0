//! What a counter held, column by column.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use weir_proto::time::WindowStart;

use crate::{
    judge::{Facts, Step},
    world::EPOCH_SECS,
};

/// Windows are shown as empty when nothing came for so long behind their end: as named by a clock
/// that is late, they go on a little.
const LATE: Duration = Duration::from_millis(600);

/// The highest values within a column's time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Column {
    /// Requests in the window so far.
    pub(super) wanted: f64,
    /// Of these, admitted.
    pub(super) admitted: f64,
    /// Of these, admitted by the exact limiter.
    pub(super) exact: f64,
}

/// All columns.
#[derive(Debug)]
pub(super) struct Curve {
    pub(super) columns: Vec<Column>,
    /// The column with most admissions in a judged window, and how many.
    pub(super) peak: (usize, f64),
}

impl Column {
    fn add(&mut self, step: &Step) {
        self.wanted += 1.0;
        self.admitted += f64::from(u8::from(step.admitted));
        self.exact += f64::from(u8::from(step.exact));
    }

    fn remove(&mut self, step: &Step) {
        self.wanted -= 1.0;
        self.admitted -= f64::from(u8::from(step.admitted));
        self.exact -= f64::from(u8::from(step.exact));
    }

    fn raise(&mut self, to: &Column) {
        self.wanted = self.wanted.max(to.wanted);
        self.admitted = self.admitted.max(to.admitted);
        self.exact = self.exact.max(to.exact);
    }
}

/// The windows under way.
struct Running<'a> {
    facts: &'a Facts,
    window: Duration,
    windows: BTreeMap<Duration, Column>,
    recent: VecDeque<Step>,
    span: Column,
}

impl Running<'_> {
    fn add(&mut self, step: &Step) -> Column {
        if self.facts.sliding {
            self.span.add(step);
            self.recent.push_back(*step);
            return self.at(step.at);
        }
        self.window = self.window.max(step.window);
        let column = self.windows.entry(step.window).or_default();
        column.add(step);
        *column
    }

    /// What is held at `at` when nothing comes.
    fn at(&mut self, at: Duration) -> Column {
        if self.facts.sliding {
            let length = self.facts.window.duration();
            while let Some(first) = self.recent.front().filter(|s| s.at + length <= at).copied() {
                self.span.remove(&first);
                self.recent.pop_front();
            }
            return self.span;
        }
        let start = WindowStart(EPOCH_SECS + self.window.as_secs());
        if self.window + self.facts.window.length_of(start) + LATE <= at {
            return Column::default();
        }
        self.windows.get(&self.window).copied().unwrap_or_default()
    }
}

impl Curve {
    /// The requests of one counter over so long, in so many columns. Windows that begin before
    /// `warm_up` have no peak.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a picture has few columns"
    )]
    pub(super) fn new(
        track: &[Step],
        facts: &Facts,
        (warm_up, length): (Duration, Duration),
        columns: f64,
    ) -> Self {
        let count = columns.max(1.0) as usize;
        let width = length.as_secs_f64() / columns.max(1.0);
        let mut running = Running {
            facts,
            window: Duration::ZERO,
            windows: BTreeMap::new(),
            recent: VecDeque::new(),
            span: Column::default(),
        };
        let mut steps = track.iter().peekable();
        let (mut all, mut peak) = (Vec::with_capacity(count), (0, 0.0));
        for i in 0..count {
            let end = Duration::from_secs_f64(width * (i + 1) as f64);
            let mut column = Column::default();
            while let Some(step) = steps.next_if(|step| step.at < end) {
                let now = running.add(step);
                column.raise(&now);
                let begin = if facts.sliding {
                    step.at.saturating_sub(facts.window.duration())
                } else {
                    step.window
                };
                if begin >= warm_up && now.admitted > peak.1 {
                    peak = (i, now.admitted);
                }
            }
            column.raise(&running.at(end));
            all.push(column);
        }
        Curve { columns: all, peak }
    }
}
