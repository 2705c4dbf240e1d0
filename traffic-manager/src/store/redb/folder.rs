//! The data folder: made for its owner alone, and one process's at a time.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::Path,
};

use super::{super::StoreError, faults::place};

/// The file whose lock is the folder's. It stays when the lock is gone.
const LOCK: &str = "lock";

/// A folder that no other process may have. Ends with the process, however that ends.
pub(super) struct Lock(#[expect(dead_code, reason = "the lock lives as long as it")] File);

/// Makes the folder if it is not there, and takes it.
pub(super) fn lock(folder: &Path) -> Result<Lock, StoreError> {
    make(folder).map_err(|error| at(folder, &error))?;
    let path = folder.join(LOCK);
    let mut file = private(OpenOptions::new().read(true).write(true).create(true).truncate(false))
        .open(&path)
        .map_err(|error| at(&path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // Only for the message.
            let _ = file.read_to_string(&mut text);
            let holder = match text.trim().parse::<u32>() {
                Ok(process) => format!("process {process}"),
                Err(_) => "another process".to_owned(),
            };
            return Err(StoreError::Held { place: place(folder), holder });
        }
        Err(TryLockError::Error(error)) => return Err(at(&path, &error)),
    }
    // The number helps who is refused; a full disk must not keep the holder from starting.
    let _ = note(&mut file);
    Ok(Lock(file))
}

fn note(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// What an error of a path means; a folder is never `Missing`, for we make it.
fn at(path: &Path, error: &io::Error) -> StoreError {
    match StoreError::from_io(&place(path), error) {
        StoreError::Missing { place } => StoreError::Failed { place, detail: error.to_string() },
        other => other,
    }
}

fn make(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// A new file is for its owner alone.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Makes what happened in a folder (a new name) durable.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}
