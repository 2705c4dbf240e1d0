//! One policy, ready to be evaluated.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    expr::Expr,
    key::{MAX_KEY_BYTES, encode_part, encode_prefix},
    policy::{KeyPart, Limit, Policy},
    request::Request,
    schedule::Schedule,
    time::Time,
    zone::memo::Latest,
};

/// A policy with its limits in the form in which they are counted.
#[derive(Debug)]
pub struct CompiledPolicy {
    /// As it was written.
    pub policy: Arc<Policy>,
    /// Its own limits, which count unless a group applies.
    pub limits: Vec<CompiledLimit>,
    /// The conditional groups, in order.
    pub groups: Vec<CompiledGroup>,
    /// Most bytes that a key's parts may have beside the longest prefix.
    room: usize,
    errors: AtomicU64,
    /// Requests without the attribute under which the policy is filed.
    absent: Option<Arc<AtomicU64>>,
}

/// Limits that replace the policy's own, and when.
#[derive(Debug)]
pub struct CompiledGroup {
    /// Of which requests; `None` = of all.
    pub when: Option<Expr>,
    /// At which times; `None` = always.
    pub during: Option<Schedule>,
    /// Its limits.
    pub limits: Vec<CompiledLimit>,
    /// Whether the schedule holds, as was found last.
    now: Latest,
}

impl CompiledGroup {
    /// Whether the schedule holds at `time` (manager time).
    #[inline]
    pub fn is_on(&self, time: Time) -> bool {
        let Some(during) = &self.during else { return true };
        let secs = time.as_secs();
        self.now.at(secs, || during.look(secs))
    }
}

/// A limit with what its counters' keys begin with.
#[derive(Debug)]
pub struct CompiledLimit {
    /// As it was written.
    pub limit: Limit,
    /// Its id in the policy, the group's label included.
    pub id: Arc<str>,
    /// Dense over the whole set: below [`PolicySet::limit_count`](super::PolicySet::limit_count).
    pub index: u32,
    prefix: Box<[u8]>,
}

impl CompiledLimit {
    fn new(policy: &Policy, id: String, limit: Limit, next: &mut u32) -> Self {
        let mut prefix = Vec::new();
        encode_prefix(policy.name.as_str(), &id, policy.key.len(), &mut prefix);
        let index = *next;
        *next += 1;
        CompiledLimit { limit, id: id.into(), index, prefix: prefix.into() }
    }

    /// The bytes with which its counters' keys begin, up to the parts.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }
}

impl CompiledPolicy {
    /// `next` is the index of the first limit, and is moved behind the last.
    pub(super) fn new(policy: Arc<Policy>, absent: Option<Arc<AtomicU64>>, next: &mut u32) -> Self {
        let own = policy.limits.iter();
        let limits: Vec<_> =
            own.map(|limit| CompiledLimit::new(&policy, limit.id(), *limit, next)).collect();
        let mut groups = Vec::new();
        for (place, group) in policy.groups.iter().enumerate() {
            let list = group.limits.iter().map(|limit| {
                CompiledLimit::new(&policy, group.limit_id(place, limit), *limit, next)
            });
            groups.push(CompiledGroup {
                limits: list.collect(),
                when: group.when.clone(),
                during: group.during.clone(),
                now: Latest::default(),
            });
        }
        let all = limits.iter().chain(groups.iter().flat_map(|group| &group.limits));
        let prefix = all.map(|limit| limit.prefix.len()).max().unwrap_or_default();
        let room = MAX_KEY_BYTES.saturating_sub(prefix);
        CompiledPolicy { policy, limits, groups, room, errors: AtomicU64::new(0), absent }
    }

    /// How often the policy was not met because something failed, since this set was compiled: its
    /// condition, a group's, or its key, most often for an absent attribute.
    ///
    /// A policy that the index files under an attribute counts every request without that
    /// attribute, even one that the rest of its condition would have turned down.
    pub fn evaluation_errors(&self) -> u64 {
        let absent = self.absent.as_ref().map_or(0, |absent| absent.load(Ordering::Relaxed));
        self.errors.load(Ordering::Relaxed) + absent
    }

    /// The limit with that id, own or of a group.
    pub fn limit(&self, id: &str) -> Option<&CompiledLimit> {
        self.all_limits().find(|limit| &*limit.id == id)
    }

    /// All limits, those of the groups last.
    pub fn all_limits(&self) -> impl Iterator<Item = &CompiledLimit> {
        self.limits.iter().chain(self.groups.iter().flat_map(|group| &group.limits))
    }

    /// Whether the condition holds.
    #[inline]
    pub(super) fn meets(&self, request: &Request<'_>) -> bool {
        match &self.policy.condition {
            Some(condition) => self.counted(condition.eval(request)).unwrap_or(false),
            None => true,
        }
    }

    /// Replaces `out` by the encoded parts of the key; `false` if the request has no such key.
    pub(super) fn parts_into(&self, request: &Request<'_>, out: &mut Vec<u8>) -> bool {
        out.clear();
        let fits = self.policy.key.iter().all(|part| {
            let encoded = match part {
                KeyPart::Attribute(attribute) => {
                    request.get(attribute).map(|value| encode_part(value, out))
                }
                KeyPart::Expr(expr) => {
                    expr.text(request).ok().map(|value| encode_part(&value, out))
                }
            };
            encoded.is_some() && out.len() <= self.room
        });
        self.counted(fits.then_some(())).is_some()
    }

    /// The limits of the first group that applies at `time` (manager time), or the policy's own.
    #[inline]
    pub(super) fn limits_for(&self, request: &Request<'_>, time: Time) -> &[CompiledLimit] {
        if self.groups.is_empty() {
            return &self.limits;
        }
        let holds = |when: &Expr| self.counted(when.eval(request)).unwrap_or(false);
        // Where the time is another, nothing is asked of the request.
        let applies = |g: &&CompiledGroup| g.is_on(time) && g.when.as_ref().is_none_or(holds);
        self.groups.iter().find(applies).map_or(&self.limits, |group| &group.limits)
    }

    /// Counts a failure.
    fn counted<T>(&self, outcome: Option<T>) -> Option<T> {
        if outcome.is_none() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }
}
