//! Usage frames.

use super::{MAX_ENTRIES, WireError, bounded, packed};
use crate::{
    usage::{AgentStatus, UsageFrame, UsageReport},
    wire::weir::v1 as wire,
};

impl TryFrom<wire::UsageFrame> for UsageFrame {
    type Error = WireError;
    fn try_from(w: wire::UsageFrame) -> Result<Self, WireError> {
        bounded("forgotten length", w.forgotten.len() as u64, MAX_ENTRIES as u64)?;
        Ok(UsageFrame {
            identity: w.identity.map(TryInto::try_into).transpose()?,
            seq: w.seq,
            status: w.status.map(TryInto::try_into).transpose()?,
            forgotten: w.forgotten,
            names: packed::names(w.names)?,
            entries: packed::entries(&w.entries)?,
            state_complete: w.state_complete,
        })
    }
}

impl From<UsageReport> for wire::UsageFrame {
    fn from(r: UsageReport) -> Self {
        wire::UsageFrame {
            identity: r.identity.map(Into::into),
            seq: r.seq,
            status: r.status.map(Into::into),
            names: r.names,
            entries: r.entries,
            state_complete: r.state_complete,
            forgotten: r.forgotten,
        }
    }
}

impl TryFrom<UsageReport> for UsageFrame {
    type Error = WireError;
    /// What arrives when the report is sent: for those who have both ends in one process.
    fn try_from(report: UsageReport) -> Result<Self, WireError> {
        wire::UsageFrame::from(report).try_into()
    }
}

impl TryFrom<wire::AgentStatus> for AgentStatus {
    type Error = WireError;
    fn try_from(w: wire::AgentStatus) -> Result<Self, WireError> {
        bounded("status.active_manager length", w.active_manager.len() as u64, 128)?;
        Ok(AgentStatus {
            active_manager: w.active_manager,
            view_number: w.view_number,
            fleet: w.fleet,
            policies_revision: w.policies_revision,
            decision_revision: w.decision_revision,
            unsent: w.unsent,
            dropped: w.dropped,
            checks: w.checks,
            failovers: w.failovers,
        })
    }
}

impl From<AgentStatus> for wire::AgentStatus {
    fn from(s: AgentStatus) -> Self {
        wire::AgentStatus {
            active_manager: s.active_manager,
            view_number: s.view_number,
            fleet: s.fleet,
            policies_revision: s.policies_revision,
            decision_revision: s.decision_revision,
            unsent: s.unsent,
            dropped: s.dropped,
            checks: s.checks,
            failovers: s.failovers,
        }
    }
}
