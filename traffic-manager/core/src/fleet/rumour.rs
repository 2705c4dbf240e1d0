//! Agents known by other managers' word alone.
//!
//! What such an agent used counts. Nothing else follows from it: it is not heard, follows nobody, holds
//! nothing, ends nobody's life and keeps no view from being proposed or founded, until it comes itself.

use weir_proto::{id::AgentLife, time::Time, usage::AgentIdentity};

use super::{AgentIx, AgentRecord, Fleet, MAX_LIVES};

/// Rumours never take more than this part (1 ÷ this) of the lives that are remembered.
const PART: usize = 2;

impl Fleet {
    /// The record of this life, made if nobody has heard of it. `None` when there is no room.
    pub fn recall(&mut self, identity: &AgentIdentity, now: Time) -> Option<AgentIx> {
        if let Some(ix) = self.by_life.get(&identity.life).copied() {
            let record = &mut self.agents[ix as usize];
            record.rumoured = record.rumoured.map(|_| now);
            return Some(ix);
        }
        if self.agents.len() >= MAX_LIVES / PART {
            return None;
        }
        let ix = AgentIx::try_from(self.agents.len()).ok()?;
        let mut record = AgentRecord::new(identity.clone(), Time::ZERO);
        record.rumoured = Some(now);
        record.member = self.is_member(&identity.life);
        self.agents.push(record);
        self.by_life.insert(identity.life.clone(), ix);
        Some(ix)
    }

    /// The agent of a rumour has come itself: it is as new as any that comes for the first time.
    pub(super) fn introduce(
        &mut self,
        ix: AgentIx,
        identity: &AgentIdentity,
        now: Time,
    ) -> AgentIx {
        let mut record = AgentRecord::new(identity.clone(), now);
        record.member = self.is_member(&identity.life);
        self.agents[ix as usize] = record;
        self.supersede(identity, ix, now);
        ix
    }

    /// The record of this life, if somebody here has heard it.
    pub(super) fn heard_of(&self, life: &AgentLife) -> Option<&AgentRecord> {
        let ix = self.by_life.get(life)?;
        Some(self.agent(*ix)).filter(|record| record.rumoured.is_none())
    }

    /// The agent of this life, heard or not.
    pub fn find(&self, life: &AgentLife) -> Option<AgentIx> {
        self.by_life.get(life).copied()
    }
}
