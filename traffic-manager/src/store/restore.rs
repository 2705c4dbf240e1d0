//! From a backup to a store.

use std::path::Path;

#[cfg(feature = "postgres")]
use super::{Batch, PostgresStore};
use super::{
    Identity, Place, Report, Store, StoreError,
    redb::{self, RedbStore},
};

/// Makes a manager's store from a backup. A store that is there is replaced only by `force`; after
/// a failure it is as before. No manager may have it open meanwhile. Blocks.
///
/// # Errors
/// The backup is not fit for use; the store cannot be written, is in use, or exists without `force`.
pub fn restore(
    backup: &Path,
    place: &Place,
    identity: &Identity,
    force: bool,
) -> Result<Report, StoreError> {
    let mut source = redb::inspect(backup)?;
    match place {
        Place::Memory => return Err(StoreError::Missing { place: place.to_string() }),
        Place::Folder(folder) => {
            RedbStore::restore(folder, identity, force, &mut |visit| source.load(visit))?;
        }
        #[cfg(feature = "postgres")]
        Place::Postgres(place) => {
            PostgresStore::restore(place, identity, force, &all(&mut source)?)?;
        }
    }
    place.open(identity)?.check()
}

#[cfg(feature = "postgres")]
fn all(source: &mut dyn Store) -> Result<Batch, StoreError> {
    let mut batch = Batch::new();
    source.load(&mut |table, key, value| {
        batch.put(table, key, value);
        Ok(())
    })?;
    Ok(batch)
}

/// Examines a backup, or any other file that no manager has open.
///
/// # Errors
/// It cannot be read, or is not a sound store.
pub fn inspect(file: &Path) -> Result<Report, StoreError> {
    redb::inspect(file)?.check()
}
