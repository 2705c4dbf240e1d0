//! The policy set and its versions. In memory; each change has a revision of the whole set.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use weir_proto::{
    convert::MAX_FRAME_BYTES,
    decision::PolicyUpdate,
    policy::{MAX_POLICY_BYTES, Policy},
};

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
