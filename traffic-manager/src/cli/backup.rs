//! `store backup`: a file that is under its name only once it is whole, sound and durable.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use tempfile::TempPath;

use super::{
    Client, Credentials, Failure,
    store::{Which, open, refused, say},
};
use crate::store;

/// What to copy, and where to.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The new file
    file: PathBuf,
    #[command(flatten)]
    which: Which,
    /// Admin API of a manager that runs, in the place of --data-dir and --config
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    server: Option<String>,
    #[command(flatten)]
    credentials: Credentials,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

/// Makes the backup.
pub(super) fn obey(options: Backup, out: &mut dyn Write) -> Result<(), Failure> {
    let Backup { file, which, server, credentials, force } = options;
    // Looked at first, so that nobody waits for a backup that has no place.
    if !force && file.symlink_metadata().is_ok() {
        return Err(exists(&file));
    }
    let temporary = beside(&file).map_err(|error| cannot_write(&file, &error))?;
    match server {
        Some(server) => {
            let client = Client::of(&server, &credentials)?;
            let mut to = File::create(&temporary).map_err(|error| cannot_write(&file, &error))?;
            client.download("/store:backup", &mut to)?;
        }
        None => {
            let named = which.place()?;
            // The store makes its file itself.
            fs::remove_file(&temporary).map_err(|error| cannot_write(&file, &error))?;
            let copied = open(&named).and_then(|mut store| store.backup(&temporary));
            copied.map_err(|error| match error {
                store::StoreError::Held { .. } => refused(format!(
                    "{error}; or name the manager that has it with --server URL, and it goes on"
                )),
                error => refused(error),
            })?;
        }
    }
    // A backup that was never read is a hope.
    let report = store::inspect(&temporary).map_err(refused)?;
    keep(temporary, &file, force)?;
    say(out, &file.display().to_string(), &report)
}

/// An empty file in the same folder, for its owner alone; removed unless it is kept.
fn beside(file: &Path) -> io::Result<TempPath> {
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(file.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    prefix.push(".");
    let made =
        tempfile::Builder::new().prefix(&prefix).suffix(".part").tempfile_in(folder(file))?;
    Ok(made.into_temp_path())
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Gives it its name, and makes file and name durable.
fn keep(temporary: TempPath, file: &Path, force: bool) -> Result<(), Failure> {
    let failed = |error: &io::Error| cannot_write(file, error);
    File::open(&temporary).and_then(|written| written.sync_all()).map_err(|e| failed(&e))?;
    let kept = if force { temporary.persist(file) } else { temporary.persist_noclobber(file) };
    kept.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => exists(file),
        _ => failed(&error.error),
    })?;
    #[cfg(unix)]
    File::open(folder(file)).and_then(|folder| folder.sync_all()).map_err(|e| failed(&e))?;
    Ok(())
}

fn exists(file: &Path) -> Failure {
    let file = file.display();
    refused(format!("{file} exists already: nothing was written; --force replaces it"))
}

fn cannot_write(file: &Path, error: &io::Error) -> Failure {
    refused(format!("cannot write {}: {error}", file.display()))
}
