//! A process that writes to a store: this test program, started again to run one test of it.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use traffic_manager::store::{Batch, RedbStore, Store, StoreError, Table};

use crate::{conformance::records, identity};

const FOLDER: &str = "WEIR_TEST_STORE_FOLDER";
const ROOM: &str = "WEIR_TEST_STORE_ROOM";

/// Starts this program again for the test `name` alone, in that folder. `before` are the words of
/// the command line that come first.
pub(crate) fn command(before: &[&str], name: &str, folder: &Path) -> Command {
    let program = env::current_exe().expect("this program");
    let mut words = before.iter().map(|word| (*word).into()).chain([program.into_os_string()]);
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words).args(["--exact", name, "--nocapture", "--test-threads", "1"]);
    command.env(FOLDER, folder).stdin(Stdio::null());
    command
}

#[expect(clippy::disallowed_methods, reason = "how a test tells its child what to do")]
fn told(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from)
}

/// What the child writes in one commit: three records that belong together.
pub(crate) fn batch(number: u64) -> Batch {
    let mut batch = Batch::new();
    batch.put(Table::Entries, format!("{number:08}"), vec![(number % 251) as u8; 900]);
    batch.put(Table::Counters, format!("{number:08}"), number.to_string());
    batch.put(Table::Meta, "newest", number.to_string());
    batch
}

/// How many commits of [`batch`] a store has; each must be whole, and none missing.
pub(crate) fn committed(store: &mut dyn Store) -> u64 {
    let records = records(store);
    let of = |wanted: Table| records.iter().filter(move |(table, ..)| *table == wanted);
    let count = of(Table::Entries).count() as u64;
    let mut expected = Batch::new();
    (0..count).for_each(|number| {
        batch(number).iter().for_each(|(t, k, v)| {
            expected.write(t, k, v.map(<[u8]>::to_vec));
        })
    });
    let newest = of(Table::Meta).next().map(|(.., value)| value.clone());
    let last = count.checked_sub(1).map(|last| last.to_string().into_bytes());
    assert_eq!(newest, last, "the last commit is whole");
    assert_eq!(of(Table::Counters).count() as u64, count, "every commit is whole");
    for (table, key, value) in expected.iter().filter(|(table, ..)| *table != Table::Meta) {
        let found =
            of(table).find(|(_, found, _)| found == key).map(|(.., value)| value.as_slice());
        assert!(found == value, "a record changed");
    }
    count
}

/// Commits and says so, until it is killed. Only a child does anything.
#[test]
fn child_that_writes() {
    let Some(folder) = told(FOLDER) else { return };
    let mut store = RedbStore::open(&folder, &identity()).expect("the store opens");
    let first = committed(&mut store);
    let mut out = std::io::stdout().lock();
    for number in first.. {
        store.commit(&batch(number)).expect("a commit");
        writeln!(out, "acknowledged {number}").expect("the parent reads");
        out.flush().expect("the parent reads");
    }
}

/// Fills the disk, looks that nothing is lost, makes room, and goes on. Only a child does anything.
#[test]
fn child_that_fills_the_disk() {
    let (Some(folder), Some(ballast)) = (told(FOLDER), told(ROOM)) else { return };
    let mut store = RedbStore::open(&folder.join("data"), &identity()).expect("the store opens");
    let limited = ballast.as_os_str() == "limit";
    if limited {
        limit(Some(512 * 1024));
    } else {
        fs::write(&ballast, vec![1; 1024 * 1024]).expect("the ballast fits");
    }
    let mut acknowledged = 0;
    let error = loop {
        match store.commit(&batch(acknowledged)) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(acknowledged > 10, "{acknowledged}");
    assert!(matches!(error, StoreError::Full { .. }) && error.may_pass(), "{error}");
    for word in ["has no space left", "intact", "free some space"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_eq!(committed(&mut store), acknowledged, "the old state is intact");
    let again = store.commit(&batch(acknowledged)).expect_err("still full");
    assert!(matches!(again, StoreError::Full { .. }), "{again}");
    if limited {
        limit(None);
    } else {
        fs::remove_file(&ballast).expect("the ballast goes");
    }
    for number in acknowledged..acknowledged + 50 {
        store.commit(&batch(number)).expect("there is space again, and no restart was needed");
    }
    drop(store);
    let mut store = RedbStore::open(&folder.join("data"), &identity()).expect("it opens");
    assert_eq!(committed(&mut store), acknowledged + 50);
    println!("recovered");
}

/// Limits how long a file of this process may become.
fn limit(bytes: Option<u64>) {
    let resource = rustix::process::Resource::Fsize;
    let mut limit = rustix::process::getrlimit(resource);
    limit.current = bytes.or(limit.maximum);
    rustix::process::setrlimit(resource, limit).expect("a limit");
}

/// Tells [`child_that_fills_the_disk`] which file takes the space away; `limit` for none.
pub(crate) fn with_ballast(command: &mut Command, ballast: &Path) {
    command.env(ROOM, ballast);
}
