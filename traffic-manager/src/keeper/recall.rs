//! Asking peers what they know of windows that go on, after a start.
//!
//! Frames may be lost, so that a question without an answer is put again; pieces are merged by stamps,
//! and may come doubled.

use std::{collections::BTreeMap, time::Duration};

use weir_proto::{
    counters::{Counters, CountersAsk, CountersCursor},
    id::ManagerId,
    peer::PeerFrame,
    time::Time,
};

/// A question that has no answer by then is put again.
const AGAIN: Duration = Duration::from_millis(500);

/// What is asked of one peer.
#[derive(Debug)]
struct Question {
    /// Where it was dialled: the name under which the manager waits for it.
    address: String,
    cursor: Option<CountersCursor>,
    again_at: Time,
    done: bool,
}

/// Questions to all peers.
#[derive(Debug, Default)]
pub(super) struct Recall {
    asking: bool,
    questions: BTreeMap<ManagerId, Question>,
}

impl Recall {
    /// A peer that was dialled can be reached.
    pub(super) fn reached(&mut self, peer: &ManagerId, address: String, now: Time) {
        let question = Question { address, cursor: None, again_at: now, done: false };
        self.questions.entry(peer.clone()).or_insert(question);
    }

    /// A later life of a peer knows nothing of where the former one had got to.
    pub(super) fn restarted(&mut self, peer: &ManagerId) {
        if let Some(question) = self.questions.get_mut(peer) {
            question.cursor = None;
        }
    }

    /// Policies are there, so that answers can be understood: asks from now on.
    pub(super) fn begin(&mut self) {
        self.asking = true;
    }

    /// Asks no more.
    pub(super) fn end(&mut self) {
        self.asking = false;
    }

    /// What to send now.
    pub(super) fn due(&mut self, now: Time) -> Vec<(ManagerId, PeerFrame)> {
        if !self.asking {
            return Vec::new();
        }
        let due = self.questions.iter_mut().filter(|(_, q)| !q.done && q.again_at <= now);
        due.map(|(peer, question)| {
            question.again_at = now + AGAIN;
            let ask = CountersAsk { min_window: Duration::ZERO, cursor: question.cursor };
            (peer.clone(), PeerFrame::AskCounters(ask))
        })
        .collect()
    }

    /// When that has something to say.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let open = self.questions.values().filter(|question| self.asking && !question.done);
        open.map(|question| question.again_at).min()
    }

    /// Whether something is asked of this peer: what comes unasked is not believed.
    pub(super) fn is_open(&self, peer: &ManagerId) -> bool {
        self.asking && self.questions.get(peer).is_some_and(|question| !question.done)
    }

    /// A piece came. Returns the peer's address when it was the last one.
    pub(super) fn answered(
        &mut self,
        peer: &ManagerId,
        piece: &Counters,
        now: Time,
    ) -> Option<String> {
        let question = self.questions.get_mut(peer).filter(|question| !question.done)?;
        match piece.next {
            // An answer to an earlier question, doubled on its way, takes nothing back.
            Some(next) if question.cursor.is_none_or(|cursor| cursor < next) => {
                (question.cursor, question.again_at) = (Some(next), now);
                None
            }
            Some(_) => None,
            None => {
                question.done = true;
                Some(question.address.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(place: u32) -> Option<CountersCursor> {
        Some(CountersCursor { place, ..CountersCursor::default() })
    }

    fn asked(frames: &[(ManagerId, PeerFrame)]) -> Vec<Option<CountersCursor>> {
        let cursor = |frame: &PeerFrame| match frame {
            PeerFrame::AskCounters(ask) => ask.cursor,
            other => panic!("{other:?}"),
        };
        frames.iter().map(|(_, frame)| cursor(frame)).collect()
    }

    #[test]
    fn it_asks_on_until_the_last_piece_and_again_where_nothing_came() {
        let (peer, at) = (ManagerId::new("tm-2").unwrap(), Time::from_secs);
        let mut recall = Recall::default();
        recall.reached(&peer, "http://tm-2:9611".to_owned(), at(1));
        assert!(recall.due(at(1)).is_empty(), "policies are not there yet");
        recall.begin();
        assert_eq!(asked(&recall.due(at(1))), [None]);
        assert!(recall.due(at(1)).is_empty(), "one question at a time");
        assert_eq!(asked(&recall.due(at(2))), [None], "the question or the answer was lost");
        let piece = |next| Counters { next, ..Counters::default() };
        assert_eq!(recall.answered(&peer, &piece(cursor(7)), at(2)), None);
        assert_eq!(asked(&recall.due(at(2))), [cursor(7)]);
        assert_eq!(recall.answered(&peer, &piece(cursor(3)), at(2)), None, "an old answer");
        assert!(recall.due(at(2)).is_empty());
        let last = recall.answered(&peer, &piece(None), at(2));
        assert_eq!(last.as_deref(), Some("http://tm-2:9611"));
        assert!(recall.due(at(9)).is_empty());
        assert_eq!(recall.next_deadline(), None);
    }
}
