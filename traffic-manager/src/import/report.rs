//! What an import has to say.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

/// Most findings; the rest is cut off, with a last one that says so.
const MAX_FINDINGS: usize = 1_000;
/// Longest excerpt of a value, in characters.
const MAX_EXCERPT: usize = 80;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// Not what that limiter's file may say: it would refuse the file, too.
    Invalid,
    /// Weir has no word for it.
    NoEquivalent,
    /// Translated, or without meaning for who passes; something is worth knowing.
    Note,
}

/// One thing that is worth saying about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Finding {
    /// The file.
    #[schema(example = "edge.yaml")]
    pub(crate) file: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The path of the field; empty for the whole document.
    #[schema(example = "descriptors[0].rate_limit.unit")]
    pub(crate) field: String,
    /// The value, shortened; empty where it does not matter.
    #[schema(example = "fortnight")]
    pub(crate) value: String,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// What is the matter, phrased to follow the value.
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = if self.field.is_empty() { "the document" } else { &self.field };
        write!(f, "{}:{}: {field}", self.file, self.line)?;
        if !self.value.is_empty() {
            write!(f, " = {:?}", self.value)?;
        }
        write!(f, " {}", self.message)
    }
}

/// Findings as they come.
#[derive(Debug, Default)]
pub(super) struct Report {
    file: String,
    findings: Vec<Finding>,
    dropped: usize,
}

impl Report {
    /// What follows is about this file.
    pub(super) fn enter(&mut self, file: &str) {
        file.clone_into(&mut self.file);
    }

    pub(super) fn invalid(&mut self, line: usize, field: &str, value: &str, message: &str) {
        self.add(Severity::Invalid, line, field, value, message);
    }

    pub(super) fn no_equivalent(&mut self, line: usize, field: &str, value: &str, message: &str) {
        self.add(Severity::NoEquivalent, line, field, value, message);
    }

    pub(super) fn note(&mut self, line: usize, field: &str, value: &str, message: &str) {
        self.add(Severity::Note, line, field, value, message);
    }

    fn add(&mut self, severity: Severity, line: usize, field: &str, value: &str, message: &str) {
        // Notes never crowd out what must be said.
        if self.findings.len() >= MAX_FINDINGS {
            let note = |finding: &Finding| finding.severity == Severity::Note;
            self.dropped += 1;
            match self.findings.iter().rposition(note) {
                Some(place) if severity != Severity::Note => drop(self.findings.remove(place)),
                _ => return,
            }
        }
        self.findings.push(Finding {
            file: self.file.clone(),
            line,
            field: field.to_owned(),
            value: excerpt(value),
            severity,
            message: message.to_owned(),
        });
    }

    pub(super) fn finish(mut self) -> Vec<Finding> {
        if self.dropped > 0 {
            let message = format!("has {} more findings, which are not shown", self.dropped);
            self.findings.push(Finding {
                file: self.file,
                line: 1,
                field: String::new(),
                value: String::new(),
                severity: Severity::Note,
                message,
            });
        }
        self.findings
    }
}

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(MAX_EXCERPT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
