//! Which policies a request can meet, found by the request's own values.
//!
//! A condition is *covered* by a set of terms (an attribute has a value; the client is in a network)
//! if it cannot hold unless one of them does. A test covers itself, a disjunction is covered by the
//! terms of all its branches, a conjunction by the terms of any one: the one whose attribute takes
//! the most values among all policies is chosen, since it tells most apart. Policies without a cover
//! are candidates for every request.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::fast::FixedState;
use ipnet::IpNet;

use super::networks::Networks;
use crate::{
    expr::{Atom, Expr, Node, Test},
    policy::Policy,
    request::{Attribute, Field, Request},
};

/// Slots of policies, filed under the terms that cover them.
#[derive(Debug, Default)]
pub(super) struct Index {
    tables: Vec<Table>,
    networks: Networks,
    /// Policies without a cover.
    rest: Vec<u32>,
    /// Where absences of the attribute that a slot is filed under are counted.
    absences: BTreeMap<u32, Arc<AtomicU64>>,
}

/// What is filed under one attribute.
#[derive(Debug)]
struct Table {
    attribute: Attribute,
    /// Only policies insert, so that nobody outside can choose colliding values: no random seed.
    slots: HashMap<Box<str>, Vec<u32>, FixedState>,
    absent: Arc<AtomicU64>,
}

/// Something that must be so for a condition to hold.
#[derive(Clone, Copy)]
enum Term<'n> {
    Value(&'n Attribute, &'n str),
    Network(IpNet),
}

const IP: Attribute = Attribute::Field(Field::Ip);

impl Term<'_> {
    fn attribute(&self) -> &Attribute {
        match self {
            Term::Value(attribute, _) => attribute,
            Term::Network(_) => &IP,
        }
    }
}

impl Index {
    /// Files policies, given in evaluation order, under their covers.
    pub(super) fn new(policies: &[&Arc<Policy>]) -> Index {
        let conditions = || policies.iter().map(|p| p.condition.as_ref().map(Expr::node));
        let mut spread = Spread::default();
        conditions().flatten().for_each(|node| spread.add(node));
        let mut index = Index::default();
        let mut tables: BTreeMap<&Attribute, Table> = BTreeMap::new();
        for (slot, node) in (0..).zip(conditions()) {
            let Some(cover) = node.and_then(|node| spread.cover(node)) else {
                index.rest.push(slot);
                continue;
            };
            let attributes: BTreeSet<&Attribute> = cover.iter().map(Term::attribute).collect();
            for term in &cover {
                let absent = match *term {
                    Term::Network(network) => index.networks.insert(network, slot),
                    Term::Value(attribute, value) => tables
                        .entry(attribute)
                        .or_insert_with(|| Table::new(attribute.clone()))
                        .insert(value, slot),
                };
                // With several attributes, the absence of one says nothing yet.
                if attributes.len() == 1 {
                    index.absences.insert(slot, absent);
                }
            }
        }
        index.tables = tables.into_values().collect();
        index
    }

    /// Where absences are counted of the one attribute under which `slot` is filed.
    pub(super) fn absences(&self, slot: u32) -> Option<Arc<AtomicU64>> {
        self.absences.get(&slot).cloned()
    }

    /// The slots that the request may meet, ascending, each once. `out` is where they are gathered,
    /// if they must be.
    #[inline]
    pub(super) fn candidates<'s>(
        &'s self,
        request: &Request<'_>,
        out: &'s mut Vec<u32>,
    ) -> &'s [u32] {
        if self.tables.is_empty() && self.networks.is_empty() {
            return &self.rest;
        }
        self.gather(request, out);
        out
    }

    fn gather(&self, request: &Request<'_>, out: &mut Vec<u32>) {
        out.clear();
        out.extend_from_slice(&self.rest);
        for table in &self.tables {
            match request.get(&table.attribute) {
                Some(value) => out.extend(table.slots.get(value).into_iter().flatten()),
                None => {
                    table.absent.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        self.networks.candidates(request.address(), out);
        if out.len() > 1 {
            out.sort_unstable();
            out.dedup();
        }
    }
}

impl Table {
    fn new(attribute: Attribute) -> Self {
        Table { attribute, slots: HashMap::default(), absent: Arc::default() }
    }

    fn insert(&mut self, value: &str, slot: u32) -> Arc<AtomicU64> {
        self.slots.entry(value.into()).or_default().push(slot);
        Arc::clone(&self.absent)
    }
}

/// The values that all conditions ask for, by attribute.
#[derive(Default)]
struct Spread<'n> {
    values: BTreeMap<&'n Attribute, BTreeSet<&'n str>>,
    networks: BTreeSet<IpNet>,
}

impl<'n> Spread<'n> {
    fn add(&mut self, node: &'n Node) {
        match node {
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().for_each(|node| self.add(node)),
            Node::Atom(atom) => terms(atom).into_iter().flatten().for_each(|term| match term {
                Term::Value(attribute, value) => {
                    self.values.entry(attribute).or_default().insert(value);
                }
                Term::Network(network) => {
                    self.networks.insert(network);
                }
            }),
            _ => {}
        }
    }

    /// Terms of which one holds whenever `node` does; `None` if there are no such.
    fn cover(&self, node: &'n Node) -> Option<Vec<Term<'n>>> {
        match node {
            Node::And(nodes) => {
                let covers = nodes.iter().filter_map(|node| self.cover(node));
                covers.max_by_key(|cover| (self.selectivity(cover), usize::MAX - cover.len()))
            }
            Node::Or(nodes) => {
                let covers: Option<Vec<_>> = nodes.iter().map(|node| self.cover(node)).collect();
                Some(covers?.concat())
            }
            Node::Atom(atom) => terms(atom),
            Node::Constant(false) => Some(Vec::new()),
            _ => None,
        }
    }

    /// How many different values the weakest of the cover's attributes takes.
    fn selectivity(&self, cover: &[Term<'_>]) -> usize {
        let spread = |term: &Term<'_>| match term {
            Term::Value(attribute, _) => self.values.get(*attribute).map_or(0, BTreeSet::len),
            Term::Network(_) => self.networks.len(),
        };
        cover.iter().map(spread).min().unwrap_or(usize::MAX)
    }
}

/// The terms that cover a test.
fn terms(atom: &Atom) -> Option<Vec<Term<'_>>> {
    match &atom.test {
        Test::Equals(value) => Some(vec![Term::Value(&atom.attribute, value)]),
        Test::OneOf(values) => {
            Some(values.iter().map(|value| Term::Value(&atom.attribute, value)).collect())
        }
        Test::Within(network) if atom.attribute == IP => Some(vec![Term::Network(*network)]),
        _ => None,
    }
}
