//! Another agent has this one's id: managers refuse this one for as long as that one lives.
//!
//! Managers take the later life of an id for the agent, and the earlier one for dead: it cannot come
//! back as it was. So it waits until that one has ended, and then begins a new life, as if the program
//! had been started again: with its policies, and without counts, ceilings or a share.

use std::sync::Arc;

use weir_proto::{
    id::{Incarnation, RIVAL_ENDED, SAME_ID},
    time::Time,
};

use super::Agent;
use crate::{
    message::{ManagerIndex, Notice, Output},
    standing::Standing,
};

/// What a manager said when it ended the usage link, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    /// Another agent has the id, and lives.
    Rival(String),
    /// It has ended.
    Ended(String),
    /// Anything else.
    Other(String),
}

/// The last word of each manager; none while its link works.
#[derive(Debug, Clone)]
pub(super) struct Refusals(Vec<Option<Word>>);

impl Refusals {
    pub(super) fn new(managers: usize) -> Self {
        Refusals(vec![None; managers])
    }

    /// Why there is no usage link to that manager.
    pub(super) fn of(&self, manager: ManagerIndex) -> Option<&str> {
        match self.0.get(manager)?.as_ref()? {
            Word::Rival(why) | Word::Ended(why) | Word::Other(why) => Some(why),
        }
    }

    /// What a manager says of another agent with this one's id, if any does.
    pub(super) fn rival(&self) -> Option<&str> {
        self.0.iter().flatten().find_map(|word| match word {
            Word::Rival(why) | Word::Ended(why) => Some(why.as_str()),
            Word::Other(_) => None,
        })
    }

    /// Whether that manager refuses this agent for the sake of another one.
    pub(super) fn is_refused_by(&self, manager: ManagerIndex) -> bool {
        matches!(self.0.get(manager), Some(Some(Word::Rival(_) | Word::Ended(_))))
    }

    /// Whether the other agent is gone, as far as anybody can tell.
    fn is_over(&self) -> bool {
        let mut words = self.0.iter().flatten();
        words.clone().any(|word| matches!(word, Word::Ended(_)))
            && !words.any(|word| matches!(word, Word::Rival(_)))
    }
}

impl Agent {
    /// There is no usage link to that manager, and why.
    pub(super) fn refused(&mut self, manager: ManagerIndex, why: String, out: &mut Vec<Output>) {
        let known = self.refusals.rival().is_some();
        let Some(word) = self.refusals.0.get_mut(manager) else { return };
        let new = if why.contains(SAME_ID) {
            Word::Rival(why)
        } else if why.contains(RIVAL_ENDED) {
            Word::Ended(why)
        } else {
            Word::Other(why)
        };
        if let Word::Rival(why) = &new
            && !known
        {
            out.push(Output::Notice(Notice::SameId(manager, why.clone())));
        }
        *word = Some(new);
    }

    /// A usage link to that manager works.
    pub(super) fn accepted(&mut self, manager: ManagerIndex) {
        if let Some(word) = self.refusals.0.get_mut(manager) {
            *word = None;
        }
    }

    /// Whether it is time for [`Agent::begin_anew`]: the agent for whose sake this one was refused is
    /// gone.
    pub fn may_begin_anew(&self) -> bool {
        !self.left && self.refusals.is_over()
    }

    /// Begins a new life, which must be later than any before. The caller ends all links first; what
    /// comes from them yet is ignored.
    pub fn begin_anew(&mut self, incarnation: Incarnation, now: Time) {
        let mut config = self.config.clone();
        config.identity.life.incarnation = incarnation;
        let fresh = Agent::new(config, Arc::clone(&self.table), now);
        let old = std::mem::replace(self, fresh);
        self.receiver = old.receiver.anew(now);
        // Time does not fall, numbers are not used again, and until managers send others the policies
        // of the former life hold: without a share of them.
        self.standing = Standing {
            number: old.standing.number + 1,
            offset: old.standing.offset,
            not_before: old.standing.not_before,
            isolated: old.standing.isolated,
            isolated_at: old.standing.isolated_at,
            pledged_until: old.standing.pledged_until,
            ..self.standing.clone()
        };
        (self.stamp, self.retired, self.synced) = (old.stamp, old.retired, old.synced);
        (self.policies, self.revision) = (old.policies, old.revision);
        self.publish();
        self.table.clear();
    }
}
