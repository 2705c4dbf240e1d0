//! The question, read field by field.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use weir_proto::{
    amount::{Amounts, MAX_AMOUNT, Unit},
    policy::PolicyErrors,
    request::{Attributes, Field},
    time::Time,
};

use super::super::{
    fields::Fields,
    problem::Problem,
    query::{NO_TIME, time},
};

/// Attributes that are objects.
const MAPS: [&str; 3] = ["headers", "query", "claims"];
const DESCRIPTORS: &str = "descriptors";

/// What is asked.
pub(super) struct Question<'v> {
    pub(super) attributes: Attributes<'v>,
    pub(super) amounts: Amounts,
    /// `None` = now.
    pub(super) at: Option<Time>,
}

impl<'v> Question<'v> {
    /// Reads a body.
    ///
    /// # Errors
    /// Every field at fault.
    pub(super) fn read(body: &'v Value) -> Result<Question<'v>, Problem> {
        let mut faults = PolicyErrors::default();
        let question = read(body, &mut faults);
        question.filter(|_| faults.0.is_empty()).ok_or_else(|| {
            Problem::faulty(StatusCode::BAD_REQUEST, "the question is not valid", faults)
        })
    }
}

fn read<'v>(body: &'v Value, faults: &mut PolicyErrors) -> Option<Question<'v>> {
    let fields = Fields::of(body, "", &["attributes", "amounts", "at"], faults)?;
    let (attributes, given, at) =
        (fields.get("attributes"), fields.get("amounts"), fields.get("at"));
    let mut amounts = Amounts::default();
    if let Some(given) = given {
        each(
            given,
            "amounts",
            "is not an object like {\"requests\": 1}",
            faults,
            |name, value, faults| {
                amount(name, value, &mut amounts, faults);
            },
        );
    }
    let at = at.and_then(|value| {
        let at = value.as_str().and_then(time);
        if at.is_none() {
            faults.refuse("at", value, NO_TIME);
        }
        at
    });
    let attributes = match attributes {
        Some(value) => read_attributes(value, faults)?,
        None => Attributes::default(),
    };
    Some(Question { attributes, amounts, at })
}

fn amount(name: &str, value: &Value, amounts: &mut Amounts, faults: &mut PolicyErrors) {
    let field = format!("amounts.{name}");
    match (Unit::named(name), value.as_u64().filter(|amount| *amount <= MAX_AMOUNT)) {
        (Err(error), _) => {
            let known = Unit::names().join(", ");
            faults.refuse(field, value, format!("{error}; known are {known}"));
        }
        (Ok(_), None) => {
            faults.refuse(field, value, format!("is not a whole number from 0 to {MAX_AMOUNT}"));
        }
        (Ok(unit), Some(amount)) => amounts.set(unit, amount),
    }
}

/// Shows each entry of an object.
fn each<'v>(
    value: &'v Value,
    path: &str,
    otherwise: &str,
    faults: &mut PolicyErrors,
    mut see: impl FnMut(&'v str, &'v Value, &mut PolicyErrors),
) {
    match value.as_object() {
        Some(map) => map.iter().for_each(|(name, value)| see(name, value, faults)),
        None => faults.refuse(path, value, otherwise),
    }
}

fn read_attributes<'v>(value: &'v Value, faults: &mut PolicyErrors) -> Option<Attributes<'v>> {
    let otherwise = "is not an object of attributes like {\"application\": \"shop\"}";
    let before = faults.0.len();
    each(value, "attributes", otherwise, faults, attribute);
    if faults.0.len() > before {
        return None;
    }
    // What is left are bounds, and addresses that are none: told in words.
    let read = Attributes::deserialize(value).map_err(|error| error.to_string());
    let read = read.and_then(|attributes| match attributes.request(None) {
        Ok(_) => Ok(attributes),
        Err(error) => Err(error.to_string()),
    });
    read.map_err(|error| faults.refuse("attributes", value, format!("are refused: {error}"))).ok()
}

fn attribute(name: &str, value: &Value, faults: &mut PolicyErrors) {
    let path = format!("attributes.{name}");
    if Field::parse(name).is_some() {
        if !value.is_string() {
            faults.refuse(path, value, "is not a text");
        }
    } else if MAPS.contains(&name) {
        let otherwise = "is not an object of texts like {\"x-tier\": \"gold\"}";
        each(value, &path, otherwise, faults, |name, value, faults| {
            if !(value.is_string() || value.is_number() || value.is_boolean()) {
                faults.refuse(
                    format!("{path}.{name}"),
                    value,
                    "is not a text, a number or a boolean",
                );
            }
        });
    } else if name == DESCRIPTORS {
        descriptors(&path, value, faults);
    } else {
        let fields = Field::ALL.map(Field::as_str).join(", ");
        let maps = MAPS.join(", ");
        let message = format!("is an unknown attribute; known are {fields}, {maps}, {DESCRIPTORS}");
        faults.refuse(path, value, message);
    }
}

fn descriptors(path: &str, value: &Value, faults: &mut PolicyErrors) {
    let Some(list) = value.as_array() else {
        return faults.refuse(path, value, "is not a list of descriptors");
    };
    for (index, descriptor) in list.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(entries) = descriptor.as_array() else {
            let message = "is not a list of entries like {\"key\": \"user\", \"value\": \"u1\"}";
            faults.refuse(path, descriptor, message);
            continue;
        };
        for (index, entry) in entries.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match entry.as_object() {
                Some(fields) if is_entry(fields) => {}
                _ => faults.refuse(path, entry, "is not an object of two texts, key and value"),
            }
        }
    }
}

fn is_entry(fields: &Map<String, Value>) -> bool {
    let is_text = |name| fields.get(name).is_some_and(Value::is_string);
    fields.len() == 2 && is_text("key") && is_text("value")
}
