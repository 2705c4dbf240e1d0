//! One policy, ready to be evaluated.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::fast::FixedState;

use crate::{
    amount::{Charging, Unit},
    expr::Expr,
    key::{MAX_KEY_BYTES, encode_part, encode_prefix},
    policy::{Group, KeyPart, Limit, Policy},
    request::{Request, RequestLimit},
    schedule::Schedule,
    time::Time,
    zone::memo::Latest,
};

/// A policy with its limits in the form in which they are counted.
#[derive(Debug)]
pub struct CompiledPolicy {
    /// As it was written.
    pub policy: Arc<Policy>,
    /// Its limits for keys that are no exception.
    usual: Lists,
    /// Keys with amounts or resets of their own, by their encoded parts. Only policies insert, so that
    /// nobody outside can choose colliding keys: no random seed.
    places: HashMap<Box<[u8]>, usize, FixedState>,
    /// Their lists.
    exceptions: Vec<Lists>,
    /// The conditional groups, in order.
    pub groups: Vec<CompiledGroup>,
    /// The slot of the policy that counts what this one meets.
    pub(super) parent: Option<u32>,
    /// Some policy names this one as its parent.
    pub(super) is_parent: bool,
    /// Most bytes that a key's parts may have beside the longest prefix.
    room: usize,
    errors: AtomicU64,
    /// Requests without the attribute under which the policy is filed.
    absent: Option<Arc<AtomicU64>>,
}

/// By how much the id of a limit that a request brings along may be longer than those of the policy.
const BROUGHT: usize = 64;

/// Limits, and those of the groups that replace them.
#[derive(Debug)]
struct Lists {
    /// When the counters were last reset.
    reset: Option<u64>,
    own: Vec<CompiledLimit>,
    /// In the policy's order; `None` = those of the usual lists.
    groups: Option<Vec<Vec<CompiledLimit>>>,
}

/// When limits replace the policy's own.
#[derive(Debug)]
pub struct CompiledGroup {
    /// Of which requests; `None` = of all.
    pub when: Option<Expr>,
    /// At which times; `None` = always.
    pub during: Option<Schedule>,
    /// Whether the schedule holds, as was found last.
    now: Latest,
}

impl CompiledGroup {
    fn new(group: &Group) -> Self {
        let (when, during) = (group.when.clone(), group.during.clone());
        CompiledGroup { when, during, now: Latest::default() }
    }

    /// Whether the schedule holds at `time` (manager time).
    #[inline]
    pub fn is_on(&self, time: Time) -> bool {
        let Some(during) = &self.during else { return true };
        let secs = time.as_secs();
        self.now.at(secs, || during.look(secs))
    }
}

/// A limit with what its counters' keys begin with.
#[derive(Debug, Clone)]
pub struct CompiledLimit {
    /// As it was written, with the amount that holds for its keys.
    pub limit: Limit,
    /// Its id in the policy, the group's label and the last reset included.
    pub id: Arc<str>,
    /// Dense over the whole set: below [`PolicySet::limit_count`](super::PolicySet::limit_count).
    pub index: u32,
    /// A request brings it along. Its index is that of the first limit that it replaces.
    pub brought: bool,
    /// [`Limit::capacity`].
    pub capacity: u64,
    /// [`Unit::charging`](crate::amount::Unit::charging).
    pub charging: Charging,
    prefix: Box<[u8]>,
}

impl CompiledLimit {
    fn new(policy: &Policy, id: String, limit: Limit, next: &mut u32) -> Self {
        let mut prefix = Vec::new();
        encode_prefix(policy.name.as_str(), &id, policy.key.len(), &mut prefix);
        let index = *next;
        *next += 1;
        let (capacity, charging) = (limit.capacity(), limit.unit.charging());
        let (id, prefix) = (id.into(), prefix.into());
        CompiledLimit { limit, id, index, brought: false, capacity, charging, prefix }
    }

    /// What a request brings along to where `replaced` would count.
    fn brought(policy: &Policy, id: String, own: RequestLimit, mut replaced: u32) -> Self {
        CompiledLimit { brought: true, ..Self::new(policy, id, own.limit(), &mut replaced) }
    }

    /// The bytes with which its counters' keys begin, up to the parts.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }
}

impl Lists {
    /// The limits of keys that were last reset then, with these amounts instead of the usual ones. Groups
    /// are compiled anew where their counters have names of their own.
    fn new(
        policy: &Policy,
        reset: Option<u64>,
        other: &[Limit],
        anew: bool,
        next: &mut u32,
    ) -> Self {
        let mut compile = |id: String, limit: &Limit| {
            CompiledLimit::new(policy, since(reset, id), limit.clone(), next)
        };
        let own = policy.limits.iter().map(|limit| {
            let id = limit.id();
            let amount = other.iter().find(|other| other.id() == id).unwrap_or(limit);
            compile(id, amount)
        });
        let own = own.collect();
        let groups = policy.groups.iter().enumerate().map(|(place, group)| {
            group.limits.iter().map(|limit| compile(group.limit_id(place, limit), limit)).collect()
        });
        Lists { reset, own, groups: anew.then(|| groups.collect()) }
    }

    /// Its own, in the order of their indexes.
    fn all(&self) -> impl Iterator<Item = &CompiledLimit> {
        self.own.iter().chain(self.groups.iter().flatten().flatten())
    }
}

/// The id of a limit whose counters were last reset then.
fn since(reset: Option<u64>, id: String) -> String {
    match reset {
        Some(at) => format!("{id}#{at}"),
        None => id,
    }
}

/// The encoded parts and the lists of each key that is an exception.
fn exceptions(policy: &Policy, next: &mut u32) -> Vec<(Box<[u8]>, Lists)> {
    let resets = policy.resets.iter().filter_map(|reset| reset.key.as_ref());
    let keys: BTreeSet<&Vec<String>> =
        policy.overrides.iter().map(|item| &item.key).chain(resets).collect();
    let amounts: HashMap<_, _> =
        policy.overrides.iter().map(|item| (&item.key, item.limits.as_slice())).collect();
    let lists = keys.into_iter().map(|key| {
        let mut parts = Vec::new();
        key.iter().for_each(|part| encode_part(part, &mut parts));
        let amounts = amounts.get(key).copied().unwrap_or_default();
        let (reset, usual) = (policy.last_reset(Some(key)), policy.last_reset(None));
        (parts.into(), Lists::new(policy, reset, amounts, reset != usual, next))
    });
    lists.collect()
}

impl CompiledPolicy {
    /// A policy for itself, outside any set: its limits' indexes begin at 0.
    pub fn alone(policy: Arc<Policy>) -> Self {
        Self::new(policy, None, &mut 0)
    }

    /// `next` is the index of the first limit, and is moved behind the last.
    pub(super) fn new(policy: Arc<Policy>, absent: Option<Arc<AtomicU64>>, next: &mut u32) -> Self {
        let usual = Lists::new(&policy, policy.last_reset(None), &[], true, next);
        let (keys, exceptions): (Vec<_>, Vec<Lists>) =
            exceptions(&policy, next).into_iter().unzip();
        let places = keys.into_iter().zip(0..).collect();
        let all = usual.all().chain(exceptions.iter().flat_map(Lists::all));
        let prefix = all.map(|limit| limit.prefix.len()).max().unwrap_or_default();
        let groups = policy.groups.iter().map(CompiledGroup::new).collect();
        let prefix = prefix + if policy.request_limits { BROUGHT } else { 0 };
        CompiledPolicy {
            policy,
            groups,
            usual,
            places,
            exceptions,
            parent: None,
            is_parent: false,
            room: MAX_KEY_BYTES.saturating_sub(prefix),
            errors: AtomicU64::new(0),
            absent,
        }
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

    /// The limit with that id of the keys with these encoded parts, which may be one that requests bring
    /// along.
    pub fn limit(&self, id: &str, parts: &[u8]) -> Option<Cow<'_, CompiledLimit>> {
        let lists = self.lists(parts);
        let groups = lists.groups.is_none().then(|| self.usual.groups.iter().flatten().flatten());
        let mut all = lists.all().chain(groups.into_iter().flatten());
        let listed = all.find(|limit| &*limit.id == id).map(Cow::Borrowed);
        listed.or_else(|| self.read_brought(id, lists).map(Cow::Owned))
    }

    fn read_brought(&self, id: &str, lists: &Lists) -> Option<CompiledLimit> {
        if !self.policy.request_limits {
            return None;
        }
        let plain = match lists.reset {
            Some(at) => id.strip_suffix(&format!("#{at}"))?,
            None => id,
        };
        let own = RequestLimit::parse(plain)?;
        let replaced = lists.all().find(|limit| limit.limit.unit == Unit::Requests);
        let replaced = replaced.map_or(0, |limit| limit.index);
        Some(CompiledLimit::brought(&self.policy, id.to_owned(), own, replaced))
    }

    /// What the request brings along in the place of those of its limits that count requests, if this
    /// policy allows it.
    #[inline]
    pub(super) fn brought(
        &self,
        request: &Request<'_>,
        limits: &[CompiledLimit],
        parts: &[u8],
    ) -> Option<CompiledLimit> {
        let own = request.own_limit().filter(|_| self.policy.request_limits)?;
        let replaced = limits.iter().find(|limit| limit.limit.unit == Unit::Requests)?;
        let id = since(self.lists(parts).reset, own.id());
        Some(CompiledLimit::brought(&self.policy, id, own, replaced.index))
    }

    /// What counts for the keys that are no exception where this one of the policy's limits counts for
    /// its own.
    pub fn usual(&self, limit: &CompiledLimit) -> Option<&CompiledLimit> {
        let lists = self.exception_at(limit.index).unwrap_or(&self.usual);
        let mut all = lists.all().zip(self.usual.all());
        let place = all.find(|(own, _)| own.index == limit.index);
        place.map(|(_, usual)| usual)
    }

    /// Whether some keys have amounts or resets of their own.
    pub fn has_exceptions(&self) -> bool {
        !self.exceptions.is_empty()
    }

    /// The limit with that index.
    pub fn limit_at(&self, index: u32) -> Option<&CompiledLimit> {
        let usual = self.usual.all();
        let all = self.exception_at(index).into_iter().flat_map(Lists::all).chain(usual);
        all.into_iter().find(|limit| limit.index == index)
    }

    /// The lists that have the limit with that index, unless they are the usual ones.
    fn exception_at(&self, index: u32) -> Option<&Lists> {
        // Lists are in the order of their limits' indexes.
        let first = |lists: &Lists| lists.all().next().map_or(0, |limit| limit.index);
        let after = self.exceptions.partition_point(|lists| first(lists) <= index);
        after.checked_sub(1).and_then(|place| self.exceptions.get(place))
    }

    /// All limits: the usual ones, and then those of keys with amounts or resets of their own.
    pub fn all_limits(&self) -> impl Iterator<Item = &CompiledLimit> {
        self.usual.all().chain(self.exceptions.iter().flat_map(Lists::all))
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

    /// The limits of the first group that applies at `time` (manager time), or the policy's own, for
    /// the key with these parts.
    #[inline]
    pub(super) fn limits_for(
        &self,
        request: &Request<'_>,
        time: Time,
        parts: &[u8],
    ) -> &[CompiledLimit] {
        let lists = self.lists(parts);
        if self.groups.is_empty() {
            return &lists.own;
        }
        let holds = |when: &Expr| self.counted(when.eval(request)).unwrap_or(false);
        // Where the time is another, nothing is asked of the request.
        let applies = |g: &CompiledGroup| g.is_on(time) && g.when.as_ref().is_none_or(holds);
        let limits = lists.groups.as_ref().or(self.usual.groups.as_ref());
        let mut groups = self.groups.iter().zip(limits.into_iter().flatten());
        groups.find(|(group, _)| applies(group)).map_or(&lists.own, |(_, limits)| limits)
    }

    #[inline]
    fn lists(&self, parts: &[u8]) -> &Lists {
        if self.exceptions.is_empty() {
            return &self.usual;
        }
        let place = self.places.get(parts);
        place.and_then(|place| self.exceptions.get(*place)).unwrap_or(&self.usual)
    }

    /// Counts a failure.
    fn counted<T>(&self, outcome: Option<T>) -> Option<T> {
        if outcome.is_none() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }
}
