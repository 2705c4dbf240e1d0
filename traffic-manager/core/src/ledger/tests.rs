//! What the ledger keeps, and what it refuses.

use weir_proto::{
    key::{CounterKey, MAX_KEY_BYTES, MAX_KEY_PARTS},
    request::MAX_VALUE_BYTES,
};

use super::{CellIx, Ledger};

const NOBODY: CellIx = CellIx(0);

fn key(text: &str) -> CounterKey {
    CounterKey::new("p", "l", &[text]).expect("a key")
}

/// The cells of an agent for these keys.
fn name(ledger: &mut Ledger, agent: u32, keys: &[CounterKey]) -> Vec<CellIx> {
    let mut cells = Vec::new();
    ledger.name(agent, keys.iter().map(CounterKey::as_bytes), &mut cells).expect("canonical keys");
    cells
}

#[test]
fn agents_that_name_many_keys_fill_no_more_than_the_ledger() {
    let mut ledger = Ledger::new(100, 1);
    let mut kept = Vec::new();
    for agent in 0..10 {
        let keys: Vec<CounterKey> = (0..100).map(|i| key(&format!("{agent}-{i}"))).collect();
        kept.extend(name(&mut ledger, agent, &keys).into_iter().filter(|cell| *cell != NOBODY));
    }
    assert_eq!((ledger.places.len(), kept.len(), ledger.cells.len()), (200, 200, 200));
    assert_eq!(ledger.refused, 800, "what was turned away is told");
    assert!(ledger.crowded());
    let opened = kept.iter().filter(|cell| ledger.open(**cell, None).is_some()).count();
    assert_eq!(opened, 100, "and half of them are counted");
}

#[test]
fn a_key_that_is_known_is_named_when_the_ledger_is_full() {
    let mut ledger = Ledger::new(1, 1);
    let known = [key("a"), key("b")];
    name(&mut ledger, 0, &known);
    let others = name(&mut ledger, 1, &[key("c"), key("b"), key("a")]);
    assert_eq!(others[0], NOBODY);
    assert!(others[1] != NOBODY && others[2] != NOBODY && others[1] != others[2]);
}

#[test]
fn names_that_go_make_room() {
    let mut ledger = Ledger::new(1, 1);
    let cells = name(&mut ledger, 0, &[key("a"), key("b"), key("c")]);
    assert_eq!(cells[2], NOBODY);
    cells.into_iter().for_each(|cell| ledger.unname(cell));
    assert_eq!((ledger.known(), ledger.key_bytes, ledger.cells.len()), (0, 0, 0));
    assert!(ledger.roomy());
    assert_ne!(name(&mut ledger, 0, &[key("c")]), [NOBODY]);
}

#[test]
fn long_keys_share_a_bound_of_bytes() {
    let mut ledger = Ledger::new(1_000, 1);
    let long = |i: usize| format!("{i:0>1000}");
    let key = |i| CounterKey::new("p", "l", &[long(i).as_str(); 10]).expect("a key");
    let keys: Vec<CounterKey> = (0..1_000).map(key).collect();
    let cells = name(&mut ledger, 0, &keys);
    let kept = cells.iter().filter(|cell| **cell != NOBODY).count();
    assert!(ledger.key_bytes <= 256_000 && kept == 25, "{kept} keys of {}", ledger.key_bytes);
    assert_eq!(ledger.refused, 975);

    let mut small = Ledger::new(1, 1);
    let part = "x".repeat(MAX_VALUE_BYTES);
    let names = ["p".repeat(2_000), "l".repeat(2_000)];
    let largest = CounterKey::new(&names[0], &names[1], &[part.as_str(); MAX_KEY_PARTS]);
    let largest = largest.expect("a key");
    assert!(largest.as_bytes().len() > MAX_KEY_BYTES * 9 / 10);
    assert_ne!(name(&mut small, 0, &[largest]), [NOBODY], "there is room for any one key");
}
