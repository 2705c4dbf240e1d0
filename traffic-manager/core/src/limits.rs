//! What each counter counts against.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use weir_proto::{
    amount::Charging,
    key::CounterKey,
    matcher::CompiledPolicy,
    policy::{Accuracy, Limit, Policy},
    window::{Algorithm, Window},
};

/// The limit that a counter counts against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitInfo {
    /// Name of the policy.
    pub policy: Arc<str>,
    /// Amount per window; of a token bucket what it holds.
    pub amount: u64,
    /// The window.
    pub window: Window,
    /// Rolling: after so long without use nothing of it counts any more.
    pub horizon: Duration,
    /// How use leaves.
    pub meter: Meter,
    /// How it is charged.
    pub charging: Charging,
    /// As declared.
    pub accuracy: Accuracy,
}

/// How use leaves a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meter {
    /// With the window, which has a fixed start.
    Window,
    /// A window's length after it came.
    Sliding,
    /// At a steady rate: so much per [`LimitInfo::window`].
    Bucket {
        /// The amount.
        refill: u64,
    },
    /// When the requests that hold it end.
    Gauge,
}

impl LimitInfo {
    fn new(policy: &Policy, limit: &Limit) -> Self {
        let charging = limit.unit.charging();
        let meter = match limit.algorithm {
            _ if charging == Charging::Held => Meter::Gauge,
            Algorithm::FixedWindow => Meter::Window,
            Algorithm::SlidingWindow => Meter::Sliding,
            Algorithm::TokenBucket => Meter::Bucket { refill: limit.amount },
        };
        LimitInfo {
            policy: policy.name.as_str().into(),
            amount: limit.capacity(),
            window: limit.window,
            horizon: limit.horizon().duration(),
            meter,
            charging,
            accuracy: policy.accuracy,
        }
    }

    /// Whether windows have no fixed start.
    pub fn rolling(&self) -> bool {
        self.meter != Meter::Window
    }
}

/// The limits of all policies, by policy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits(BTreeMap<String, Arc<PolicyLimits>>);

#[derive(Debug)]
struct PolicyLimits {
    compiled: CompiledPolicy,
    /// By [`CompiledLimit::index`](weir_proto::matcher::CompiledLimit::index).
    infos: Vec<Arc<LimitInfo>>,
}

impl Limits {
    /// Takes a policy's limits in, in the place of its former ones, or takes them out.
    pub(crate) fn set(&mut self, name: &str, policy: Option<&Arc<Policy>>) {
        let Some(policy) = policy else {
            self.0.remove(name);
            return;
        };
        let compiled = CompiledPolicy::alone(Arc::clone(policy));
        let mut limits: Vec<_> = compiled.all_limits().collect();
        limits.sort_by_key(|limit| limit.index);
        let infos = limits.iter().map(|limit| Arc::new(LimitInfo::new(policy, &limit.limit)));
        let infos = infos.collect();
        self.0.insert(name.to_owned(), Arc::new(PolicyLimits { compiled, infos }));
    }

    /// What the counter of that key counts against; `None` while no policy here says so.
    pub(crate) fn of(&self, key: &CounterKey) -> Option<Arc<LimitInfo>> {
        let policy = self.0.get(key.policy())?;
        let limit = policy.compiled.limit(key.limit(), key.halves().1)?;
        match limit {
            Cow::Borrowed(limit) => policy.infos.get(limit.index as usize).cloned(),
            // Requests bring it along; the key says all of it.
            Cow::Owned(limit) => {
                Some(Arc::new(LimitInfo::new(&policy.compiled.policy, &limit.limit)))
            }
        }
    }
}
