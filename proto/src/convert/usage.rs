//! Usage frames.

use super::{MAX_AMOUNT, MAX_TIME_MS, WireError, bounded, key_defs, key_defs_out};
use crate::{
    time::WindowStart,
    usage::{AgentStatus, KeyId, UsageEntry, UsageFrame},
    wire::weir::v1 as wire,
};

fn entry(group: &[u64]) -> Result<UsageEntry, WireError> {
    let [key, window, used, rejected] = *group else {
        return Err(WireError::RaggedEntries(group.len()));
    };
    let id = bounded("entries[].key", key, u64::from(KeyId::MAX))?;
    Ok(UsageEntry {
        key: KeyId::try_from(id).unwrap_or(KeyId::MAX),
        window: WindowStart(bounded("entries[].window", window, MAX_TIME_MS / 1_000)?),
        used: bounded("entries[].used", used, MAX_AMOUNT)?,
        rejected: bounded("entries[].rejected", rejected, MAX_AMOUNT)?,
    })
}

impl TryFrom<wire::UsageFrame> for UsageFrame {
    type Error = WireError;
    fn try_from(w: wire::UsageFrame) -> Result<Self, WireError> {
        if !w.entries.len().is_multiple_of(4) {
            return Err(WireError::RaggedEntries(w.entries.len()));
        }
        Ok(UsageFrame {
            identity: w.identity.map(TryInto::try_into).transpose()?,
            seq: w.seq,
            status: w.status.map(TryInto::try_into).transpose()?,
            keys: key_defs(w.keys)?,
            entries: w.entries.chunks_exact(4).map(entry).collect::<Result<_, _>>()?,
            state_complete: w.state_complete,
        })
    }
}

impl From<UsageFrame> for wire::UsageFrame {
    fn from(f: UsageFrame) -> Self {
        wire::UsageFrame {
            identity: f.identity.map(Into::into),
            seq: f.seq,
            status: f.status.map(Into::into),
            keys: key_defs_out(f.keys),
            entries: f
                .entries
                .iter()
                .flat_map(|e| [u64::from(e.key), e.window.0, e.used, e.rejected])
                .collect(),
            state_complete: f.state_complete,
        }
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
