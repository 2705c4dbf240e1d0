//! The counter's layout, and keys of every length.

use weir_proto::policy::Policy;

use super::*;
use crate::table::Table;

/// A family to have counters of.
fn family() -> Arc<Family> {
    let document = serde_json::json!({ "name": "p", "level": "api", "key": ["user"],
        "limits": [{ "requests": 1, "window": "1m" }] });
    let policy = Policy::from_json(&document).expect("the policy is valid");
    let set = weir_proto::matcher::PolicySet::compile(1, [Arc::new(policy)]);
    let table = Table::new(1, OnDisconnect::Local, 0, Arc::new(|| ()));
    table.enforce(Arc::new(set));
    Arc::clone(&table.snapshot().families[0].own)
}

#[test]
fn what_every_check_needs_is_in_the_first_line() {
    // With the lock's eight bytes in front and the slot's tag behind: two lines of 64.
    assert_eq!(size_of::<Counter>(), 112);
    assert_eq!(std::mem::offset_of!(Counter, cold), 56);
}

#[test]
fn a_key_of_any_length_is_compared_whole() {
    let family = family();
    for length in [1, INLINE - 1, INLINE, INLINE + 1, 300, 10_000] {
        let parts = vec![b'x'; length];
        let mut counter = Counter::default();
        assert!(!counter.is(&family, &parts), "nobody's");
        counter.begin(&family, &parts, 7, WindowStart(60));
        assert!(counter.is(&family, &parts), "{length}");
        assert!(!counter.is(&family, &parts[1..]), "{length}");
        assert!(!counter.is(&family, &[&parts[1..], b"y"].concat()), "{length}");
        assert!(!counter.is(&self::family(), &parts), "another limit's");
    }
}

#[test]
fn a_box_is_given_back_once_its_windows_are_reported() {
    let family = family();
    let mut counter = Counter::default();
    counter.begin(&family, b"\x01a", 7, WindowStart(60));
    counter.used = 3;
    counter.roll(WindowStart(120));
    let closed = Amounts { window: WindowStart(60), used: 3, rejected: 0 };
    assert!(!counter.idle(Time::MAX, Time::MAX), "a window is not reported yet");
    assert_eq!(counter.take_closed(), [closed]);
    assert!(counter.cold.is_none());
    assert!(counter.idle(Time::from_secs(180), Time::MAX));
    assert!(!counter.idle(Time::from_secs(179), Time::MAX));
}
