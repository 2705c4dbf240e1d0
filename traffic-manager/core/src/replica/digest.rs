//! Digests of the entries: equal ones mean equal entries, and unequal ones show where to look.

use std::collections::BTreeMap;

use weir_proto::peer::{BUCKETS, EntryKey, MAX_HASHES, SummaryBucket};

/// Hashes of all entries, in buckets by the hash of the key.
#[derive(Debug, Clone)]
pub(super) struct Digests {
    /// Hash of the key -> the key, and the hash of the state (the key's included).
    buckets: Vec<BTreeMap<u64, (EntryKey, u64)>>,
    /// Exclusive or of the hashes of a bucket.
    sums: Vec<u64>,
    root: u64,
    len: usize,
}

impl Default for Digests {
    fn default() -> Self {
        Digests { buckets: vec![BTreeMap::new(); BUCKETS], sums: vec![0; BUCKETS], root: 0, len: 0 }
    }
}

/// The bucket of a key's hash.
fn bucket(hash: u64) -> usize {
    usize::try_from(hash % BUCKETS as u64).unwrap_or(0)
}

impl Digests {
    /// The entry is now in this state; `None` = gone.
    pub(super) fn set(&mut self, hash: u64, state: Option<(EntryKey, u64)>) {
        let at = bucket(hash);
        let (Some(bucket), Some(sum)) = (self.buckets.get_mut(at), self.sums.get_mut(at)) else {
            return;
        };
        let new = state.as_ref().map(|(_, state)| *state);
        let old = match state {
            Some(state) => bucket.insert(hash, state),
            None => bucket.remove(&hash),
        };
        let old = old.map(|(_, state)| state);
        let change = new.unwrap_or(0) ^ old.unwrap_or(0);
        *sum ^= change;
        self.root ^= change;
        self.len = self.len + usize::from(new.is_some()) - usize::from(old.is_some());
    }

    /// Of everything.
    pub(super) fn root(&self) -> u64 {
        self.root
    }

    /// How many entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Of each bucket.
    pub(super) fn sums(&self) -> &[u64] {
        &self.sums
    }

    /// The key of that hash.
    pub(super) fn key(&self, hash: u64) -> Option<&EntryKey> {
        self.buckets.get(bucket(hash))?.get(&hash).map(|(key, _)| key)
    }

    /// What is in the buckets whose digests differ from a peer's, in parts of at most `part` hashes.
    pub(super) fn differing(&self, theirs: &[u64], part: usize) -> Vec<Vec<SummaryBucket>> {
        let mut parts = vec![Vec::new()];
        let mut room = part;
        for ((number, (sum, entries)), their) in
            (0_u32..).zip(self.sums.iter().zip(&self.buckets)).zip(theirs)
        {
            if sum == their {
                continue;
            }
            if entries.len() > room && room < part {
                parts.push(Vec::new());
                room = part;
            }
            // So many in one bucket are nobody's keys: what is left out is sent once more, no harm.
            let entries: Vec<(u64, u64)> =
                entries.iter().take(MAX_HASHES).map(|(hash, (_, state))| (*hash, *state)).collect();
            room = room.saturating_sub(entries.len());
            if let Some(last) = parts.last_mut() {
                last.push(SummaryBucket { bucket: number, entries });
            }
        }
        parts
    }

    /// Against a peer's bucket: keys that it lacks or has otherwise, and hashes of those that we lack or
    /// have otherwise.
    pub(super) fn compare(&self, theirs: &SummaryBucket) -> (Vec<EntryKey>, Vec<u64>) {
        let at = usize::try_from(theirs.bucket).unwrap_or(usize::MAX);
        let Some(ours) = self.buckets.get(at) else { return (Vec::new(), Vec::new()) };
        let their_states: BTreeMap<u64, u64> = theirs.entries.iter().copied().collect();
        let news = ours.iter().filter(|(hash, (_, state))| their_states.get(hash) != Some(state));
        let differs = |hash: u64, state: u64| {
            bucket(hash) == at && ours.get(&hash).map(|(_, ours)| *ours) != Some(state)
        };
        let wanted = their_states.iter().filter(|(hash, state)| differs(**hash, **state));
        (news.map(|(_, (key, _))| key.clone()).collect(), wanted.map(|(hash, _)| *hash).collect())
    }
}

#[cfg(test)]
mod tests {
    use weir_proto::policy::PolicyName;

    use super::*;

    fn key(n: u64) -> EntryKey {
        EntryKey::Policy(PolicyName::new(&format!("p{n}")).expect("a name"))
    }

    #[test]
    fn equal_entries_have_equal_digests_whatever_the_history() {
        let (mut one, mut two) = (Digests::default(), Digests::default());
        for n in 0..100 {
            one.set(n, Some((key(n), n * 7 + 1)));
        }
        for n in (0..100).rev() {
            two.set(n, Some((key(n), 99)));
            two.set(n, Some((key(n), n * 7 + 1)));
        }
        two.set(100, Some((key(100), 5)));
        assert_ne!(one.root(), two.root());
        two.set(100, None);
        assert_eq!((one.root(), one.len()), (two.root(), 100));
        assert_eq!(one.sums(), two.sums());
        assert_eq!(one.differing(two.sums(), 10), vec![Vec::new()]);
    }

    #[test]
    fn only_what_differs_is_summarised_and_compared() {
        let (mut one, mut two) = (Digests::default(), Digests::default());
        let size = BUCKETS as u64;
        for n in 0..3 * size {
            one.set(n, Some((key(n), n + 1)));
            two.set(n, Some((key(n), n + 1)));
        }
        two.set(5, Some((key(5), 1_000_000)));
        two.set(6, None);
        one.set(7 + size, None);
        let parts = two.differing(one.sums(), 3);
        assert_eq!(parts.len(), 3, "three buckets of two or three entries");
        let found: Vec<_> = parts.iter().flatten().map(|bucket| one.compare(bucket)).collect();
        assert_eq!(found[0], (vec![key(5)], vec![5]));
        assert_eq!(found[1], (vec![key(6)], vec![]));
        assert_eq!(found[2], (vec![], vec![7 + size]));
        // Hashes in a bucket that is not theirs are nobody's.
        let foreign = SummaryBucket { bucket: 1, entries: vec![(2, 9)] };
        assert_eq!(one.compare(&foreign).1, Vec::<u64>::new());
    }
}
