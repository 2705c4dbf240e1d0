//! What goes into the agent's owner and what comes out of it.

use std::sync::Arc;

use weir_proto::{
    decision::{CreditFrame, DecisionFrame},
    id::ManagerLife,
    matcher::PolicySet,
    usage::UsageReport,
};

/// A manager's place in the configured list.
pub type ManagerIndex = usize;

/// One connection attempt or connection; numbers are given by the core for sessions and by the shell
/// for usage links, and never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What the shell hands in.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "moved once, between the wire and the core")]
pub enum Input {
    /// The decision stream asked for by [`Output::Connect`] is open.
    SessionOpened(ConnectionId),
    /// It could not be opened, or ended.
    SessionClosed(ConnectionId, String),
    /// A frame from the manager.
    Decision(ConnectionId, DecisionFrame),
    /// A usage stream to this manager is open (the shell keeps trying by itself).
    UsageOpened(ManagerIndex, ConnectionId),
    /// It ended, or could not be opened: then the number is 0.
    UsageClosed(ManagerIndex, ConnectionId, String),
    /// The manager merged everything up to `seq`.
    UsageAck {
        /// Which manager.
        manager: ManagerIndex,
        /// On which connection.
        connection: ConnectionId,
        /// Newest frame merged.
        seq: u64,
        /// Who answered.
        life: ManagerLife,
    },
    /// A check found a counter near its ceiling (the table called its waker).
    Poke,
    /// The process is about to end: say goodbye.
    Leave,
}

/// What the shell must do, in this order.
#[derive(Debug, Clone)]
pub enum Output {
    /// Open a decision stream to the manager; answer with `SessionOpened` or `SessionClosed`.
    Connect(ManagerIndex, ConnectionId),
    /// End it; no `SessionClosed` is needed.
    Disconnect(ConnectionId),
    /// Send on the decision stream.
    Credit(ConnectionId, CreditFrame),
    /// Send on the usage stream.
    Usage(ManagerIndex, ConnectionId, UsageReport),
    /// New policies are in force (already visible to checks).
    Policies(Arc<PolicySet>),
    /// Ceilings changed: let waiting checks try again.
    Wake,
    /// Worth a line in the log.
    Notice(Notice),
}

/// Events for the operator's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Now following this manager.
    Attached(ManagerIndex, String),
    /// Lost the manager that it followed.
    Detached(ManagerIndex, String),
    /// No manager has been reachable for a while: policies' `on_disconnect` applies.
    Isolated,
    /// Part of this fleet view now.
    Member {
        /// View number.
        view: u64,
        /// Agents that share each limit.
        fleet: u32,
    },
    /// The manager refuses this agent, because another one that lives has its id.
    SameId(ManagerIndex, String),
    /// The manager sent a policy that this agent cannot use.
    BadPolicy(String),
}
