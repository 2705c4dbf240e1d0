//! What is wrong with a document, field by field.

use std::fmt;

/// Most faults kept of one document; the rest is cut off.
const MAX_ERRORS: usize = 100;
/// Longest excerpt of a refused value, in characters.
const MAX_EXCERPT: usize = 80;

/// One fault of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The path of the field, `policies[2].limits[0].window`; empty for the document itself.
    pub field: String,
    /// The refused value as JSON, cut to 80 characters; empty if the field is missing.
    pub value: String,
    /// Why it was refused and what is allowed, phrased to follow the value: `is not a level; …`.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = if self.field.is_empty() { "the document" } else { &self.field };
        f.write_str(field)?;
        if !self.value.is_empty() {
            write!(f, " = {}", self.value)?;
        }
        write!(f, " {}", self.message)
    }
}

/// Every fault of a document, in the document's order; the first hundred of more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyErrors(pub Vec<FieldError>);

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

impl PolicyErrors {
    /// Notes that `value` at `field` was refused; `message` follows it and says what is allowed.
    pub fn refuse(
        &mut self,
        field: impl Into<String>,
        value: &serde_json::Value,
        message: impl fmt::Display,
    ) {
        self.push(field.into(), excerpt(value), message.to_string());
    }

    /// Notes that `field` is missing; `message` says what to give.
    pub fn missing(&mut self, field: impl Into<String>, message: impl fmt::Display) {
        self.push(field.into(), String::new(), format!("is missing; {message}"));
    }

    /// Notes a fault of the whole document.
    pub(super) fn document(message: impl fmt::Display) -> Self {
        let mut errors = Self::default();
        errors.push(String::new(), String::new(), message.to_string());
        errors
    }

    /// Adds the faults of a part.
    pub(super) fn append(&mut self, more: PolicyErrors) {
        for error in more.0 {
            self.push(error.field, error.value, error.message);
        }
    }

    fn push(&mut self, field: String, value: String, message: String) {
        if self.0.len() < MAX_ERRORS {
            self.0.push(FieldError { field, value, message });
        }
    }
}

/// The value as JSON, but not more of it than a line holds.
fn excerpt(value: &serde_json::Value) -> String {
    let text = match value {
        serde_json::Value::Array(_) => "[…]".to_owned(),
        serde_json::Value::Object(_) => "{…}".to_owned(),
        scalar => scalar.to_string(),
    };
    match text.char_indices().nth(MAX_EXCERPT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// The one of `known` that `word` was probably meant to be: at most two edits away.
pub(super) fn did_you_mean<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known.iter().map(|&candidate| (distance(word, candidate), candidate));
    near.filter(|&(edits, candidate)| edits <= 2 && edits < candidate.len().min(word.len()))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, up to 3; words of very different lengths are not compared.
pub(super) fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return 3;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, &above) in b.bytes().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            diagonal = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
