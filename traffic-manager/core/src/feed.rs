//! What each subscriber is sent: consecutive revisions, interned keys, one frame per turn.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;
use weir_proto::{
    convert::MAX_FRAME_BYTES,
    decision::{Decision, DecisionFrame},
    key::{CounterKey, MAX_KEY_BYTES},
    time::{Time, WindowStart},
    usage::{KeyDef, KeyId},
};

use crate::{
    ledger::CounterIx,
    message::{Output, StreamId},
};

/// Decisions in one frame, and bytes of the keys that it names; more go into the next one.
const FRAME_DECISIONS: usize = 1_000;
const FRAME_KEYS: usize = 1 << 20;
const _: () = assert!(FRAME_DECISIONS * 64 + FRAME_KEYS + MAX_KEY_BYTES < MAX_FRAME_BYTES);
/// Keys named on one session before it must start anew.
const MAX_NAMED: usize = 2_000_000;

#[derive(Debug, Clone, Default)]
struct Feed {
    revision: u64,
    processed: u64,
    pending: Vec<DecisionFrame>,
    sealed: bool,
    /// Bytes of the keys in the last pending frame.
    key_bytes: usize,
    named: HashMap<CounterIx, KeyId, FixedState>,
    sent_at: Time,
}

/// What a decision says, apart from its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The window.
    pub window: WindowStart,
    /// Absolute ceiling.
    pub ceiling: u64,
    /// Do not ask again.
    pub exhausted: bool,
    /// With `exhausted`.
    pub retry_after_ms: u64,
}

impl Verdict {
    fn decision(self, key: KeyId) -> Decision {
        Decision {
            key,
            window: self.window,
            ceiling: self.ceiling,
            exhausted: self.exhausted,
            retry_after_ms: self.retry_after_ms,
        }
    }
}

impl Feed {
    /// The frame being filled, which goes out at the end of this turn.
    fn open(&mut self) -> &mut DecisionFrame {
        let full = self.pending.last().is_none_or(|f| f.decisions.len() >= FRAME_DECISIONS);
        if full || self.sealed || self.key_bytes >= FRAME_KEYS {
            (self.sealed, self.key_bytes) = (false, 0);
            self.revision += 1;
            self.pending
                .push(DecisionFrame { revision: self.revision, ..DecisionFrame::default() });
        }
        let last = self.pending.len() - 1;
        &mut self.pending[last]
    }
}

/// All sessions' feeds.
#[derive(Debug, Clone, Default)]
pub struct Feeds {
    feeds: BTreeMap<StreamId, Feed>,
}

impl Feeds {
    /// A new session.
    pub fn open(&mut self, session: StreamId) {
        self.feeds.insert(session, Feed::default());
    }

    /// The session ended.
    pub fn close(&mut self, session: StreamId) {
        self.feeds.remove(&session);
    }

    /// Notes that a credit frame was processed; the next frame tells.
    pub fn processed(&mut self, session: StreamId, seq: u64) {
        if let Some(feed) = self.feeds.get_mut(&session) {
            feed.processed = seq;
        }
    }

    /// Adds to the frame that goes out at the end of this turn.
    pub fn fill(&mut self, session: StreamId, fill: impl FnOnce(&mut DecisionFrame)) {
        if let Some(feed) = self.feeds.get_mut(&session) {
            fill(feed.open());
        }
    }

    /// Closes the frame being filled: what follows goes into the next one.
    pub fn seal(&mut self, session: StreamId) {
        if let Some(feed) = self.feeds.get_mut(&session) {
            feed.sealed = true;
        }
    }

    /// Adds a decision. Returns the revision that carries it, 0 when the session is gone.
    pub fn decide(
        &mut self,
        session: StreamId,
        counter: CounterIx,
        key: &CounterKey,
        verdict: Verdict,
    ) -> u64 {
        let Some(feed) = self.feeds.get_mut(&session) else { return 0 };
        let next = KeyId::try_from(feed.named.len()).unwrap_or(KeyId::MAX);
        let id = *feed.named.entry(counter).or_insert(next);
        let frame = feed.open();
        frame.decisions.push(verdict.decision(id));
        let revision = frame.revision;
        if id == next {
            frame.keys.push(KeyDef { id, key: key.clone() });
            feed.key_bytes += key.as_bytes().len();
        }
        revision
    }

    /// Answers about a counter that is not kept here: it has no lasting number.
    pub fn turn_away(&mut self, session: StreamId, key: &CounterKey, verdict: Verdict) {
        let Some(feed) = self.feeds.get_mut(&session) else { return };
        let frame = feed.open();
        let place = KeyId::try_from(frame.decisions.len()).unwrap_or(0);
        let id = KeyId::MAX - place;
        frame.keys.push(KeyDef { id, key: key.clone() });
        frame.decisions.push(verdict.decision(id));
        feed.key_bytes += key.as_bytes().len();
    }

    /// Sessions that were sent nothing since `before` get an empty frame: a heartbeat with the time.
    pub fn heartbeat(&mut self, before: Time) {
        for feed in self.feeds.values_mut() {
            if feed.sent_at <= before {
                feed.open();
            }
        }
    }

    /// Sends what was filled in this turn.
    pub fn flush(&mut self, now: Time, out: &mut Vec<Output>) {
        for (session, feed) in &mut self.feeds {
            if feed.pending.is_empty() {
                continue;
            }
            feed.sent_at = now;
            (feed.sealed, feed.key_bytes) = (false, 0);
            for mut frame in feed.pending.drain(..) {
                frame.manager_time = now;
                frame.processed = feed.processed;
                out.push(Output::Decide(*session, frame));
            }
        }
    }

    /// Sessions whose interning has grown past its bound: they must start anew.
    pub fn overgrown(&self) -> Option<StreamId> {
        self.feeds.iter().find(|(_, f)| f.named.len() > MAX_NAMED).map(|(s, _)| *s)
    }
}

#[cfg(test)]
mod tests {
    use weir_proto::{key::MAX_KEY_PARTS, request::MAX_VALUE_BYTES};

    use super::*;

    #[test]
    fn keys_as_long_as_they_may_be_go_in_several_frames() {
        let (mut feeds, session) = (Feeds::default(), StreamId(1));
        feeds.open(session);
        let verdict =
            Verdict { window: WindowStart(1), ceiling: 1, exhausted: true, retry_after_ms: 1 };
        let part = "k".repeat(MAX_VALUE_BYTES);
        let key = CounterKey::new("p", "l", &[part.as_str(); MAX_KEY_PARTS]).expect("a key");
        (0..1_500).for_each(|_| feeds.turn_away(session, &key, verdict));
        let mut out = Vec::new();
        feeds.flush(Time::ZERO, &mut out);
        let mut decisions = 0;
        for output in out {
            let Output::Decide(_, frame) = output else { panic!("{output:?}") };
            decisions += frame.decisions.len();
            let keys: usize = frame.keys.iter().map(|named| named.key.as_bytes().len() + 16).sum();
            assert!(keys + frame.decisions.len() * 64 < MAX_FRAME_BYTES);
        }
        assert_eq!(decisions, 1_500);
    }
}
