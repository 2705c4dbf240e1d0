//! What stands beside a descriptor, and who is asked first.

use std::collections::{HashMap, HashSet};

use weir_proto::rule::Pattern;

use super::{super::report::Report, read::Descriptor};

/// Most patterns of one key in one list: each is compared with each.
const MAX_PATTERNS: usize = 1_000;

/// Drops what that service refuses or never reaches, says so, and says where it would choose
/// otherwise: patterns are tried there in the order of the file, here the one with more text first.
pub(super) fn check(descriptors: &mut Vec<Descriptor<'_>>, report: &mut Report) {
    drop_twins(descriptors, report);
    drop_key_patterns(descriptors, report);
    order_patterns(descriptors, report);
    for descriptor in descriptors {
        check(&mut descriptor.children, report);
    }
}

/// Names are compared there as `key_value`.
fn drop_twins(descriptors: &mut Vec<Descriptor<'_>>, report: &mut Report) {
    let mut seen: HashSet<String> = HashSet::new();
    descriptors.retain(|descriptor| {
        let Descriptor { key, value, line, path, .. } = descriptor;
        let name = if value.is_empty() { (*key).to_owned() } else { format!("{key}_{value}") };
        report.enter(descriptor.file);
        let new = seen.insert(name.clone());
        if !new {
            report.invalid(*line, path, &name, "is there twice in one list (as key_value)");
        }
        new
    });
    for Descriptor { key, value, line, path, file, .. } in descriptors.iter() {
        let other = || {
            key.match_indices('_').find(|(at, _)| seen.contains(key.get(..*at).unwrap_or_default()))
        };
        if let (true, Some((at, _))) = (value.is_empty(), other()) {
            let (before, after) = key.split_at(at);
            let after = after.trim_start_matches('_');
            let message = format!(
                "also fits the entry {before}={after} there, which compares key_value as one text; \
                 Weir keeps keys and values apart"
            );
            report.enter(file);
            report.note(*line, path, key, &message);
        }
    }
}

fn drop_key_patterns(descriptors: &mut Vec<Descriptor<'_>>, report: &mut Report) {
    descriptors.retain(|Descriptor { key, line, path, file, .. }| {
        let plain = !key.contains('*');
        if !plain {
            report.enter(file);
            let message = "has no equivalent: a pattern for keys; give each key its own descriptor";
            report.no_equivalent(*line, &format!("{path}.key"), key, message);
        }
        plain
    });
}

fn order_patterns(descriptors: &mut Vec<Descriptor<'_>>, report: &mut Report) {
    let mut before: HashMap<&str, Vec<(&str, usize)>> = HashMap::new();
    let mut unreached = HashSet::new();
    for Descriptor { key, value, line, path, file, .. } in descriptors.iter() {
        if !value.contains('*') {
            continue;
        }
        report.enter(file);
        let field = format!("{path}.value");
        let earlier = before.entry(key).or_default();
        if earlier.len() >= MAX_PATTERNS {
            let message = format!("is one of more than {MAX_PATTERNS} patterns of one key");
            report.no_equivalent(*line, &field, value, &message);
            continue;
        }
        let pattern = Pattern::like(value);
        let first = earlier.iter().find(|(other, _)| Pattern::like(other).matches(value));
        if let Some((other, place)) = first {
            let message =
                format!("is never reached: {other:?} in line {place} is asked first there");
            report.note(*line, &field, value, &message);
            unreached.insert((*file, *line, path.clone()));
            continue;
        }
        let rival = earlier
            .iter()
            .find(|(other, _)| Pattern::like(other) > pattern && may_overlap(other, value));
        if let Some((other, place)) = rival {
            let message = format!(
                "has no equivalent: values that fit {other:?} in line {place}, too, go there at \
                 Envoy's service, which takes the first; Weir takes the pattern with more text"
            );
            report.no_equivalent(*line, &field, value, &message);
        }
        earlier.push((value, *line));
    }
    descriptors.retain(|Descriptor { file, line, path, .. }| {
        !unreached.contains(&(*file, *line, path.clone()))
    });
}

/// Whether a value may fit both; `true` where it is hard to tell.
fn may_overlap(a: &str, b: &str) -> bool {
    let ends = |text: &str| {
        let (head, rest) = text.split_once('*').unwrap_or((text, ""));
        let tail = rest.rsplit('*').next().unwrap_or_default();
        (head.to_owned(), tail.to_owned())
    };
    let ((head, tail), (other_head, other_tail)) = (ends(a), ends(b));
    (head.starts_with(&other_head) || other_head.starts_with(&head))
        && (tail.ends_with(&other_tail) || other_tail.ends_with(&tail))
}

/// Whether a less specific descriptor of the list would take over if this one were not there.
pub(super) fn shields(descriptor: &Descriptor<'_>, open: &HashMap<&str, usize>) -> bool {
    let own = usize::from(is_open(descriptor));
    open.get(descriptor.key).is_some_and(|count| *count > own)
}

/// For each key, how many descriptors of the list take more than one value.
pub(super) fn open_keys<'d>(descriptors: &[Descriptor<'d>]) -> HashMap<&'d str, usize> {
    let mut open = HashMap::new();
    for descriptor in descriptors.iter().filter(|descriptor| is_open(descriptor)) {
        *open.entry(descriptor.key).or_default() += 1;
    }
    open
}

fn is_open(descriptor: &Descriptor<'_>) -> bool {
    descriptor.value.is_empty() || descriptor.value.contains('*')
}
