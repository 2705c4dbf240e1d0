//! Whatever is accepted has a key and a value that a store takes, and comes back from it.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*};
use weir_proto::{
    id::MAX_NAME,
    key::{CounterKey, MAX_KEY_PARTS},
    peer::{AuditKey, MAX_BODY, MAX_SEEN, MAX_USAGE_PARTS, MAX_VERSIONS, UsagePart, size},
    policy::MAX_POLICY_NAME,
    request::MAX_VALUE_BYTES,
};

use super::*;
use crate::replica::key;

/// The name of a counter whose record has the longest key.
fn counter(parts: &[usize]) -> CounterKey {
    let parts: Vec<String> = parts.iter().map(|bytes| "k".repeat(*bytes)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    CounterKey::new(&"p".repeat(MAX_POLICY_NAME), &"l".repeat(200), &parts).expect("a key")
}

fn usage(counter: &CounterKey, parts: u32) -> (UsageKey, Usage) {
    let key = UsageKey {
        policy: counter.policy().to_owned(),
        limit: counter.limit().to_owned(),
        key: counter.parts().map(str::to_owned).collect(),
        start_secs: 60,
        length_secs: 60,
    };
    let part = |n| UsagePart { offset_secs: n, admitted: u64::MAX, refused: u64::MAX };
    (key, Usage { admitted: u64::MAX, refused: u64::MAX, parts: (0..parts).map(part).collect() })
}

/// What the store would have of a change, checked and read back.
fn stored(change: &Change) -> (usize, usize) {
    let mut again = replica(1, 1);
    let mut longest = (0, 0);
    for (key, value) in change.writes() {
        let value = value.expect("nothing is removed");
        assert!(key.len() <= MAX_STORED_KEY && value.len() <= MAX_STORED_VALUE);
        again.load(&key, &value).expect("it reads back");
        longest = longest.max((key.len(), value.len()));
    }
    longest
}

#[test]
fn the_longest_keys_are_stored() {
    let counter = counter(&[MAX_VALUE_BYTES; MAX_KEY_PARTS]);
    let (key, amounts) = usage(&counter, MAX_USAGE_PARTS as u32);
    let change = replica(1, 1).record(vec![Record::Usage(key.clone(), amounts)], at(0));
    let (bytes, _) = stored(&change);
    assert!(bytes > MAX_KEY_PARTS * MAX_VALUE_BYTES, "nothing of it was cut: {bytes}");
    let mut one = replica(1, 1);
    apply(&mut one, change, at(0));
    assert!(one.usage_of(&key).is_ok_and(|usage| usage.is_some()), "under its whole name");

    let long = "t".repeat(10_000);
    let audit = Audit {
        at: at(0),
        actor: long.clone(),
        action: long.clone(),
        policy: long.clone(),
        tag: long.clone(),
        detail: long,
    };
    stored(&replica(1, 1).record(vec![Record::Audit(audit)], at(0)));
    let origin =
        ManagerLife { id: ManagerId::new(&"m".repeat(MAX_NAME)).expect("a name"), incarnation: 1 };
    let audit = EntryKey::Audit(AuditKey { origin, seq: u64::MAX });
    assert!(key::encode(&audit).len() <= MAX_STORED_KEY);
    let name = PolicyName::new(&"p".repeat(MAX_POLICY_NAME)).expect("a name");
    assert!(key::encode(&EntryKey::Policy(name)).len() <= MAX_STORED_KEY);
}

/// Two managers that wrote as many rivals of as long a policy as there may be, and a third that has them all.
#[test]
fn the_largest_register_is_stored_and_sent_in_frames() {
    let body = Bytes::from(vec![b'x'; MAX_BODY]);
    let version = |n: usize| {
        let origin = |n: usize| weir_proto::peer::Origin {
            life: life(n as u64),
            series: weir_proto::peer::Stamp(n as u64),
        };
        Arc::new(Version {
            ref_number: 1,
            stamp: weir_proto::peer::Stamp(at(1).as_micros() + n as u64),
            origin: origin(n),
            seen: (0..MAX_SEEN).map(|n| (origin(n + 100), weir_proto::peer::Stamp(1))).collect(),
            author: "a".repeat(256),
            body: Some(body.clone()),
        })
    };
    let name = PolicyName::new("p").expect("a name");
    let mut one = replica(1, 3);
    for n in 0..=MAX_VERSIONS {
        let register = Register { versions: vec![version(n)], ..Register::default() };
        let entries = vec![Entry::Policy(name.clone(), register)];
        let change = one.receive(&life(2), Delta { number: 0, entries }, at(2));
        apply(&mut one, change, at(2));
    }
    let whole = everything(&one).entries.pop().expect("the register");
    assert!(size::of(&whole) > MAX_VERSIONS * MAX_BODY, "as large as it may be");
    let value = key::value(&whole);
    assert!(value.len() <= MAX_STORED_VALUE);
    replica(1, 3).load(&key::encode(&whole.key()), &value).expect("it reads back");

    let mut out = Vec::new();
    one.handle(Input::Up(life(3)), at(3), &mut out);
    let want = weir_proto::peer::PeerFrame::Want(vec![hash::of_key(&key::encode(&whole.key()))]);
    one.handle(Input::Frame(life(3), want), at(3), &mut out);
    let mut three = replica(3, 3);
    let mut deltas = 0;
    for output in out {
        let Output::Send(_, weir_proto::peer::PeerFrame::Delta(delta)) = output else { continue };
        let bytes: usize = delta.entries.iter().map(size::of).sum();
        assert!(bytes + 64 < weir_proto::convert::MAX_FRAME_BYTES, "{bytes}");
        let change = three.receive(&life(1), delta, at(3));
        apply(&mut three, change, at(3));
        deltas += 1;
    }
    assert_eq!(deltas, MAX_VERSIONS, "a version each");
    let versions = |of: &Replica| of.register("p").map(|register| register.versions.len());
    assert_eq!((versions(&one), versions(&three)), (Some(MAX_VERSIONS), Some(MAX_VERSIONS)));
}

proptest! {
    #[test]
    fn every_counters_record_is_stored_under_its_whole_name(
        parts in vec(0..=MAX_VALUE_BYTES, 0..=MAX_KEY_PARTS), windows in 0..=MAX_USAGE_PARTS as u32,
    ) {
        let (key, amounts) = usage(&counter(&parts), windows);
        let change = replica(1, 1).record(vec![Record::Usage(key.clone(), amounts)], at(0));
        stored(&change);
        let mut one = replica(1, 1);
        apply(&mut one, change, at(0));
        let kept = one.usage(&UsageFilter::default()).next().map(|(key, _)| key.clone());
        prop_assert_eq!(kept, Some(key));
    }
}
