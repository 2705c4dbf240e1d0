//! What goes into a replica and what comes out of it.

use std::time::Duration;

use bytes::Bytes;
use weir_proto::{
    id::{ManagerId, ManagerLife},
    peer::{Audit, Delta, Heartbeat, PeerFrame, Usage, UsageKey, VersionHash},
};

use super::Winner;

/// How a replica behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name and incarnation. The incarnation is above zero, and larger after each restart.
    pub me: ManagerLife,
    /// Managers of the group, this one included: configured peers + 1.
    pub group: usize,
    /// How long tombstones and losers are kept; longer than the longest absence of a manager.
    /// Default 30 days.
    pub tombstone_hold: Duration,
    /// Most policies, tombstones included. Default 100,000.
    pub max_policies: usize,
    /// Audit records kept, the newest; the same on all managers. Default 10,000.
    pub max_audit: usize,
    /// Usage records kept, the newest periods; the same on all managers. Default 200,000.
    pub max_usage: usize,
}

impl Config {
    /// Defaults for this manager in a group of `group`.
    pub fn new(me: ManagerLife, group: usize) -> Self {
        Config {
            me,
            group,
            tombstone_hold: Duration::from_secs(30 * 24 * 3_600),
            max_policies: 100_000,
            max_audit: 10_000,
            max_usage: 200_000,
        }
    }
}

/// What comes from peers, but for what must be stored first (see [`Output::Receive`]).
#[derive(Debug, Clone)]
pub enum Input {
    /// The first link to this life is open.
    Up(ManagerLife),
    /// The last link to this life has closed.
    Down(ManagerLife),
    /// A frame came over a link to this life.
    Frame(ManagerLife, PeerFrame),
}

/// What must be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send over any open link to this manager; it may be lost.
    Send(ManagerId, PeerFrame),
    /// The winner of a policy changed; `None` = there is no such policy (any more).
    Policy {
        /// The policy's name.
        name: String,
        /// What holds now.
        winner: Option<Winner>,
        /// See [`Replica::policies_revision`](super::Replica::policies_revision).
        revision: u64,
    },
    /// Hand to [`Replica::receive`](super::Replica::receive), then commit and apply.
    Receive(ManagerLife, Delta),
    /// One more peer holds this write durably: see [`Replica::holders`](super::Replica::holders).
    Acked(WriteId),
    /// Every peer that is up has told all it knew when it came up, for the first time; at once in a group
    /// of one.
    Synced,
    /// This peer is not spoken with: links to as many others as there may be are open.
    Crowded(ManagerLife),
    /// A peer's heartbeat, for the roles.
    Heard(ManagerLife, Heartbeat),
}

/// What this manager says of itself in heartbeats.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Announcement {
    /// Whether it serves.
    pub ready: bool,
    /// Its priority for roles; lower goes first.
    pub priority: u32,
    /// The roles that it claims; at most [`MAX_CLAIMS`](weir_proto::peer::MAX_CLAIMS) bytes.
    pub claims: Bytes,
}

/// A record to be replicated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Gets the next number of this life.
    Audit(Audit),
    /// Joined with what is known of that key, by maximum.
    Usage(UsageKey, Usage),
}

/// A record that is older than all that are kept, while there are as many as are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record is too old to be kept")]
pub struct TooOld;

/// Names a loser in the conflict log.
pub type ConflictId = VersionHash;

/// Names a write of this life, to ask who holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// Why a write was refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Too many policies.
    #[error("there are {max} policies, the most that one manager keeps; delete some first")]
    Full {
        /// The bound.
        max: usize,
    },
    /// The document is too long to be replicated.
    #[error(
        "the policy has {bytes} bytes as JSON, and at most {max} are allowed: shorten the keys of its \
         overrides, or reset it as a whole, which leaves no resets of single keys"
    )]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The log has no such conflict (any more).
    #[error("there is no such conflict; it may have been settled meanwhile")]
    NoConflict,
    /// The losing version is a deletion: to restore it, delete the policy.
    #[error("the losing version is a deletion; delete the policy instead")]
    Deletion,
}

/// Why a stored entry was refused. The store is corrupt, or of a newer version; it was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored entry {key} cannot be read: {problem}")]
pub struct LoadError {
    /// The key, readable.
    pub key: String,
    /// What is wrong.
    pub problem: String,
}
