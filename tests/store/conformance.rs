//! What every store must do, whatever it is made of. `open` opens the same store each time.

use std::thread;

use traffic_manager::store::{Batch, MAX_KEY, MAX_VALUE, Store, StoreError, Table};
use traffic_manager_core::replica;

pub(crate) type Records = Vec<(Table, Vec<u8>, Vec<u8>)>;
pub(crate) type Open<'a> = dyn Fn() -> Result<Box<dyn Store>, StoreError> + 'a;

/// All that a store has.
pub(crate) fn records(store: &mut dyn Store) -> Records {
    let mut records = Vec::new();
    store
        .load(&mut |table, key, value| {
            records.push((table, key.to_vec(), value.to_vec()));
            Ok(())
        })
        .expect("the store can be read");
    records
}

fn record(table: Table, key: &str, value: &str) -> (Table, Vec<u8>, Vec<u8>) {
    (table, key.into(), value.into())
}

/// Runs the suite. `persists`: what was committed is there when the store is opened again.
pub(crate) fn conforms(open: &Open<'_>, persists: bool) {
    let mut store = open().expect("a new store opens");
    assert!(records(store.as_mut()).is_empty(), "a new store is empty");
    writes_overwrites_and_removes(store.as_mut());
    a_refused_batch_leaves_nothing(store.as_mut());
    the_largest_entries(store.as_mut());
    large_and_odd_records(store.as_mut());
    if persists {
        let before = records(store.as_mut());
        drop(store);
        store = open().expect("it opens again");
        assert!(records(store.as_mut()) == before, "all is there when it is opened again");
        refuses_a_second_user(open, store.as_mut());
    }
    copies_itself(store.as_mut());
    shows_one_moment_while_it_goes_on(store.as_mut());
    many_records(store.as_mut());
}

fn writes_overwrites_and_removes(store: &mut dyn Store) {
    let mut batch = Batch::new();
    batch.put(Table::Entries, "b", "1");
    batch.put(Table::Meta, "a", "meta");
    batch.put(Table::Counters, "a", "counter");
    batch.put(Table::Entries, "a", "2");
    store.commit(&batch).unwrap();
    let mut expected = vec![
        record(Table::Entries, "a", "2"),
        record(Table::Entries, "b", "1"),
        record(Table::Counters, "a", "counter"),
        record(Table::Meta, "a", "meta"),
    ];
    assert_eq!(records(store), expected, "by table, then key, in whatever order it was written");

    let mut batch = Batch::new();
    batch.put(Table::Entries, "a", "first");
    batch.remove(Table::Entries, "a");
    batch.put(Table::Entries, "a", "last");
    batch.put(Table::Meta, "a", "not for long");
    batch.remove(Table::Meta, "a");
    batch.remove(Table::Counters, "never there");
    store.commit(&batch).unwrap();
    expected[0] = record(Table::Entries, "a", "last");
    expected.pop();
    assert_eq!(records(store), expected, "of changes of one key the last counts");

    store.commit(&Batch::new()).unwrap();
    let mut all = Batch::new();
    expected.iter().for_each(|(table, key, _)| all.remove(*table, key.clone()));
    store.commit(&all).unwrap();
    assert!(records(store).is_empty());
}

fn a_refused_batch_leaves_nothing(store: &mut dyn Store) {
    let mut batch = Batch::new();
    batch.put(Table::Entries, "good", "1");
    batch.put(Table::Entries, vec![0; MAX_KEY + 1], "key too long");
    let error = store.commit(&batch).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { what: "key", .. }), "{error}");
    assert!(records(store).is_empty(), "nothing of a refused batch is there");
    let mut batch = Batch::new();
    batch.put(Table::Entries, "value too long", vec![0; MAX_VALUE + 1]);
    let error = store.commit(&batch).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { what: "value", .. }), "{error}");
}

/// The longest key and value of what managers replicate.
fn the_largest_entries(store: &mut dyn Store) {
    let (key, value) = (vec![7; MAX_KEY], vec![0xA5; replica::MAX_STORED_VALUE]);
    let mut batch = Batch::new();
    batch.put(Table::Entries, key.clone(), value.clone());
    store.commit(&batch).unwrap();
    let found = records(store);
    assert!(found == [(Table::Entries, key.clone(), value)], "it is kept as it is");
    let mut batch = Batch::new();
    batch.remove(Table::Entries, key);
    store.commit(&batch).unwrap();
}

fn large_and_odd_records(store: &mut dyn Store) {
    let mut batch = Batch::new();
    batch.put(Table::Entries, "large", vec![0xA5; 1024 * 1024]);
    batch.put(Table::Entries, vec![7; 60_000], "long key");
    batch.put(Table::Entries, vec![0, 255, 0], vec![0, 0]);
    batch.put(Table::Entries, "", "empty key");
    batch.put(Table::Entries, "empty value", "");
    store.commit(&batch).unwrap();
    let mut expected: Vec<_> =
        batch.iter().map(|(t, k, v)| (t, k.to_vec(), v.unwrap().to_vec())).collect();
    expected.sort();
    assert!(records(store) == expected, "bytes are kept as they are");
    let report = store.check().unwrap();
    assert_eq!(report.records, [5, 0, 0]);
    let bytes: usize = expected.iter().map(|(_, key, value)| key.len() + value.len()).sum();
    assert_eq!(report.bytes, bytes as u64);
}

fn refuses_a_second_user(open: &Open<'_>, store: &mut dyn Store) {
    let error = open().err().expect("one at a time");
    assert!(matches!(error, StoreError::Held { .. }), "{error}");
    let mut batch = Batch::new();
    batch.put(Table::Meta, "still", "writes");
    store.commit(&batch).expect("the holder is not disturbed");
    let mut batch = Batch::new();
    batch.remove(Table::Meta, "still");
    store.commit(&batch).unwrap();
}

fn copies_itself(store: &mut dyn Store) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    store.backup(&file).unwrap();
    let report = traffic_manager::store::inspect(&file).unwrap();
    let own = store.check().unwrap();
    assert_eq!((report.records, report.bytes), (own.records, own.bytes));
    assert_eq!(report.identity, *store.identity());
    let error = store.backup(&file).unwrap_err();
    assert!(matches!(error, StoreError::Exists { .. }), "{error}");
}

fn shows_one_moment_while_it_goes_on(store: &mut dyn Store) {
    let before = records(store);
    assert!(!before.is_empty());
    let mut later = Batch::new();
    before.iter().for_each(|(table, key, _)| later.remove(*table, key.clone()));
    later.put(Table::Meta, "later", "1");
    let (mut snapshot, mut shown) = (store.snapshot().unwrap(), Records::new());
    let read = snapshot.load(&mut |table, key, value| {
        if shown.is_empty() {
            // On another thread, as in a manager.
            let committed = thread::scope(|scope| scope.spawn(|| store.commit(&later)).join());
            committed.expect("no panic").expect("a commit waits for no reader");
        }
        shown.push((table, key.to_vec(), value.to_vec()));
        Ok(())
    });
    read.unwrap();
    assert!(shown == before, "nothing of what was committed meanwhile");
    assert_eq!(records(store), [record(Table::Meta, "later", "1")]);
    let mut back = Batch::new();
    before.iter().for_each(|(table, key, value)| back.put(*table, key.clone(), value.clone()));
    back.remove(Table::Meta, "later");
    store.commit(&back).unwrap();
    let error = snapshot.load(&mut |_, _, _| Err(StoreError::Stopped)).unwrap_err();
    assert_eq!(error, StoreError::Stopped, "what the reader says is handed on");
}

fn many_records(store: &mut dyn Store) {
    let key = |number: u32| format!("key {:05}", number.wrapping_mul(7_919) % 10_000);
    for hundred in 0..20 {
        let mut batch = Batch::new();
        (0..500).for_each(|i| batch.put(Table::Counters, key(hundred * 500 + i), vec![1; 100]));
        store.commit(&batch).unwrap();
    }
    assert_eq!(store.check().unwrap().records[1], 10_000);
    let mut batch = Batch::new();
    (0..10_000).for_each(|number| batch.remove(Table::Counters, key(number)));
    store.commit(&batch).unwrap();
    assert_eq!(store.check().unwrap().records[1], 0);
}
