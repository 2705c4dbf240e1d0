//! The embedded store: one redb file in `data_dir`, which survives `kill -9` and a full disk.

use std::path::{Path, PathBuf};

use ::redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    WriteTransaction,
};

use self::{
    create::{Source, replace},
    folder::Lock,
    meta::Meta,
};
use weir_proto::id::ManagerId;

use super::{Batch, Identity, Report, Snapshot, Store, StoreError, Table, Visit, doubt::Doubt};

pub(super) use self::{
    create::{inspect, write_new},
    scratch::write_scratch,
};

mod create;
mod faults;
mod folder;
mod meta;
mod overlay;
mod scratch;

/// The name of the file in `data_dir`.
const FILE: &str = "weir.redb";
/// Pages kept in memory: the manager has all records in its own, so this is for the tree's nodes.
const CACHE: usize = 16 * 1024 * 1024;
/// A smaller file is never compacted.
const SMALL: u64 = 4 * 1024 * 1024;

/// How a file is opened; tests put failing disks in between.
type Open = Box<dyn Fn(&Path) -> Result<Database, ::redb::DatabaseError> + Send>;

/// The embedded store.
pub struct RedbStore {
    file: PathBuf,
    open: Open,
    identity: Identity,
    format: u32,
    /// `None` after a failure: redb refuses everything from then on, so the file is opened anew.
    database: Option<Database>,
    /// The number of the last commit.
    sequence: u64,
    doubt: Option<Doubt>,
    /// The disk failed in another way than by being full. What the system says of the file afterwards
    /// need not be what is on the disk: only opening it anew, and verifying it, tells.
    over: bool,
    /// Kept until the store is dropped. None for a file outside a data folder.
    _lock: Option<Lock>,
}

impl RedbStore {
    /// Opens the store in a folder; makes both if they are not there (modes 0700 and 0600).
    ///
    /// # Errors
    /// Another process has it, or it cannot be used: it is then left as it is.
    pub fn open(folder: &Path, identity: &Identity) -> Result<Self, StoreError> {
        let lock = folder::lock(folder)?;
        let file = folder.join(FILE);
        if !file.try_exists().map_err(|e| StoreError::from_io(&faults::place(&file), &e))? {
            replace(&file, identity, &mut |_| Ok(()))?;
        }
        let mut store =
            Self::open_file(&file, Some(&identity.manager), Some(lock), Box::new(open_plain))?;
        store.compact();
        Ok(store)
    }

    /// Opens the store in a folder, whoever's it is; makes nothing.
    ///
    /// # Errors
    /// As of [`RedbStore::open`]; or there is none.
    pub fn open_existing(folder: &Path) -> Result<Self, StoreError> {
        let file = folder.join(FILE);
        if !file.exists() {
            return Err(StoreError::Missing { place: faults::place(folder) });
        }
        let lock = folder::lock(folder)?;
        Self::open_file(&file, None, Some(lock), Box::new(open_plain))
    }

    /// Makes the store in a folder from the records of `source`; see [`super::restore`].
    pub(super) fn restore(
        folder: &Path,
        identity: &Identity,
        force: bool,
        source: &mut Source<'_>,
    ) -> Result<(), StoreError> {
        let _lock = folder::lock(folder)?;
        let file = folder.join(FILE);
        if !force && file.exists() {
            let advice = "with --force the backup takes its place, and what is in it now is lost";
            return Err(StoreError::Exists { place: faults::place(&file), advice });
        }
        replace(&file, identity, source)
    }

    /// Opens a file that is there; `me` is who must own it.
    fn open_file(
        file: &Path,
        me: Option<&ManagerId>,
        lock: Option<Lock>,
        open: Open,
    ) -> Result<Self, StoreError> {
        create::is_redb(file)?;
        let fault = |error: ::redb::Error| faults::opening(file, error);
        let untouched = overlay::open_unchanged(file).map_err(|e| fault(e.into()))?;
        let meta = Meta::read(&untouched, file)?;
        drop(untouched);
        if let Some(me) = me
            && *me != meta.identity.manager
        {
            return Err(StoreError::OtherManager {
                place: faults::place(file),
                found: meta.identity.manager.as_str().to_owned(),
                me: me.as_str().to_owned(),
            });
        }
        let database = open(file).map_err(|e| fault(e.into()))?;
        let meta = Meta::read(&database, file)?;
        Ok(RedbStore {
            file: file.to_owned(),
            open,
            identity: meta.identity,
            format: meta.format,
            database: Some(database),
            sequence: meta.sequence,
            doubt: None,
            over: false,
            _lock: lock,
        })
    }

    /// Gives free pages back to the file system when they are more than half of the file. redb uses
    /// free pages again, so a file is otherwise as large as the most that it ever held.
    fn compact(&mut self) {
        let Some(database) = &mut self.database else { return };
        let size = std::fs::metadata(&self.file).map_or(0, |meta| meta.len());
        let used = database.begin_write().ok().and_then(|transaction| {
            let stats = transaction.stats().ok()?;
            Some(stats.stored_bytes() + stats.metadata_bytes())
        });
        if size < SMALL || used.is_none_or(|used| used > size / 2) {
            return;
        }
        if let Err(error) = database.compact() {
            let file = self.file.display();
            tracing::warn!("the store {file} stays larger than it needs to be: {error}");
            self.database = None;
        }
    }

    /// The database, opened anew if it failed before; no commit is in doubt then.
    fn ready(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            let fault = |error: ::redb::Error| faults::working(&self.file, error);
            let database = (self.open)(&self.file).map_err(|e| fault(e.into()))?;
            self.sequence = Meta::read(&database, &self.file)?.sequence;
            self.database = Some(database);
        }
        if self.doubt.as_ref().is_some_and(|doubt| doubt.took_place(self.sequence)) {
            self.take_back()?;
        }
        self.doubt = None;
        self.database.as_ref().ok_or(StoreError::Stopped)
    }

    /// Takes the doubtful commit back, which took place although it was reported as failed.
    fn take_back(&mut self) -> Result<(), StoreError> {
        let (Some(database), Some(doubt)) = (&self.database, &self.doubt) else { return Ok(()) };
        let sequence = self.sequence + 1;
        if let Err(failed) = write(database, &doubt.undo, sequence) {
            return Err(self.failed(failed.error));
        }
        self.sequence = sequence;
        Ok(())
    }

    /// After a failed commit: it is refused, and taken back if it is in the file. It never counts as made:
    /// after a failed sync the system takes pages for written that are not on the disk, so that the file
    /// shows the commit until the power fails.
    fn settle(&mut self, failed: FailedWrite) -> StoreError {
        let error = self.failed(failed.error);
        if let Some(undo) = failed.undo {
            self.doubt = Some(Doubt { sequence: self.sequence + 1, undo });
            if let Err(still) = self.ready() {
                tracing::debug!("a refused commit is taken back later: {still}");
            }
        }
        error
    }

    fn failed(&mut self, error: ::redb::Error) -> StoreError {
        self.database = None;
        let error = faults::working(&self.file, error);
        self.over |= !matches!(error, StoreError::Full { .. });
        error
    }

    fn size(&self) -> Option<u64> {
        std::fs::metadata(&self.file).ok().map(|meta| meta.len())
    }

    fn moment(&mut self) -> Result<Moment, StoreError> {
        let (file, size) = (self.file.clone(), self.size());
        let transaction = self.ready()?.begin_read();
        let transaction = transaction.map_err(|e| faults::working(&file, e.into()))?;
        Ok(Moment { transaction, file, size })
    }
}

/// The file as of one moment.
struct Moment {
    transaction: ReadTransaction,
    file: PathBuf,
    size: Option<u64>,
}

impl Snapshot for Moment {
    fn load(&mut self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        read(&self.transaction, &self.file, visit)
    }

    fn size(&self) -> Option<u64> {
        self.size
    }
}

impl Store for RedbStore {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn load(&mut self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.moment()?.load(visit)
    }

    /// The file grows meanwhile by what is committed: pages of the snapshot are not written over.
    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(self.moment()?))
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        batch.bounded()?;
        self.ready()?;
        let sequence = self.sequence + 1;
        let Some(database) = &self.database else { return Err(StoreError::Stopped) };
        match write(database, batch, sequence) {
            Ok(()) => {
                self.sequence = sequence;
                Ok(())
            }
            Err(failed) => Err(self.settle(failed)),
        }
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn check(&mut self) -> Result<Report, StoreError> {
        self.ready()?;
        let file = self.file.clone();
        let Some(database) = &mut self.database else { return Err(StoreError::Stopped) };
        database.check_integrity().map_err(|e| faults::working(&file, e.into()))?;
        let mut report = Report::of(&self.identity);
        (report.format, report.size) = (self.format, self.size());
        self.load(&mut |table, key, value| {
            report.count(table, key, value);
            Ok(())
        })?;
        Ok(report)
    }
}

/// Opens a file that has been verified.
fn open_plain(file: &Path) -> Result<Database, ::redb::DatabaseError> {
    Database::builder().set_cache_size(CACHE).open(file)
}

const fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

/// A commit that did not end well.
struct FailedWrite {
    error: ::redb::Error,
    /// What takes the commit back, if it may have taken place.
    undo: Option<Batch>,
}

impl<E: Into<::redb::Error>> From<E> for FailedWrite {
    fn from(error: E) -> Self {
        FailedWrite { error: error.into(), undo: None }
    }
}

/// Makes one commit; durable on return.
fn write(database: &Database, batch: &Batch, sequence: u64) -> Result<(), FailedWrite> {
    let transaction = database.begin_write()?;
    let undo = apply(&transaction, batch)?;
    meta::number(&transaction, sequence)?;
    match transaction.commit() {
        Ok(()) => Ok(()),
        Err(error) => Err(FailedWrite { error: error.into(), undo: Some(undo) }),
    }
}

/// Makes a batch's changes; returns what takes them back.
fn apply(transaction: &WriteTransaction, batch: &Batch) -> Result<Batch, ::redb::Error> {
    let mut undo = Batch::new();
    let mut tables = [
        transaction.open_table(definition(Table::Entries))?,
        transaction.open_table(definition(Table::Counters))?,
        transaction.open_table(definition(Table::Meta))?,
    ];
    for (table, key, value) in batch.iter() {
        let records = &mut tables[table.index()];
        let former = match value {
            Some(value) => records.insert(key, value)?,
            None => records.remove(key)?,
        };
        undo.write(table, key, former.map(|former| former.value().to_vec()));
    }
    Ok(undo.reversed())
}

/// Shows every record of a moment.
fn read(
    transaction: &ReadTransaction,
    file: &Path,
    visit: &mut Visit<'_>,
) -> Result<(), StoreError> {
    let fault = |error: ::redb::Error| faults::working(file, error);
    for table in Table::ALL {
        let records = match transaction.open_table(definition(table)) {
            Ok(records) => records,
            Err(TableError::TableDoesNotExist(_)) => continue,
            Err(error) => return Err(fault(error.into())),
        };
        for record in records.iter().map_err(|e| fault(e.into()))? {
            let (key, value) = record.map_err(|e| fault(e.into()))?;
            visit(table, key.value(), value.value())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
