//! What traffic managers tell one another, as domain types: replicated entries, and the frames that
//! carry them. Frames may be lost, doubled and reordered.

mod entry;
mod frame;
pub mod size;

pub use entry::{
    Audit, AuditKey, Entry, EntryKey, Origin, Register, Seen, Stamp, Usage, UsageKey, UsagePart,
    Version, VersionHash, Vote,
};
pub use frame::{Ack, Delta, Digest, Heartbeat, PeerFrame, PeerHello, Summary, SummaryBucket};

use crate::{key::MAX_KEY_PARTS, policy::MAX_POLICY_BYTES, request::MAX_VALUE_BYTES};

/// Most versions that a register keeps side by side.
pub const MAX_VERSIONS: usize = 32;
/// Most origins that a version remembers to know.
pub const MAX_SEEN: usize = 32;
/// Most votes of a register.
pub const MAX_VOTES: usize = 64;
/// Longest name of who changed something, in bytes.
pub const MAX_AUTHOR: usize = 256;
/// Longest policy document in a version, in bytes: every policy that can be read.
pub const MAX_BODY: usize = MAX_POLICY_BYTES;
/// Longest short text of a record (action, policy, tag, limit, part of a key), in bytes: every part of a
/// counter's key.
pub const MAX_TEXT: usize = MAX_VALUE_BYTES;
/// Longest detail of an audit record, in bytes.
pub const MAX_DETAIL: usize = 4_096;
/// Most parts in the key of a usage record: those of a counter's.
pub const MAX_PARTS: usize = MAX_KEY_PARTS;
/// Most windows that share the period of a usage record.
pub const MAX_USAGE_PARTS: usize = 60;
/// Buckets of a digest.
pub const BUCKETS: usize = 1_024;
/// Most entries in one delta.
pub const MAX_DELTA_ENTRIES: usize = 4_096;
/// Most hashes in one summary, and in one list of what is wanted.
pub const MAX_HASHES: usize = 16_384;
/// Longest roles' claims in a heartbeat, in bytes.
pub const MAX_CLAIMS: usize = 4_096;
