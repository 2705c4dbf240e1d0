//! The rules that the descriptors of a call meet.

use std::borrow::Cow;

use weir_proto::{
    request::{MAX_ENTRIES, Request},
    rule::Rules,
    wire::envoy::{
        extensions::common::ratelimit::v3::RateLimitDescriptor,
        service::ratelimit::v3::RateLimitRequest,
    },
};

/// For each descriptor its rule, and for all of them what policies look for in `request.rules`.
#[derive(Debug, Default)]
pub(super) struct Met<'r> {
    rules: Vec<Option<Cow<'r, str>>>,
    asked: Vec<Cow<'r, str>>,
}

impl<'r> Met<'r> {
    pub(super) fn of(request: &RateLimitRequest, rules: Option<&'r Rules>) -> Self {
        let Some(rules) = rules else { return Met::default() };
        let find = |descriptor: &RateLimitDescriptor| {
            let entries = descriptor.entries.iter().map(|entry| (&*entry.key, &*entry.value));
            rules.find(&request.domain, entries).map(Cow::Borrowed)
        };
        let found: Vec<Option<Cow<'r, str>>> = request.descriptors.iter().map(find).collect();
        let mut asked = Vec::new();
        for rule in found.iter().flatten().filter(|rule| rules.is_asked(rule)) {
            if asked.len() < MAX_ENTRIES && !asked.contains(rule) {
                asked.push(rule.clone());
            }
        }
        Met { rules: found, asked }
    }

    /// For a check that waits, while the rules may change.
    pub(super) fn into_owned(self) -> Met<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Met {
            rules: self.rules.into_iter().map(|rule| rule.map(owned)).collect(),
            asked: self.asked.into_iter().map(owned).collect(),
        }
    }

    /// Tells the request of the descriptor at `index`.
    pub(super) fn tell<'a>(&'a self, mut request: Request<'a>, index: usize) -> Request<'a> {
        if let Some(Some(rule)) = self.rules.get(index) {
            request = request.rule(&**rule);
        }
        for rule in &self.asked {
            request = request.call_rule(&**rule);
        }
        request
    }
}
