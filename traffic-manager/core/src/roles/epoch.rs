//! The number of a tenure, and what of it outlives a restart.

use std::fmt;

use super::Role;

/// Counts the tenures of a role; grows with each. 0 = never held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The highest; nothing reaches it but a peer that is wrong.
    pub const MAX: Epoch = Epoch((1 << 53) - 1);

    pub(super) fn next(self) -> Epoch {
        Epoch(self.0.saturating_add(1).min(Self::MAX.0))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The highest epoch seen of each role: what must outlive a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epochs(pub(super) [Epoch; 2]);

impl Epochs {
    /// Of that role.
    pub fn of(&self, role: Role) -> Epoch {
        self.0[role.index()]
    }

    /// For the store: 8 bytes for each role, big-endian.
    pub fn encode(&self) -> [u8; 16] {
        (u128::from(self.0[0].0) << 64 | u128::from(self.0[1].0)).to_be_bytes()
    }

    /// What [`Epochs::encode`] wrote; `None` if it is something else.
    pub fn decode(bytes: &[u8]) -> Option<Epochs> {
        let both = u128::from_be_bytes(bytes.try_into().ok()?);
        let epoch = |part: u128| u64::try_from(part).ok().map(Epoch).filter(|e| *e <= Epoch::MAX);
        Some(Epochs([epoch(both >> 64)?, epoch(both & u128::from(u64::MAX))?]))
    }
}
