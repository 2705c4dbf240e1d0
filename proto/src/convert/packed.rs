//! The packed fields of usage frames: a scan of LEB128 numbers, eight bytes at a time.
//!
//! Whatever the bytes are, the result is valid entries or an error, and what is built of them is
//! bounded by [`MAX_ENTRIES`] before it is built.

use bytes::Bytes;

use super::{MAX_AMOUNT, MAX_ENTRIES, MAX_TIME_MS, WireError, bounded};
use crate::{
    key::{KeyError, MAX_KEY_BYTES},
    time::WindowStart,
    usage::{KeyId, Names, REJECTED, UsageEntry, WINDOW},
};

/// Longest number: 49 bits hold every amount and every time.
const LONGEST: usize = 7;
/// The bit of each byte that says that more follow.
const MORE: u64 = 0x8080_8080_8080_8080;

/// Reads numbers; `None` when one is cut short or too long.
pub(super) struct Scan<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl Scan<'_> {
    pub(super) fn more(&self) -> bool {
        self.at < self.bytes.len()
    }

    #[inline(always)]
    pub(super) fn number(&mut self) -> Option<u64> {
        let Some((eight, _)) = self.bytes.get(self.at..)?.split_first_chunk::<8>() else {
            return self.last_numbers();
        };
        let word = u64::from_le_bytes(*eight);
        let ends = !word & MORE;
        let length = (ends.trailing_zeros() / 8 + 1) as usize; // 9 if there is no end
        if length > LONGEST {
            return None;
        }
        self.at += length;
        Some(squeeze(word & (u64::MAX >> (64 - 8 * length))))
    }

    /// Near the end eight bytes are not there to be read.
    #[cold]
    fn last_numbers(&mut self) -> Option<u64> {
        let mut number = 0;
        for (i, byte) in self.bytes.iter().skip(self.at).take(LONGEST).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.at += i + 1;
                return Some(number);
            }
        }
        None
    }
}

/// Drops the highest bit of each byte.
#[inline(always)]
fn squeeze(word: u64) -> u64 {
    let word = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
    let word = (word & 0x0000_3fff_0000_3fff) | ((word & 0x3fff_0000_3fff_0000) >> 2);
    (word & 0x0fff_ffff) | ((word & 0x0fff_ffff_0000_0000) >> 4)
}

pub(super) fn broken(field: &'static str, scan: &Scan<'_>) -> WireError {
    let rest = scan.bytes.len() - scan.at;
    let problem =
        if rest < LONGEST { "ends inside a number" } else { "has a number of more than 7 bytes" };
    WireError::Packed { field, problem, at: scan.at }
}

/// The entries in `bytes`.
pub(super) fn entries(bytes: &[u8]) -> Result<Vec<UsageEntry>, WireError> {
    let mut scan = Scan { bytes, at: 0 };
    // An entry has two bytes at least, and seldom fewer than four.
    let mut entries = Vec::with_capacity((bytes.len() / 4 + 1).min(MAX_ENTRIES));
    let mut window = 0_u64;
    while scan.more() {
        if entries.len() == MAX_ENTRIES {
            let problem = "has more than 65536 entries: send them in several frames";
            return Err(WireError::Packed { field: "entries", problem, at: scan.at });
        }
        match entry(&mut scan, &mut window) {
            Some(entry) if valid(&entry) => entries.push(entry),
            Some(entry) => return Err(refusal(&entry)),
            None => return Err(broken("entries", &scan)),
        }
    }
    Ok(entries)
}

/// One entry, as it is written. An id that is too large becomes an invalid amount, see [`refusal`].
#[inline(always)]
fn entry(scan: &mut Scan<'_>, window: &mut u64) -> Option<UsageEntry> {
    let tag = scan.number()?;
    if tag & WINDOW != 0 {
        let step = scan.number()?;
        let step = (step >> 1) ^ (step & 1).wrapping_neg();
        *window = window.wrapping_add(step);
    }
    let used = scan.number()?;
    let rejected = if tag & REJECTED != 0 { scan.number()? } else { 0 };
    let Ok(key) = KeyId::try_from(tag >> 2) else {
        return Some(UsageEntry { key: KeyId::MAX, window: WindowStart(0), used: NO_ID, rejected });
    };
    Some(UsageEntry { key, window: WindowStart(*window), used, rejected })
}

/// No packed number is so large.
const NO_ID: u64 = u64::MAX;
pub(super) const LAST_WINDOW: u64 = MAX_TIME_MS / 1_000;

#[inline(always)]
fn valid(entry: &UsageEntry) -> bool {
    entry.used <= MAX_AMOUNT && entry.rejected <= MAX_AMOUNT && entry.window.0 <= LAST_WINDOW
}

#[cold]
fn refusal(entry: &UsageEntry) -> WireError {
    let ranges = [
        ("entries[].used", entry.used, MAX_AMOUNT),
        ("entries[].rejected", entry.rejected, MAX_AMOUNT),
        ("entries[].window", entry.window.0, LAST_WINDOW),
    ];
    if entry.used == NO_ID {
        let (value, max) = (1 << 32, u64::from(KeyId::MAX));
        return WireError::Range { field: "entries[].id", value, max };
    }
    let at_fault = ranges.iter().find_map(|(field, value, max)| bounded(field, *value, *max).err());
    at_fault.unwrap_or(WireError::Missing("entries[].used"))
}

/// The names in `bytes`, which keep them.
pub(super) fn names(bytes: Bytes) -> Result<Names, WireError> {
    let mut scan = Scan { bytes: &bytes, at: 0 };
    let mut places = Vec::with_capacity((bytes.len() / 32 + 1).min(MAX_ENTRIES));
    while scan.more() {
        if places.len() == MAX_ENTRIES {
            let problem = "has more than 65536 names: send them in several frames";
            return Err(WireError::Packed { field: "names", problem, at: scan.at });
        }
        let id = scan.number().ok_or_else(|| broken("names", &scan))?;
        let id = bounded("names[].id", id, u64::from(KeyId::MAX))?;
        let length = scan.number().ok_or_else(|| broken("names", &scan))?;
        if length > MAX_KEY_BYTES as u64 {
            return Err(KeyError::TooLong.into());
        }
        let from = scan.at;
        let to = from + usize::try_from(length).unwrap_or(usize::MAX);
        if to > bytes.len() {
            let problem = "ends inside a key";
            return Err(WireError::Packed { field: "names", problem, at: from });
        }
        scan.at = to;
        let place = |at: usize| u32::try_from(at).map_err(|_| WireError::Missing("names[].key"));
        places.push((KeyId::try_from(id).unwrap_or(KeyId::MAX), place(from)?, place(to)?));
    }
    Ok(Names { bytes, places })
}

#[cfg(test)]
mod tests;
