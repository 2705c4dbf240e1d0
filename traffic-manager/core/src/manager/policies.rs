//! Policies in the composition: what a written or deleted one changes, and who is told.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use weir_proto::{policy::Policy, time::Time};

use super::Manager;
use crate::{
    message::{Output, StreamId},
    policies::{StoredPolicy, encode},
};

/// What became of a policy: its newest version, or its end.
#[derive(Debug, Clone)]
pub enum PolicyChange {
    /// In force from now on, in the place of any former version.
    Put(StoredPolicy),
    /// Not in force any more.
    Drop {
        /// Its name.
        name: String,
        /// Revision of the set that lacks it.
        revision: u64,
    },
}

impl Manager {
    /// Takes over what others decided about policies, and publishes all of it at once. Changes to what
    /// is in force already are no news.
    pub fn install_policies(
        &mut self,
        changes: Vec<PolicyChange>,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let (mut put, mut deleted, mut changed) = (Vec::new(), Vec::new(), BTreeSet::new());
        for change in changes {
            match change {
                PolicyChange::Put(stored) => {
                    put.push(encode(&stored.policy));
                    let policy = Arc::clone(&stored.policy);
                    self.policies.install(stored);
                    self.limits.set(policy.name.as_str(), Some(&policy));
                    changed.insert(policy.name.to_string());
                }
                PolicyChange::Drop { name, revision } => {
                    self.policies.uninstall(&name, revision);
                    self.limits.set(&name, None);
                    changed.insert(name.clone());
                    deleted.push(name);
                }
            }
        }
        self.relimit(&changed);
        self.publish(put, deleted, now, out);
    }

    /// Takes over a policy where nothing is replicated, as the set's next revision.
    pub fn put_policy(&mut self, policy: Policy, now: Time, out: &mut Vec<Output>) {
        let revision = self.policies.revision() + 1;
        let (policy, tag) = (Arc::new(policy), revision.to_string());
        let stored = StoredPolicy { policy, tag, revision };
        self.install_policies(vec![PolicyChange::Put(stored)], now, out);
    }

    fn publish(&mut self, put: Vec<Bytes>, deleted: Vec<String>, now: Time, out: &mut Vec<Output>) {
        let parts = self.policies.update(put, deleted);
        let sessions: Vec<StreamId> = self.fleet.sessions().map(|(s, _)| s).collect();
        for session in sessions {
            for part in &parts {
                // In a frame of its own: decisions before it may fill theirs.
                self.feeds.seal(session);
                self.feeds.fill(session, |frame| frame.policies = Some(part.clone()));
                self.feeds.seal(session);
            }
        }
        self.finish(now, out);
    }

    /// Gives counters of these policies their new limits, in one look at all counters.
    fn relimit(&mut self, changed: &BTreeSet<String>) {
        let own = self.ledger.iter().filter(|(_, counter)| changed.contains(counter.key.policy()));
        let own: Vec<_> = own.map(|(ix, counter)| (ix, self.limits.of(&counter.key))).collect();
        for (ix, limit) in own {
            self.ledger.set_limit(ix, limit);
            let Some(counter) = self.ledger.get_mut(ix) else { continue };
            for window in &counter.windows {
                self.dirty.insert((ix, window.start));
            }
        }
    }
}

#[cfg(test)]
mod tests;
