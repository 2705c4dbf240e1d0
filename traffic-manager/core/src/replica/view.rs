//! Answers to questions about a replica.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use weir_proto::{
    id::{ManagerId, ManagerLife},
    peer::{Audit, AuditKey, Stamp, Usage, UsageKey},
    policy::Policy,
    time::Time,
};

use super::ConflictId;

/// The version of a policy that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Winner {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Entity tag without quotes, equal on all managers: ref number and part of the hash.
    pub tag: String,
    /// The reference number.
    pub ref_number: u64,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub stamp: Stamp,
    /// On which manager.
    pub origin: ManagerLife,
    /// No vote that is missing can change it.
    pub settled: bool,
}

/// A version that lost, kept to be looked at, restored or dismissed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Names it: the version's hash.
    pub id: ConflictId,
    /// The policy's name.
    pub name: String,
    /// The document; `None` = the loser deleted the policy.
    pub body: Option<Bytes>,
    /// The loser's reference number.
    pub ref_number: u64,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub stamp: Stamp,
    /// On which manager.
    pub origin: ManagerLife,
    /// Tag of the version that won; `None` = the policy is deleted, or cannot be read here.
    pub winner: Option<String>,
    /// Where the version that won comes from.
    pub won: Option<Won>,
}

/// A version that won.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Won {
    /// Its reference number.
    pub ref_number: u64,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub stamp: Stamp,
    /// On which manager.
    pub origin: ManagerLife,
    /// It deleted the policy.
    pub deletion: bool,
}

/// Which audit records to list; `None` = all.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of this policy.
    pub policy: Option<String>,
    /// By this actor.
    pub actor: Option<String>,
    /// Of this action.
    pub action: Option<String>,
    /// At or after.
    pub from: Option<Time>,
    /// Before.
    pub until: Option<Time>,
}

impl AuditFilter {
    /// Whether the record is meant.
    pub fn meets(&self, audit: &Audit) -> bool {
        let is = |want: &Option<String>, text: &str| want.as_deref().is_none_or(|w| w == text);
        is(&self.policy, &audit.policy)
            && is(&self.actor, &audit.actor)
            && is(&self.action, &audit.action)
            && self.from.is_none_or(|from| audit.at >= from)
            && self.until.is_none_or(|until| audit.at < until)
    }
}

/// Which usage records to list; `None` = all.
#[derive(Debug, Clone, Default)]
pub struct UsageFilter {
    /// Of this policy.
    pub policy: Option<String>,
    /// Of this limit.
    pub limit: Option<String>,
    /// Of this counter's key.
    pub key: Option<Vec<String>>,
    /// Periods that begin at or after, in seconds.
    pub from_secs: Option<u64>,
    /// Periods that begin before, in seconds.
    pub until_secs: Option<u64>,
}

impl UsageFilter {
    /// Whether the record is meant.
    pub fn meets(&self, key: &UsageKey) -> bool {
        self.policy.as_ref().is_none_or(|policy| *policy == key.policy)
            && self.limit.as_ref().is_none_or(|limit| *limit == key.limit)
            && self.key.as_ref().is_none_or(|parts| *parts == key.key)
            && self.from_secs.is_none_or(|from| key.start_secs >= from)
            && self.until_secs.is_none_or(|until| key.start_secs < until)
    }
}

/// An audit record and its name.
pub type AuditRecord<'a> = (&'a AuditKey, &'a Audit);
/// A usage record and its name.
pub type UsageRecord<'a> = (&'a UsageKey, &'a Usage);

/// How a peer is, as seen here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its name.
    pub id: ManagerId,
    /// Its newest life.
    pub life: ManagerLife,
    /// A link to it is open.
    pub up: bool,
    /// It serves.
    pub ready: bool,
    /// Its priority for roles.
    pub priority: u32,
    /// When it was last heard.
    pub heard: Option<Time>,
    /// It holds everything up to this revision of ours; `None` while that is not known of this life of it, and
    /// where it lacks what was here from the start.
    pub acked: Option<u64>,
    /// Entries that it is not known to hold.
    pub outstanding: usize,
    /// For how long it has lacked something; zero when it lacks nothing.
    pub lag: Duration,
    /// Its own revision.
    pub revision: u64,
    /// Of its policies, in the heartbeat that `equal` is about: its agents report it once they have them.
    pub policies_revision: u64,
    /// Its root digest, of its last heartbeat, equals ours.
    pub equal: bool,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Names of policies that are deleted, or that no version known here holds for.
    pub tombstones: usize,
    /// Losers in the conflict log.
    pub conflicts: usize,
    /// Audit records.
    pub audit_records: usize,
    /// Usage records.
    pub usage_records: usize,
}

/// Totals since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Losers that left a register which had too many.
    pub dropped_versions: u64,
    /// Entries of peers that had no room here, or cannot be true.
    pub refused_entries: u64,
    /// Winners that this build cannot read as policies; the version before them holds here.
    pub unreadable: u64,
    /// Deltas sent again because no acknowledgement came.
    pub resent: u64,
    /// Rounds of digests begun.
    pub rounds: u64,
}
