//! Spans of time that were worked out already, for threads that ask again and again.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// From a second to a later one, exclusive; since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) until: u64,
}

impl Span {
    #[inline]
    pub(crate) fn holds(self, secs: u64) -> bool {
        self.from <= secs && secs < self.until
    }

    /// Begin and length side by side; `None` if that takes more than 32 bits (from the year 2106 on).
    fn pack(self) -> Option<u64> {
        let from = u32::try_from(self.from).ok()?;
        let length = u32::try_from(self.until.saturating_sub(self.from)).ok()?;
        Some(u64::from(from) << 32 | u64::from(length))
    }

    #[inline]
    fn unpack(word: u64) -> Span {
        let from = word >> 32;
        Span { from, until: from + (word & u64::from(u32::MAX)) }
    }
}

/// Spans kept: the present one, the one before, and two more for whoever asks about others.
const SPANS: usize = 4;

/// The last few spans. Each is one word, so that readers need no lock and never see half of one.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    spans: [AtomicU64; SPANS],
    next: AtomicUsize,
}

impl Memo {
    /// The span that holds `secs`; `work_out` finds it where it is not known.
    #[inline]
    pub(crate) fn at(&self, secs: u64, work_out: impl FnOnce() -> Span) -> Span {
        for word in &self.spans {
            // An unused word is an empty span, which holds nothing.
            let span = Span::unpack(word.load(Ordering::Relaxed));
            if span.holds(secs) {
                return span;
            }
        }
        let span = work_out();
        if let Some(word) = span.pack() {
            let place = self.next.fetch_add(1, Ordering::Relaxed) % SPANS;
            if let Some(place) = self.spans.get(place) {
                place.store(word, Ordering::Relaxed);
            }
        }
        span
    }
}

/// A yes or no that holds for a span, as found last.
#[derive(Debug, Default)]
pub(crate) struct Latest(AtomicU64);

impl Latest {
    /// The answer for `secs`; `work_out` finds it, and how long it holds, where it is not known.
    #[inline]
    pub(crate) fn at(&self, secs: u64, work_out: impl FnOnce() -> (Span, bool)) -> bool {
        // Begin, length and answer in 32, 31 and 1 bits.
        let word = self.0.load(Ordering::Relaxed);
        let from = word >> 32;
        let known = Span { from, until: from + (word >> 1 & LENGTH) };
        if known.holds(secs) {
            return word & 1 == 1;
        }
        let (span, answer) = work_out();
        let (from, length) = (u32::try_from(span.from), span.until.saturating_sub(span.from));
        if let Ok(from) = from
            && length <= LENGTH
        {
            let word = u64::from(from) << 32 | length << 1 | u64::from(answer);
            self.0.store(word, Ordering::Relaxed);
        }
        answer
    }
}

const LENGTH: u64 = (1 << 31) - 1;
