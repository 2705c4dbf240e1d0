//! A file without a name: it is read once, by us, and is gone with the process.

use std::{fs::File, io, path::Path};

use ::redb::{Database, StorageBackend, backends::FileBackend};

use super::{
    super::{Identity, StoreError},
    CACHE, Source,
    create::write_all,
    faults,
};

/// Nobody needs the file after a crash, and to make it durable would keep commits waiting, which want
/// the same disk.
#[derive(Debug)]
struct Unsynced(FileBackend);

impl StorageBackend for Unsynced {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// Fills an empty file with the records of `source`; `place` is named in errors.
pub(in crate::store) fn write_scratch(
    file: &File,
    place: &Path,
    identity: &Identity,
    source: &mut Source<'_>,
) -> Result<(), StoreError> {
    let io = |error: &io::Error| StoreError::from_io(&faults::place(place), error);
    let backend = FileBackend::new(file.try_clone().map_err(|e| io(&e))?);
    let backend = backend.map_err(|e| faults::working(place, e.into()))?;
    let mut builder = Database::builder();
    let database = builder.set_cache_size(CACHE).create_with_backend(Unsynced(backend));
    write_all(database.map_err(|e| faults::working(place, e.into()))?, place, identity, source)
}
