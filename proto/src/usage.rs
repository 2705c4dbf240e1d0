//! The usage plane: agents tell every manager what they admitted, as state.
//!
//! An entry is cumulative for its counter and window, and stamped by the frame's `seq`: the newest
//! stamp wins, so loss, duplication, delay and reordering of frames change nothing.

use bytes::Bytes;

use crate::{id::AgentLife, key::CounterKey, time::WindowStart};

mod packed;
pub use packed::{EntryWriter, NameWriter};
pub(crate) use packed::{REJECTED, WINDOW, put};

/// A counter's number on one stream; the key's text travels once, in a definition.
pub type KeyId = u32;

/// Names a counter for the rest of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDef {
    /// The number used from now on.
    pub id: KeyId,
    /// The counter.
    pub key: CounterKey,
}

/// Who reports; first on each stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentIdentity {
    /// Name and incarnation.
    pub life: AgentLife,
    /// Operators' label, may be empty.
    pub gateway_group: String,
    /// Version of the agent's build.
    pub version: String,
}

/// One counter in one window, as admitted by one agent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageEntry {
    /// The counter.
    pub key: KeyId,
    /// Start of a fixed window, or birth of a rolling counter.
    pub window: WindowStart,
    /// Amount admitted.
    pub used: u64,
    /// Requests refused.
    pub rejected: u64,
}

/// What the agent believes, for operators and for managers that must know whom they wait for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentStatus {
    /// Name of the manager whose decisions it follows; empty = none.
    pub active_manager: String,
    /// Number of its newest view.
    pub view_number: u64,
    /// Denominator of its share; 0 = not a member.
    pub fleet: u32,
    /// Revision of its policies.
    pub policies_revision: u64,
    /// Last decision revision applied in its session.
    pub decision_revision: u64,
    /// Counters that changed since the last frame.
    pub unsent: u64,
    /// Entries lost because a table was full, over its life.
    pub dropped: u64,
    /// Checks answered, over its life.
    pub checks: u64,
    /// Changes of the active manager, over its life.
    pub failovers: u64,
}

/// Names that came in one frame: the keys stay in the frame's memory. Whether they are canonical is
/// for [`CounterKey::parse`]; whoever knows a key already need not ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    pub(crate) bytes: Bytes,
    /// Id, and where the key is.
    pub(crate) places: Vec<(KeyId, u32, u32)>,
}

impl Names {
    /// Ids and the bytes of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (KeyId, &[u8])> {
        self.places.iter().map(|(id, from, to)| {
            let key = self.bytes.get(*from as usize..*to as usize);
            (*id, key.unwrap_or_default())
        })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// One frame of an agent's usage stream, as a manager takes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageFrame {
    /// First frame of a stream only.
    pub identity: Option<AgentIdentity>,
    /// Larger is newer, over the agent's life.
    pub seq: u64,
    /// What the agent believes.
    pub status: Option<AgentStatus>,
    /// Ids that name nothing from now on; applied first.
    pub forgotten: Vec<KeyId>,
    /// Ids first used in this frame.
    pub names: Names,
    /// What changed.
    pub entries: Vec<UsageEntry>,
    /// The agent's whole state has been sent on this stream.
    pub state_complete: bool,
}

/// One frame of an agent's usage stream, as an agent sends it: what is the same for every manager is
/// encoded once and shared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageReport {
    /// First frame of a stream only.
    pub identity: Option<AgentIdentity>,
    /// Larger is newer, over the agent's life.
    pub seq: u64,
    /// What the agent believes.
    pub status: Option<AgentStatus>,
    /// Ids that name nothing from now on.
    pub forgotten: Vec<KeyId>,
    /// From a [`NameWriter`].
    pub names: Bytes,
    /// From an [`EntryWriter`].
    pub entries: Bytes,
    /// The agent's whole state has been sent on this stream.
    pub state_complete: bool,
}
