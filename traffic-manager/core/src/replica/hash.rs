//! Hashes that are equal on all managers: of versions, of keys, of states.

use sha2::{Digest as _, Sha256};
use weir_proto::peer::{Audit, Origin, Usage, Version, VersionHash};

use super::conflict::Rivals;

/// Writes fields so that different ones never give the same bytes: numbers have eight bytes, texts
/// their length first.
struct Canon(Sha256);

impl Canon {
    fn new(what: &str) -> Self {
        let mut canon = Canon(Sha256::new());
        canon.bytes(what.as_bytes());
        canon
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn origin(&mut self, origin: &Origin) {
        self.bytes(origin.life.id.as_str().as_bytes());
        self.number(origin.life.incarnation);
        self.number(origin.series.0);
    }

    fn whole(self) -> VersionHash {
        VersionHash(self.0.finalize().into())
    }

    fn short(self) -> u64 {
        first_eight(&self.whole().0)
    }
}

/// The hash of the whole of a version: whether it deletes is part of it.
pub(super) fn of_version(version: &Version) -> VersionHash {
    let mut canon = Canon::new("weir version 1");
    canon.number(version.ref_number);
    canon.number(version.stamp.0);
    canon.origin(&version.origin);
    canon.number(version.seen.len() as u64);
    for (origin, stamp) in &version.seen {
        canon.origin(origin);
        canon.number(stamp.0);
    }
    canon.bytes(version.author.as_bytes());
    match &version.body {
        Some(body) => {
            canon.number(1);
            canon.bytes(body);
        }
        None => canon.number(0),
    }
    canon.whole()
}

/// The hash of a document.
pub(super) fn of_body(body: &[u8]) -> u64 {
    let mut canon = Canon::new("weir body 1");
    canon.bytes(body);
    canon.short()
}

/// The hash of a key, as the store writes it.
pub(super) fn of_key(key: &[u8]) -> u64 {
    let mut canon = Canon::new("weir key 1");
    canon.bytes(key);
    canon.short()
}

/// The hash of a register's state, with its key's.
pub(super) fn of_rivals(key: u64, rivals: &Rivals) -> u64 {
    let mut canon = Canon::new("weir policy 1");
    canon.number(key);
    for hash in rivals.hashes() {
        canon.0.update(hash.0);
    }
    canon.number(rivals.top());
    for (voter, vote) in rivals.votes() {
        canon.bytes(voter.as_str().as_bytes());
        canon.number(vote.incarnation);
        canon.0.update(vote.hash.0);
    }
    canon.short()
}

/// The hash of an audit record, with its key's.
pub(super) fn of_audit(key: u64, audit: &Audit) -> u64 {
    let mut canon = Canon::new("weir audit 1");
    canon.number(key);
    canon.number(audit.at.as_micros());
    for text in [&audit.actor, &audit.action, &audit.policy, &audit.tag, &audit.detail] {
        canon.bytes(text.as_bytes());
    }
    canon.short()
}

/// The hash of a usage record, with its key's.
pub(super) fn of_usage(key: u64, usage: &Usage) -> u64 {
    let mut canon = Canon::new("weir usage 1");
    canon.number(key);
    canon.number(usage.admitted);
    canon.number(usage.refused);
    for part in &usage.parts {
        for number in [u64::from(part.offset_secs), part.admitted, part.refused] {
            canon.number(number);
        }
    }
    canon.short()
}

fn first_eight(hash: &[u8; 32]) -> u64 {
    hash.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use weir_proto::{
        id::{ManagerId, ManagerLife},
        peer::{Seen, Stamp},
    };

    use super::*;

    #[test]
    fn a_deletion_is_no_empty_document() {
        let life = ManagerLife { id: ManagerId::new("tm-1").expect("a name"), incarnation: 1 };
        let deletion = Version {
            ref_number: 1,
            stamp: Stamp(2),
            origin: Origin { life, series: Stamp(2) },
            seen: Seen::new(),
            author: "anna".to_owned(),
            body: None,
        };
        let empty = Version { body: Some(bytes::Bytes::new()), ..deletion.clone() };
        assert_ne!(of_version(&deletion), of_version(&empty));
    }
}
