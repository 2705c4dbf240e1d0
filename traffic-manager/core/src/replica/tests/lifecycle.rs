//! One replica, its store, and what it hears.

use super::*;

#[test]
fn a_prepared_change_is_nothing_until_it_is_applied_and_reads_back_from_the_store() {
    let mut one = replica(1, 1);
    let mut stored = BTreeMap::new();
    let dropped = one.put(&policy("p", 1), "anna", at(0)).expect("room");
    assert!(!dropped.is_empty());
    assert_eq!((one.root(), one.revision(), one.winner("p")), (0, 0, None));
    for (n, name) in ["p", "q", "p"].into_iter().enumerate() {
        let change = one.put(&policy(name, n as u64 + 1), "anna", at(n as u64)).expect("room");
        disk(&change, &mut stored);
        let out = apply(&mut one, change, at(n as u64));
        let Output::Policy { name: told, winner: Some(_), revision } = &out[0] else {
            panic!("{out:?}")
        };
        assert_eq!((told.as_str(), *revision), (name, n as u64 + 1));
    }
    let change = one.delete("q", "bert", at(9)).expect("it is there");
    disk(&change, &mut stored);
    let out = apply(&mut one, change, at(9));
    assert_eq!(out, [Output::Policy { name: "q".to_owned(), winner: None, revision: 4 }]);
    assert!(one.delete("q", "bert", at(9)).is_none() && one.delete("r", "bert", at(9)).is_none());
    let winner = one.winner("p").expect("it holds");
    assert_eq!((winner.ref_number, winner.author.as_str(), winner.settled), (2, "anna", true));
    assert!(winner.tag.starts_with("2-") && winner.tag.len() == 18);

    let mut again = replica(1, 1);
    for (key, value) in &stored {
        again.load(key, value).expect("as it was written");
    }
    assert_eq!(again.root(), one.root());
    assert_eq!(again.winners().collect::<Vec<_>>(), one.winners().collect::<Vec<_>>());
    put(&mut again, "p", 9, at(0));
    assert!(again.winner("p").expect("it holds").stamp > one.winner("p").expect("it holds").stamp);
}

#[test]
fn a_corrupt_entry_is_refused_by_name() {
    let mut stored = BTreeMap::new();
    let one = replica(1, 1);
    disk(&one.put(&policy("p", 1), "anna", at(0)).expect("room"), &mut stored);
    let (key, value) = stored.pop_first().expect("one entry");
    let refusal =
        |key: &[u8], value: &[u8]| replica(1, 1).load(key, value).expect_err("corrupt").to_string();
    let cut = refusal(&key, &value[..value.len() - 3]);
    assert!(cut.starts_with("the stored entry policy \"p\" cannot be read: "), "{cut}");
    assert!(refusal(b"\x01q", &value).contains("policy \"q\""));
    assert!(refusal(&key, b"").contains("it is empty"));
    let newer = [&[9], &value[1..]].concat();
    assert!(refusal(&key, &newer).contains("version 9, this build reads version 1"));
    assert!(refusal(key::FLOOR, b"x").contains("floor"));
}

#[test]
fn the_file_is_merged_once_and_undoes_nothing() {
    let mut one = replica(1, 2);
    let files = [policy("kept", 1), policy("changed", 1), policy("deleted", 1)];
    let change = one.offer_file(&files, at(0));
    assert_eq!(apply(&mut one, change, at(0)).len(), 3);
    assert!(one.offer_file(&files, at(1)).is_empty(), "the same again");
    put(&mut one, "changed", 2, at(1));
    let change = one.delete("deleted", "anna", at(1)).expect("it is there");
    apply(&mut one, change, at(1));
    assert!(one.offer_file(&files, at(2)).is_empty(), "an old file after a restart");
    assert_eq!(requests(&one, "changed"), Some(2));
    assert_eq!(requests(&one, "deleted"), None);
    // Another manager's file: the union, and a conflict where they differ.
    let mut two = replica(2, 2);
    let change = two.offer_file(&[policy("kept", 5), policy("more", 5)], at(0));
    apply(&mut two, change, at(0));
    tell(&one, &mut two, at(3));
    tell(&two, &mut one, at(3));
    tell(&one, &mut two, at(3));
    assert_eq!(one.winners().collect::<Vec<_>>(), two.winners().collect::<Vec<_>>());
    assert_eq!(one.winners().count(), 3);
    assert_eq!(one.conflicts().count(), 1);
}

#[test]
fn conflicts_are_restored_or_dismissed_and_leave_every_log() {
    for restore in [true, false] {
        let (mut one, mut two) = (replica(1, 2), replica(2, 2));
        put(&mut one, "p", 1, at(0));
        put(&mut two, "p", 2, at(1));
        tell(&two, &mut one, at(2));
        tell(&one, &mut two, at(2));
        let conflict = two.conflicts().next().expect("one lost");
        assert_eq!(two.conflict(conflict.id), Some(conflict.clone()));
        assert_eq!((requests(&two, "p"), conflict.ref_number), (Some(2), 1));
        assert_eq!(conflict.winner.as_ref(), two.winner("p").map(|winner| &winner.tag));
        let won = conflict.won.as_ref().map(|won| (&won.author, won.stamp, &won.origin));
        let winner = two.winner("p").map(|winner| (&winner.author, winner.stamp, &winner.origin));
        assert_eq!(won, winner);
        let change = if restore {
            two.restore(conflict.id, &policy("p", 1), "bert", at(3))
        } else {
            two.dismiss(conflict.id, "bert", at(3))
        };
        apply(&mut two, change.expect("it is in the log"), at(3));
        tell(&two, &mut one, at(4));
        for replica in [&one, &two] {
            assert_eq!(requests(replica, "p"), Some(if restore { 1 } else { 2 }));
            assert_eq!(replica.conflicts().count(), 0);
        }
        let gone =
            two.restore(conflict.id, &policy("p", 1), "bert", at(5)).expect_err("it left the log");
        assert_eq!(gone, WriteError::NoConflict);
    }
}

#[test]
fn old_deletions_go_and_do_not_come_back() {
    let (mut one, mut two) = (replica(1, 2), replica(2, 2));
    for n in 0..4 {
        put(&mut one, "p", n + 1, at(n));
    }
    let change = one.delete("p", "anna", at(9)).expect("it is there");
    apply(&mut one, change, at(9));
    tell(&one, &mut two, at(9));
    let later = at(10) + DAY * 30;
    assert!(one.sweep(at(9) + DAY * 30).is_empty(), "not yet");
    let change = one.sweep(later);
    let mut stored = BTreeMap::new();
    disk(&change, &mut stored);
    assert_eq!(apply(&mut one, change, later), []);
    assert_eq!(one.root(), 0);
    assert!(one.receive(&life(2), everything(&two), later).is_empty(), "not taken back");
    // Another life knows how far numbers had come.
    let mut again = replica(1, 2);
    stored.iter().for_each(|(key, value)| again.load(key, value).expect("it reads"));
    put(&mut again, "p", 7, later);
    assert_eq!(again.winner("p").map(|winner| winner.ref_number), Some(6));
    tell(&again, &mut two, later);
    assert_eq!(requests(&two, "p"), Some(7), "above the old deletion");
}

#[test]
fn old_losers_go_and_do_not_come_back() {
    let (mut one, mut two) = (replica(1, 2), replica(2, 2));
    put(&mut one, "p", 1, at(0));
    put(&mut two, "p", 2, at(1));
    tell(&two, &mut one, at(2));
    tell(&one, &mut two, at(2));
    let later = at(5) + DAY * 30;
    let change = one.sweep(later);
    apply(&mut one, change, later);
    assert_eq!((one.conflicts().count(), two.conflicts().count()), (0, 1));
    assert!(one.receive(&life(2), everything(&two), later).is_empty());
    assert_eq!(requests(&one, "p"), Some(2), "what holds does not age");
}

#[test]
fn records_are_numbered_joined_by_maximum_and_bounded() {
    let config = Config { max_audit: 3, max_usage: 2, ..Config::new(life(1), 1) };
    let mut one = Replica::new(config, at(0));
    let mut stored = BTreeMap::new();
    let audit = |secs| Audit {
        at: at(secs),
        actor: "x".repeat(300),
        action: "create".to_owned(),
        policy: "p".to_owned(),
        tag: String::new(),
        detail: "é".repeat(4_000),
    };
    let key = |start_secs| UsageKey {
        policy: "p".to_owned(),
        limit: "1m".to_owned(),
        key: vec!["a".to_owned()],
        start_secs,
        length_secs: 60,
    };
    for n in 1..=5 {
        let usage = Usage { admitted: 10 - n, refused: n, ..Usage::default() };
        let records = vec![
            Record::Audit(audit(n)),
            Record::Usage(key(60), usage.clone()),
            Record::Usage(key(60 * n), Usage { admitted: 1, refused: 1, ..Usage::default() }),
        ];
        let change = one.record(records, at(n));
        disk(&change, &mut stored);
        apply(&mut one, change, at(n));
    }
    let seqs: Vec<u64> = one.audit(&AuditFilter::default()).map(|(key, _)| key.seq).collect();
    assert_eq!(seqs, [5, 4, 3], "the newest, newest first");
    let record = one.audit(&AuditFilter::default()).next().expect("three").1;
    assert_eq!((record.actor.len(), record.detail.len()), (256, 4_096));
    let starts: Vec<u64> = one.usage(&UsageFilter::default()).map(|(k, _)| k.start_secs).collect();
    assert_eq!(starts, [300, 240]);
    let policy = Some("q".to_owned());
    assert_eq!(one.usage(&UsageFilter { policy, ..UsageFilter::default() }).count(), 0);
    assert_eq!(stored.len(), 5, "what goes is removed from the store");
    let more = Usage { admitted: 9, ..Usage::default() };
    let change = one.record(vec![Record::Usage(key(300), more.clone())], at(9));
    apply(&mut one, change, at(9));
    let joined = one.usage(&UsageFilter::default()).next().expect("two").1;
    assert_eq!((joined.admitted, joined.refused), (9, 1));
    assert!(one.record(vec![Record::Usage(key(300), more)], at(9)).is_empty());
}

#[test]
fn what_has_no_room_is_refused() {
    let config = Config { max_policies: 2, ..Config::new(life(1), 1) };
    let mut one = Replica::new(config, at(0));
    put(&mut one, "a", 1, at(0));
    put(&mut one, "b", 1, at(0));
    let full = one.put(&policy("c", 1), "anna", at(1)).expect_err("full");
    assert_eq!(full, WriteError::Full { max: 2 });
    put(&mut one, "b", 2, at(1));
    let change = one.delete("a", "anna", at(2)).expect("it is there");
    apply(&mut one, change, at(2));
    put(&mut one, "c", 1, at(3));
    let mut two = replica(2, 2);
    for name in ["d", "e", "f"] {
        put(&mut two, name, 1, at(4));
    }
    tell(&two, &mut one, at(5));
    assert_eq!((one.totals().refused_entries, one.winners().count()), (2, 3));
    let limits = json!([{ "requests": 5, "window": "1m" }]);
    let key = |n: u64| [format!("{n:0>250}")];
    let overrides: Vec<_> =
        (0..9_000).map(|n| json!({ "key": key(n), "limits": limits })).collect();
    let large = json!({
        "name": "big", "level": "api", "key": ["application"], "overrides": overrides,
        "limits": [{ "requests": 1, "window": "1m" }],
    });
    let mut large = Policy::from_json(&large).unwrap_or_else(|e| panic!("{e}"));
    large.overrides.extend(large.overrides.clone());
    let refusal = replica(1, 1).put(&large, "anna", at(0)).expect_err("more than a frame holds");
    assert!(matches!(refusal, WriteError::TooLarge { bytes, max } if bytes > max));
}

#[test]
fn a_document_of_a_newer_version_is_kept_and_what_held_before_holds_on() {
    let (mut one, mut two) = (replica(1, 2), replica(2, 2));
    put(&mut one, "p", 1, at(0));
    tell(&one, &mut two, at(1));
    put(&mut two, "p", 2, at(2));
    let mut delta = everything(&two);
    let Entry::Policy(_, register) = &mut delta.entries[0] else { panic!("a policy") };
    for version in &mut register.versions {
        let mut newer = (**version).clone();
        newer.body = Some(Bytes::from_static(br#"{"name":"p","level":"galaxy"}"#));
        *version = newer.into();
    }
    let change = one.receive(&life(2), delta, at(3));
    assert!(!change.is_empty(), "kept for the others");
    assert_eq!(apply(&mut one, change, at(3)), []);
    assert_eq!((requests(&one, "p"), one.totals().unreadable), (Some(1), 1));
}
