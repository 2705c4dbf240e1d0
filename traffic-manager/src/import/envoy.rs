//! Files of Envoy's rate limit service.
//!
//! That service walks a tree of descriptors and takes the most specific path that a request's
//! descriptor fits to its last entry. Each limit becomes a policy for one [`Rule`], which Weir's
//! agents find in the same way. Descriptors without a limit that keep less specific ones from
//! applying become policies that are off: a rule that is off still is the most specific one.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use weir_proto::rule::{Pattern, Rule, Step};

use super::{Draft, quoted, report::Report, unlimited, yaml::Node};

use self::read::{Amount, Descriptor, Domain, Limit};

mod read;
mod siblings;

/// Adds a draft for each limit of the files.
pub(super) fn translate(documents: &[(&str, Node)], drafts: &mut Vec<Draft>, report: &mut Report) {
    let mut domains: Vec<Domain<'_>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (file, node) in documents {
        report.enter(file);
        let Some(domain) = read::domain(file, node, report) else { continue };
        let known = places.get(domain.name).and_then(|place| domains.get_mut(*place));
        if let Some(known) = known {
            let message = "is the domain of another file, too: merged, as with MERGE_DOMAIN_CONFIG";
            report.note(domain.line, "domain", domain.name, message);
            known.descriptors.extend(domain.descriptors);
        } else {
            places.insert(domain.name, domains.len());
            domains.push(domain);
        }
    }
    for Domain { name, mut descriptors, .. } in domains {
        siblings::check(&mut descriptors, report);
        let mut replacing = BTreeMap::new();
        let root = Branch::root(name);
        root.each(&descriptors, &mut |branch, descriptor| {
            for other in descriptor.limit.iter().flat_map(|limit| &limit.replaces) {
                replacing.entry(*other).or_insert_with(Vec::new).push(branch.rule());
            }
        });
        root.each(&descriptors, &mut |branch, descriptor| {
            report.enter(descriptor.file);
            drafts.extend(branch.draft(descriptor, &replacing, report));
        });
    }
}

/// Where in the tree we are.
#[derive(Clone)]
struct Branch<'d> {
    domain: &'d str,
    steps: Vec<Step>,
    /// Domain, keys and values as they are.
    path: Vec<String>,
    /// For each step, whether its values share one counter.
    shared: Vec<bool>,
    /// Whether something less specific would take over without this branch.
    shield: bool,
}

impl<'d> Branch<'d> {
    fn root(domain: &'d str) -> Branch<'d> {
        let path = vec![domain.to_owned()];
        Branch { domain, steps: Vec::new(), path, shared: Vec::new(), shield: false }
    }

    /// Visits each descriptor of a list and all that is nested in it, in the order of the file. The
    /// depth is bounded by that of the document.
    fn each<'n>(
        &self,
        descriptors: &'n [Descriptor<'d>],
        visit: &mut impl FnMut(&Branch<'d>, &'n Descriptor<'d>),
    ) {
        let open = siblings::open_keys(descriptors);
        for descriptor in descriptors {
            let value = match descriptor.value {
                "" => Pattern::any(),
                value => Pattern::like(value),
            };
            let mut branch = self.clone();
            branch.shield |= siblings::shields(descriptor, &open);
            branch.shared.push(descriptor.share || value.exactly().is_some());
            let names = [descriptor.key, descriptor.value].into_iter().filter(|n| !n.is_empty());
            branch.path.extend(names.map(str::to_owned));
            branch.steps.push(Step { key: descriptor.key.to_owned(), value });
            visit(&branch, descriptor);
            branch.each(&descriptor.children, visit);
        }
    }

    fn rule(&self) -> String {
        Rule { domain: self.domain.to_owned(), steps: self.steps.clone() }.to_string()
    }

    /// The policy for a descriptor, if it needs one.
    fn draft(
        &self,
        descriptor: &Descriptor<'_>,
        replacing: &BTreeMap<&str, Vec<String>>,
        report: &mut Report,
    ) -> Option<Draft> {
        let rule = self.rule();
        let asks = format!("request.rule == {}", quoted(&rule));
        let draft = Draft {
            file: descriptor.file.to_owned(),
            line: descriptor.line,
            field: descriptor.path.clone(),
            path: self.path.clone(),
            identity: rule,
            condition: asks.clone(),
            shield: Some(asks),
            ..Draft::default()
        };
        let Some(limit) = &descriptor.limit else {
            let shield = self.shield && descriptor.children.is_empty();
            return shield.then(|| draft.off());
        };
        if let Some(line) = descriptor.quota {
            let field = format!("{}.quota_mode", descriptor.path);
            let message = "has no equivalent: Weir refuses as soon as one limit is used up, not \
                           when all quotas are";
            report.no_equivalent(line, &field, "true", message);
            return Some(draft.off());
        }
        let key = match self.key() {
            // What is never refused needs no counter for each value.
            _ if matches!(limit.amount, Amount::Unlimited) => Vec::new(),
            Ok(key) => key,
            Err(name) => {
                let message = "has no equivalent: a policy cannot name a key with quotes or \
                               backslashes, to count its values apart";
                report.no_equivalent(descriptor.line, &descriptor.path, name, message);
                return Some(draft.off());
            }
        };
        let replaced = match limit.amount {
            // It counts nothing, so there is nothing to replace.
            Amount::Unlimited => None,
            Amount::Per { .. } => replacing.get(limit.name),
        };
        let mut condition = draft.condition.clone();
        for rule in replaced.into_iter().flatten() {
            condition.push_str(&format!(" && !({} in request.rules)", quoted(rule)));
        }
        let mode = if descriptor.shadow { "shadow" } else { "enforce" };
        // A limit of the descriptor replaces a file's amount, as there. What is unlimited has no counter for
        // each value.
        let request_limits = matches!(limit.amount, Amount::Per { .. });
        Some(Draft { condition, key, limit: amount(limit), request_limits, mode, ..draft })
    }

    /// The entries whose values have counters of their own; `Err` is a key that cannot be named.
    fn key(&self) -> Result<Vec<String>, &str> {
        let mut parts = Vec::new();
        let steps = self.steps.iter().zip(&self.shared).enumerate();
        for (index, (step, _)) in steps.filter(|(_, (_, shared))| !**shared) {
            let key = step.key.as_str();
            if key.contains(['"', '\'', '\\']) {
                return Err(key);
            }
            let same = |other: &&Step| other.key == key;
            let before = self.steps.iter().take(index).filter(same).count();
            let twice = self.steps.iter().filter(same).count() > 1;
            let place = if twice { format!("[{before}]") } else { String::new() };
            parts.push(format!("descriptors[0][\"{key}{place}\"]"));
        }
        Ok(parts)
    }
}

impl Draft {
    /// As a policy that only keeps others away.
    fn off(self) -> Draft {
        Draft { limit: unlimited("1d"), request_limits: false, mode: "off", ..self }
    }
}

fn amount(limit: &Limit<'_>) -> Value {
    match limit.amount {
        Amount::Unlimited => unlimited("1d"),
        Amount::Per { requests, window } => json!({ "requests": requests, "window": window }),
    }
}
