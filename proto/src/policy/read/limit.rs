//! One limit.

use serde_json::Value;

use super::{
    super::{Limit, PolicyErrors},
    fields::{Fields, unknown_choice},
    span, text,
};
use crate::{
    amount::{AmountName, Charging, MAX_AMOUNT, Unit},
    window::{Algorithm, MAX_WINDOW_SECS, Window},
};

/// Fields beside the one that names the unit.
const FIELDS: [&str; 4] = ["amount", "algorithm", "burst", "lease"];
/// A request in flight that nobody reports as finished is taken for finished after this.
const LEASE_SECS: u64 = 60;
/// Suffixes of bytes.
const BYTES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads a limit.
pub(super) fn limit(value: &Value, path: &str, errors: &mut PolicyErrors) -> Option<Limit> {
    let mut fields = Fields::of(value, path, errors)?;
    fields.only(&known(), &[]);
    let counted = counted(&mut fields);
    let unit = counted.as_ref().map(|(unit, _)| unit.clone());
    let (window, algorithm) = if unit == Some(Unit::Concurrency) {
        (lease(&mut fields), Algorithm::default())
    } else {
        fields.refuse_present("lease", "belongs to a limit of concurrency");
        let window = span::span(&mut fields);
        let algorithm = algorithm(&mut fields, unit.as_ref());
        span::check_algorithm(&mut fields, window, algorithm);
        (window, algorithm.unwrap_or_default())
    };
    let burst = burst(&mut fields, unit.as_ref(), algorithm);
    let (unit, amount) = counted?;
    let limit = Limit { unit, amount, window: window?, algorithm, burst };
    if limit.horizon().secs() == MAX_WINDOW_SECS && limit.window.secs() < MAX_WINDOW_SECS {
        let message = "is too large for this rate: a bucket fills within 365d at most";
        fields.refuse("burst", message);
        return None;
    }
    Some(limit)
}

fn known() -> Vec<&'static str> {
    Unit::names().into_iter().chain(FIELDS).chain(span::FIELDS).collect()
}

/// Which unit is limited, and to how much.
fn counted(fields: &mut Fields<'_, '_>) -> Option<(Unit, u64)> {
    let given: Vec<&str> =
        Unit::names().into_iter().chain(["amount"]).filter(|name| fields.has(name)).collect();
    let name = match given.as_slice() {
        [] => {
            fields.missing("requests", "say how many pass per window, or limit another unit");
            return None;
        }
        [name] => *name,
        [first, second, ..] => {
            let message = format!("comes beside {first}; a limit counts one unit, so write two");
            fields.refuse(second, message);
            return None;
        }
    };
    let Some(unit) = Unit::parse(name) else { return custom(fields) };
    let bytes = unit.is_bytes();
    Some((unit, fields.optional(name, |value| amount(value, bytes))?))
}

/// `amount: { name: books, value: 20 }`.
fn custom(fields: &mut Fields<'_, '_>) -> Option<(Unit, u64)> {
    let path = fields.at("amount");
    let (value, errors) = fields.raw("amount")?;
    let mut inner = Fields::of(value, &path, errors)?;
    inner.only(&["name", "value"], &[]);
    let name = inner.required("name", "name the amount as requests report it", |value| {
        AmountName::new(text(value, "a name")?).map_err(|e| e.to_string())
    });
    let value =
        inner.required("value", "say how much passes per window", |value| amount(value, false));
    Some((Unit::Custom(name?), value?))
}

/// A whole number, `unlimited`, or bytes with a suffix.
pub(super) fn amount(value: &Value, bytes: bool) -> Result<u64, String> {
    let read = match value {
        Value::String(text) if text == "unlimited" => Some(MAX_AMOUNT),
        Value::String(text) if bytes => parse_bytes(text),
        other => other.as_u64(),
    };
    let also = if bytes { ", bytes like 10MiB (B, KB, KiB, MB, MiB, GB, GiB)," } else { "" };
    read.filter(|amount| *amount <= MAX_AMOUNT)
        .ok_or_else(|| format!("is not a whole number from 0 to {MAX_AMOUNT}{also} or unlimited"))
}

fn parse_bytes(text: &str) -> Option<u64> {
    let (number, factor) = BYTES
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?.trim_end(), *factor)))?;
    let whole = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse());
    whole(number)?.ok().and_then(|number: u64| number.checked_mul(factor))
}

fn lease(fields: &mut Fields<'_, '_>) -> Option<Window> {
    for field in span::FIELDS.into_iter().chain(["algorithm"]) {
        fields.refuse_present(field, "does not belong to concurrency, which has a lease instead");
    }
    if fields.has("lease") {
        return fields.optional("lease", span::window);
    }
    Window::from_secs(LEASE_SECS).ok()
}

fn burst(fields: &mut Fields<'_, '_>, unit: Option<&Unit>, algorithm: Algorithm) -> Option<u64> {
    if algorithm != Algorithm::TokenBucket {
        fields.refuse_present("burst", "belongs to algorithm: token_bucket");
        return None;
    }
    let bytes = unit.is_some_and(Unit::is_bytes);
    fields.optional("burst", |value| match amount(value, bytes)? {
        0 => Err("holds nothing, so nothing would pass; give at least 1".to_owned()),
        MAX_AMOUNT => Err("cannot be unlimited".to_owned()),
        burst => Ok(burst),
    })
}

fn algorithm(fields: &mut Fields<'_, '_>, unit: Option<&Unit>) -> Option<Algorithm> {
    let flagged = unit.is_some_and(|unit| unit.charging() == Charging::Flagged);
    let known: Vec<&str> = Algorithm::ALL
        .into_iter()
        .filter(|algorithm| !flagged || *algorithm != Algorithm::TokenBucket)
        .map(Algorithm::as_str)
        .collect();
    let read = |value: &Value| {
        let text = text(value, &format!("one of {}", known.join(", ")))?;
        let found = Algorithm::parse(text).filter(|found| known.contains(&found.as_str()));
        found.ok_or_else(|| match Algorithm::parse(text) {
            Some(_) => format!("does not go with errors; allowed are {}", known.join(", ")),
            None => unknown_choice(text, &known),
        })
    };
    fields.optional("algorithm", read)
}
