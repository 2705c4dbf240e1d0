//! Other amounts for some keys, and resets.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    super::{Limit, MAX_LIMITS, MAX_OVERRIDES, MAX_RESETS, Override, PolicyErrors, Reset},
    fields::{Fields, place},
    limit::limit,
    text,
};
use crate::request::MAX_VALUE_BYTES;

/// Overrides of a policy whose `key` has so many parts and whose limits are these.
pub(super) fn overrides(
    fields: &mut Fields<'_, '_>,
    parts: usize,
    limits: &[Limit],
) -> Vec<Override> {
    let read = |value: &Value, path: &str, errors: &mut PolicyErrors| {
        one(value, path, errors, parts, limits)
    };
    let read = fields.list("overrides", MAX_OVERRIDES, read);
    let mut seen = HashSet::new();
    for (index, item) in read.iter().enumerate() {
        if !seen.insert(&item.key) {
            let message = "has the key of an earlier override; give each key once";
            fields.refuse(&place("overrides", index), message);
        }
    }
    read
}

fn one(
    value: &Value,
    path: &str,
    errors: &mut PolicyErrors,
    parts: usize,
    limits: &[Limit],
) -> Option<Override> {
    let mut fields = Fields::of(value, path, errors)?;
    fields.only(&["key", "limits"], &[]);
    if !fields.has("key") {
        fields.missing("key", "give the value of each part of the policy's key, in its order");
    }
    let key = key(&mut fields, parts);
    if !fields.has("limits") {
        fields.missing("limits", "give other amounts, like { requests: 20000, window: 1m }");
    }
    let read = |value: &Value, path: &str, errors: &mut PolicyErrors| {
        amount_for(value, path, errors, limits)
    };
    let changed = fields.list("limits", MAX_LIMITS, read);
    Some(Override { key: key?, limits: changed })
}

/// The values of a key's parts.
fn key(fields: &mut Fields<'_, '_>, parts: usize) -> Option<Vec<String>> {
    let part = |value: &Value, path: &str, errors: &mut PolicyErrors| {
        let part = text(value, "the value as text").and_then(|part| {
            if part.len() > MAX_VALUE_BYTES {
                return Err(format!("has more than {MAX_VALUE_BYTES} bytes, so no request has it"));
            }
            Ok(part.to_owned())
        });
        part.map_err(|message| errors.refuse(path, value, message)).ok()
    };
    let given = fields.list("key", crate::key::MAX_KEY_PARTS, part);
    if fields.has("key") && given.len() != parts {
        let message = format!("has {} values; the policy's key has {parts}", given.len());
        fields.refuse("key", message);
        return None;
    }
    Some(given)
}

/// A limit of the policy with another amount. Without an algorithm it is the one of that unit and
/// window.
fn amount_for(
    value: &Value,
    path: &str,
    errors: &mut PolicyErrors,
    limits: &[Limit],
) -> Option<Limit> {
    let mut value = value.clone();
    let before = errors.0.len();
    if let Some(map) = value.as_object_mut()
        && !map.contains_key("algorithm")
    {
        let mut ignored = PolicyErrors::default();
        let bare = limit(&Value::Object(map.clone()), path, &mut ignored);
        let same = |own: &&Limit| {
            bare.as_ref().is_none_or(|bare| own.unit == bare.unit && own.window == bare.window)
        };
        let own = limits.iter().filter(|own| own.unit != crate::amount::Unit::Concurrency);
        if let Some(own) = own.clone().find(same) {
            map.insert("algorithm".to_owned(), own.algorithm.as_str().into());
        }
    }
    let read = limit(&value, path, errors)?;
    if errors.0.len() > before || limits.iter().any(|own| own.id() == read.id()) {
        return Some(read);
    }
    let known: Vec<String> = limits.iter().map(Limit::id).collect();
    let message = format!(
        "is no limit of this policy ({}); an override changes the amounts of its limits, which are {}",
        read.id(),
        known.join(", ")
    );
    errors.refuse(path, &value, message);
    None
}

/// When counters began anew.
pub(super) fn resets(fields: &mut Fields<'_, '_>, parts: usize) -> Vec<Reset> {
    fields.list("resets", MAX_RESETS, |value: &Value, path: &str, errors: &mut PolicyErrors| {
        let mut fields = Fields::of(value, path, errors)?;
        fields.only(&["key", "at"], &[]);
        let at = fields.required("at", "give seconds since 1970", |value| {
            value.as_u64().ok_or_else(|| "is not a number of seconds since 1970".to_owned())
        });
        let key = if fields.has("key") { Some(key(&mut fields, parts)?) } else { None };
        Some(Reset { key, at: at? })
    })
}
