//! The usage plane: agents tell every manager what they admitted, as state.
//!
//! An entry is cumulative for its counter and window, and stamped by the frame's `seq`: the newest
//! stamp wins, so loss, duplication, delay and reordering of frames change nothing.

use crate::{id::AgentLife, key::CounterKey, time::WindowStart};

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

/// One frame of an agent's usage stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageFrame {
    /// First frame of a stream only.
    pub identity: Option<AgentIdentity>,
    /// Larger is newer, over the agent's life.
    pub seq: u64,
    /// What the agent believes.
    pub status: Option<AgentStatus>,
    /// Ids first used in this frame.
    pub keys: Vec<KeyDef>,
    /// What changed.
    pub entries: Vec<UsageEntry>,
    /// The agent's whole state has been sent on this stream.
    pub state_complete: bool,
}
