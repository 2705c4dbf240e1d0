//! The fields of one object, read with their paths.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::super::error::{PolicyErrors, did_you_mean};

/// An object at a path, and where its faults go.
pub(super) struct Fields<'v, 'e> {
    map: &'v Map<String, Value>,
    path: &'e str,
    pub(super) errors: &'e mut PolicyErrors,
}

/// The path of an element: `limits[2]`.
pub(super) fn place(list: &str, index: usize) -> String {
    format!("{list}[{index}]")
}

/// Why a word is not one of `known`.
pub(super) fn unknown_choice(word: &str, known: &[&str]) -> String {
    let all = known.join(", ");
    match did_you_mean(word, known) {
        Some(near) => format!("is unknown; did you mean {near}? Allowed are {all}"),
        None => format!("is unknown; allowed are {all}"),
    }
}

impl<'v, 'e> Fields<'v, 'e> {
    /// The fields of `value`, if it is an object.
    pub(super) fn of(
        value: &'v Value,
        path: &'e str,
        errors: &'e mut PolicyErrors,
    ) -> Option<Self> {
        let Some(map) = value.as_object() else {
            errors.refuse(path, value, "is not an object with named fields");
            return None;
        };
        Some(Fields { map, path, errors })
    }

    /// Refuses fields that are neither in `known` nor, because their own refusal says more, in
    /// `reported`.
    pub(super) fn only(&mut self, known: &[&str], reported: &[&[&str]]) {
        for (name, value) in self.map {
            let name = name.as_str();
            if !known.contains(&name) && !reported.iter().any(|list| list.contains(&name)) {
                let message = match did_you_mean(name, known) {
                    Some(near) => format!("is an unknown field; did you mean {near}?"),
                    None => format!("is an unknown field; known are {}", known.join(", ")),
                };
                self.errors.refuse(self.at(name), value, message);
            }
        }
    }

    /// Whether the field is given; `null` is as good as absent.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<&'v Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// The field, if it is given and good.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.get(name)?;
        read(value).map_err(|message| self.errors.refuse(self.at(name), value, message)).ok()
    }

    /// The field, which must be given.
    pub(super) fn required<T>(
        &mut self,
        name: &str,
        hint: impl Display,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        if !self.has(name) {
            self.missing(name, hint);
        }
        self.optional(name, read)
    }

    /// The field, if it is given and good; `read` gets its path, too.
    pub(super) fn object<T>(
        &mut self,
        name: &str,
        read: impl Fn(&Value, &str, &mut PolicyErrors) -> Option<T>,
    ) -> Option<T> {
        let path = self.at(name);
        read(self.get(name)?, &path, self.errors)
    }

    /// The good elements of a list, at most `most`; empty if it is absent.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        most: usize,
        read: impl Fn(&Value, &str, &mut PolicyErrors) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.get(name) else { return Vec::new() };
        let Some(items) = value.as_array() else {
            self.refuse(name, "is not a list");
            return Vec::new();
        };
        if items.len() > most {
            let message = format!("has {} entries; at most {most} are allowed", items.len());
            self.refuse(name, message);
            return Vec::new();
        }
        let path = self.at(name);
        let items = items.iter().enumerate();
        items.filter_map(|(index, item)| read(item, &place(&path, index), self.errors)).collect()
    }

    /// Notes that a field is missing.
    pub(super) fn missing(&mut self, name: &str, hint: impl Display) {
        self.errors.missing(self.at(name), hint);
    }

    /// Refuses a field, or an element of one (`limits[2]`), whatever it holds.
    pub(super) fn refuse(&mut self, name: &str, message: impl Display) {
        let field = name.split('[').next().unwrap_or(name);
        let value = self.map.get(field).unwrap_or(&Value::Null);
        self.errors.refuse(self.at(name), value, message);
    }

    /// Refuses a field if it is given.
    pub(super) fn refuse_present(&mut self, name: &str, message: impl Display) {
        if self.has(name) {
            self.refuse(name, message);
        }
    }

    /// A field as it is, with where its faults go.
    pub(super) fn raw(&mut self, name: &str) -> Option<(&'v Value, &mut PolicyErrors)> {
        let value = self.get(name)?;
        Some((value, self.errors))
    }

    /// How many elements a list has; none if it is no list.
    pub(super) fn count(&self, name: &str) -> usize {
        self.get(name).and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// The path of a field.
    pub(super) fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}
