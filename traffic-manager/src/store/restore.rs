//! From a backup to a store.

use std::path::Path;

use weir_proto::id::ManagerId;

#[cfg(feature = "postgres")]
use super::{Batch, PostgresStore};
use super::{
    Place, Report, Store, StoreError,
    redb::{self, RedbStore},
};

/// Makes a manager's store from a backup; without `me` that of the manager whose backup it is. A
/// store that is there is replaced only by `force`; after a failure it is as before. No manager may
/// have it open meanwhile. Blocks.
///
/// # Errors
/// The backup is not fit for use; the store cannot be written, is in use, or exists without `force`.
pub fn restore(
    backup: &Path,
    place: &Place,
    me: Option<&ManagerId>,
    force: bool,
) -> Result<Report, StoreError> {
    let mut source = redb::inspect(backup)?;
    let mut identity = source.identity().clone();
    if let Some(me) = me {
        identity.manager = me.clone();
    }
    match place {
        Place::Memory => return Err(StoreError::Missing { place: place.to_string() }),
        Place::Folder(folder) => {
            RedbStore::restore(folder, &identity, force, &mut |visit| source.load(visit))?;
        }
        #[cfg(feature = "postgres")]
        Place::Postgres(place) => {
            PostgresStore::restore(place, &identity, force, &all(&mut source)?)?;
        }
    }
    place.open(&identity)?.check()
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
