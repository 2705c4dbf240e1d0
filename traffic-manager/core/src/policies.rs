//! The policy set and its versions. In memory; each change has a revision of the whole set.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use foldhash::fast::FixedState;
use weir_proto::{
    convert::MAX_FRAME_BYTES,
    decision::PolicyUpdate,
    policy::{MAX_POLICY_BYTES, Policy},
};

/// Most policies in one set.
pub const MAX_POLICIES: usize = 100_000;
/// Bytes of policies in one frame to an agent; a larger policy has one for itself.
const PART: usize = 256 * 1024;
// Each policy with its tag and length; fewer than one for two bytes.
const _: () = assert!(MAX_POLICY_BYTES + 8 < MAX_FRAME_BYTES && PART * 4 < MAX_FRAME_BYTES);

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
        let policies = self.by_name.values().map(|stored| encode(&stored.policy));
        let mut parts = self.update(policies, Vec::new());
        if let Some(first) = parts.first_mut() {
            first.full = true;
        }
        parts
    }

    /// These policies, and that others are gone, in parts that fit a frame.
    pub fn update(
        &self,
        put: impl IntoIterator<Item = Bytes>,
        deleted: Vec<String>,
    ) -> Vec<PolicyUpdate> {
        let part = || PolicyUpdate { revision: self.revision, ..PolicyUpdate::default() };
        let mut size = deleted.iter().map(|name| name.len() + 8).sum::<usize>();
        let mut parts = Vec::new();
        let mut last = PolicyUpdate { deleted, ..part() };
        for json in put {
            if size + json.len() > PART && size > 0 {
                parts.push(std::mem::replace(&mut last, part()));
                size = 0;
            }
            size += json.len();
            last.put.push(json);
        }
        parts.push(PolicyUpdate { last: true, ..last });
        parts
    }
}

/// A policy as it travels to agents.
pub fn encode(policy: &Policy) -> Bytes {
    Bytes::from(policy.to_json().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_many_policies_reaches_agents_in_parts() {
        let policies = Policies::default();
        let large = |bytes| Bytes::from(vec![b'x'; bytes]);
        let put = [MAX_POLICY_BYTES, 10, 10, PART - 20, 1, MAX_POLICY_BYTES].map(large);
        let parts = policies.update(put, vec!["gone".to_owned()]);
        let sizes: Vec<Vec<usize>> =
            parts.iter().map(|part| part.put.iter().map(Bytes::len).collect()).collect();
        let large = MAX_POLICY_BYTES;
        assert_eq!(sizes, [vec![], vec![large], vec![10, 10, PART - 20], vec![1], vec![large]]);
        assert_eq!(parts[0].deleted, ["gone"]);
        let last: Vec<bool> = parts.iter().map(|part| part.last).collect();
        assert_eq!(last, [false, false, false, false, true]);
        assert!(parts.iter().all(|part| !part.full));
        let none = policies.snapshot();
        assert!(none.len() == 1 && none[0].full && none[0].last, "{none:?}");
    }
}
