//! A backup of a store that is in use, in a file without a name: whatever becomes of the one who asked,
//! or of this process, nothing of it stays on the disk.

use std::{
    fs::File,
    io::{self, Seek},
    path::Path,
    sync::Arc,
};

use super::{Snapshot, StoreError, StoreHandle, handle::Lent, redb};

/// A whole copy of a store as of one moment: a store of the embedded kind, whatever it was made of.
#[derive(Debug)]
pub struct Copied {
    /// Its bytes, from the first one. The file ends with this value.
    pub file: File,
    /// How many there are.
    pub size: u64,
}

impl StoreHandle {
    /// Copies the store, with every batch whose commit was answered before this call. `folder` is where the
    /// system keeps the file that has no name.
    ///
    /// Commits go on. One waits for no longer than it takes to begin a transaction that reads, some
    /// microseconds (a store in memory copies its records, in memory), and then shares disk and
    /// processor with the copying: which is not made durable, takes a few dozen MiB of memory, and is
    /// given up when this future is dropped.
    ///
    /// # Errors
    /// `folder` has not twice the room of the store's own file, so that commits could run out of it, or
    /// cannot be written to. The store cannot be read, or was closed meanwhile.
    pub async fn copy(&self, folder: &Path) -> Result<Copied, StoreError> {
        let lent = self.snapshot().await?;
        let (asked, folder) = (Arc::new(()), folder.to_owned());
        let wanted = Arc::downgrade(&asked);
        let job = move || copy(lent, &folder, &|| wanted.strong_count() > 0);
        let copied = tokio::task::spawn_blocking(job).await;
        drop(asked);
        copied.unwrap_or(Err(StoreError::Stopped))
    }
}

fn copy(
    (identity, mut snapshot): Lent,
    folder: &Path,
    wanted: &dyn Fn() -> bool,
) -> Result<Copied, StoreError> {
    let place = folder.display().to_string();
    let fault = |error: io::Error| StoreError::from_io(&place, &error);
    has_room(snapshot.as_ref(), folder)?;
    let mut file = tempfile::tempfile_in(folder).map_err(fault)?;
    redb::write_scratch(&file, folder, &identity, &mut |visit| {
        snapshot.load(&mut |table, key, value| {
            if !wanted() {
                return Err(StoreError::Stopped);
            }
            visit(table, key, value)
        })
    })?;
    file.rewind().map_err(fault)?;
    let size = file.metadata().map_err(fault)?.len();
    Ok(Copied { file, size })
}

/// Refuses a copy that could take the last space of the disk, and so keep others from writing.
#[cfg(unix)]
fn has_room(snapshot: &dyn Snapshot, folder: &Path) -> Result<(), StoreError> {
    let (Some(size), Ok(disk)) = (snapshot.size(), rustix::fs::statvfs(folder)) else {
        return Ok(());
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free / 2 >= size {
        return Ok(());
    }
    let detail = format!("a copy needs {} bytes free beside it, and {free} are", size * 2);
    Err(StoreError::Full { place: folder.display().to_string(), detail })
}

#[cfg(not(unix))]
fn has_room(_: &dyn Snapshot, _: &Path) -> Result<(), StoreError> {
    Ok(())
}
