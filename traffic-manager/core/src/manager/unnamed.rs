//! Keys that a session named when there was no room for them.

use std::collections::BTreeMap;

use weir_proto::{key::CounterKey, usage::KeyId};

/// Most keys, and most bytes of them, from one frame to the next.
const MOST: usize = 16_384;
const BYTES: usize = 1 << 20;

/// The keys by id, so that what is asked about them can be answered, or counted when there is room.
#[derive(Debug, Clone, Default)]
pub(super) struct Unnamed {
    keys: BTreeMap<KeyId, CounterKey>,
    bytes: usize,
}

impl Unnamed {
    pub(super) fn get(&self, id: KeyId) -> Option<&CounterKey> {
        self.keys.get(&id)
    }

    pub(super) fn put(&mut self, id: KeyId, key: CounterKey) {
        self.remove(id);
        self.bytes += key.as_bytes().len();
        self.keys.insert(id, key);
    }

    pub(super) fn remove(&mut self, id: KeyId) {
        if let Some(key) = self.keys.remove(&id) {
            self.bytes -= key.as_bytes().len();
        }
    }

    /// Back to its bounds after a frame: the lowest ids, which agents gave first, are forgotten, and
    /// what is asked about them stays without an answer until the agent subscribes anew.
    pub(super) fn trim(&mut self) {
        while (self.keys.len() > MOST || self.bytes > BYTES)
            && let Some((_, key)) = self.keys.pop_first()
        {
            self.bytes -= key.as_bytes().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_their_bytes_are_bounded_and_the_newest_stay() {
        let key = |part: &str| CounterKey::new("p", "l", &[part]).expect("a key");
        let mut unnamed = Unnamed::default();
        let last = 2 * MOST as KeyId;
        (0..=last).for_each(|id| unnamed.put(id, key("a")));
        unnamed.trim();
        assert_eq!(unnamed.keys.len(), MOST);
        assert!(unnamed.get(0).is_none() && unnamed.get(last).is_some());
        let long = "x".repeat(1_000);
        (0..=last).for_each(|id| unnamed.put(id, key(&long)));
        unnamed.trim();
        assert!(unnamed.bytes <= BYTES && unnamed.get(last).is_some());
        unnamed.remove(last);
        let kept: usize = unnamed.keys.values().map(|key| key.as_bytes().len()).sum();
        assert_eq!(unnamed.bytes, kept);
    }
}
