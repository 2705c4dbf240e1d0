//! Keys: round trips, canonical form, hostile bytes.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::*;

const LIMIT: &str = "requests/1m/fixed_window";

#[test]
fn people_read_a_key_as_policy_limit_parts() {
    let key = CounterKey::new("gold-subscription", LIMIT, &["app-1", "orders"]).unwrap();
    assert_eq!(key.to_string(), "gold-subscription requests/1m/fixed_window [app-1, orders]");
    assert_eq!((key.policy(), key.limit()), ("gold-subscription", LIMIT));
    assert_eq!(key.parts().collect::<Vec<_>>(), ["app-1", "orders"]);
    assert_eq!(CounterKey::new("all", LIMIT, &[]).unwrap().to_string(), format!("all {LIMIT} []"));
}

#[test]
fn the_encoding_is_fixed() {
    let key = CounterKey::new("p", "l", &["", "é"]).unwrap();
    assert_eq!(key.as_bytes(), b"\x01\x01p\x01l\x02\x00\x02\xc3\xa9");
}

#[test]
fn a_key_is_halved_before_its_parts() {
    let key = CounterKey::new("p", "l", &["", "é"]).unwrap();
    assert_eq!(key.halves(), (b"\x01\x01p\x01l\x02".as_slice(), b"\x00\x02\xc3\xa9".as_slice()));
}

#[test]
fn a_key_is_found_by_its_bytes() {
    let key = CounterKey::new("p", "l", &["a"]).unwrap();
    let set = BTreeSet::from([key.clone()]);
    assert!(set.contains(key.as_bytes()));
}

#[test]
fn everything_but_the_canonical_form_is_refused() {
    let long = [b"\x01\x01p\x01l\x01\xff\x7f".as_slice(), &[b'x'; 25_000]].concat();
    let long_part = [b"\x01\x01p\x01l\x01\x81\x08".as_slice(), &[b'x'; 1_025]].concat();
    for (bytes, error) in [
        (b"".as_slice(), KeyError::Truncated),
        (b"\x02\x01p\x01l\x00", KeyError::Version),
        (b"\x01\x01p\x01l", KeyError::Truncated),
        (b"\x01\x01p\x01l\x01", KeyError::Truncated),
        (b"\x01\x01p\x01l\x01\x02a", KeyError::Truncated),
        (b"\x01\x01p\x01l\x01\x80", KeyError::Truncated),
        (b"\x01\x01p\x01l\x00a", KeyError::Trailing),
        (b"\x01\x81\x00p\x01l\x00", KeyError::Varint),
        (b"\x01\xff\xff\xff\xff\x0f", KeyError::Varint),
        (b"\x01\x81\x80\x00p\x01l\x00", KeyError::Varint),
        (b"\x01\x81\x80", KeyError::Truncated),
        (b"\x01\x01p\x01l\x11", KeyError::TooManyParts),
        (b"\x01\x01p\x01l\x01\x01\xff", KeyError::NotText),
        (b"\x01\x00\x01l\x00", KeyError::Empty),
        (b"\x01\x01p\x00\x00", KeyError::Empty),
        (&long, KeyError::TooLong),
        (&long_part, KeyError::LongPart),
    ] {
        assert_eq!(CounterKey::parse(bytes), Err(error), "{:?}", bytes.get(..12).unwrap_or(bytes));
    }
}

fn fields() -> impl Strategy<Value = (String, String, Vec<String>)> {
    ("[a-z]{1,3}", "\\PC{1,3}", vec("\\PC{0,200}", 0..=4))
}

fn key((policy, limit, parts): &(String, String, Vec<String>)) -> CounterKey {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    CounterKey::new(policy, limit, &parts).unwrap()
}

proptest! {
    #[test]
    fn a_key_round_trips(fields in fields()) {
        let key = key(&fields);
        prop_assert_eq!(CounterKey::parse(key.as_bytes()).unwrap(), key.clone());
        let parts: Vec<String> = key.parts().map(str::to_owned).collect();
        prop_assert_eq!((key.policy().to_owned(), key.limit().to_owned(), parts), fields);
    }

    #[test]
    fn different_fields_have_different_keys(
        a in ("[ab]{1,2}", "[ab]{1,2}", vec("[ab]{0,2}", 0..=3)),
        b in ("[ab]{1,2}", "[ab]{1,2}", vec("[ab]{0,2}", 0..=3)),
    ) {
        prop_assert_eq!(a == b, key(&a) == key(&b));
    }

    #[test]
    fn what_is_accepted_is_what_is_written(bytes in vec(any::<u8>(), 0..40)) {
        let bytes = [&[1u8], bytes.as_slice()].concat();
        if let Ok(key) = CounterKey::parse(&bytes) {
            let parts: Vec<&str> = key.parts().collect();
            let mut written = Vec::new();
            encode(key.policy(), key.limit(), &parts, &mut written);
            prop_assert_eq!(written, bytes);
        }
    }
}
