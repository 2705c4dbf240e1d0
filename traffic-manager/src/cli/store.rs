//! `store check` and `store restore`: on the store itself, while no manager has it.

use std::{io::Write, path::PathBuf};

use clap::{Args, Subcommand};
use weir_proto::{id::ManagerId, time::Time};

use super::{
    Failure,
    backup::{self, Backup},
};
use crate::{
    config::{Config, Settings},
    store::{self, Identity, Place, RedbStore, Report, Store, StoreError, Table},
};

/// What to do with a store.
#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Read the whole store, or a backup, and say what is in it; exit 1 if it is not sound
    Check {
        #[command(flatten)]
        which: Which,
        /// A backup
        #[arg(long, value_name = "FILE", conflicts_with_all = ["data_dir", "config"])]
        backup: Option<PathBuf>,
    },
    /// Copy the store into a new file: that of a manager that runs, with --server, or one that no manager has
    Backup(Backup),
    /// Make the store from a backup; the manager must not be running
    Restore {
        /// The backup
        file: PathBuf,
        #[command(flatten)]
        which: Which,
        /// Whose store it becomes [default: the id of the configuration, or of the backup]
        #[arg(long, value_name = "NAME")]
        id: Option<String>,
        /// Replace the store that is there; what is in it is lost
        #[arg(long)]
        force: bool,
    },
}

/// Which store.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Folder of the embedded store
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    data_dir: Option<PathBuf>,
    /// Configuration of the manager whose store it is
    #[arg(long, env = "WEIR_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A place, and whose store it should be, if that is known.
type Named = (Place, Option<ManagerId>);

impl Which {
    pub(super) fn place(self) -> Result<Named, Failure> {
        if let Some(folder) = self.data_dir {
            return Ok((Place::Folder(folder), None));
        }
        let Some(file) = self.config else {
            return Err(refused(
                "name the store: --data-dir FOLDER or --config FILE; to back up that of a manager that \
                 runs, --server URL",
            ));
        };
        let config = Config::load(Some(&file), Settings::default()).map_err(refused)?;
        if config.store == Place::Memory {
            return Err(refused(format!(
                "{}: data_dir is \":memory:\" or not set, so there is no store",
                file.display()
            )));
        }
        Ok((config.store, Some(config.id)))
    }
}

pub(super) fn refused(text: impl ToString) -> Failure {
    Failure::Refused(text.to_string())
}

/// Runs a command.
pub(super) fn obey(command: StoreCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        StoreCommand::Check { backup: Some(file), .. } => {
            let report = store::inspect(&file).map_err(refused)?;
            say(out, &file.display().to_string(), &report)
        }
        StoreCommand::Check { which, backup: None } => {
            let named = which.place()?;
            let report = open(&named).and_then(|mut store| store.check()).map_err(refused)?;
            say(out, &named.0.to_string(), &report)
        }
        StoreCommand::Backup(options) => backup::obey(options, out),
        StoreCommand::Restore { file, which, id, force } => {
            let (place, configured) = which.place()?;
            let named = id.map(|id| ManagerId::new(&id)).transpose();
            let named = named.map_err(|error| refused(format!("--id {error}")))?;
            let me = named.or(configured);
            let report = store::restore(&file, &place, me.as_ref(), force).map_err(refused)?;
            say(out, &place.to_string(), &report)
        }
    }
}

pub(super) fn open((place, me): &Named) -> Result<Box<dyn Store>, StoreError> {
    match (place, me) {
        (Place::Folder(folder), _) => Ok(Box::new(RedbStore::open_existing(folder)?)),
        (place, Some(me)) => place.open(&Identity { manager: me.clone(), created: Time::ZERO }),
        (place, None) => Err(StoreError::Missing { place: place.to_string() }),
    }
}

/// Tells what is in a store that was read.
pub(super) fn say(out: &mut dyn Write, place: &str, report: &Report) -> Result<(), Failure> {
    let records: Vec<String> = Table::ALL
        .iter()
        .zip(report.records)
        .map(|(table, records)| format!("{records} {}", table.name()))
        .collect();
    let size = report.size.map(|size| format!(", {size} on disk")).unwrap_or_default();
    writeln!(
        out,
        "{place}: sound (manager {}, format {}, {}; {} bytes{size})",
        report.identity.manager,
        report.format,
        records.join(", "),
        report.bytes
    )?;
    Ok(())
}
