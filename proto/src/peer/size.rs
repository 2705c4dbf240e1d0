//! How long replicated entries are at most when they are encoded, and that frames hold them.
//!
//! Everything follows from the bounds of [`peer`](super): who raises one of them learns from the compiler
//! whether what is accepted still fits what it travels in. The store has the same from
//! `traffic-manager/core/src/replica/key.rs`.

use super::{
    Audit, AuditKey, Entry, MAX_AUTHOR, MAX_BODY, MAX_DETAIL, MAX_PARTS, MAX_SEEN, MAX_TEXT,
    MAX_USAGE_PARTS, MAX_VERSIONS, MAX_VOTES, Register, Usage, UsageKey, Version,
};
use crate::{convert::MAX_FRAME_BYTES, id::MAX_NAME, policy::MAX_POLICY_NAME};

/// A number with its tag.
const NUMBER: usize = 1 + 10;
const ORIGIN: usize = field(field(MAX_NAME) + 2 * NUMBER);
const SEEN: usize = field(ORIGIN + NUMBER);
const VOTE: usize = field(field(MAX_NAME) + NUMBER + field(32));
const USAGE_PART: usize = field(3 * NUMBER);

/// A version of a policy, without its texts.
const VERSION: usize = 2 * NUMBER + ORIGIN;
/// A register without versions and votes: its name, the number of the votes, and what surrounds it.
const REGISTER: usize = field(MAX_POLICY_NAME) + NUMBER + 2 * LENGTH;
/// An audit record without its texts.
const AUDIT: usize = field(MAX_NAME) + 3 * NUMBER + 2 * LENGTH;
/// A usage record without its texts and parts.
const USAGE: usize = 4 * NUMBER + 2 * LENGTH;
/// A tag and a length of up to four bytes.
const LENGTH: usize = 1 + 4;

/// Longest version.
const MAX_VERSION: usize = field(VERSION + MAX_SEEN * SEEN + field(MAX_AUTHOR) + field(MAX_BODY));
/// Longest register with one version: what travels by itself.
const MAX_ONE_VERSION: usize = REGISTER + MAX_VERSION + MAX_VOTES * VOTE;
/// Longest register.
const MAX_REGISTER: usize = REGISTER + MAX_VERSIONS * MAX_VERSION + MAX_VOTES * VOTE;
const MAX_AUDIT: usize = AUDIT + field(MAX_AUTHOR) + 3 * field(MAX_TEXT) + field(MAX_DETAIL);
const MAX_USAGE: usize = USAGE + (2 + MAX_PARTS) * field(MAX_TEXT) + MAX_USAGE_PARTS * USAGE_PART;

/// Longest entry, in bytes, encoded as the store has it.
pub const MAX_ENTRY_BYTES: usize = larger(MAX_REGISTER, larger(MAX_AUDIT, MAX_USAGE));

// A delta with the largest entry that travels by itself fits a frame: a number, the entry, and three lengths
// around them.
const _: () = assert!(
    larger(MAX_ONE_VERSION, larger(MAX_AUDIT, MAX_USAGE)) + NUMBER + 3 * LENGTH < MAX_FRAME_BYTES
);

const fn larger(one: usize, other: usize) -> usize {
    if one > other { one } else { other }
}

/// A field of that many bytes, with its tag and its length.
const fn field(bytes: usize) -> usize {
    let length = match bytes {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    };
    1 + length + bytes
}

/// At least as many bytes as the entry takes in a frame or as a stored value, and not many more.
pub fn of(entry: &Entry) -> usize {
    match entry {
        Entry::Policy(_, register) => of_register(register),
        Entry::Audit(key, audit) => of_audit(key, audit),
        Entry::Usage(key, usage) => of_usage(key, usage),
    }
}

fn of_register(register: &Register) -> usize {
    let versions: usize = register.versions.iter().map(|version| of_version(version)).sum();
    REGISTER + versions + register.votes.len() * VOTE
}

fn of_version(version: &Version) -> usize {
    let body = version.body.as_ref().map_or(0, |body| field(body.len()));
    field(VERSION + version.seen.len() * SEEN + field(version.author.len()) + body)
}

fn of_audit(_: &AuditKey, audit: &Audit) -> usize {
    let texts = [&audit.actor, &audit.action, &audit.policy, &audit.tag, &audit.detail];
    AUDIT + texts.iter().map(|text| field(text.len())).sum::<usize>()
}

fn of_usage(key: &UsageKey, usage: &Usage) -> usize {
    let texts = [&key.policy, &key.limit].into_iter().chain(&key.key);
    USAGE + texts.map(|text| field(text.len())).sum::<usize>() + usage.parts.len() * USAGE_PART
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use bytes::Bytes;
    use proptest::{collection::vec, prelude::*};
    use prost::Message;

    use super::*;
    use crate::{
        id::{ManagerId, ManagerLife},
        peer::{Delta, Origin, PeerFrame, Seen, Stamp, UsagePart, VersionHash, Vote},
        policy::PolicyName,
        time::Time,
        wire::weir::v1 as wire,
    };

    fn life(n: usize) -> ManagerLife {
        let id = ManagerId::new(&format!("{n:0>MAX_NAME$}")).expect("a name");
        ManagerLife { id, incarnation: u64::MAX }
    }

    fn version(n: usize, seen: usize, body: Option<usize>, author: usize) -> Version {
        // The largest that a peer may send.
        let stamp = Stamp((1 << 48) * 1_000);
        let origin = |n| Origin { life: life(n), series: Stamp(u64::MAX) };
        Version {
            ref_number: 1 << 62,
            stamp,
            origin: origin(n),
            seen: (0..seen).map(|n| (origin(n + 100), stamp)).collect::<Seen>(),
            author: "a".repeat(author),
            body: body.map(|bytes| Bytes::from(vec![b'x'; bytes])),
        }
    }

    fn register(versions: usize, votes: usize, body: usize) -> Entry {
        let version = |n| Arc::new(version(n, MAX_SEEN, Some(body), MAX_AUTHOR));
        let vote = |n| (life(n).id, Vote { incarnation: u64::MAX, hash: VersionHash([255; 32]) });
        let register = Register {
            versions: (0..versions).map(version).collect(),
            vote_ref: 1 << 62,
            votes: (0..votes).map(vote).collect::<BTreeMap<_, _>>(),
        };
        Entry::Policy(PolicyName::new(&"p".repeat(MAX_POLICY_NAME)).expect("a name"), register)
    }

    fn audit(text: usize) -> Entry {
        let some = |most: usize| "t".repeat(text.min(most));
        let audit = Audit {
            at: Time::from_millis(1 << 48),
            actor: some(MAX_AUTHOR),
            action: some(MAX_TEXT),
            policy: some(MAX_TEXT),
            tag: some(MAX_TEXT),
            detail: some(MAX_DETAIL),
        };
        Entry::Audit(AuditKey { origin: life(1), seq: u64::MAX }, Arc::new(audit))
    }

    fn usage(keys: Vec<usize>, parts: usize) -> Entry {
        let key = UsageKey {
            policy: "p".repeat(MAX_TEXT),
            limit: "l".repeat(MAX_TEXT),
            key: keys.into_iter().map(|bytes| "k".repeat(bytes)).collect(),
            start_secs: (1 << 48) / 1_000,
            length_secs: (1 << 48) / 1_000,
        };
        let part = |n| UsagePart { offset_secs: n as u32, admitted: u64::MAX, refused: u64::MAX };
        let parts = (0..parts).map(part).collect();
        Entry::Usage(Arc::new(key), Usage { admitted: u64::MAX, refused: u64::MAX, parts })
    }

    fn frame(entry: Entry) -> usize {
        let delta = Delta { number: u64::MAX, entries: vec![entry] };
        wire::PeerFrame::from(PeerFrame::Delta(delta)).encoded_len()
    }

    #[test]
    fn the_largest_entries_are_read_again_and_fit_a_frame_each() {
        let largest = [
            register(1, MAX_VOTES, MAX_BODY),
            audit(MAX_DETAIL),
            usage(vec![MAX_TEXT; MAX_PARTS], MAX_USAGE_PARTS),
        ];
        for entry in largest {
            let stored = entry.encode();
            assert_eq!(Entry::decode(&stored).as_ref(), Ok(&entry), "it breaks no bound");
            assert!(stored.len() <= of(&entry) && of(&entry) <= MAX_ENTRY_BYTES);
            assert!(frame(entry) <= MAX_FRAME_BYTES);
        }
    }

    #[test]
    fn the_largest_register_is_as_long_as_is_said() {
        let whole = register(MAX_VERSIONS, MAX_VOTES, MAX_BODY);
        let bytes = whole.encode().len();
        assert!(
            bytes <= of(&whole) && of(&whole) == MAX_ENTRY_BYTES,
            "{bytes} of {MAX_ENTRY_BYTES}"
        );
        assert!(bytes > MAX_ENTRY_BYTES - 8 * 1_024, "{bytes} of {MAX_ENTRY_BYTES}: far too many");
    }

    proptest! {
        #[test]
        fn no_entry_is_longer_than_is_said(
            versions in 0..4usize, votes in 0..=MAX_VOTES, body in 0..70_000usize,
            text in 0..=MAX_DETAIL,
            keys in vec(0..=MAX_TEXT, 0..=MAX_PARTS), parts in 0..=MAX_USAGE_PARTS,
        ) {
            for entry in [register(versions, votes, body), audit(text), usage(keys, parts)] {
                let bytes = entry.encode().len();
                prop_assert!(bytes <= of(&entry) && of(&entry) <= MAX_ENTRY_BYTES);
                prop_assert!(frame(entry.clone()) <= of(&entry) + NUMBER + 3 * LENGTH);
                prop_assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
            }
        }
    }
}
