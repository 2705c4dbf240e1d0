//! The policy document, valid by construction.
//!
//! A [`Policy`] is read from JSON or YAML ([`Policy::from_json`], [`parse_document`]), which reports
//! *every* fault with the path of its field, and is written in one canonical form
//! ([`Policy::to_json`]) that reads back as the same policy. Changing a policy means writing,
//! editing and reading it again: the fields are public to be looked at.

use std::time::Duration;

pub use self::{
    choice::{Accuracy, Level, Mode, OnDisconnect, OnLimit},
    document::{API_VERSION, MAX_DOCUMENT_BYTES, parse_document},
    error::{FieldError, PolicyErrors},
    limit::{Group, Limit, Override, Reset},
    name::{KeyPart, MAX_POLICY_NAME, PolicyName, PolicyNameError},
    yaml::read_yaml,
};
use crate::{
    expr::Expr,
    share::{Share, floor},
};

mod choice;
mod document;
mod error;
mod limit;
mod name;
mod read;
mod write;
mod yaml;

/// Most limits of a policy, and of each of its groups.
pub const MAX_LIMITS: usize = 16;
/// Most conditional groups of a policy.
pub const MAX_GROUPS: usize = 16;
/// Most keys with amounts of their own.
pub const MAX_OVERRIDES: usize = 10_000;
/// Longest policy, in bytes of its canonical form: it must fit into one frame to an agent, and, with all
/// that is replicated beside it, into one to a peer.
pub const MAX_POLICY_BYTES: usize = 3 << 20;
/// Most resets that a policy remembers.
pub const MAX_RESETS: usize = 1_000;
/// Longest [`Policy::max_wait`].
pub const MAX_WAIT: Duration = Duration::from_secs(1);
/// [`Policy::max_wait`] where the document gives none.
pub const DEFAULT_WAIT: Duration = Duration::from_millis(5);

/// `auto` without waiting: an agent whose default is smaller would often refuse before it is told more.
const SMALL_DEFAULT: u64 = 12;

/// Which requests are limited, what makes one counter, and what happens at the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Unique in the fleet.
    pub name: PolicyName,
    /// Where in the evaluation order it stands.
    pub level: Level,
    /// Which requests it meets; `None` = every request.
    pub condition: Option<Expr>,
    /// What tells counters apart; empty = one counter for everybody. At most
    /// [`MAX_KEY_PARTS`](crate::key::MAX_KEY_PARTS).
    pub key: Vec<KeyPart>,
    /// The limits, unless a group replaces them. Empty for [`Level::Deny`] only; at most
    /// [`MAX_LIMITS`].
    pub limits: Vec<Limit>,
    /// The first whose condition holds replaces `limits`. At most [`MAX_GROUPS`].
    pub groups: Vec<Group>,
    /// Keys with other amounts in `limits`. At most [`MAX_OVERRIDES`].
    pub overrides: Vec<Override>,
    /// A policy whose limits count every request that this one meets, whether its own `match` holds or
    /// not. It needs not exist.
    pub parent: Option<PolicyName>,
    /// Whether a limit that a request brings along ([`RequestLimit`](crate::request::RequestLimit)) counts in
    /// the place of those that count requests.
    pub request_limits: bool,
    /// Counters that began anew. At most [`MAX_RESETS`].
    pub resets: Vec<Reset>,
    /// Whether it refuses, only counts, or is off.
    pub mode: Mode,
    /// What happens over the limit.
    pub on_limit: OnLimit,
    /// What an agent does that reaches no manager; `None` = what the agent's configuration says.
    pub on_disconnect: Option<OnDisconnect>,
    /// How exactly the limit is held.
    pub accuracy: Accuracy,
    /// How long an uncertain request near the limit may wait; zero to [`MAX_WAIT`].
    pub max_wait: Duration,
}

impl Policy {
    /// Reads one policy.
    ///
    /// # Errors
    /// Every fault, each with the path of its field, like `limits[0].window`.
    pub fn from_json(value: &serde_json::Value) -> Result<Policy, PolicyErrors> {
        read::policy_at(value, "")
    }

    /// Writes the canonical form: what [`Policy::from_json`] reads back as an equal policy. Fields
    /// that were left to their defaults are written, except absent ones.
    pub fn to_json(&self) -> serde_json::Value {
        write::policy(self)
    }

    /// How much each of `fleet` agents may admit beyond its ceiling for a limit of this amount: the
    /// bound is `limit + fleet × floor`. None with `strict`, and with `auto` as long as an uncertain
    /// request may wait or each agent's default is large: then hardly anything is refused in vain.
    pub fn floor(&self, limit: u64, fleet: u32) -> u64 {
        let small = Share { fleet, rank: 0 }.default_of(limit) < SMALL_DEFAULT;
        match self.accuracy {
            Accuracy::Strict => 0,
            Accuracy::Auto if !self.max_wait.is_zero() || !small => 0,
            Accuracy::Auto | Accuracy::Balanced => floor(limit, fleet),
        }
    }

    /// Every limit with its id, those of the groups last.
    pub fn all_limits(&self) -> impl Iterator<Item = (String, &Limit)> {
        let own = self.limits.iter().map(|limit| (limit.id(), limit));
        let groups = self.groups.iter().enumerate().flat_map(|(index, group)| {
            group.limits.iter().map(move |limit| (group.limit_id(index, limit), limit))
        });
        own.chain(groups)
    }

    /// The limit with that id, among the limits and those of the groups.
    pub fn limit(&self, id: &str) -> Option<&Limit> {
        self.all_limits().find(|(other, _)| other == id).map(|(_, limit)| limit)
    }

    /// When the counters of a key were last set back, by a reset of their own or of the whole policy;
    /// without a key, those of keys that had none of their own.
    pub fn last_reset(&self, key: Option<&Vec<String>>) -> Option<u64> {
        let own = |reset: &&Reset| reset.key.is_none() || reset.key.as_ref() == key;
        self.resets.iter().filter(own).map(|reset| reset.at).max()
    }
}

#[cfg(test)]
mod tests;
