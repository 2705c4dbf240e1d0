//! Candidates: what becomes a record, when, and how often.

use proptest::prelude::*;

use super::*;

fn closed(key: &str, start: u64, secs: u64, admitted: u64) -> Closed {
    let key = CounterKey::new("p", "requests", &[key]).expect("a key");
    let amounts = Amounts { admitted, refused: 0 };
    Closed { key, start, secs, amounts, edge: Amounts::default() }
}

fn at(secs: u64) -> Time {
    Time::from_secs(secs)
}

fn none(_: &UsageRecord) -> Option<UsageRecord> {
    None
}

fn due(accounts: &mut Accounts, duty: Duty, now: u64) -> Vec<UsageRecord> {
    accounts.due(duty, at(now), 100, none)
}

#[test]
fn the_ledger_hands_a_window_out_until_it_is_written() {
    let mut accounts = Accounts::new(10);
    accounts.note(&closed("k", 600, 60, 7), at(665));
    assert_eq!(accounts.next_deadline(), Some(at(665)));
    let records = due(&mut accounts, Duty::Ledger, 665);
    assert_eq!((records.len(), records[0].amounts.admitted, records[0].start), (1, 7, 600));
    assert_eq!(due(&mut accounts, Duty::Ledger, 666), [], "it is being written");
    assert_eq!(due(&mut accounts, Duty::Ledger, 670), records, "it was not");
    accounts.seen(&records[0]);
    assert!(accounts.is_empty() && accounts.next_deadline().is_none());
}

#[test]
fn short_windows_share_the_record_of_their_minute() {
    let mut accounts = Accounts::new(10);
    for (start, admitted) in [(600, 1), (605, 2), (605, 5), (605, 3), (655, 4)] {
        accounts.note(&closed("k", start, 5, admitted), at(start + 10));
    }
    assert_eq!(due(&mut accounts, Duty::Ledger, 671), [], "more may come");
    let records = due(&mut accounts, Duty::Ledger, 700);
    assert_eq!(records.len(), 1);
    let parts: Vec<_> = records[0].parts.iter().map(|p| (p.start, p.amounts.admitted)).collect();
    assert_eq!((records[0].secs, parts), (60, vec![(600, 1), (605, 5), (655, 4)]));
    assert_eq!(records[0].amounts.admitted, 10);
}

#[test]
fn windows_of_another_length_are_other_records() {
    let mut accounts = Accounts::new(10);
    // A policy of an hour is deleted, and comes back with a minute.
    accounts.note(&closed("k", 43_200, 3_600, 50), at(43_257));
    accounts.note(&closed("k", 43_200, 60, 100), at(43_266));
    let records = due(&mut accounts, Duty::Ledger, 43_270);
    let mut amounts: Vec<_> = records.iter().map(|r| (r.secs, r.amounts.admitted)).collect();
    amounts.sort_unstable();
    assert_eq!(amounts, [(60, 100), (3_600, 50)]);
    accounts.seen(&records[0]);
    assert_eq!(accounts.len(), 1, "the other is not written");
}

#[test]
fn a_standby_drops_what_is_written_and_hands_out_the_rest_when_it_takes_over() {
    let mut accounts = Accounts::new(10);
    accounts.note(&closed("a", 600, 60, 7), at(665));
    accounts.note(&closed("b", 600, 60, 9), at(665));
    let have = |record: &UsageRecord| {
        let known = UsageRecord { amounts: Amounts { admitted: 7, refused: 0 }, ..record.clone() };
        Some(known)
    };
    assert_eq!(accounts.due(Duty::Standby, at(665), 100, have), []);
    assert_eq!(accounts.len(), 1, "the ledger knows as much of one, and less of the other");
    let left = due(&mut accounts, Duty::Ledger, 666);
    assert_eq!(left.iter().map(|r| r.amounts.admitted).collect::<Vec<_>>(), [9]);
}

#[test]
fn what_the_ledger_cannot_know_is_handed_out_by_a_standby() {
    let mut accounts = Accounts::new(10);
    accounts.note(&closed("k", 600, 60, 7), at(665));
    for now in 665..665 + PATIENCE.as_secs() {
        assert_eq!(due(&mut accounts, Duty::Standby, now), []);
    }
    assert_eq!(due(&mut accounts, Duty::Standby, 740).len(), 1);
}

#[test]
fn what_came_close_to_a_minutes_bounds_is_no_difference() {
    let mut accounts = Accounts::new(10);
    let edge = Amounts { admitted: 2, refused: 0 };
    accounts.note(&Closed { edge, ..closed("k", 600, 60, 7) }, at(660));
    let mut record = due(&mut accounts, Duty::Ledger, 660).remove(0);
    record.amounts.admitted = 4;
    accounts.seen(&record);
    assert_eq!(accounts.len(), 1, "3 are missing, 2 may be in the next minute");
    record.amounts.admitted = 5;
    accounts.seen(&record);
    assert!(accounts.is_empty());
}

#[test]
fn of_too_many_the_first_that_closed_go_and_are_counted() {
    let mut accounts = Accounts::new(3);
    for n in 0..5 {
        accounts.note(&closed(&n.to_string(), 600, 60, 1), at(660 + n));
    }
    assert_eq!((accounts.len(), accounts.dropped()), (3, 2));
    let keys: Vec<_> =
        due(&mut accounts, Duty::Ledger, 700).into_iter().map(|r| r.key.concat()).collect();
    assert_eq!(keys, ["2", "3", "4"]);
}

#[test]
fn nothing_used_is_no_record() {
    let mut accounts = Accounts::new(3);
    accounts.note(&closed("k", 600, 60, 0), at(660));
    assert!(accounts.is_empty());
}

fn records() -> impl Strategy<Value = UsageRecord> {
    let amounts =
        || (0..5_u64, 0..5_u64).prop_map(|(admitted, refused)| Amounts { admitted, refused });
    proptest::collection::btree_map(0..4_u64, amounts(), 0..4).prop_map(|parts| {
        let mut record = UsageRecord {
            policy: "p".into(),
            limit: "l".into(),
            key: vec![],
            start: 0,
            secs: 60,
            amounts: Amounts::default(),
            parts: parts.into_iter().map(|(start, amounts)| Part { start, amounts }).collect(),
        };
        record.amounts = record::sum(&record.parts);
        record
    })
}

proptest! {
    #[test]
    fn records_are_joined_in_any_order_and_any_number_of_times(
        a in records(), b in records(), c in records(),
    ) {
        let join = |all: &[&UsageRecord]| {
            let mut sum = all[0].clone();
            all[1..].iter().for_each(|r| sum.join(r));
            sum
        };
        prop_assert_eq!(join(&[&a, &b, &c]), join(&[&c, &a, &b, &a]));
        prop_assert!(join(&[&a, &b]).covers(&a) && join(&[&a, &b]).covers(&b));
        prop_assert_eq!(a.covers(&b), join(&[&a, &b]) == a);
    }
}
