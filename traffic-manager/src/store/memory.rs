//! A store that forgets everything with the process.

use std::collections::BTreeMap;

use super::{Batch, FORMAT, Identity, Report, Store, StoreError, Table, Visit};

/// Keeps records in memory.
#[derive(Debug)]
pub struct MemoryStore {
    identity: Identity,
    tables: [BTreeMap<Vec<u8>, Vec<u8>>; Table::ALL.len()],
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        MemoryStore { identity, tables: Default::default() }
    }
}

impl Store for MemoryStore {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn load(&mut self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        for table in Table::ALL {
            for (key, value) in &self.tables[table.index()] {
                visit(table, key, value)?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        batch.bounded()?;
        for (table, key, value) in batch.iter() {
            let records = &mut self.tables[table.index()];
            match value {
                Some(value) => drop(records.insert(key.to_vec(), value.to_vec())),
                None => drop(records.remove(key)),
            }
        }
        Ok(())
    }

    fn check(&mut self) -> Result<Report, StoreError> {
        let mut report = Report::of(&self.identity);
        self.load(&mut |table, key, value| {
            report.count(table, key, value);
            Ok(())
        })?;
        Ok(report)
    }
}

impl Report {
    /// A report of nothing yet.
    pub(super) fn of(identity: &Identity) -> Self {
        Report {
            identity: identity.clone(),
            format: FORMAT,
            records: [0; Table::ALL.len()],
            bytes: 0,
            size: None,
        }
    }

    /// Counts a record.
    pub(super) fn count(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.records[table.index()] += 1;
        self.bytes += (key.len() + value.len()) as u64;
    }
}
