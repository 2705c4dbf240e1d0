//! Random tokens and errors, told after the response: the agent's verdicts are those of one number.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use weir_proto::{
    amount::{Amounts, Unit},
    policy::Policy,
    request::Request,
};

use crate::pair::Pair;

/// Of every limit here, in seconds.
const WINDOW: u64 = 5;

#[derive(Debug, Clone)]
enum Event {
    /// A check that brings so much of the unit.
    Check(u64),
    /// A report: more, or some taken back.
    Report(i64),
    /// Milliseconds.
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..5_u64).prop_map(Event::Check),
        3 => (-4..8_i64).prop_map(Event::Report),
        3 => prop_oneof![3 => 0..300_u64, 1 => 300..7_000_u64].prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 1..100)
}

fn limited(limit: &Value) -> Policy {
    let document = json!({ "name": "p", "level": "api", "limits": [limit] });
    Policy::from_json(&document).unwrap_or_else(|e| panic!("{document}: {e}"))
}

/// What a window has counted by hand.
#[derive(Default)]
struct Count {
    window: u64,
    used: u64,
    /// The most that it has been.
    peak: u64,
}

impl Count {
    fn at(&mut self, second: u64) -> &mut Count {
        let window = second - second % WINDOW;
        if window != self.window {
            *self = Count { window, ..Count::default() };
        }
        self
    }

    fn set(&mut self, used: u64) {
        (self.used, self.peak) = (used, self.peak.max(used));
    }
}

proptest! {
    #![proptest_config(crate::cases(200))]

    #[test]
    fn what_is_told_later_counts_like_one_number(
        unit in prop::sample::select(vec!["tokens", "completion_tokens", "response_bandwidth", "errors"]),
        most in 0..20_u64,
        events in events(),
    ) {
        let window = format!("{WINDOW}s");
        let mut pair = Pair::new(&[limited(&json!({ unit: most, "window": window }))]);
        let mut count = Count::default();
        for (i, event) in events.iter().enumerate() {
            let request = Request::new().api("a");
            match event {
                Event::Check(brought) => {
                    let mut amounts = Amounts::default();
                    amounts.set(Unit::named(unit).expect("a unit"), *brought);
                    let allowed = pair.check_amounts(&request, &amounts).allowed();
                    let count = count.at(pair.now().as_secs());
                    // Something must be left, even for a request that brings nothing.
                    let after = count.used + (*brought).max(1);
                    // What was used beyond the limit and is taken back may be used again: nothing is held for errors.
                    let room = if unit == "errors" { most } else { most.max(count.peak) };
                    prop_assert!(allowed || after > most, "event {} of {:?}", i, events);
                    prop_assert!(!allowed || after <= room, "event {} of {:?}", i, events);
                    count.set(count.used + if allowed { *brought } else { 0 });
                }
                Event::Report(amount) => {
                    pair.report(&request, unit, *amount);
                    let count = count.at(pair.now().as_secs());
                    count.set(count.used.saturating_add_signed(*amount));
                }
                Event::Pass(ms) => pair.pass(Duration::from_millis(*ms)),
            }
        }
    }
}
