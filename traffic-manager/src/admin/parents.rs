//! A policy's parent must be there: a limit that a typo leaves out would be missed by nobody.

use traffic_manager_core::replica::Replica;
use weir_proto::policy::{Level, Policy};

use super::problem::Problem;

/// Most policies above one another.
const MAX_DEPTH: usize = 8;

/// Refuses a parent that is not there, that counts nothing, or that is below the policy. `others` are
/// written together with it.
pub(super) fn check(replica: &Replica, policy: &Policy, others: &[Policy]) -> Result<(), Problem> {
    let Some(parent) = &policy.parent else { return Ok(()) };
    let refuse = |why: &str| Err(Problem::invalid_field("parent", parent.as_str(), why.to_owned()));
    let mut next = Some(parent.clone());
    for _ in 0..MAX_DEPTH {
        let Some(name) = next else { return Ok(()) };
        if name == policy.name {
            return refuse("is below this policy; parents cannot go round in a circle");
        }
        let written = others.iter().find(|other| other.name == name).cloned();
        let found = written
            .or_else(|| replica.winner(name.as_str()).map(|winner| Policy::clone(&winner.policy)));
        let Some(found) = found else {
            return refuse("is not the name of a policy; create the parent first");
        };
        if found.level == Level::Deny {
            return refuse("is a deny policy, which counts nothing; name another one");
        }
        next = found.parent.clone();
    }
    refuse("has too many parents above it")
}

/// The policies whose parent this one is.
pub(super) fn children(replica: &Replica, name: &str) -> Vec<String> {
    let below = replica
        .winners()
        .filter(|winner| winner.policy.parent.as_ref().is_some_and(|p| p.as_str() == name));
    below.map(|winner| winner.policy.name.to_string()).collect()
}
