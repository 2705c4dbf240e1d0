//! The winner of a register, read as a policy.

use std::sync::Arc;

use weir_proto::{
    peer::{Version, VersionHash},
    policy::{Policy, PolicyName},
};

use super::{Winner, conflict::Rivals};

/// What holds.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) hash: VersionHash,
    pub(super) winner: Winner,
}

/// What came of reading a register's winner.
pub(super) enum Reading {
    /// It is the one before; whether it is settled.
    Same(bool),
    /// The policy is deleted.
    Gone,
    /// Another one.
    New(Box<Held>),
    /// Of a newer version of Weir, or corrupt at its origin.
    Unreadable,
}

/// Reads the winner, unless it is the one `before`.
pub(super) fn read(
    name: &PolicyName,
    rivals: Option<&Rivals>,
    before: Option<VersionHash>,
    group: usize,
) -> Reading {
    let Some((rivals, (hash, version))) = rivals.and_then(|r| Some((r, r.winner()?))) else {
        return Reading::Gone;
    };
    let settled = rivals.settled(group);
    if before == Some(hash) {
        return Reading::Same(settled);
    }
    let Some(body) = &version.body else { return Reading::Gone };
    let Some(policy) = policy(name, body) else { return Reading::Unreadable };
    let winner = Winner {
        policy: Arc::new(policy),
        tag: tag(version, hash),
        ref_number: version.ref_number,
        author: version.author.clone(),
        stamp: version.stamp,
        origin: version.origin.life.clone(),
        settled,
    };
    Reading::New(Box::new(Held { hash, winner }))
}

fn policy(name: &PolicyName, body: &[u8]) -> Option<Policy> {
    let json = serde_json::from_slice(body).ok()?;
    Policy::from_json(&json).ok().filter(|policy| policy.name == *name)
}

/// Equal on all managers: the number, and enough of the hash to tell rivals apart.
pub(super) fn tag(version: &Version, hash: VersionHash) -> String {
    let hash = hash.to_string();
    format!("{:x}-{}", version.ref_number, hash.get(..16).unwrap_or(&hash))
}
