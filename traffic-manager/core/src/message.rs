//! What goes into the core and what comes out of it.

use crate::accounts::Closed;
use weir_proto::{
    decision::{CreditFrame, DecisionFrame},
    usage::UsageFrame,
};

/// One usage stream or one decision session; numbers are given by the shell and never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// What the shell hands in. An `Opened` is implied by the first frame.
#[derive(Debug, Clone)]
pub enum Input {
    /// A frame on a usage stream.
    Usage(StreamId, UsageFrame),
    /// A usage stream ended, for whatever reason.
    UsageClosed(StreamId),
    /// A frame on a decision session.
    Credit(StreamId, CreditFrame),
    /// A session ended, or its subscriber was too slow and was cut off.
    SessionClosed(StreamId),
}

/// What the shell must do, in this order.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "moved once, between the wire and the core")]
pub enum Output {
    /// Acknowledge on the usage stream: everything up to this `seq` is merged.
    Ack(StreamId, u64),
    /// Send on the session. Where the subscriber's queue is full, cut it off and hand in
    /// [`Input::SessionClosed`]: it comes back for a snapshot.
    Decide(StreamId, DecisionFrame),
    /// End the usage stream; the text is for the peer.
    CloseUsage(StreamId, String),
    /// End the session; the text is for the peer. No `SessionClosed` is needed.
    CloseSession(StreamId, String),
    /// A window ended in which the limit was approached: what was admitted above it, or refused below.
    WindowClosed {
        /// Name of the policy.
        policy: String,
        /// Amount admitted by all agents.
        admitted: u64,
        /// Requests that this limit refused.
        refused: u64,
        /// The limit.
        limit: u64,
    },
    /// Windows closed, of which usage is recorded: for [`Accounts`](crate::accounts::Accounts). At most one for
    /// each turn. Only with [`Config::accounts`](crate::Config::accounts).
    Closed(Vec<Closed>),
}
