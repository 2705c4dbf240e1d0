//! A store that forgets everything with the process.

use std::collections::BTreeMap;

use super::{Batch, FORMAT, Identity, Report, Snapshot, Store, StoreError, Table, Visit};

/// Keeps records in memory.
#[derive(Debug)]
pub struct MemoryStore {
    identity: Identity,
    tables: Tables,
}

#[derive(Debug, Clone, Default)]
struct Tables([BTreeMap<Vec<u8>, Vec<u8>>; Table::ALL.len()]);

impl Snapshot for Tables {
    fn load(&mut self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        for table in Table::ALL {
            for (key, value) in &self.0[table.index()] {
                visit(table, key, value)?;
            }
        }
        Ok(())
    }

    fn size(&self) -> Option<u64> {
        None
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        MemoryStore { identity, tables: Tables::default() }
    }
}

impl Store for MemoryStore {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn load(&mut self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.tables.load(visit)
    }

    /// A copy in memory: a commit may wait for that.
    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(self.tables.clone()))
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        batch.bounded()?;
        for (table, key, value) in batch.iter() {
            let records = &mut self.tables.0[table.index()];
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
