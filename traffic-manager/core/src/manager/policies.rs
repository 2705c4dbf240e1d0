//! Policies in the composition: what a written or deleted one changes, and who is told.

use std::sync::Arc;

use bytes::Bytes;
use weir_proto::{policy::Policy, time::Time};

use super::{Manager, reset::keep_resets};
use crate::{
    message::{Output, StreamId},
    policies::{PolicyWriteError, StoredPolicy, encode},
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
        let (mut put, mut deleted) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                PolicyChange::Put(stored) => {
                    put.push(encode(&stored.policy));
                    let policy = Arc::clone(&stored.policy);
                    self.policies.install(stored);
                    self.relimit(policy.name.as_str(), Some(&policy));
                }
                PolicyChange::Drop { name, revision } => {
                    self.policies.uninstall(&name, revision);
                    self.relimit(&name, None);
                    deleted.push(name);
                }
            }
        }
        self.publish(put, deleted, now, out);
    }

    /// Adds a policy and publishes it.
    pub fn create_policy(
        &mut self,
        policy: Policy,
        now: Time,
        out: &mut Vec<Output>,
    ) -> Result<StoredPolicy, PolicyWriteError> {
        let stored = self.policies.create(policy)?;
        self.published(&stored, now, out);
        Ok(stored)
    }

    /// Replaces a policy and publishes it.
    pub fn replace_policy(
        &mut self,
        mut policy: Policy,
        if_match: Option<&str>,
        now: Time,
        out: &mut Vec<Output>,
    ) -> Result<StoredPolicy, PolicyWriteError> {
        if let Some(known) = self.policies.get(policy.name.as_str()) {
            keep_resets(&known.policy, &mut policy);
        }
        let stored = self.policies.replace(policy, if_match)?;
        self.published(&stored, now, out);
        Ok(stored)
    }

    /// Deletes a policy and says so.
    pub fn delete_policy(
        &mut self,
        name: &str,
        if_match: Option<&str>,
        now: Time,
        out: &mut Vec<Output>,
    ) -> Result<(), PolicyWriteError> {
        self.policies.delete(name, if_match)?;
        self.relimit(name, None);
        self.publish(Vec::new(), vec![name.to_owned()], now, out);
        Ok(())
    }

    fn published(&mut self, stored: &StoredPolicy, now: Time, out: &mut Vec<Output>) {
        self.relimit(stored.policy.name.as_str(), Some(&stored.policy));
        self.publish(vec![encode(&stored.policy)], Vec::new(), now, out);
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

    /// Gives the policy's counters their new limits.
    fn relimit(&mut self, name: &str, policy: Option<&Arc<Policy>>) {
        self.limits.set(name, policy);
        let own = self.ledger.iter().filter(|(_, counter)| counter.key.policy() == name);
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
