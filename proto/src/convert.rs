//! The only gate from foreign bytes to domain types. What passes is valid; what does not is refused
//! with the field at fault, and the stream that carried it is closed.

mod counters;
mod decisions;
mod packed;
mod peers;
mod usage;

pub use counters::MAX_COUNTERS_BYTES;

use crate::{
    id::{AgentId, AgentLife, MAX_NAME, ManagerId, ManagerLife, NameError},
    key::{CounterKey, KeyError},
    share::View,
    time::Time,
    usage::{AgentIdentity, KeyDef},
    wire::weir::v1 as wire,
};

/// Why a frame was refused. The sender is at fault; nothing of the frame was applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A name does not keep the rules of [`crate::id`].
    #[error("{field} {source}")]
    Name {
        /// The field.
        field: &'static str,
        /// The rule.
        source: NameError,
    },
    /// A counter's key is not canonical.
    #[error("keys[].key {0}")]
    Key(#[from] KeyError),
    /// A packed field is cut short, or holds a number of more than 7 bytes.
    #[error("{field} {problem} (byte {at})")]
    Packed {
        /// The field.
        field: &'static str,
        /// What is wrong there.
        problem: &'static str,
        /// Where, from the field's begin.
        at: usize,
    },
    /// A number is outside its range.
    #[error("{field} is {value}, more than {max}")]
    Range {
        /// The field.
        field: &'static str,
        /// What came.
        value: u64,
        /// The largest allowed.
        max: u64,
    },
    /// A required part is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// What may be there once is there twice.
    #[error("{0} is repeated")]
    Repeated(&'static str),
}

/// Largest frame of any stream, encoded: what both ends take.
pub const MAX_FRAME_BYTES: usize = 4 << 20;
/// Largest amount in a counter or ceiling: 2^48 - 1 (256 TiB of bandwidth in one window).
pub const MAX_AMOUNT: u64 = (1 << 48) - 1;
/// Most entries, names and forgotten ids in one usage frame, each.
pub const MAX_ENTRIES: usize = 65_536;
/// Most members in a view.
pub const MAX_MEMBERS: usize = 10_000;
/// Latest time accepted, in milliseconds: the year 10889. Keeps sums of times from overflowing.
pub const MAX_TIME_MS: u64 = 1 << 48;
/// Largest number of a view: far beyond any fleet's, and far from overflow.
pub const MAX_VIEW: u64 = 1 << 62;

fn bounded(field: &'static str, value: u64, max: u64) -> Result<u64, WireError> {
    if value > max { Err(WireError::Range { field, value, max }) } else { Ok(value) }
}

fn agent_life(field: &'static str, id: &str, incarnation: u64) -> Result<AgentLife, WireError> {
    let id = AgentId::new(id).map_err(|source| WireError::Name { field, source })?;
    Ok(AgentLife { id, incarnation })
}

fn manager_life(field: &'static str, id: &str, incarnation: u64) -> Result<ManagerLife, WireError> {
    let id = ManagerId::new(id).map_err(|source| WireError::Name { field, source })?;
    Ok(ManagerLife { id, incarnation })
}

fn key_defs(defs: Vec<wire::KeyDef>) -> Result<Vec<KeyDef>, WireError> {
    defs.into_iter().map(|d| Ok(KeyDef { id: d.id, key: CounterKey::parse(&d.key)? })).collect()
}

fn key_defs_out(defs: Vec<KeyDef>) -> Vec<wire::KeyDef> {
    defs.into_iter()
        .map(|d| wire::KeyDef { id: d.id, key: bytes::Bytes::copy_from_slice(d.key.as_bytes()) })
        .collect()
}

impl TryFrom<wire::AgentIdentity> for AgentIdentity {
    type Error = WireError;
    fn try_from(w: wire::AgentIdentity) -> Result<Self, WireError> {
        bounded("identity.gateway_group length", w.gateway_group.len() as u64, MAX_NAME as u64)?;
        bounded("identity.version length", w.version.len() as u64, MAX_NAME as u64)?;
        Ok(AgentIdentity {
            life: agent_life("identity.id", &w.id, w.incarnation)?,
            gateway_group: w.gateway_group,
            version: w.version,
        })
    }
}

impl From<AgentIdentity> for wire::AgentIdentity {
    fn from(a: AgentIdentity) -> Self {
        wire::AgentIdentity {
            id: a.life.id.to_string(),
            incarnation: a.life.incarnation,
            gateway_group: a.gateway_group,
            version: a.version,
        }
    }
}

impl TryFrom<wire::View> for View {
    type Error = WireError;
    fn try_from(w: wire::View) -> Result<Self, WireError> {
        bounded("view.number", w.number, MAX_VIEW)?;
        bounded("view.members", w.members.len() as u64, MAX_MEMBERS as u64)?;
        let members = w
            .members
            .into_iter()
            .map(|m| agent_life("view.members[].id", &m.id, m.incarnation))
            .collect::<Result<_, _>>()?;
        bounded("view.lost", w.lost.len() as u64, MAX_MEMBERS as u64)?;
        let lost = w
            .lost
            .into_iter()
            .map(|l| {
                let at = bounded("view.lost[].at_ms", l.at_ms, MAX_TIME_MS)?;
                let life = agent_life("view.lost[].id", &l.id, l.incarnation)?;
                Ok((life, Time::from_millis(at)))
            })
            .collect::<Result<_, WireError>>()?;
        let proposer = match w.proposer_id.as_str() {
            "" => None,
            id => Some(manager_life("view.proposer_id", id, w.proposer_incarnation)?),
        };
        Ok(View { number: w.number, fleet: w.fleet, members, lost, proposer })
    }
}

impl From<View> for wire::View {
    fn from(v: View) -> Self {
        wire::View {
            number: v.number,
            fleet: v.fleet,
            proposer_incarnation: v.proposer.as_ref().map_or(0, |m| m.incarnation),
            proposer_id: v.proposer.map(|m| m.id.to_string()).unwrap_or_default(),
            lost: v
                .lost
                .into_iter()
                .map(|(life, at)| wire::Loss {
                    id: life.id.to_string(),
                    incarnation: life.incarnation,
                    at_ms: at.as_millis(),
                })
                .collect(),
            members: v
                .members
                .into_iter()
                .map(|m| wire::Member { id: m.id.to_string(), incarnation: m.incarnation })
                .collect(),
        }
    }
}
