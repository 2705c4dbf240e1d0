//! Peers that ask what is known here of windows that go on: when each is answered.
//!
//! An answer takes the driver a millisecond or more. A peer that starts asks for piece after piece, each when the
//! one before has come; one that asks in a loop is answered no more often than that. After an answer a peer waits
//! for as long as the answer took, so that however it asks, half of the time is for others.

use std::{collections::BTreeMap, time::Duration};

use weir_proto::{counters::CountersAsk, id::ManagerId, time::Time};

/// Shortest pause between two answers to one peer: less than a piece takes on its way.
const PAUSE: Duration = Duration::from_millis(1);

/// What one peer asks.
#[derive(Debug)]
struct Asked {
    /// Its newest question: those before it need no answer.
    question: Option<CountersAsk>,
    /// When it may be answered.
    at: Time,
}

/// One question of each peer that can be reached.
#[derive(Debug, Default)]
pub(super) struct Asks(BTreeMap<ManagerId, Asked>);

impl Asks {
    /// A peer asks.
    pub(super) fn add(&mut self, peer: &ManagerId, question: CountersAsk, now: Time) {
        let asked = self.0.entry(peer.clone()).or_insert(Asked { question: None, at: now });
        // Whoever had asked nothing since its pause waits behind those who have.
        if asked.question.replace(question).is_none() {
            asked.at = asked.at.max(now);
        }
    }

    /// A peer cannot be reached any more.
    pub(super) fn forget(&mut self, peer: &ManagerId) {
        self.0.remove(peer);
    }

    /// The question to answer now: of the peer that has waited longest.
    pub(super) fn due(&mut self, now: Time) -> Option<(ManagerId, CountersAsk)> {
        let due =
            self.0.iter_mut().filter(|(_, asked)| asked.question.is_some() && asked.at <= now);
        let (peer, asked) = due.min_by_key(|(_, asked)| asked.at)?;
        Some((peer.clone(), asked.question.take()?))
    }

    /// An answer was given, and took so long.
    pub(super) fn answered(&mut self, peer: &ManagerId, took: Duration, now: Time) {
        if let Some(asked) = self.0.get_mut(peer) {
            asked.at = now + took.max(PAUSE);
        }
    }

    /// When there is one.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let open = self.0.values().filter(|asked| asked.question.is_some());
        open.map(|asked| asked.at).min()
    }
}

#[cfg(test)]
mod tests {
    use weir_proto::counters::CountersCursor;

    use super::*;

    fn peer(n: u32) -> ManagerId {
        ManagerId::new(&format!("tm-{n}")).expect("a name")
    }

    fn ask(place: u32) -> CountersAsk {
        let cursor = Some(CountersCursor { place, ..CountersCursor::default() });
        CountersAsk { cursor, ..CountersAsk::default() }
    }

    /// Peer 1 asks in a loop, peer 2 now and then; an answer takes so many milliseconds. How many each of them got.
    fn answers(took: u64) -> [u32; 2] {
        let mut asks = Asks::default();
        let mut answers = [0, 0];
        let mut ms = 0;
        let mut next = 50;
        while ms < 10_000 {
            let now = Time::from_secs(1) + Duration::from_millis(ms);
            for place in 0..50 {
                asks.add(&peer(1), ask(place), now);
            }
            if ms >= next {
                asks.add(&peer(2), ask(7), now);
                next += 100;
            }
            // One answer a turn, as the keeper gives them.
            if let Some((whose, question)) = asks.due(now) {
                assert!(question == ask(49) || question == ask(7), "the newest question");
                answers[usize::from(whose == peer(2))] += 1;
                ms += took;
                let then = Time::from_secs(1) + Duration::from_millis(ms);
                asks.answered(&whose, Duration::from_millis(took), then);
            }
            ms += 1;
        }
        answers
    }

    #[test]
    fn who_asks_in_a_loop_takes_half_of_the_time_at_most_and_keeps_nobody_waiting() {
        for took in [1, 5, 20] {
            let [greedy, modest] = answers(took);
            assert!(u64::from(greedy) * took <= 5_000, "{greedy} answers of {took} ms in 10 s");
            assert_eq!(modest, 100, "each of them, beside answers of {took} ms");
        }
    }

    #[test]
    fn who_asks_for_one_piece_after_the_other_loses_none() {
        let (mut asks, mut now) = (Asks::default(), Time::from_secs(1));
        for place in 0..5 {
            asks.add(&peer(1), ask(place), now);
            now = asks.next_deadline().expect("a question waits").max(now);
            assert_eq!(asks.due(now), Some((peer(1), ask(place))));
            asks.answered(&peer(1), Duration::ZERO, now);
            assert_eq!((asks.due(now), asks.next_deadline()), (None, None));
        }
        assert_eq!(now, Time::from_secs(1) + PAUSE * 4);
        asks.add(&peer(1), ask(9), now);
        asks.forget(&peer(1));
        assert_eq!(asks.next_deadline(), None);
    }
}
