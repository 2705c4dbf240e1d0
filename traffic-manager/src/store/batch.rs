//! A change of a store: records to put and to remove, together or not at all.

use traffic_manager_core::{checkpoint::MAX_ROW_BYTES, replica};

use super::StoreError;

/// Longest key, in bytes.
pub const MAX_KEY: usize = 64 * 1024;
/// Longest value, in bytes.
pub const MAX_VALUE: usize = 128 * 1024 * 1024;

// Whatever the managers accept can be stored.
const _: () = assert!(replica::MAX_STORED_KEY <= MAX_KEY && replica::MAX_STORED_VALUE <= MAX_VALUE);
const _: () = assert!(MAX_ROW_BYTES <= MAX_VALUE);

/// Whether every store takes such a record.
pub fn fits(key: &[u8], value: &[u8]) -> bool {
    key.len() <= MAX_KEY && value.len() <= MAX_VALUE
}

/// A part of a store, with keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// What the managers replicate: policies, audit and usage records.
    Entries,
    /// Checkpoints of counters with long windows.
    Counters,
    /// What this manager knows of itself.
    Meta,
}

impl Table {
    /// All of them.
    pub const ALL: [Table; 3] = [Table::Entries, Table::Counters, Table::Meta];

    /// Its name in stores and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Entries => "entries",
            Table::Counters => "counters",
            Table::Meta => "meta",
        }
    }

    /// Its place in [`Table::ALL`].
    pub(super) const fn index(self) -> usize {
        match self {
            Table::Entries => 0,
            Table::Counters => 1,
            Table::Meta => 2,
        }
    }
}

/// One record to put, or to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) table: Table,
    pub(super) key: Vec<u8>,
    /// `None` removes the record, if it is there.
    pub(super) value: Option<Vec<u8>>,
}

/// Changes that a store makes together, in their order: of two with the same key the later counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    writes: Vec<Write>,
    bytes: usize,
}

impl Batch {
    /// No change.
    #[must_use]
    pub fn new() -> Self {
        Batch::default()
    }

    /// Puts a record in the place of the one with this key, if there is one.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.push(Write { table, key: key.into(), value: Some(value.into()) });
    }

    /// Removes a record, if it is there.
    pub fn remove(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.push(Write { table, key: key.into(), value: None });
    }

    /// Puts, or removes where the value is `None`.
    pub fn write(&mut self, table: Table, key: impl Into<Vec<u8>>, value: Option<Vec<u8>>) {
        self.push(Write { table, key: key.into(), value });
    }

    /// How many changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Bytes of its keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its changes, each with table, key and value; no value removes.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Table, &[u8], Option<&[u8]>)> {
        self.writes.iter().map(|w| (w.table, w.key.as_slice(), w.value.as_deref()))
    }

    /// Adds another batch's changes behind these.
    pub(super) fn append(&mut self, mut other: Batch) {
        self.bytes += other.bytes;
        self.writes.append(&mut other.writes);
    }

    /// The same changes in the opposite order.
    pub(super) fn reversed(mut self) -> Self {
        self.writes.reverse();
        self
    }

    /// Whether a store may take it.
    ///
    /// # Errors
    /// A key or a value is too long; the caller is at fault.
    pub(super) fn bounded(&self) -> Result<(), StoreError> {
        for write in &self.writes {
            let value = write.value.as_ref().map_or(0, Vec::len);
            for (what, bytes, limit) in
                [("key", write.key.len(), MAX_KEY), ("value", value, MAX_VALUE)]
            {
                if bytes > limit {
                    return Err(StoreError::TooLarge { what, bytes, limit });
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, write: Write) {
        self.bytes += write.key.len() + write.value.as_ref().map_or(0, Vec::len);
        self.writes.push(write);
    }
}
