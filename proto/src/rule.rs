//! Rules of rate limit descriptors: `messaging|message_type=marketing|to_number`.
//!
//! A rule is a domain and the entries that a descriptor must have, no more and no less, in this
//! order: a key with a value, with a pattern (`file=*.pdf`), or with any value. A descriptor meets at
//! most *one* rule: of all that policies name, the most specific. Entry by entry an equal value is
//! preferred to a pattern, a pattern with more text to one with less, and any pattern to a bare key;
//! there is no way back from an entry that fits to one that fits less well. So a policy for one value
//! takes that value out of the policy for all values, without either knowing of the other, and
//! [`Rules`] finds the one rule however many there are. This is how Envoy's rate limit service
//! chooses, too.
//!
//! Policies ask for a rule by `request.rule == "…"`, and, for all descriptors of a call together, by
//! `"…" in request.rules`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use foldhash::fast::FixedState;

pub use self::text::{MAX_RULE_BYTES, Pattern, Rule, RuleError, Step};
use crate::{
    expr::{Atom, Expr, Node, Test},
    matcher::PolicySet,
    policy::Policy,
    request::{Attribute, Field},
};

mod text;

/// Only policies insert, so that nobody outside can choose colliding texts: no random seed.
type Map<V> = HashMap<Box<str>, V, FixedState>;

/// The rules that the policies of a set name.
#[derive(Debug, Default)]
pub struct Rules {
    domains: Map<Place>,
    /// What conditions look for in `request.rules`.
    asked: BTreeSet<Arc<str>>,
}

/// What is behind the entries so far.
#[derive(Default)]
struct Place {
    /// The rule that ends here, as its policy spells it.
    rule: Option<Box<str>>,
    keys: Map<Entry>,
}

/// What is behind an entry with this key, by its value.
#[derive(Default)]
struct Entry {
    values: Map<Place>,
    /// The most specific first.
    patterns: BTreeMap<Pattern, Place>,
    any: Option<Box<Place>>,
}

impl Rules {
    /// The rules that conditions compare `request.rule` with, by `==`, `!=` or `in`, whether their
    /// policies act or are off. What is no rule is met by nothing.
    pub fn of(set: &PolicySet) -> Rules {
        let mut rules = Rules::default();
        for policy in set.policies() {
            conditions(policy).for_each(|condition| rules.gather(condition.node()));
        }
        rules
    }

    /// Whether no policy names a rule.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The one rule that a descriptor with these entries meets, as its policies spell it.
    pub fn find<'e>(
        &self,
        domain: &str,
        entries: impl IntoIterator<Item = (&'e str, &'e str)>,
    ) -> Option<&str> {
        let mut place = self.domains.get(domain)?;
        for (key, value) in entries {
            place = place.keys.get(key)?.at(value)?;
        }
        place.rule.as_deref()
    }

    /// Whether a condition looks for the rule in `request.rules`; others need not be there.
    pub fn is_asked(&self, rule: &str) -> bool {
        self.asked.contains(rule)
    }

    fn gather(&mut self, node: &Node) {
        match node {
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().for_each(|node| self.gather(node)),
            Node::Not(node) => self.gather(node),
            Node::Atom(atom) if atom.attribute == Attribute::Field(Field::Rule) => {
                match &atom.test {
                    Test::Equals(text) => self.add(text),
                    Test::OneOf(texts) => texts.iter().for_each(|text| self.add(text)),
                    _ => {}
                }
            }
            Node::Atom(Atom { attribute: Attribute::Rule(text), .. }) => {
                self.asked.insert(Arc::clone(text));
            }
            _ => {}
        }
    }

    fn add(&mut self, text: &str) {
        let Ok(rule) = text.parse::<Rule>() else { return };
        let mut place = self.domains.entry(rule.domain.into()).or_default();
        for step in rule.steps {
            place = place.keys.entry(step.key.into()).or_default().place(step.value);
        }
        place.rule = Some(text.into());
    }
}

fn conditions(policy: &Policy) -> impl Iterator<Item = &Expr> {
    policy.condition.iter().chain(policy.groups.iter().filter_map(|group| group.when.as_ref()))
}

impl Entry {
    fn at(&self, value: &str) -> Option<&Place> {
        let like = || self.patterns.iter().find(|(pattern, _)| pattern.matches(value));
        let known = self.values.get(value);
        known.or_else(|| like().map(|(_, place)| place)).or(self.any.as_deref())
    }

    fn place(&mut self, value: Pattern) -> &mut Place {
        if value.is_any() {
            return self.any.get_or_insert_default();
        }
        if let Some(text) = value.exactly() {
            return self.values.entry(text.into()).or_default();
        }
        self.patterns.entry(value).or_default()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("rule", &self.rule).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
