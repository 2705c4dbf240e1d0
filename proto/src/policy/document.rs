//! The document that holds policies.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Policy, PolicyErrors, read, yaml::read_yaml};

/// What a document's `apiVersion` says.
pub const API_VERSION: &str = "weir/v1";
/// Longest document, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 16 << 20;

/// Reads a YAML or JSON document: `apiVersion: weir/v1` with `policies`, or one bare policy.
///
/// # Errors
/// Every fault of every policy, with paths like `policies[2].limits[0].window`; then no policy of
/// the document is usable.
pub fn parse_document(text: &str) -> Result<Vec<Policy>, PolicyErrors> {
    if text.len() > MAX_DOCUMENT_BYTES {
        let message = format!("has {} bytes; at most {MAX_DOCUMENT_BYTES} are read", text.len());
        return Err(PolicyErrors::document(message));
    }
    let value = parse_text(text).map_err(PolicyErrors::document)?;
    let is_document = ["policies", "apiVersion"].iter().any(|field| value.get(field).is_some());
    if is_document {
        policies(&value)
    } else {
        Policy::from_json(&value).map(|policy| vec![policy])
    }
}

/// JSON if it looks like it (its errors are clearer), YAML otherwise.
fn parse_text(text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|e| format!("is not valid JSON: {e}"));
    }
    read_yaml(text)
}

fn policies(document: &Value) -> Result<Vec<Policy>, PolicyErrors> {
    let mut errors = PolicyErrors::default();
    check_envelope(document, &mut errors);
    let mut policies = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let items = document.get("policies").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (index, item) in items.iter().enumerate() {
        match read::policy_at(item, &format!("policies[{index}]")) {
            Ok(policy) => policies.push(policy),
            Err(more) => errors.append(more),
        }
        let Some(name) = item.get("name").and_then(Value::as_str) else { continue };
        if let Some(first) = places.get(name) {
            let message = format!("is the name of policies[{first}], too; names are unique");
            errors.refuse(format!("policies[{index}].name"), &Value::from(name), message);
        } else {
            places.insert(name.to_owned(), index);
        }
    }
    if errors.0.is_empty() { Ok(policies) } else { Err(errors) }
}

fn check_envelope(document: &Value, errors: &mut PolicyErrors) {
    match document.get("apiVersion") {
        None => errors.missing("apiVersion", format_args!("give {API_VERSION}")),
        Some(version) if version.as_str() == Some(API_VERSION) => {}
        Some(version) => {
            errors.refuse("apiVersion", version, format_args!("is unknown; give {API_VERSION}"));
        }
    }
    match document.get("policies") {
        None => errors.missing("policies", "give a list of policies"),
        Some(list) if list.is_array() => {}
        Some(other) => errors.refuse("policies", other, "is not a list of policies"),
    }
    let fields = document.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| *name != "apiVersion" && *name != "policies") {
        errors.refuse(name, value, "is an unknown field; known are apiVersion, policies");
    }
}
