//! The decision plane: what an agent holds and wants, and what its manager allows.

use bytes::Bytes;

use crate::{
    id::ManagerLife,
    share::{Share, View},
    time::{Time, WindowStart},
    usage::{AgentIdentity, KeyDef, KeyId},
};

/// First frame of a session: everything a manager must know to grant safely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// Who attaches.
    pub identity: AgentIdentity,
    /// The newest view installed.
    pub view: View,
    /// A newer view that it promised to, if any.
    pub promised: Option<View>,
    /// Its share by time of window begin, oldest first.
    pub eras: Vec<(Time, Share)>,
    /// Its share of windows begun by then went to managers that it followed before.
    pub pledged_until: Time,
    /// The manager that it followed before.
    pub former_manager: Option<ManagerLife>,
}

/// One ceiling, in absolute amounts of its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreditEntry {
    /// The counter.
    pub key: KeyId,
    /// The window.
    pub window: WindowStart,
    /// Admitted so far.
    pub used: u64,
    /// The agent admits up to here.
    pub ceiling: u64,
    /// Expected need beyond `used`.
    pub want: u64,
    /// Rolling counters: no more than this was admitted within one window length.
    pub recent: u64,
    /// Requests refused so far.
    pub rejected: u64,
}

/// Agent to its active manager.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreditFrame {
    /// 1, 2, 3 … within the session.
    pub seq: u64,
    /// The agent's estimate of manager time, never falling.
    pub now: Time,
    /// Last decision revision applied in this session.
    pub applied: u64,
    /// First frame only.
    pub attach: Option<Attach>,
    /// Ids first used in this frame.
    pub keys: Vec<KeyDef>,
    /// Ceilings that changed or matter now.
    pub entries: Vec<CreditEntry>,
    /// After this frame the manager knows every ceiling that the agent holds.
    pub holdings_complete: bool,
    /// The view promised, in answer to a proposal; 0 = none.
    pub promised_view: u64,
    /// Goodbye: no more admissions on any ceiling.
    pub leaving: bool,
    /// Orders the amounts in `entries` against those of usage frames: one sequence for both.
    pub stamp: u64,
}

/// First frame from a manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerHello {
    /// Name and incarnation.
    pub life: ManagerLife,
    /// Version of the manager's build.
    pub version: String,
    /// How long the share of a silent agent stays reserved, in milliseconds.
    pub silent_hold_ms: u64,
}

/// Part of a change of the agent's policies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyUpdate {
    /// Revision of the sending manager's set.
    pub revision: u64,
    /// Replaces everything.
    pub full: bool,
    /// JSON documents, one policy each.
    pub put: Vec<Bytes>,
    /// Names of deleted policies.
    pub deleted: Vec<String>,
    /// The revision is complete with this part.
    pub last: bool,
}

/// What an agent may admit on one counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The counter, by the manager's interning.
    pub key: KeyId,
    /// The window.
    pub window: WindowStart,
    /// Absolute; below the agent's use it means "no more".
    pub ceiling: u64,
    /// Nothing more will come in this window: do not ask.
    pub exhausted: bool,
    /// With `exhausted`: when asking makes sense again, in milliseconds from now.
    pub retry_after_ms: u64,
}

/// Manager to agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DecisionFrame {
    /// 1, 2, 3 … within the session.
    pub revision: u64,
    /// Manager time when sent.
    pub manager_time: Time,
    /// Last credit frame processed.
    pub processed: u64,
    /// First frame only.
    pub hello: Option<ManagerHello>,
    /// Policies, in parts.
    pub policies: Option<PolicyUpdate>,
    /// Ids first used in this frame.
    pub keys: Vec<KeyDef>,
    /// Ceilings.
    pub decisions: Vec<Decision>,
    /// The snapshot ends here.
    pub snapshot_complete: bool,
    /// Promise to own no more than the share of this view in windows begun from now on.
    pub propose: Option<View>,
    /// Own the share of this view in windows begun from the time on.
    pub install: Option<(View, Time)>,
}
