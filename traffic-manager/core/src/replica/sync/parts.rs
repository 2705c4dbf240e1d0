//! Entries as they fit into frames.

use weir_proto::{
    convert::MAX_FRAME_BYTES,
    peer::{Entry, Register},
};

/// Most bytes of entries in one delta; one entry, or one version of a large register, may be larger by itself
/// ([`size`](weir_proto::peer::size)).
pub(super) const PART: usize = 256 * 1024;
const _: () = assert!(PART < MAX_FRAME_BYTES / 2, "with what surrounds each entry");

/// The entry in parts that fit; joined they are the whole.
pub(super) fn split(entry: Entry) -> Vec<Entry> {
    match entry {
        Entry::Policy(name, mut register) if register.versions.len() > 1 => {
            // The highest first, so that nobody votes for a lower one in between.
            register.versions.sort_by_key(|v| std::cmp::Reverse((v.ref_number, v.stamp)));
            let part = |version| Register {
                versions: vec![version],
                vote_ref: register.vote_ref,
                votes: register.votes.clone(),
            };
            let versions = register.versions.iter().cloned();
            versions.map(|version| Entry::Policy(name.clone(), part(version))).collect()
        }
        entry => vec![entry],
    }
}
