//! The embedded store on disks that fail, and with files that are not what they should be.

use std::{
    fs::{self, File, OpenOptions},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use ::redb::{BackendError, StorageBackend, backends::FileBackend};
use tempfile::TempDir;
use weir_proto::{id::ManagerId, time::Time};

use super::*;

/// What the system says of a disk that fails.
const EIO: i32 = 5;

fn identity() -> Identity {
    Identity { manager: ManagerId::new("tm-1").unwrap(), created: Time::from_secs(7) }
}

fn open(folder: &TempDir) -> Result<RedbStore, StoreError> {
    RedbStore::open(folder.path(), &identity())
}

fn batch(round: u32) -> Batch {
    let mut batch = Batch::new();
    batch.put(Table::Entries, format!("key {round}"), vec![7; 3_000]);
    batch.put(Table::Counters, "newest", round.to_string());
    if let Some(former) = round.checked_sub(3) {
        batch.remove(Table::Entries, format!("key {former}"));
    }
    batch
}

type Records = Vec<(Table, Vec<u8>, Vec<u8>)>;

fn records(store: &mut dyn Store) -> Records {
    let mut records = Vec::new();
    store
        .load(&mut |table, key, value| {
            records.push((table, key.to_vec(), value.to_vec()));
            Ok(())
        })
        .unwrap();
    records
}

/// A disk that does `left` more writes and then fails them, and syncs, until it is mended.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    left: Arc<AtomicI64>,
    /// Whether the next sync fails as a broken disk does: what was written stays readable.
    broken: Arc<AtomicBool>,
}

impl Disk {
    fn step(&self) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Ok(());
        }
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step()?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.step()?;
        if self.broken.swap(false, Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step()?;
        self.file.write(offset, data)
    }
    fn try_lock_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
    fn unlock_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}

/// The store of a folder on a disk that fails when `left` is used up.
fn on_failing_disk(folder: &TempDir) -> (RedbStore, Arc<AtomicI64>) {
    let (store, left, _) = on_disk(folder);
    (store, left)
}

/// The store of a folder, what is left of its disk, and what breaks the next sync.
fn on_disk(folder: &TempDir) -> (RedbStore, Arc<AtomicI64>, Arc<AtomicBool>) {
    drop(open(folder).unwrap());
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let (budget, broken) = (Arc::clone(&left), Arc::new(AtomicBool::new(false)));
    let breaks = Arc::clone(&broken);
    let opener = move |path: &Path| {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let disk = Disk {
            file: FileBackend::new(file)?,
            left: Arc::clone(&budget),
            broken: Arc::clone(&breaks),
        };
        Database::builder().create_with_backend(disk)
    };
    let file = folder.path().join(FILE);
    let store =
        RedbStore::open_file(&file, Some(&identity().manager), None, Box::new(opener)).unwrap();
    (store, left, broken)
}

#[test]
fn a_commit_whose_sync_failed_is_refused_and_taken_back_and_ends_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _, broken) = on_disk(&folder);
    store.commit(&batch(0)).unwrap();
    let before = records(&mut store);
    broken.store(true, Ordering::Relaxed);
    let error = store.commit(&batch(1)).unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");
    assert!(!broken.load(Ordering::Relaxed), "it was the sync that failed");
    assert!(store.is_over(), "the file is to be opened anew and verified");
    assert_eq!(records(&mut store), before);
    drop(store);
    assert_eq!(records(&mut open(&folder).unwrap()), before, "so it is in the next life");
}

#[tokio::test]
async fn the_store_ends_after_it_has_told_that_the_disk_failed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _, broken) = on_disk(&folder);
    let handle = crate::store::StoreHandle::start(Box::new(store)).unwrap();
    handle.commit(batch(0)).await.unwrap();
    broken.store(true, Ordering::Relaxed);
    let error = handle.commit(batch(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");
    handle.closed().await;
}

#[test]
fn wherever_the_disk_fails_a_commit_is_whole_or_not_there_and_the_store_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, left) = on_failing_disk(&folder);
    let (mut refused, mut kept) = (0, Vec::new());
    for round in 0..120 {
        // Some disks are full for one commit, some for several, and so for the opening anew.
        left.store(i64::from(round % 40), Ordering::Relaxed);
        let result = store.commit(&batch(round));
        if result.is_err() && round % 3 == 0 {
            let _ = store.commit(&batch(1_000 + round)).unwrap_err();
        }
        left.store(i64::MAX, Ordering::Relaxed);
        let now = records(&mut store);
        let newest = now.iter().find(|(table, ..)| *table == Table::Counters);
        let is_there = newest.is_some_and(|(_, _, value)| *value == round.to_string().as_bytes());
        match result {
            Ok(()) => assert!(is_there, "round {round}: acknowledged, and lost"),
            Err(StoreError::Full { .. }) => {
                refused += 1;
                assert_eq!(now, kept, "round {round}: refused, and not as before");
            }
            Err(error) => panic!("round {round}: {error}"),
        }
        kept = now;
    }
    assert!((10..120).contains(&refused), "{refused} commits met a full disk");
    drop(store);
    assert_eq!(records(&mut open(&folder).unwrap()), kept, "as it was, opened anew");
}

#[test]
fn a_commit_that_was_refused_but_took_place_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = on_failing_disk(&folder);
    store.commit(&batch(0)).unwrap();
    let before = records(&mut store);
    // As after a failed sync: the change is in the file, and the file could not be opened again.
    let database = store.database.as_ref().unwrap();
    let transaction = database.begin_write().unwrap();
    let undo = apply(&transaction, &batch(1)).unwrap();
    meta::number(&transaction, store.sequence + 1).unwrap();
    transaction.commit().unwrap();
    store.doubt = Some(Doubt { sequence: store.sequence + 1, undo });
    store.database = None;
    assert_eq!(records(&mut store), before);
    store.commit(&batch(2)).unwrap();
    assert_ne!(records(&mut store), before);
}

#[test]
fn a_second_user_is_refused_and_told_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder).unwrap();
    let error = open(&folder).err().unwrap();
    assert!(matches!(error, StoreError::Held { .. }), "{error}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(first);
    open(&folder).unwrap();
}

#[test]
#[cfg(unix)]
fn folder_and_file_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/b");
    drop(RedbStore::open(&folder, &identity()).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join(FILE))), (0o700, 0o600));
}

/// What refuses the file in this folder; the file must stay as it is.
fn refusal(folder: &TempDir, identity: &Identity) -> StoreError {
    let file = folder.path().join(FILE);
    let before = fs::read(&file).unwrap();
    let error = RedbStore::open(folder.path(), identity).err().unwrap();
    assert!(fs::read(&file).unwrap() == before, "changed although refused: {error}");
    error
}

#[test]
fn what_is_not_ours_is_refused_and_left_as_it_is() {
    for content in ["", "short", "A letter of many words, and no database at all"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), content).unwrap();
        let error = refusal(&folder, &identity());
        assert!(matches!(error, StoreError::Foreign { .. }), "{content:?}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    drop(Database::create(folder.path().join(FILE)).unwrap());
    let error = refusal(&folder, &identity());
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

/// Changes the store's own record as another version would have written it.
fn rewrite_meta(folder: &TempDir, key: &str, value: &str) {
    drop(open(folder).unwrap());
    let database = Database::open(folder.path().join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    let table: TableDefinition<'_, &str, &str> = TableDefinition::new("weir");
    transaction.open_table(table).unwrap().insert(key, value).unwrap();
    transaction.commit().unwrap();
}

#[test]
fn a_newer_format_and_another_managers_store_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    rewrite_meta(&folder, "format", "2");
    let error = refusal(&folder, &identity());
    assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error}");

    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder).unwrap());
    let other = Identity { manager: ManagerId::new("tm-2").unwrap(), created: Time::ZERO };
    let error = refusal(&folder, &other);
    for part in ["tm-1", "tm-2", "id = \"tm-1\""] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn damage_is_noticed_or_without_effect_and_a_damaged_file_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder).unwrap();
    (0..60).for_each(|round| store.commit(&batch(round)).unwrap());
    let whole = records(&mut store);
    drop(store);
    let file = folder.path().join(FILE);
    let sound = fs::read(&file).unwrap();
    let mut noticed = 0;
    for step in 0..100 {
        let mut damaged = sound.clone();
        let at = step * (sound.len() / 100) + step % 97;
        damaged[at] ^= 0x55;
        fs::write(&file, &damaged).unwrap();
        match open(&folder) {
            Ok(mut store) => assert!(records(&mut store) == whole, "byte {at} changed the content"),
            Err(error) => {
                noticed += 1;
                let expected =
                    matches!(error, StoreError::Corrupt { .. } | StoreError::Foreign { .. });
                assert!(expected, "byte {at}: {error}");
                assert!(fs::read(&file).unwrap() == damaged, "byte {at}: changed although refused");
            }
        }
    }
    assert!(noticed > 5, "{noticed}");
    for length in [10, 4_096, sound.len() / 2, sound.len() - 4_096] {
        fs::write(&file, &sound[..length]).unwrap();
        let error = refusal(&folder, &identity());
        assert!(
            matches!(error, StoreError::Corrupt { .. } | StoreError::Foreign { .. }),
            "{length} bytes: {error}"
        );
    }
}

#[test]
fn space_is_used_again_and_given_back_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE);
    let size = || fs::metadata(&file).unwrap().len();
    let mut store = open(&folder).unwrap();
    for round in 0..400 {
        let mut batch = Batch::new();
        batch.put(Table::Entries, "the same key", vec![round as u8; 100_000]);
        store.commit(&batch).unwrap();
    }
    assert!(size() < 4 * 1024 * 1024, "{} bytes after 40 MB in one key", size());
    let key = |number: u32| format!("key {number}");
    for number in 0..100 {
        let mut batch = Batch::new();
        batch.put(Table::Entries, key(number), vec![7; 200_000]);
        store.commit(&batch).unwrap();
    }
    let mut batch = Batch::new();
    (0..100).for_each(|number| batch.remove(Table::Entries, key(number)));
    store.commit(&batch).unwrap();
    drop(store);
    drop(open(&folder).unwrap());
    assert!(size() < 4 * 1024 * 1024, "{} bytes after all was removed", size());
}

#[test]
fn a_half_made_file_of_an_interrupted_start_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    File::create(folder.path().join("weir.redb.part")).unwrap();
    drop(open(&folder).unwrap());
    assert!(!folder.path().join("weir.redb.part").exists());
}
