//! Bodies that are no policies, field by field: all that is wrong is told at once, as faults of a policy are.

use serde_json::{Map, Value};
use weir_proto::policy::PolicyErrors;

/// The fields of an object, and what was wrong with those that were looked at.
pub(super) struct Fields<'v, 'e> {
    map: &'v Map<String, Value>,
    /// What stands before the name of a field: empty, or `attributes.`.
    path: String,
    faults: &'e mut PolicyErrors,
}

impl<'v, 'e> Fields<'v, 'e> {
    /// The fields of `value`, which is at `path` (empty for the whole body); `None` and a fault if it is no
    /// object. `known` are the names that there are.
    pub(super) fn of(
        value: &'v Value,
        path: &str,
        known: &[&str],
        faults: &'e mut PolicyErrors,
    ) -> Option<Fields<'v, 'e>> {
        let Some(map) = value.as_object() else {
            let what = format!("is not an object with the fields {}", known.join(", "));
            faults.refuse(path, value, what);
            return None;
        };
        let path = if path.is_empty() { String::new() } else { format!("{path}.") };
        for (name, value) in map.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            let message = format!("is an unknown field; known are {}", known.join(", "));
            faults.refuse(format!("{path}{name}"), value, message);
        }
        Some(Fields { map, path, faults })
    }

    /// A field that may be absent; null is as absent.
    pub(super) fn get(&self, name: &str) -> Option<&'v Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// A text that must be there.
    pub(super) fn text(&mut self, name: &str, missing: &str) -> Option<&'v str> {
        let Some(value) = self.get(name) else {
            self.faults.missing(format!("{}{name}", self.path), missing);
            return None;
        };
        let text = value.as_str();
        if text.is_none() {
            self.refuse(name, value, "is not a text");
        }
        text
    }

    /// A list of texts that may be absent.
    pub(super) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let value = self.get(name)?;
        let texts = value.as_array().and_then(|items| {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        if texts.is_none() {
            self.refuse(name, value, "is not a list of texts like [\"shop\", \"orders\"]");
        }
        texts
    }

    /// Notes that a field is refused; `message` follows its value.
    pub(super) fn refuse(&mut self, name: &str, value: &Value, message: &str) {
        self.faults.refuse(format!("{}{name}", self.path), value, message);
    }
}
