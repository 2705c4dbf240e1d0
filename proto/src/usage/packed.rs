//! Writing the packed fields of usage frames; `usage.proto` says what they hold, and
//! `convert/packed.rs` reads them.

use bytes::Bytes;

use super::{KeyId, Names, UsageEntry};
use crate::key::CounterKey;

/// Set in an entry's first number: its window differs from that of the entry before.
pub(crate) const WINDOW: u64 = 0b10;
/// Set in an entry's first number: its `rejected` is not 0.
pub(crate) const REJECTED: u64 = 0b01;

pub(crate) fn put(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Collects the entries of one frame. Amounts and windows must keep the bounds of
/// [`crate::convert`], or the manager refuses the frame.
#[derive(Debug, Clone, Default)]
pub struct EntryWriter {
    bytes: Vec<u8>,
    window: u64,
    count: usize,
}

impl EntryWriter {
    /// Adds one.
    pub fn push(&mut self, entry: &UsageEntry) {
        let mut tag = u64::from(entry.key) << 2;
        let turned = entry.window.0 != self.window;
        if turned {
            tag |= WINDOW;
        }
        if entry.rejected != 0 {
            tag |= REJECTED;
        }
        put(tag, &mut self.bytes);
        if turned {
            let step = entry.window.0.cast_signed().wrapping_sub(self.window.cast_signed());
            put(((step << 1) ^ (step >> 63)).cast_unsigned(), &mut self.bytes);
            self.window = entry.window.0;
        }
        put(entry.used, &mut self.bytes);
        if entry.rejected != 0 {
            put(entry.rejected, &mut self.bytes);
        }
        self.count += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The field.
    pub fn finish(self) -> Bytes {
        self.bytes.into()
    }
}

impl<'a> FromIterator<&'a UsageEntry> for EntryWriter {
    fn from_iter<T: IntoIterator<Item = &'a UsageEntry>>(entries: T) -> Self {
        let mut writer = EntryWriter::default();
        for entry in entries {
            writer.push(entry);
        }
        writer
    }
}

/// Collects the names of one frame.
#[derive(Debug, Clone, Default)]
pub struct NameWriter {
    bytes: Vec<u8>,
}

impl NameWriter {
    /// Calls the counter `id`.
    pub fn push(&mut self, id: KeyId, key: &CounterKey) {
        put(u64::from(id), &mut self.bytes);
        put(key.as_bytes().len() as u64, &mut self.bytes);
        self.bytes.extend_from_slice(key.as_bytes());
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The field.
    pub fn finish(self) -> Bytes {
        self.bytes.into()
    }
}

impl<'a> FromIterator<(KeyId, &'a CounterKey)> for Names {
    fn from_iter<T: IntoIterator<Item = (KeyId, &'a CounterKey)>>(names: T) -> Self {
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        let end = |bytes: &Vec<u8>| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        for (id, key) in names {
            let from = end(&bytes);
            bytes.extend_from_slice(key.as_bytes());
            places.push((id, from, end(&bytes)));
        }
        Names { bytes: bytes.into(), places }
    }
}
