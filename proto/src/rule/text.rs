//! How a rule is written.

use std::{cmp::Ordering, fmt, str::FromStr};

use crate::request::{MAX_ENTRIES, MAX_VALUE_BYTES};

/// Longest rule, in bytes.
pub const MAX_RULE_BYTES: usize = MAX_VALUE_BYTES;

/// A domain and entries.
///
/// In text `|` separates, `=` ends a key that has a value, `*` in a value stands for any text, and a
/// backslash makes a character mean itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The rate limit domain.
    pub domain: String,
    /// One for each entry, at least one.
    pub steps: Vec<Step>,
}

/// One entry of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Step {
    /// The entry's key.
    pub key: String,
    /// What its value must be like.
    pub value: Pattern,
}

/// Which values an entry may have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The texts between the `*`; empty = any value at all.
    parts: Vec<String>,
}

/// Why a text is no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Too long.
    #[error("has more than {MAX_RULE_BYTES} bytes")]
    TooLong,
    /// No entries, or too many.
    #[error("has no entries, or more than {MAX_ENTRIES}; write it like DOMAIN|KEY=VALUE|KEY")]
    Entries,
    /// A key or the domain is empty.
    #[error("has an empty domain or key; write it like DOMAIN|KEY=VALUE|KEY")]
    Empty,
    /// A backslash at the end.
    #[error("ends in a backslash")]
    Escape,
}

impl Pattern {
    /// Any value.
    pub fn any() -> Pattern {
        Pattern { parts: Vec::new() }
    }

    /// This value alone.
    pub fn exact(value: &str) -> Pattern {
        Pattern { parts: vec![value.to_owned()] }
    }

    /// Values like this, where `*` stands for any text.
    pub fn like(value: &str) -> Pattern {
        Pattern { parts: value.split('*').map(str::to_owned).collect() }
    }

    /// Whether the value does not matter, without so much as a `*`.
    pub fn is_any(&self) -> bool {
        self.parts.is_empty()
    }

    /// The only value that fits, if there is only one.
    pub fn exactly(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether a value fits.
    pub fn matches(&self, value: &str) -> bool {
        let (first, middle, last) = match self.parts.as_slice() {
            [] => return true,
            [only] => return only == value,
            [first, middle @ .., last] => (first, middle, last),
        };
        let Some(inner) = value.strip_prefix(first.as_str()) else { return false };
        let Some(mut inner) = inner.strip_suffix(last.as_str()) else { return false };
        for part in middle {
            let Some((_, rest)) = inner.split_once(part.as_str()) else { return false };
            inner = rest;
        }
        true
    }

    /// How much text it asks for, in bytes.
    fn weight(&self) -> usize {
        self.parts.iter().map(String::len).sum()
    }
}

/// The more specific is less: more text first, then the order of the texts.
impl Ord for Pattern {
    fn cmp(&self, other: &Pattern) -> Ordering {
        other.weight().cmp(&self.weight()).then_with(|| self.parts.cmp(&other.parts))
    }
}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Pattern) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rule, RuleError> {
        if text.len() > MAX_RULE_BYTES {
            return Err(RuleError::TooLong);
        }
        let mut segments = split(text, '|')?.into_iter();
        let domain = plain(segments.next().unwrap_or_default());
        let steps: Vec<Step> = segments.map(step).collect();
        if steps.is_empty() || steps.len() > MAX_ENTRIES {
            return Err(RuleError::Entries);
        }
        if domain.is_empty() || steps.iter().any(|step| step.key.is_empty()) {
            return Err(RuleError::Empty);
        }
        Ok(Rule { domain, steps })
    }
}

/// A character, and whether it means itself.
type Letter = (char, bool);

/// The pieces between unescaped separators.
fn split(text: &str, separator: char) -> Result<Vec<Vec<Letter>>, RuleError> {
    let mut pieces = vec![Vec::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let letter = match c {
            '\\' => (chars.next().ok_or(RuleError::Escape)?, true),
            c => (c, false),
        };
        if letter == (separator, false) {
            pieces.push(Vec::new());
        } else if let Some(piece) = pieces.last_mut() {
            piece.push(letter);
        }
    }
    Ok(pieces)
}

fn plain(letters: impl IntoIterator<Item = Letter>) -> String {
    letters.into_iter().map(|(c, _)| c).collect()
}

fn step(letters: Vec<Letter>) -> Step {
    let Some(at) = letters.iter().position(|letter| *letter == ('=', false)) else {
        return Step { key: plain(letters), value: Pattern::any() };
    };
    let key = plain(letters.iter().take(at).copied());
    let value: Vec<&[Letter]> =
        letters.get(at + 1..).unwrap_or_default().split(|letter| *letter == ('*', false)).collect();
    let parts = value.into_iter().map(|part| plain(part.iter().copied())).collect();
    Step { key, value: Pattern { parts } }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(&self.domain, "|\\", f)?;
        self.steps.iter().try_for_each(|step| write!(f, "|{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(&self.key, "|=\\", f)?;
        for (index, part) in self.value.parts.iter().enumerate() {
            f.write_str(if index == 0 { "=" } else { "*" })?;
            write_escaped(part, "|*\\", f)?;
        }
        Ok(())
    }
}

fn write_escaped(text: &str, special: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    text.chars().try_for_each(|c| {
        if special.contains(c) {
            f.write_str("\\")?;
        }
        fmt::Write::write_char(f, c)
    })
}
