//! Where a counter lies: an open-addressed table of fingerprints.
//!
//! An entry is 32 bits of the key's hash and the number of a slot. Readers take no lock: what they find
//! is a hint that the slot confirms by comparing the whole key, and what they do not find they look up
//! again under the writers' lock, because a writer may have been moving it. So entries may be moved at
//! any time, nothing is ever freed under a reader, and equal fingerprints cost time but no confusion.
//!
//! The table grows in segments that split in two when they are full (extendible hashing: Fagin,
//! Nievergelt, Pippenger and Strong, "Extendible hashing", TODS 1979), so that growing never stops
//! everybody. Inside a segment entries are probed linearly.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

/// Entries of a segment; a power of two.
const SEGMENT: usize = 1 << 13;
/// The same of tables that never hold many counters.
const SMALL_SEGMENT: usize = 1 << 8;

type Segment = Box<[AtomicU64]>;

/// What readers see.
#[derive(Debug)]
pub(super) struct Index {
    /// By the first bits of the fingerprint: the number of a segment.
    directory: Box<[AtomicU32]>,
    segments: Box<[OnceLock<Segment>]>,
    /// Bits of the fingerprint that the directory does not look at.
    shift: u32,
    /// Entries of a segment, less one: the bits of the fingerprint that choose the place in it.
    mask: usize,
}

/// What the one writer knows of each segment.
#[derive(Debug)]
pub(super) struct Shape(Vec<Held>);

#[derive(Debug, Clone, Copy)]
struct Held {
    entries: usize,
    /// Bits of the fingerprint that all its entries share.
    depth: u32,
}

fn entry(fingerprint: u32, slot: u32) -> u64 {
    // Zero is "empty"; slots stay far below the last number.
    (u64::from(fingerprint) << 32) | (u64::from(slot) + 1)
}

#[expect(clippy::cast_possible_truncation, reason = "takes the two halves apart")]
fn parts(entry: u64) -> (u32, u32) {
    ((entry >> 32) as u32, (entry as u32).wrapping_sub(1))
}

fn home(fingerprint: u32, mask: usize) -> usize {
    fingerprint as usize & mask
}

impl Index {
    /// With room for at least so many counters.
    pub(super) fn new(most: usize) -> (Index, Shape) {
        let size = if most < SEGMENT { SMALL_SEGMENT } else { SEGMENT };
        // Half full on average before the last split, so that even an uneven spread finds room.
        let wanted = most.div_ceil(size / 8 * 3).next_power_of_two();
        let segments = wanted.min(1 << (32 - size.trailing_zeros()));
        let index = Index {
            directory: (0..segments).map(|_| AtomicU32::new(0)).collect(),
            segments: (0..segments).map(|_| OnceLock::new()).collect(),
            shift: 32 - segments.trailing_zeros(),
            mask: size - 1,
        };
        index.segment(0);
        (index, Shape(vec![Held { entries: 0, depth: 0 }]))
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let entries =
            self.segments.iter().filter_map(OnceLock::get).map(|s| s.len()).sum::<usize>();
        entries * size_of::<AtomicU64>()
            + self.directory.len() * size_of::<AtomicU32>()
            + self.segments.len() * size_of::<OnceLock<Segment>>()
    }

    fn place(&self, fingerprint: u32) -> usize {
        (u64::from(fingerprint) >> self.shift) as usize
    }

    fn number(&self, fingerprint: u32) -> usize {
        self.directory
            .get(self.place(fingerprint))
            .map_or(0, |n| n.load(Ordering::Acquire) as usize)
    }

    /// `None` beyond the last that there can be.
    fn segment(&self, number: usize) -> Option<&[AtomicU64]> {
        let empty = || (0..=self.mask).map(|_| AtomicU64::new(0)).collect();
        Some(self.segments.get(number)?.get_or_init(empty))
    }

    /// The first answer that `look` gives for a slot with this fingerprint.
    #[inline(always)]
    pub(super) fn find<T>(
        &self,
        fingerprint: u32,
        mut look: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        let segment = self.segments.get(self.number(fingerprint))?.get()?;
        let home = home(fingerprint, self.mask);
        for step in 0..=self.mask {
            let found = segment.get((home + step) & self.mask)?.load(Ordering::Acquire);
            if found == 0 {
                return None;
            }
            let (other, slot) = parts(found);
            if other == fingerprint
                && let Some(answer) = look(slot)
            {
                return Some(answer);
            }
        }
        None
    }

    /// Adds an entry. False when there is no room, which only a worthless hash can bring about.
    pub(super) fn insert(&self, shape: &mut Shape, fingerprint: u32, slot: u32) -> bool {
        loop {
            let number = self.number(fingerprint);
            let Some(held) = shape.0.get_mut(number) else { return false };
            if held.entries > self.mask / 4 * 3 && self.split(shape, number, fingerprint) {
                continue;
            }
            let Some(held) = shape.0.get_mut(number) else { return false };
            // One entry stays empty, so that every search ends.
            if held.entries >= self.mask {
                return false;
            }
            held.entries += 1;
            return self.segment(number).is_some_and(|segment| put(segment, fingerprint, slot));
        }
    }

    /// Takes an entry out.
    pub(super) fn remove(&self, shape: &mut Shape, fingerprint: u32, slot: u32) {
        let number = self.number(fingerprint);
        let (Some(segment), Some(held)) = (self.segment(number), shape.0.get_mut(number)) else {
            return;
        };
        let at = |place: usize| segment.get(place & self.mask);
        let wanted = entry(fingerprint, slot);
        let first = home(fingerprint, self.mask);
        let holds = |place: &usize| at(*place).is_some_and(|e| e.load(Ordering::Relaxed) == wanted);
        let Some(mut hole) = (first..=first + self.mask).find(holds) else { return };
        held.entries -= 1;
        // Entries behind the hole move into it, unless that would put them before their home.
        for place in hole + 1.. {
            let moving = at(place).map_or(0, |e| e.load(Ordering::Relaxed));
            if moving == 0 {
                break;
            }
            let distance = place.wrapping_sub(home(parts(moving).0, self.mask)) & self.mask;
            if distance >= place - hole {
                if let Some(to) = at(hole) {
                    to.store(moving, Ordering::Release);
                }
                hole = place;
            }
        }
        if let Some(last) = at(hole) {
            last.store(0, Ordering::Release);
        }
    }

    /// Splits the segment in which `fingerprint` belongs. False when that cannot be.
    fn split(&self, shape: &mut Shape, number: usize, fingerprint: u32) -> bool {
        let Some(depth) = shape.0.get(number).map(|held| held.depth) else { return false };
        let new = shape.0.len();
        // 2^depth segments of this depth at most: the directory's length.
        if depth >= 32 - self.shift || new >= self.segments.len() {
            return false;
        }
        let (Some(old), Some(added)) = (self.segment(number), self.segment(new)) else {
            return false;
        };
        let bit = 1u32 << (31 - depth);
        let all: Vec<u64> =
            old.iter().map(|e| e.load(Ordering::Relaxed)).filter(|e| *e > 0).collect();
        let (moving, staying): (Vec<u64>, Vec<u64>) =
            all.into_iter().partition(|e| parts(*e).0 & bit > 0);
        for entry in &moving {
            let (fingerprint, slot) = parts(*entry);
            put(added, fingerprint, slot);
        }
        let first = (u64::from(fingerprint) >> (32 - depth) << (32 - depth)) | u64::from(bit);
        let (from, many) = ((first >> self.shift) as usize, self.directory.len() >> (depth + 1));
        for place in self.directory.iter().skip(from).take(many) {
            place.store(u32::try_from(new).unwrap_or(u32::MAX), Ordering::Release);
        }
        old.iter().for_each(|entry| entry.store(0, Ordering::Release));
        for entry in &staying {
            let (fingerprint, slot) = parts(*entry);
            put(old, fingerprint, slot);
        }
        if let Some(held) = shape.0.get_mut(number) {
            *held = Held { entries: staying.len(), depth: depth + 1 };
        }
        shape.0.push(Held { entries: moving.len(), depth: depth + 1 });
        true
    }
}

/// Puts an entry into the first empty place behind its home.
fn put(segment: &[AtomicU64], fingerprint: u32, slot: u32) -> bool {
    let mask = segment.len() - 1;
    let first = home(fingerprint, mask);
    let places = (first..=first + mask).filter_map(|place| segment.get(place & mask));
    let free = places.into_iter().find(|e| e.load(Ordering::Relaxed) == 0);
    free.is_some_and(|place| {
        place.store(entry(fingerprint, slot), Ordering::Release);
        true
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn slots(index: &Index, fingerprint: u32) -> Vec<u32> {
        let mut found = Vec::new();
        index.find(fingerprint, |slot| {
            found.push(slot);
            None::<()>
        });
        found.sort_unstable();
        found
    }

    /// A spread of fingerprints with some that are equal.
    fn fingerprint(n: u32) -> u32 {
        (n / 2).wrapping_mul(0x9E37_79B1)
    }

    #[test]
    fn everything_put_in_is_found_through_growth_and_removal() {
        let (index, mut shape) = Index::new(100_000);
        let mut kept: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for n in 0..100_000 {
            assert!(index.insert(&mut shape, fingerprint(n), n));
            kept.entry(fingerprint(n)).or_default().push(n);
        }
        assert!(shape.0.len() > 8, "it has grown");
        for n in (0..100_000).filter(|n| n % 3 > 0) {
            index.remove(&mut shape, fingerprint(n), n);
            kept.entry(fingerprint(n)).or_default().retain(|slot| *slot != n);
        }
        for (fingerprint, expected) in &kept {
            assert_eq!(&slots(&index, *fingerprint), expected, "{fingerprint:x}");
        }
        assert_eq!(shape.0.iter().map(|held| held.entries).sum::<usize>(), 33_334);
    }

    #[test]
    fn equal_fingerprints_fill_a_segment_and_are_refused_after_that() {
        for (most, segment) in [(100, SMALL_SEGMENT), (1_000_000, SEGMENT)] {
            let (index, mut shape) = Index::new(most);
            let room = (0..).take_while(|n| index.insert(&mut shape, 7, *n)).count();
            assert_eq!(room, segment - 1);
            assert_eq!(slots(&index, 7).len(), room);
            assert!(slots(&index, 8).is_empty(), "a search ends");
            assert!(index.insert(&mut shape, u32::MAX, 1), "others have room");
        }
    }
}
