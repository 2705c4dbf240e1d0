//! What a command prints: a table for people, JSON or YAML for programs.

use std::io;

use clap::ValueEnum;
use serde_json::Value;

use super::{Failure, table::Table};

/// `--output`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// Aligned columns
    Table,
    /// As the API answers
    Json,
    /// As the API answers
    Yaml,
}

impl OutputFormat {
    /// Whether people read it.
    pub(super) fn is_table(self) -> bool {
        self == OutputFormat::Table
    }

    /// Whether comments may stand in it.
    pub(super) fn is_yaml(self) -> bool {
        self == OutputFormat::Yaml
    }
}

/// The chosen way to print.
pub(super) struct Output {
    format: OutputFormat,
}

impl Output {
    /// Prints in this format.
    pub(super) fn new(format: OutputFormat) -> Output {
        Output { format }
    }

    /// Prints `value`, or the tables that `tables` makes of it.
    pub(super) fn print(
        &mut self,
        out: &mut dyn io::Write,
        value: &Value,
        tables: impl FnOnce(&Value) -> Vec<Table>,
    ) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Json => {
                let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
                writeln!(out, "{text}")?;
            }
            OutputFormat::Yaml => {
                let text = serde_norway::to_string(value).map_err(io::Error::other)?;
                out.write_all(text.as_bytes())?;
            }
            OutputFormat::Table => {
                for (index, table) in tables(value).into_iter().enumerate() {
                    if index > 0 {
                        writeln!(out)?;
                    }
                    table.print(out)?;
                }
            }
        }
        Ok(())
    }
}

/// The list in a field; nothing if it is not there.
pub(super) fn list<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

/// A field as text; empty if it is not there.
pub(super) fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let items = items.iter().map(|item| item.as_str().unwrap_or_default());
            items.collect::<Vec<_>>().join(", ")
        }
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// Several fields as cells.
pub(super) fn cells<const N: usize>(value: &Value, fields: [&str; N]) -> [String; N] {
    fields.map(|field| text(value, field))
}

/// Says that there are more of what was asked for, and which options show fewer.
#[expect(clippy::print_stderr, reason = "a note beside the answer, which stays parseable")]
pub(super) fn tell_truncated(answer: &Value, narrow: &str) {
    if answer["truncated"] == true {
        eprintln!("there are more; narrow with {narrow}, or raise --limit");
    }
}
