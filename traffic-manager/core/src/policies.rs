//! The policy set and its versions. In memory; each change has a revision of the whole set.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use foldhash::fast::FixedState;
use weir_proto::{decision::PolicyUpdate, policy::Policy};

/// Most policies in one set.
pub const MAX_POLICIES: usize = 100_000;
/// Bytes of policies in one frame to an agent.
const PART: usize = 256 * 1024;

/// A policy in one version.
#[derive(Debug, Clone)]
pub struct StoredPolicy {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Strong entity tag, without quotes: changes with every version.
    pub tag: String,
    /// Revision of the set that brought this version.
    pub revision: u64,
}

/// Why a write was refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyWriteError {
    /// Created, but it exists.
    #[error("a policy of this name exists; replace it with PUT")]
    Exists {
        /// Its tag.
        tag: String,
    },
    /// Replaced or deleted, but it does not exist.
    #[error("there is no policy of this name")]
    NotFound,
    /// `If-Match` names another version.
    #[error("the policy has changed meanwhile; read it again and repeat the change")]
    Stale {
        /// The present tag.
        current: String,
    },
    /// Too many.
    #[error("there are {max} policies, the most that one manager keeps; delete some first")]
    Full {
        /// The bound.
        max: usize,
    },
}

/// All policies.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    by_name: BTreeMap<String, StoredPolicy>,
    revision: u64,
}

impl Policies {
    /// In name order.
    pub fn iter(&self) -> impl Iterator<Item = &StoredPolicy> {
        self.by_name.values()
    }

    /// By name.
    pub fn get(&self, name: &str) -> Option<&StoredPolicy> {
        self.by_name.get(name)
    }

    /// Number of policies.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Changes with every write.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Adds a policy whose name is new.
    pub fn create(&mut self, policy: Policy) -> Result<StoredPolicy, PolicyWriteError> {
        if let Some(stored) = self.by_name.get(policy.name.as_str()) {
            return Err(PolicyWriteError::Exists { tag: stored.tag.clone() });
        }
        if self.by_name.len() >= MAX_POLICIES {
            return Err(PolicyWriteError::Full { max: MAX_POLICIES });
        }
        Ok(self.store(policy))
    }

    /// Replaces an existing policy; with `if_match`, only that version.
    pub fn replace(
        &mut self,
        policy: Policy,
        if_match: Option<&str>,
    ) -> Result<StoredPolicy, PolicyWriteError> {
        self.matching(policy.name.as_str(), if_match)?;
        Ok(self.store(policy))
    }

    /// Deletes an existing policy; with `if_match`, only that version.
    pub fn delete(&mut self, name: &str, if_match: Option<&str>) -> Result<(), PolicyWriteError> {
        self.matching(name, if_match)?;
        self.by_name.remove(name);
        self.revision += 1;
        Ok(())
    }

    /// Takes over a version that others decided on.
    pub(crate) fn install(&mut self, stored: StoredPolicy) {
        self.revision = self.revision.max(stored.revision);
        self.by_name.insert(stored.policy.name.as_str().to_owned(), stored);
    }

    /// Takes over that others deleted it.
    pub(crate) fn uninstall(&mut self, name: &str, revision: u64) {
        self.revision = self.revision.max(revision);
        self.by_name.remove(name);
    }

    fn matching(&self, name: &str, if_match: Option<&str>) -> Result<(), PolicyWriteError> {
        let stored = self.by_name.get(name).ok_or(PolicyWriteError::NotFound)?;
        match if_match {
            Some(tag) if tag != stored.tag => {
                Err(PolicyWriteError::Stale { current: stored.tag.clone() })
            }
            _ => Ok(()),
        }
    }

    fn store(&mut self, policy: Policy) -> StoredPolicy {
        use std::hash::BuildHasher;
        self.revision += 1;
        // A fixed seed: the same content at the same revision has the same tag on every manager.
        let hash = FixedState::with_seed(self.revision).hash_one(policy.to_json().to_string());
        let stored = StoredPolicy {
            tag: format!("{:x}-{hash:016x}", self.revision),
            revision: self.revision,
            policy: Arc::new(policy),
        };
        self.by_name.insert(stored.policy.name.as_str().to_owned(), stored.clone());
        stored
    }

    /// Everything, in parts that fit a frame.
    pub fn snapshot(&self) -> Vec<PolicyUpdate> {
        let mut parts =
            vec![PolicyUpdate { revision: self.revision, full: true, ..PolicyUpdate::default() }];
        let mut size = 0;
        for stored in self.by_name.values() {
            let json = encode(&stored.policy);
            if size + json.len() > PART && size > 0 {
                parts.push(PolicyUpdate { revision: self.revision, ..PolicyUpdate::default() });
                size = 0;
            }
            size += json.len();
            if let Some(part) = parts.last_mut() {
                part.put.push(json);
            }
        }
        if let Some(part) = parts.last_mut() {
            part.last = true;
        }
        parts
    }
}

/// A policy as it travels to agents.
pub fn encode(policy: &Policy) -> Bytes {
    Bytes::from(policy.to_json().to_string())
}
