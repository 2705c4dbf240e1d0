//! The fields of a map, read with their paths. What is wrong is reported and reads as absent.

use std::collections::HashMap;

use super::{
    report::Report,
    yaml::{Node, Value},
};

/// A map, by the names of its fields.
pub(super) struct Fields<'n> {
    /// Where the map begins.
    pub(super) line: usize,
    pub(super) path: String,
    map: HashMap<&'n str, &'n Node>,
}

/// The path of a field.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

impl<'n> Fields<'n> {
    /// The fields of a node, which must be a map with only these names. `<<` brings in what is not
    /// given.
    pub(super) fn of(
        node: &'n Node,
        path: &str,
        known: &[&str],
        report: &mut Report,
    ) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            report.invalid(node.line, path, node.excerpt(), "is not a map with named fields");
            return None;
        };
        let mut map: HashMap<&str, &Node> = HashMap::new();
        let mut merged = Vec::new();
        for (key, value) in entries {
            let Some(name) = name(key) else {
                let message = "is a field whose name is not text";
                report.invalid(key.line, path, key.excerpt(), message);
                continue;
            };
            if name == "<<" {
                merged.push(value);
            } else if !known.contains(&name) {
                let message = format!("is an unknown field; known are {}", known.join(", "));
                report.invalid(key.line, &join(path, name), value.excerpt(), &message);
            } else if map.insert(name, value).is_some() {
                report.invalid(key.line, &join(path, name), value.excerpt(), "is given twice");
            }
        }
        for (key, value) in merged.iter().flat_map(|node| merge(node)) {
            let known = name(key).filter(|name| known.contains(name));
            known.map(|name| map.entry(name).or_insert(value));
        }
        Some(Fields { line: node.line, path: path.to_owned(), map })
    }

    /// The field, unless it is absent or null.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.map.get(name).copied().filter(|node| !node.is_null())
    }

    /// The line of a field, or of the map.
    pub(super) fn line_of(&self, name: &str) -> usize {
        self.map.get(name).map_or(self.line, |node| node.line)
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    pub(super) fn text(&self, name: &str, report: &mut Report) -> Option<&'n str> {
        let node = self.get(name)?;
        match &node.value {
            Value::Scalar(text, _) => Some(text),
            _ => {
                report.invalid(node.line, &self.path_of(name), node.excerpt(), "is not text");
                None
            }
        }
    }

    /// `false` if it is absent. YAML 1.1's words count, too, as the Go library reads them.
    pub(super) fn flag(&self, name: &str, report: &mut Report) -> bool {
        let Some(node) = self.get(name) else { return false };
        let Value::Scalar(text, true) = &node.value else {
            report.invalid(
                node.line,
                &self.path_of(name),
                node.excerpt(),
                "is neither true nor false",
            );
            return false;
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => true,
            "false" | "no" | "off" | "n" => false,
            _ => {
                report.invalid(node.line, &self.path_of(name), text, "is neither true nor false");
                false
            }
        }
    }

    /// A whole number up to `most`.
    pub(super) fn number(&self, name: &str, most: u64, report: &mut Report) -> Option<u64> {
        let node = self.get(name)?;
        let number = match &node.value {
            Value::Scalar(text, true) => text.parse().ok().filter(|number| *number <= most),
            _ => None,
        };
        if number.is_none() {
            let message = format!("is not a whole number from 0 to {most}");
            report.invalid(node.line, &self.path_of(name), node.excerpt(), &message);
        }
        number
    }

    /// The elements with their paths; none if it is absent.
    pub(super) fn list(&self, name: &str, report: &mut Report) -> Vec<(String, &'n Node)> {
        let Some(node) = self.get(name) else { return Vec::new() };
        let Value::List(items) = &node.value else {
            report.invalid(node.line, &self.path_of(name), node.excerpt(), "is not a list");
            return Vec::new();
        };
        let path = self.path_of(name);
        items.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
    }
}

/// What `<<` brings in.
fn merge(node: &Node) -> impl Iterator<Item = &(Node, Node)> {
    let maps = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    maps.iter().flat_map(|map| match &map.value {
        Value::Map(entries) => entries.as_slice(),
        _ => &[],
    })
}

/// A key as a name: text, and no number, truth or null without quotes.
fn name(key: &Node) -> Option<&str> {
    match &key.value {
        Value::Scalar(text, plain) => {
            let other = *plain
                && (key.is_null()
                    || text.parse::<f64>().is_ok()
                    || matches!(text.as_str(), "true" | "false"));
            (!other).then_some(text)
        }
        _ => None,
    }
}
