//! A file that is read and never written: what redb writes stays in memory.
//!
//! Opening a redb file changes it, even before anyone has looked whether it is sound, and ours. So
//! it is opened through this first; only a store that may be used is opened for writing.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ::redb::{Database, DatabaseError, StorageBackend};

/// What is kept of the changes, in bytes at a time.
const PAGE: u64 = 4_096;

#[derive(Debug)]
struct State {
    file: File,
    /// The length that redb sees.
    length: u64,
    /// How much of the file still counts: it was never shorter than this.
    original: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl State {
    /// A page as it is now.
    fn page(&mut self, number: u64) -> io::Result<Vec<u8>> {
        if let Some(page) = self.pages.get(&number) {
            return Ok(page.clone());
        }
        let mut page = vec![0; usize::try_from(PAGE).unwrap_or(0)];
        let start = number * PAGE;
        let there = self.original.saturating_sub(start).min(PAGE);
        self.file.seek(SeekFrom::Start(start))?;
        self.file.read_exact(&mut page[..usize::try_from(there).unwrap_or(0)])?;
        Ok(page)
    }

    /// Visits the part of each page that lies in `length` bytes from `offset`: its number, where
    /// the part begins in it, and where it begins and ends in those bytes.
    fn parts(offset: u64, length: usize) -> Vec<(u64, usize, std::ops::Range<usize>)> {
        let mut parts = Vec::new();
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let within = usize::try_from(at % PAGE).unwrap_or(0);
            let room = usize::try_from(PAGE).unwrap_or(0) - within;
            let end = length.min(done + room);
            parts.push((at / PAGE, within, done..end));
            done = end;
        }
        parts
    }
}

/// See the module.
#[derive(Debug)]
struct Overlay(Mutex<State>);

impl Overlay {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        if offset + out.len() as u64 > state.length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        for (number, within, range) in State::parts(offset, out.len()) {
            let page = state.page(number)?;
            let length = range.len();
            out[range].copy_from_slice(&page[within..within + length]);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.state();
        if length < state.length {
            // Whatever is behind the end reads as zero if the file grows again.
            if !length.is_multiple_of(PAGE) {
                let mut page = state.page(length / PAGE)?;
                page[usize::try_from(length % PAGE).unwrap_or(0)..].fill(0);
                state.pages.insert(length / PAGE, page);
            }
            drop(state.pages.split_off(&length.div_ceil(PAGE)));
            state.original = state.original.min(length);
        }
        state.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        for (number, within, range) in State::parts(offset, data.len()) {
            let mut page = state.page(number)?;
            page[within..within + range.len()].copy_from_slice(&data[range]);
            state.pages.insert(number, page);
        }
        Ok(())
    }
}

/// Opens a file and verifies all of it, without changing it.
pub(super) fn open_unchanged(path: &Path) -> Result<Database, DatabaseError> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let state = State { file, length, original: length, pages: BTreeMap::new() };
    let mut builder = Database::builder();
    builder.set_cache_size(super::CACHE).set_check_integrity_on_open(true);
    builder.create_with_backend(Overlay(Mutex::new(state)))
}
