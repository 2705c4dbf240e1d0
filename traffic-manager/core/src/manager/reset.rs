//! Setting counters back.
//!
//! Agents count on their own, and other managers have the same counts, so that no order to forget
//! would reach all of them at once. A reset is a change of the policy instead: its counters, or those of
//! one key, go on under new names, and whoever has the new version counts from nothing.

use weir_proto::{
    policy::{MAX_RESETS, Policy, Reset},
    request::MAX_VALUE_BYTES,
    time::Time,
};

/// Why nothing was reset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResetError {
    /// The policy counts nothing.
    #[error("is a deny policy, which counts nothing")]
    Counts,
    /// A key has a value for each part.
    #[error("has {given} values; the policy's key has {parts}")]
    Key {
        /// As given.
        given: usize,
        /// As the policy says.
        parts: usize,
    },
    /// No request has such a value.
    #[error(
        "has a value of {0} bytes; at most {MAX_VALUE_BYTES} are allowed, so no request has it"
    )]
    Long(usize),
    /// One policy remembers so many.
    #[error("was reset for {MAX_RESETS} keys since it was reset as a whole; reset all of it")]
    Full,
}

/// The policy with the counters of one key, or all of them, set back.
///
/// # Errors
/// [`ResetError`].
pub fn with_reset(
    policy: &Policy,
    key: Option<Vec<String>>,
    now: Time,
) -> Result<Policy, ResetError> {
    let mut policy = Policy::clone(policy);
    if policy.limits.is_empty() && policy.groups.is_empty() {
        return Err(ResetError::Counts);
    }
    if let Some(key) = key.as_ref().filter(|key| key.len() != policy.key.len()) {
        return Err(ResetError::Key { given: key.len(), parts: policy.key.len() });
    }
    let last = policy.resets.iter().map(|reset| reset.at).max().unwrap_or(0);
    let at = now.as_secs().max(last + 1);
    let longest = key.iter().flatten().map(String::len).max().unwrap_or(0);
    if longest > MAX_VALUE_BYTES {
        return Err(ResetError::Long(longest));
    }
    // One for all supersedes those of keys, and a key's last one its former ones. The last one for
    // all stays: its names are those under which the other keys count.
    policy.resets.retain(|reset| key.is_some() && reset.key != key);
    if policy.resets.len() >= MAX_RESETS {
        return Err(ResetError::Full);
    }
    policy.resets.push(Reset { key, at });
    Ok(policy)
}

/// A policy that says nothing of resets keeps those of the version `known` before.
pub fn keep_resets(known: &Policy, policy: &mut Policy) {
    if policy.resets.is_empty() && known.key.len() == policy.key.len() {
        policy.resets.clone_from(&known.resets);
    }
}
