//! What peers say that cannot be true stops nothing here, and is passed on to nobody.

use weir_proto::peer::{AuditKey, Origin, Stamp};

use super::*;

/// `one` hears `entry`, as it passes all other bounds. Whether it took it.
fn takes(one: &mut Replica, entry: &Entry, now: Time) -> bool {
    let entry = Entry::decode(&entry.encode()).expect("within the bounds of frames");
    let key = entry.key();
    let change = one.receive(&life(2), Delta { number: 0, entries: vec![entry] }, now);
    apply(one, change, now);
    one.has(&key)
}

/// A policy of a peer, changed.
fn told(change: impl FnOnce(&mut Version)) -> Entry {
    let mut two = replica(2, 2);
    put(&mut two, "p", 1, at(0));
    let Some(Entry::Policy(name, register)) = everything(&two).entries.pop() else {
        panic!("a policy")
    };
    let mut version = (*register.versions[0]).clone();
    change(&mut version);
    let register = Register { versions: vec![version.into()], ..Register::default() };
    Entry::Policy(name, register)
}

#[test]
fn stamps_and_numbers_that_leave_no_room_are_refused() {
    let last = Stamp((1 << 48) * 1_000);
    let mut one = replica(1, 2);
    for entry in [
        told(|version| version.stamp = last),
        told(|version| version.ref_number = 1 << 62),
        told(|version| {
            version.seen.insert(Origin { life: life(9), series: Stamp(1) }, last);
        }),
    ] {
        assert!(!takes(&mut one, &entry, at(1)), "{entry:?}");
    }
    assert_eq!(one.totals().refused_entries, 3);
    assert!(takes(&mut one, &told(|_| ()), at(1)));
    // What is written next reads back.
    for name in ["p", "q"] {
        let (mut stored, mut again) = (BTreeMap::new(), replica(1, 2));
        let change = one.put(&policy(name, 2), "anna", at(2)).expect("room");
        disk(&change, &mut stored);
        apply(&mut one, change, at(2));
        stored.iter().for_each(|(key, value)| again.load(key, value).expect("it reads"));
    }
}

/// Of whoever heard the latest there may be, the others hear no later than that.
#[test]
fn what_is_written_on_top_of_the_latest_is_told_soon() {
    let mut one = replica(1, 3);
    let latest = (at(1) + DAY * 36_500).as_micros();
    assert!(takes(&mut one, &told(|version| version.stamp = Stamp(latest)), at(1)));
    assert!(takes(&mut one, &told(|version| version.ref_number = latest), at(1)));
    put(&mut one, "p", 3, at(2));
    let mut three = replica(3, 3);
    tell(&one, &mut three, at(2));
    assert_eq!(requests(&three, "p"), Some(3));
}

#[test]
fn records_of_the_far_future_and_of_this_life_are_refused() {
    let audit = |origin: ManagerLife, seq, at| {
        let audit = Audit {
            at,
            actor: "a".to_owned(),
            action: "b".to_owned(),
            policy: String::new(),
            tag: String::new(),
            detail: String::new(),
        };
        Entry::Audit(AuditKey { origin, seq }, audit.into())
    };
    let mut one = replica(1, 2);
    assert!(!takes(&mut one, &audit(life(1), u64::MAX, at(1)), at(1)), "of this life");
    assert!(takes(&mut one, &audit(life(2), u64::MAX, at(1)), at(1)), "of another");
    assert!(!takes(&mut one, &audit(life(2), 1, Time::from_millis(1 << 48)), at(1)));
    let key = |start_secs| UsageKey {
        policy: "p".to_owned(),
        limit: "1m".to_owned(),
        key: vec!["a".to_owned()],
        start_secs,
        length_secs: 60,
    };
    let usage = |start| Entry::Usage(key(start).into(), Usage::default());
    assert!(!takes(&mut one, &usage(1 << 38), at(1)));
    assert!(takes(&mut one, &usage(960), at(1)));
    let Entry::Audit(_, record) = audit(life(1), 1, at(2)) else { panic!("a record") };
    let change = one.record(vec![Record::Audit((*record).clone())], at(2));
    apply(&mut one, change, at(2));
    assert!(takes(&mut one, &audit(life(1), 1, at(2)), at(3)), "told back by others");
}
