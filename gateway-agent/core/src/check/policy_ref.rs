//! Which policy a verdict speaks of.

use std::{cell::Cell, fmt, ops::Deref, sync::Arc};

use weir_proto::matcher::{CompiledPolicy, PolicySet};

/// A set. Each thread has one of its own, so that threads do not slow each other down by counting
/// references.
#[derive(Debug)]
pub(super) struct Policies(pub(super) Arc<PolicySet>);

thread_local! {
    /// A reference that is not in use: most verdicts are dropped before the next check of the thread,
    /// so one reference goes round and nothing is counted.
    static SPARE: Cell<Option<Arc<Policies>>> = const { Cell::new(None) };
}

/// A policy as it was when the request was checked. Cheap to clone.
#[derive(Clone)]
pub struct PolicyRef {
    /// There until it is dropped.
    set: Option<Arc<Policies>>,
    slot: u32,
}

impl PolicyRef {
    /// The policy of that name, if it acts.
    pub fn named(set: &Arc<PolicySet>, name: &str) -> Option<Self> {
        let slot = set.compiled().position(|policy| policy.policy.name.as_str() == name)?;
        let slot = u32::try_from(slot).ok()?;
        Some(PolicyRef { set: Some(Arc::new(Policies(Arc::clone(set)))), slot })
    }

    /// The policy at a place that a [`Hit`](weir_proto::matcher::Hit) of this set named.
    #[inline]
    pub(super) fn at(set: &Arc<Policies>, slot: u32) -> Self {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        let same = spare.filter(|spare| Arc::ptr_eq(spare, set));
        PolicyRef { set: Some(same.unwrap_or_else(|| Arc::clone(set))), slot }
    }
}

impl Drop for PolicyRef {
    #[inline]
    fn drop(&mut self) {
        let set = self.set.take();
        // Fails while the thread ends; then the reference is dropped.
        let _ = SPARE.try_with(|spare| spare.set(set));
    }
}

impl Deref for PolicyRef {
    type Target = CompiledPolicy;

    fn deref(&self) -> &CompiledPolicy {
        let policy = self.set.as_ref().and_then(|set| set.0.at(self.slot));
        // Made for a slot of this very set.
        policy.expect("a policy's place is in its set")
    }
}

impl fmt::Debug for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PolicyRef").field(&self.policy.name.as_str()).finish()
    }
}
