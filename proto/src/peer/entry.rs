//! Replicated entries: what is joined, never overwritten.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;

use crate::{
    id::{Incarnation, ManagerId, ManagerLife},
    policy::PolicyName,
    time::Time,
};

/// A hybrid logical clock: microseconds of manager time, later than every stamp that its maker had
/// seen. The logical part is folded in: a stamp that would not be later is one microsecond after the
/// latest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub u64);

impl Stamp {
    /// As manager time.
    pub const fn time(self) -> Time {
        Time::from_micros(self.0)
    }
}

/// Who wrote a version: a life of a manager, and a series of writes in which each one knew the one
/// before. A life begins a new series when it writes without knowledge of its own last version,
/// which lost; so what is known of a series is always all of it up to a stamp.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Whose.
    pub life: ManagerLife,
    /// The stamp of the series' first version.
    pub series: Stamp,
}

/// In knowledge of which versions one was made: per series, the newest stamp.
pub type Seen = BTreeMap<Origin, Stamp>;

/// One version of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// One more than the highest that its maker knew.
    pub ref_number: u64,
    /// When.
    pub stamp: Stamp,
    /// By whom.
    pub origin: Origin,
    /// In knowledge of what; at most [`MAX_SEEN`](super::MAX_SEEN).
    pub seen: Seen,
    /// On whose behalf; at most [`MAX_AUTHOR`](super::MAX_AUTHOR) bytes.
    pub author: String,
    /// The policy as JSON, at most [`MAX_BODY`](super::MAX_BODY); `None` = deleted.
    pub body: Option<Bytes>,
}

/// SHA-256 of the whole of a version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionHash(pub [u8; 32]);

impl VersionHash {
    /// From 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<VersionHash> {
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(VersionHash(hash))
    }
}

impl fmt::Display for VersionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for VersionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a manager accepted first at a reference number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vote {
    /// The voter's life. Of two votes of one manager the later life's counts.
    pub incarnation: Incarnation,
    /// For which version.
    pub hash: VersionHash,
}

/// The versions of one policy that no other one supersedes, and the votes at the highest reference
/// number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Register {
    /// At most [`MAX_VERSIONS`](super::MAX_VERSIONS), in any order.
    pub versions: Vec<Arc<Version>>,
    /// At which reference number the votes were cast.
    pub vote_ref: u64,
    /// At most [`MAX_VOTES`](super::MAX_VOTES).
    pub votes: BTreeMap<ManagerId, Vote>,
}

/// Names an audit record: unique without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditKey {
    /// The manager that recorded it.
    pub origin: ManagerLife,
    /// Its number in that life, from 1.
    pub seq: u64,
}

/// Who did what; never changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Audit {
    /// When, manager time.
    pub at: Time,
    /// Who.
    pub actor: String,
    /// `create`, `replace`, `delete`, `restore`, `dismiss`, `reset`, `denied`, …
    pub action: String,
    /// Of which policy; may be empty.
    pub policy: String,
    /// The version that came of it; may be empty.
    pub tag: String,
    /// In words; at most [`MAX_DETAIL`](super::MAX_DETAIL) bytes.
    pub detail: String,
}

/// Names a usage record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey {
    /// The policy's name.
    pub policy: String,
    /// The limit's id.
    pub limit: String,
    /// The counter's key, part by part.
    pub key: Vec<String>,
    /// Begin of the period, in seconds since the Unix epoch.
    pub start_secs: u64,
    /// Its length in seconds.
    pub length_secs: u64,
}

impl UsageKey {
    /// When the period ends, in seconds since the Unix epoch: the order in which records leave.
    pub fn end_secs(&self) -> u64 {
        self.start_secs.saturating_add(self.length_secs)
    }
}

/// What was used in a period, cumulative: of two records of one key the larger amounts count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Admitted, in the limit's unit.
    pub admitted: u64,
    /// Refused.
    pub refused: u64,
    /// Windows of less than a minute that share the period, by start, at most
    /// [`MAX_USAGE_PARTS`](super::MAX_USAGE_PARTS): managers may know different ones, and the sum of all is exact.
    pub parts: Vec<UsagePart>,
}

/// One window of a shared period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsagePart {
    /// Its begin, in seconds after the period's.
    pub offset_secs: u32,
    /// Admitted in it.
    pub admitted: u64,
    /// Refused in it.
    pub refused: u64,
}

impl Usage {
    /// Takes in what another record of the same key says: of each window the larger amounts.
    pub fn join(&mut self, other: &Usage) {
        for part in &other.parts {
            match self.parts.binary_search_by_key(&part.offset_secs, |p| p.offset_secs) {
                Ok(i) => {
                    let own = &mut self.parts[i];
                    own.admitted = own.admitted.max(part.admitted);
                    own.refused = own.refused.max(part.refused);
                }
                Err(i) => self.parts.insert(i, *part),
            }
        }
        let sum = |amount: fn(&UsagePart) -> u64| {
            self.parts.iter().map(amount).fold(0, u64::saturating_add)
        };
        self.admitted = self.admitted.max(other.admitted).max(sum(|part| part.admitted));
        self.refused = self.refused.max(other.refused).max(sum(|part| part.refused));
    }
}

/// Names an entry. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKey {
    /// A policy's register.
    Policy(PolicyName),
    /// An audit record.
    Audit(AuditKey),
    /// A usage record.
    Usage(Arc<UsageKey>),
}

/// One entry. Two of the same key are joined: it does not matter which came first, nor how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Joined as `traffic-manager/core/REPLICATION.md` says.
    Policy(PolicyName, Register),
    /// Immutable.
    Audit(AuditKey, Arc<Audit>),
    /// The larger amounts count.
    Usage(Arc<UsageKey>, Usage),
}

impl Entry {
    /// Its name.
    pub fn key(&self) -> EntryKey {
        match self {
            Entry::Policy(name, _) => EntryKey::Policy(name.clone()),
            Entry::Audit(key, _) => EntryKey::Audit(key.clone()),
            Entry::Usage(key, _) => EntryKey::Usage(key.clone()),
        }
    }
}
