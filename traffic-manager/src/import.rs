//! Other limiters' files as policies.
//!
//! Pure: text in, policies and findings out. A file is taken as it is: what it says is either
//! translated, or named in a [`Finding`] with its place and the reason.
//!
//! | module | holds |
//! |---|---|
//! | `report` | findings |
//! | `yaml` | documents whose every value knows its line |
//! | `fields` | reading them, with paths |
//! | `names` | names of the policies |
//! | `envoy`, `limitador` | one other limiter each |

use std::collections::HashSet;

use serde_json::json;
use weir_proto::policy::Policy;

pub(crate) use self::report::{Finding, Severity};
use self::{names::Names, report::Report};

mod envoy;
mod fields;
mod limitador;
mod names;
mod report;
mod yaml;

/// Largest file, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 16 << 20;

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Envoy's rate limit service (github.com/envoyproxy/ratelimit)
    Envoy,
    /// Kuadrant's Limitador
    Limitador,
}

impl Format {
    /// The format of that name.
    pub(crate) fn parse(name: &str) -> Option<Format> {
        match name {
            "envoy" => Some(Format::Envoy),
            "limitador" => Some(Format::Limitador),
            _ => None,
        }
    }
}

/// A file, by name, and what is in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

/// What became of the files.
#[derive(Debug, Default)]
pub(crate) struct Translation {
    /// In the order of the files. Where something has no equivalent, what can do without it.
    pub(crate) policies: Vec<Policy>,
    /// In the order of the files.
    pub(crate) findings: Vec<Finding>,
}

impl Translation {
    /// The findings because of which nothing should be written; with `partial` only those after
    /// which the rest means nothing.
    pub(crate) fn faults(&self, partial: bool) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| match finding.severity {
            Severity::Invalid => true,
            Severity::NoEquivalent => !partial,
            Severity::Note => false,
        })
    }
}

/// Translates files of one limiter, together.
pub(crate) fn translate(format: Format, sources: &[Source<'_>]) -> Translation {
    let mut report = Report::default();
    let mut drafts = Vec::new();
    let mut documents = Vec::new();
    for source in sources {
        report.enter(source.name);
        match yaml::read(source.text) {
            Ok(found) if found.is_empty() => report.invalid(1, "", "", "is empty"),
            Ok(found) => documents.extend(found.into_iter().map(|node| (source.name, node))),
            Err(fault) => report.invalid(fault.line, "", "", &fault.message),
        }
    }
    match format {
        Format::Envoy => envoy::translate(&documents, &mut drafts, &mut report),
        Format::Limitador => limitador::translate(&documents, &mut drafts, &mut report),
    }
    let policies = name_all(drafts, &mut report);
    Translation { policies, findings: report.finish() }
}

/// A policy without a name.
#[derive(Debug, Default)]
struct Draft {
    file: String,
    line: usize,
    field: String,
    /// What the name is made of.
    path: Vec<String>,
    /// What tells it from all others.
    identity: String,
    condition: String,
    /// The condition that keeps less specific policies away when this one cannot be made.
    shield: Option<String>,
    key: Vec<String>,
    /// In the policy language.
    limit: serde_json::Value,
    /// See [`Policy::request_limits`].
    request_limits: bool,
    mode: &'static str,
}

fn name_all(drafts: Vec<Draft>, report: &mut Report) -> Vec<Policy> {
    let names = Names::of(drafts.iter().map(|draft| draft.path.as_slice()));
    let mut policies = Vec::new();
    let mut taken = HashSet::new();
    for draft in drafts {
        let name = names.name(&draft.path, &draft.identity);
        report.enter(&draft.file);
        if !taken.insert(name.clone()) {
            let message = format!("would be a second policy named {name:?}; rename one of them");
            report.no_equivalent(draft.line, &draft.field, "", &message);
            continue;
        }
        let (line, field) = (draft.line, draft.field.clone());
        let shield = draft.shield();
        match draft.policy(&name) {
            Ok(policy) => policies.push(policy),
            Err(message) => {
                report.no_equivalent(line, &field, "", &message);
                policies.extend(shield.and_then(|draft| draft.policy(&name).ok()));
            }
        }
    }
    policies
}

impl Draft {
    fn policy(self, name: &str) -> Result<Policy, String> {
        let mut document = json!({
            "name": name, "level": "custom", "match": self.condition, "mode": self.mode,
            "limits": [self.limit],
        });
        if self.request_limits {
            document["request_limits"] = json!(true);
        }
        if !self.key.is_empty() {
            document["key"] = json!(self.key);
        }
        Policy::from_json(&document).map_err(|errors| {
            let faults: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
            format!("has no equivalent, for its policy would be refused: {}", faults.join("; "))
        })
    }

    /// A policy that is off: requests that meet its rule are not limited, and meet no other rule.
    fn shield(&self) -> Option<Draft> {
        Some(Draft {
            condition: self.shield.clone()?,
            limit: unlimited("1d"),
            mode: "off",
            ..Draft::default()
        })
    }
}

/// A limit that nothing reaches.
fn unlimited(window: &str) -> serde_json::Value {
    json!({ "requests": "unlimited", "window": window })
}

/// A text as CEL writes it. Only what would end or change the text is escaped.
fn quoted(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing to a string cannot fail.
            c if c.is_control() => drop(write!(out, "\\U{:08X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
