//! New files: a store appears under its name whole, or not at all.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read},
    path::{Path, PathBuf},
};

use ::redb::Database;

use super::{
    super::{Identity, StoreError, Table, Visit},
    CACHE, RedbStore, definition, faults,
    folder::{private, sync},
    meta, overlay,
};

/// The first bytes of every redb file.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";
/// A file is made under its name with this behind it.
const PART: &str = "part";

/// Shows all records to whoever it is given.
pub(in crate::store) type Source<'a> = dyn FnMut(&mut Visit<'_>) -> Result<(), StoreError> + 'a;

/// Makes a file with the records of `source`; nothing may be there yet.
pub(in crate::store) fn write_new(
    file: &Path,
    identity: &Identity,
    source: &mut Source<'_>,
) -> Result<(), StoreError> {
    if file.try_exists().map_err(|e| failed(file, &e))? {
        let advice = "name a file that is not there yet";
        return Err(StoreError::Exists { place: faults::place(file), advice });
    }
    replace(file, identity, source)
}

/// Makes a file with the records of `source`, in the place of one that may be there.
pub(super) fn replace(
    file: &Path,
    identity: &Identity,
    source: &mut Source<'_>,
) -> Result<(), StoreError> {
    let part = part(file);
    let result = fill(&part, identity, source).and_then(|()| {
        fs::rename(&part, file).map_err(|e| failed(file, &e))?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        sync(folder.unwrap_or(Path::new("."))).map_err(|e| failed(file, &e))
    });
    if result.is_err() {
        // What is left of it is of no use; the next try removes it otherwise.
        let _ = fs::remove_file(&part);
    }
    result
}

fn part(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(PART);
    PathBuf::from(name)
}

/// Writes a whole file, and closes it.
fn fill(part: &Path, identity: &Identity, source: &mut Source<'_>) -> Result<(), StoreError> {
    let fault = |error: ::redb::Error| faults::working(part, error);
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(part, &error)),
        _ => {}
    }
    private(OpenOptions::new().write(true).create_new(true))
        .open(part)
        .map_err(|e| failed(part, &e))?;
    let mut builder = Database::builder();
    let database = builder.set_cache_size(CACHE).create(part).map_err(|e| fault(e.into()))?;
    write_all(database, part, identity, source)
}

/// Writes all records into a new database, and closes it; `place` is named in errors.
pub(super) fn write_all(
    database: Database,
    place: &Path,
    identity: &Identity,
    source: &mut Source<'_>,
) -> Result<(), StoreError> {
    let fault = |error: ::redb::Error| faults::working(place, error);
    let transaction = database.begin_write().map_err(|e| fault(e.into()))?;
    meta::write(&transaction, identity).map_err(fault)?;
    for table in Table::ALL {
        transaction.open_table(definition(table)).map_err(|e| fault(e.into()))?;
    }
    source(&mut |table, key, value| {
        let mut records = transaction.open_table(definition(table)).map_err(|e| fault(e.into()))?;
        records.insert(key, value).map_err(|e| fault(e.into()))?;
        Ok(())
    })?;
    transaction.commit().map_err(|e| fault(e.into()))?;
    database.close().map_err(|e| fault(e.into()))
}

/// Whether a file is redb's, before redb has it open for writing.
pub(super) fn is_redb(file: &Path) -> Result<(), StoreError> {
    let place = faults::place(file);
    let mut start = [0; MAGIC.len()];
    let read = fs::File::open(file).and_then(|mut opened| opened.read_exact(&mut start));
    let detail = match read {
        Ok(()) if start == MAGIC => return Ok(()),
        Ok(()) => "it begins otherwise".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => "it is too short".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        Err(error) => return Err(StoreError::from_io(&place, &error)),
    };
    Err(StoreError::Foreign { place, detail })
}

/// Opens a file that no manager has open, such as a backup, to read it; it stays as it is.
pub(in crate::store) fn inspect(file: &Path) -> Result<RedbStore, StoreError> {
    RedbStore::open_file(file, None, None, Box::new(overlay::open_unchanged))
}

/// A missing folder is no missing store.
fn failed(file: &Path, error: &io::Error) -> StoreError {
    match StoreError::from_io(&faults::place(file), error) {
        StoreError::Missing { place } => StoreError::Failed { place, detail: error.to_string() },
        other => other,
    }
}
