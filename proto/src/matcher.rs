//! Policies compiled into an index: request → counters.
//!
//! A gateway asks for every request which policies it meets, so the cost must follow the policies
//! that *can* apply, not all of them. A policy whose condition demands an attribute to have certain
//! values, or the client's address to lie in certain networks, is filed under them (the `index`);
//! a request looks up its own values and evaluates only what it finds, plus the policies that could
//! not be filed. Nothing is allocated once the [`Scratch`] has grown.
//!
//! A set never changes: a new revision is a new set, and readers hold the old one until they are
//! done.

use std::{
    collections::{BTreeSet, HashMap},
    ops::ControlFlow,
    sync::Arc,
};

pub use self::compiled::{CompiledGroup, CompiledLimit, CompiledPolicy};
use self::index::Index;
use crate::{
    amount::{AmountName, Unit},
    policy::{Level, Mode, Policy},
    request::Request,
    time::Time,
};

mod compiled;
pub mod explain;
mod index;
mod networks;

/// All policies of one revision, ready to be matched.
#[derive(Debug)]
pub struct PolicySet {
    revision: u64,
    /// All policies by name, also those that are off.
    policies: Vec<Arc<Policy>>,
    /// Those that act, in evaluation order. A place in here is the policy's slot.
    slots: Vec<Arc<CompiledPolicy>>,
    /// The slots in the order of names.
    by_name: Vec<u32>,
    limits: u32,
    /// Names of custom amounts that some policy counts, also one that is off.
    amounts: BTreeSet<AmountName>,
    index: Index,
}

/// Buffers of [`PolicySet::resolve`]; keep one per thread.
#[derive(Debug, Default)]
pub struct Scratch {
    candidates: Vec<u32>,
    parts: Vec<u8>,
    /// Parents that were visited.
    visited: Vec<u32>,
}

/// A policy that a request meets.
#[derive(Debug, Clone, Copy)]
pub struct Hit<'a> {
    /// The policy.
    pub policy: &'a Arc<CompiledPolicy>,
    /// Its place in the set: [`PolicySet::at`].
    pub slot: u32,
    /// The limits of the first group that applies, or the policy's own: those to count in, unless the
    /// request brings one along, see [`Hit::counted`]. Empty for a deny policy.
    pub limits: &'a [CompiledLimit],
    /// What the request brings along, in the place of all [`Hit::limits`] that count requests.
    pub brought: Option<&'a CompiledLimit>,
    /// The key's parts, encoded as in a [`CounterKey`](crate::key::CounterKey).
    pub parts: &'a [u8],
}

impl<'a> Hit<'a> {
    /// Whether this one of [`Hit::limits`] counts, and not what the request brings along.
    #[inline]
    pub fn stands(&self, limit: &CompiledLimit) -> bool {
        self.brought.is_none() || limit.limit.unit != Unit::Requests
    }

    /// The limits to count in.
    pub fn counted(&self) -> impl Iterator<Item = &'a CompiledLimit> {
        self.limits.iter().filter(|limit| self.stands(limit)).chain(self.brought)
    }

    /// Replaces `out` by the canonical bytes of the counter's [`CounterKey`](crate::key::CounterKey)
    /// for one of [`Hit::counted`].
    pub fn key_into(&self, limit: &CompiledLimit, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(limit.prefix());
        out.extend_from_slice(self.parts);
    }
}

impl PolicySet {
    /// Compiles policies into a set. Of two with one name the later wins. Policies that are off
    /// stay in the list, but are never met.
    pub fn compile(revision: u64, policies: impl IntoIterator<Item = Arc<Policy>>) -> PolicySet {
        let named = policies.into_iter().map(|policy| (policy.name.clone(), policy));
        let policies: Vec<_> =
            named.collect::<std::collections::BTreeMap<_, _>>().into_values().collect();
        let mut active: Vec<_> = policies.iter().filter(|p| p.mode != Mode::Off).collect();
        // Stable, so that names order the policies of a level.
        active.sort_by_key(|policy| policy.level);
        let index = Index::new(&active);
        let mut limits = 0;
        let compiled = (0..).zip(&active).map(|(slot, policy)| {
            CompiledPolicy::new(Arc::clone(policy), index.absences(slot), &mut limits)
        });
        let slots = link_parents(compiled.collect());
        let mut by_name: Vec<u32> = (0..).take(slots.len()).collect();
        by_name.sort_by_key(|slot| active.get(*slot as usize).map(|policy| &policy.name));
        let amounts = policies.iter().flat_map(|policy| custom(policy)).collect();
        PolicySet { revision, policies, slots, by_name, limits, amounts, index }
    }

    /// The revision that was given to [`PolicySet::compile`].
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All policies in the order of their names, also those that are off.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.iter()
    }

    /// The policies that act, in evaluation order: by level, then by name.
    pub fn compiled(&self) -> impl Iterator<Item = &Arc<CompiledPolicy>> {
        self.slots.iter()
    }

    /// The policy of that name, if it acts.
    pub fn get(&self, name: &str) -> Option<&Arc<CompiledPolicy>> {
        let slot = |slot: &u32| self.slots.get(*slot as usize);
        let found = self.by_name.binary_search_by(|candidate| {
            slot(candidate).map(|policy| policy.policy.name.as_str()).cmp(&Some(name))
        });
        slot(self.by_name.get(found.ok()?)?)
    }

    /// The policy with this [`Hit::slot`] of this set.
    pub fn at(&self, slot: u32) -> Option<&Arc<CompiledPolicy>> {
        self.slots.get(slot as usize)
    }

    /// How many limits the set has: their [`CompiledLimit::index`] are below this.
    pub fn limit_count(&self) -> u32 {
        self.limits
    }

    /// Whether some policy, be it off, can count this: every unit, but of custom ones only those that a
    /// limit names.
    pub fn counts(&self, unit: &Unit) -> bool {
        match unit {
            Unit::Custom(name) => self.amounts.contains(name),
            _ => true,
        }
    }

    /// The names of custom amounts that policies count, in order.
    pub fn amounts(&self) -> impl Iterator<Item = &str> {
        self.amounts.iter().map(AmountName::as_str)
    }

    /// Calls `visit` for each policy that the request meets at `time` (manager time), in evaluation
    /// order (level, then name), until it breaks. A policy's parents follow it, each once, whether
    /// their own condition holds or not.
    ///
    /// A policy whose condition or key fails (an absent attribute, most often) is not met, and
    /// counts the failure in [`CompiledPolicy::evaluation_errors`].
    pub fn resolve(
        &self,
        request: &Request<'_>,
        time: Time,
        scratch: &mut Scratch,
        mut visit: impl FnMut(Hit<'_>) -> ControlFlow<()>,
    ) {
        let Scratch { candidates, parts, visited } = scratch;
        visited.clear();
        for slot in self.index.candidates(request, candidates) {
            let Some(policy) = self.slots.get(*slot as usize) else { continue };
            if !policy.meets(request) {
                continue;
            }
            let mut next = Some((*slot, policy));
            while let Some((slot, policy)) = next.take() {
                if policy.is_parent && visited.contains(&slot) {
                    break;
                }
                if !policy.parts_into(request, parts) {
                    break;
                }
                if policy.is_parent {
                    visited.push(slot);
                }
                let limits = policy.limits_for(request, time, parts);
                let brought = policy.brought(request, limits, parts);
                let brought = brought.as_ref();
                if visit(Hit { policy, slot, limits, brought, parts }).is_break() {
                    return;
                }
                next = policy.parent.and_then(|up| Some((up, self.slots.get(up as usize)?)));
            }
        }
    }
}

/// The custom amounts that the policy counts.
fn custom(policy: &Policy) -> impl Iterator<Item = AmountName> {
    let groups = policy.groups.iter().flat_map(|group| &group.limits);
    policy.limits.iter().chain(groups).filter_map(|limit| match &limit.unit {
        Unit::Custom(name) => Some(name.clone()),
        _ => None,
    })
}

/// Tells each policy where its parent is, if that acts.
fn link_parents(mut policies: Vec<CompiledPolicy>) -> Vec<Arc<CompiledPolicy>> {
    // What counts nothing is nobody's parent.
    let counts = |policy: &CompiledPolicy| policy.policy.level != Level::Deny;
    let named: HashMap<_, u32> = policies
        .iter()
        .zip(0..)
        .filter(|(policy, _)| counts(policy))
        .map(|(policy, slot)| (policy.policy.name.clone(), slot))
        .collect();
    let mut parents = Vec::new();
    for policy in &mut policies {
        policy.parent = policy.policy.parent.as_ref().and_then(|name| named.get(name).copied());
        parents.extend(policy.parent);
    }
    for parent in parents {
        if let Some(policy) = policies.get_mut(parent as usize) {
            policy.is_parent = true;
        }
    }
    policies.into_iter().map(Arc::new).collect()
}

#[cfg(test)]
mod tests;
