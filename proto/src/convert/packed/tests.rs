//! Whatever the bytes are: what was written, or an error that names the field.

use proptest::prelude::*;

use super::*;
use crate::{
    key::CounterKey,
    usage::{EntryWriter, NameWriter},
};

fn any_entry() -> impl Strategy<Value = UsageEntry> {
    let amount = || prop_oneof![0..200_u64, 0..=MAX_AMOUNT];
    let window = prop_oneof![Just(1_800_000_000_u64), 0..=LAST_WINDOW];
    (any::<KeyId>(), window, amount(), amount()).prop_map(|(key, window, used, rejected)| {
        UsageEntry { key, window: WindowStart(window), used, rejected }
    })
}

/// Bytes that look like numbers more often than not.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![any::<u8>(), 0..4_u8, 0x80..=0xff_u8], 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(list in prop::collection::vec(any_entry(), 0..50)) {
        let bytes = list.iter().collect::<EntryWriter>().finish();
        prop_assert_eq!(entries(&bytes).expect("valid"), list);
    }

    #[test]
    fn every_cut_is_noticed_or_leaves_whole_entries(
        list in prop::collection::vec(any_entry(), 1..10),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = list.iter().collect::<EntryWriter>().finish();
        let part = entries(&bytes[..cut.index(bytes.len())]);
        prop_assert!(part.is_err() || part.is_ok_and(|part| list.starts_with(&part)));
    }

    #[test]
    fn any_bytes_are_valid_entries_or_an_error(bytes in noise()) {
        match entries(&bytes) {
            Ok(list) => {
                prop_assert!(list.len() <= bytes.len() / 2);
                prop_assert!(list.iter().all(valid));
            }
            Err(error) => prop_assert!(error.to_string().contains("entries"), "{}", error),
        }
    }

    #[test]
    fn any_bytes_are_names_within_bounds_or_an_error(bytes in noise()) {
        if let Ok(names) = names(bytes.clone().into()) {
            let told: usize = names.iter().map(|(_, key)| key.len()).sum();
            prop_assert!(told <= bytes.len());
        }
    }

    #[test]
    fn names_are_read_as_written(parts in prop::collection::vec("[a-z]{0,40}", 0..20)) {
        let keys: Vec<CounterKey> =
            parts.iter().map(|p| CounterKey::new("p", "l", &[p]).expect("a key")).collect();
        let mut writer = NameWriter::default();
        (7..).zip(&keys).for_each(|(id, key)| writer.push(id, key));
        let read = names(writer.finish()).expect("valid");
        let told: Vec<_> = read.iter().collect();
        let meant: Vec<_> = (7..).zip(keys.iter().map(CounterKey::as_bytes)).collect();
        prop_assert_eq!(told, meant);
    }
}

#[test]
fn refusals_name_the_field() {
    let entry = UsageEntry { key: 1, window: WindowStart(0), used: 1, rejected: 0 };
    let refused = |entry: UsageEntry| {
        let bytes = [entry].iter().collect::<EntryWriter>().finish();
        entries(&bytes).expect_err("out of range").to_string()
    };
    assert!(refused(UsageEntry { used: MAX_AMOUNT + 1, ..entry }).contains("entries[].used"));
    let rejected = UsageEntry { rejected: MAX_AMOUNT + 1, ..entry };
    assert!(refused(rejected).contains("entries[].rejected"));
    let window = UsageEntry { window: WindowStart(LAST_WINDOW + 1), ..entry };
    assert!(refused(window).contains("entries[].window"));
    // The id 2^32, used 1.
    let error = entries(&[0x80, 0x80, 0x80, 0x80, 0x40, 1]).expect_err("no such id");
    assert!(error.to_string().contains("entries[].id"), "{error}");
    let error = entries(&[0xff; 20]).expect_err("no such number");
    assert_eq!(error.to_string(), "entries has a number of more than 7 bytes (byte 0)");
    let error = entries(&[4]).expect_err("it is cut");
    assert_eq!(error.to_string(), "entries ends inside a number (byte 1)");
    let error = names(vec![1, 5, 0].into()).expect_err("it is cut");
    assert_eq!(error.to_string(), "names ends inside a key (byte 2)");
    let error = names(vec![1, 0xff, 0xff, 0x7f].into()).expect_err("no such key");
    assert!(error.to_string().contains("20480"), "{error}");
}

#[test]
fn a_frame_holds_a_bounded_number() {
    let most = vec![0_u8; 2 * MAX_ENTRIES];
    assert_eq!(entries(&most).map(|list| list.len()), Ok(MAX_ENTRIES));
    assert!(entries(&vec![0; 2 * MAX_ENTRIES + 2]).is_err());
    assert_eq!(names(most.clone().into()).map(|names| names.len()), Ok(MAX_ENTRIES));
    assert!(names(vec![0; 2 * MAX_ENTRIES + 2].into()).is_err());
}
