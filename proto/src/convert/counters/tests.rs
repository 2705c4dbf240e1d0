//! Pieces survive the way through bytes, and no bytes do harm.

use proptest::prelude::*;

use super::*;
use crate::{
    id::{AgentId, AgentLife},
    usage::AgentIdentity,
};

fn agent(i: u64) -> CounterAgent {
    let id = AgentId::new(&format!("gw-{i}")).expect("a name");
    let life = AgentLife { id, incarnation: i };
    let identity =
        AgentIdentity { life, gateway_group: "eu".to_owned(), version: "1.0".to_owned() };
    CounterAgent { identity, alive: i.is_multiple_of(2) }
}

fn state() -> impl Strategy<Value = CounterState> {
    let part = (0..3_u32, 0..LAST_WINDOW, 0..=MAX_AMOUNT, 0..3_u64, 0..=MAX_STAMP, any::<bool>());
    let part = part.prop_map(|(agent, window, used, rejected, stamp, charged)| CounterPart {
        agent,
        window: WindowStart(window),
        used,
        rejected,
        stamp,
        charged,
    });
    let spent = (0..MAX_TIME_MS, 0..=MAX_AMOUNT)
        .prop_map(|(age, amount)| (Duration::from_millis(age), amount));
    let lists = (prop::collection::vec(spent, 0..4), prop::collection::vec(part, 0..6));
    ("[a-z]{1,9}", any::<bool>(), lists).prop_map(|(part, rolling, (spent, parts))| {
        let key = CounterKey::new("p", "l", &[&part]).expect("a key");
        CounterState { key, rolling, spent, parts }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(states in prop::collection::vec(state(), 0..9), place: u32) {
        let next = CountersCursor { place, window: WindowStart(7), agent: 3 };
        let counters = Counters {
            agents: (0..3).map(agent).collect(),
            states,
            next: (place.is_multiple_of(2)).then_some(next),
            starting: place.is_multiple_of(3),
            taken_at: Time::from_millis(place.into()),
        };
        let read = Counters::from_bytes(&counters.clone().to_bytes());
        prop_assert_eq!(read, Ok(counters));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = states(&bytes, 5);
        let _ = Counters::from_bytes(&bytes);
    }
}

#[test]
fn a_part_of_an_agent_that_is_not_listed_is_refused() {
    let key = CounterKey::new("p", "l", &["a"]).expect("a key");
    let part = CounterPart {
        agent: 1,
        window: WindowStart(60),
        used: 1,
        rejected: 0,
        stamp: 1,
        charged: false,
    };
    let state = CounterState { key, rolling: false, spent: Vec::new(), parts: vec![part] };
    let counters = Counters { agents: vec![agent(1)], states: vec![state], ..Counters::default() };
    let error = Counters::from_bytes(&counters.to_bytes()).expect_err("agent 1 of 1");
    assert_eq!(error.to_string(), "counters[].parts[].agent is 1, more than 0");
}

#[test]
fn a_length_cannot_ask_for_more_memory_than_was_sent() {
    let mut bytes = Vec::new();
    put(0, &mut bytes);
    let key = CounterKey::new("p", "l", &[]).expect("a key");
    put(key.as_bytes().len() as u64, &mut bytes);
    bytes.extend_from_slice(key.as_bytes());
    put(60_000, &mut bytes);
    assert!(matches!(states(&bytes, 1), Err(WireError::Range { value: 60_000, .. })));
}
