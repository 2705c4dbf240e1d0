//! Which ids credentials may speak for: who has one agent's token must not pass for another agent.

use std::{fmt, sync::Arc};

/// Stands for the name of the token or certificate, in a pattern.
const NAME: &str = "{name}";
/// Most patterns of one entry.
const MAX_PATTERNS: usize = 64;
/// Longest pattern, in bytes: that of an id.
const MAX_PATTERN: usize = 128;

/// Patterns of ids; in each, one `*` stands for any text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Any id: nothing was said, or nobody is asked.
    #[default]
    Anybody,
    /// Ids that fit one of these.
    Only(Arc<[String]>),
}

/// Whether `text` fits a pattern in which one `*` stands for any text.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => text == pattern,
        Some((head, tail)) => {
            text.len() >= head.len() + tail.len() && text.starts_with(head) && text.ends_with(tail)
        }
    }
}

impl Scope {
    /// Of an entry's list, for the owner of this name; `None` is anybody.
    pub(super) fn of(patterns: Option<&Vec<String>>, name: &str) -> Scope {
        let Some(patterns) = patterns else { return Scope::Anybody };
        Scope::Only(patterns.iter().map(|pattern| pattern.replace(NAME, name)).collect())
    }

    /// Whether the id may be spoken for.
    pub(crate) fn covers(&self, id: &str) -> bool {
        match self {
            Scope::Anybody => true,
            Scope::Only(patterns) => patterns.iter().any(|pattern| fits(pattern, id)),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Anybody => f.write_str("anybody"),
            Scope::Only(patterns) => f.write_str(&patterns.join(", ")),
        }
    }
}

/// What is wrong with a list of patterns, to follow its field's name.
pub(crate) fn fault(patterns: &[String]) -> Option<String> {
    if patterns.is_empty() || patterns.len() > MAX_PATTERNS {
        return Some(format!(
            "has {} entries; list 1 to {MAX_PATTERNS}, or leave it out for any id",
            patterns.len()
        ));
    }
    let bad = patterns.iter().find(|pattern| {
        let plain = pattern.replace(NAME, "");
        let letter = |c: char| c.is_ascii_alphanumeric() || "._-:/*".contains(c);
        pattern.is_empty()
            || pattern.len() > MAX_PATTERN
            || plain.matches('*').count() > 1
            || !plain.chars().all(letter)
    })?;
    Some(format!(
        "has {bad:?}; write an id, like \"gw-1\", in which one * may stand for any text and {NAME} for the \
         owner's name"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(patterns: &[&str]) -> Scope {
        let patterns = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        Scope::of(Some(&patterns), "gw-1")
    }

    #[test]
    fn ids_are_covered_by_patterns_and_by_the_name() {
        assert!(Scope::of(None, "x").covers("anything"));
        for (patterns, id, covered) in [
            (&["gw-1"][..], "gw-1", true),
            (&["gw-1"], "gw-12", false),
            (&["gw-*"], "gw-12", true),
            (&["eu/*/a", "us"], "eu/7/a", true),
            (&["eu/*/a", "us"], "us", true),
            (&["ab*ba"], "aba", false),
            (&["{name}"], "gw-1", true),
            (&["{name}"], "gw-2", false),
            (&["{name}-*"], "gw-1-blue", true),
        ] {
            assert_eq!(scope(patterns).covers(id), covered, "{patterns:?} {id}");
        }
    }

    #[test]
    fn lists_that_cannot_be_meant_are_refused() {
        let list = |patterns: &[&str]| -> Vec<String> {
            patterns.iter().map(|pattern| (*pattern).to_owned()).collect()
        };
        assert_eq!(fault(&list(&["gw-*", "{name}", "eu/a:b._-"])), None);
        let long = "x".repeat(129);
        for bad in [&[][..], &[""], &["a b"], &["a*b*"], &["{other}"], &[long.as_str()]] {
            assert!(fault(&list(bad)).is_some(), "{bad:?}");
        }
    }
}
