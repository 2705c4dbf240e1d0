//! JSON → policy, collecting every fault.

use std::time::Duration;

use serde_json::Value;

use self::fields::{Fields, place};
use super::{
    DEFAULT_WAIT, Group, KeyPart, Level, Limit, MAX_GROUPS, MAX_LIMITS, MAX_WAIT, Policy,
    PolicyErrors, PolicyName, choice::Choice,
};
use crate::{
    amount::{LATER_UNITS, MAX_AMOUNT, Unit},
    expr::Expr,
    key::MAX_KEY_PARTS,
    window::Algorithm,
};

mod during;
mod fields;
mod span;

const POLICY_FIELDS: [&str; 11] = [
    "name",
    "level",
    "match",
    "key",
    "limits",
    "groups",
    "mode",
    "on_limit",
    "on_disconnect",
    "accuracy",
    "max_wait",
];
const GROUP_FIELDS: [&str; 4] = ["name", "when", "during", "limits"];
const LIMIT_FIELDS: [&str; 2] = ["requests", "algorithm"];
/// Fields of a limit that the policy language has and this version does not.
const LATER_LIMIT_FIELDS: [&str; 1] = ["burst"];
const LATER: &str = "is not supported by this version yet";

/// Reads the policy at `path`, which is empty for a bare one.
pub(super) fn policy_at(value: &Value, path: &str) -> Result<Policy, PolicyErrors> {
    let mut errors = PolicyErrors::default();
    let policy = policy(value, path, &mut errors);
    policy.filter(|_| errors.0.is_empty()).ok_or(errors)
}

/// `None` after a fault that leaves no policy; other faults are only noted in `errors`.
fn policy(value: &Value, path: &str, errors: &mut PolicyErrors) -> Option<Policy> {
    let mut fields = Fields::of(value, path, errors)?;
    fields.only(&POLICY_FIELDS, &[]);
    let name = fields.required("name", "give each policy a unique name", name);
    let level: Option<Level> = fields.required("level", one_of::<Level>(), choice);
    let condition = fields.optional("match", condition);
    let key = fields.list("key", MAX_KEY_PARTS, key_part);
    let (limits, groups) = if level == Some(Level::Deny) {
        for field in ["key", "limits", "groups"] {
            fields.refuse_present(field, "does not belong in a deny policy, which counts nothing");
        }
        (Vec::new(), Vec::new())
    } else {
        let limits = limits(&mut fields, level.is_some());
        let groups = fields.list("groups", MAX_GROUPS, group);
        check_groups(&groups, &mut fields);
        (limits, groups)
    };
    Some(Policy {
        mode: fields.optional("mode", choice).unwrap_or_default(),
        on_limit: fields.optional("on_limit", choice).unwrap_or_default(),
        on_disconnect: fields.optional("on_disconnect", choice),
        accuracy: fields.optional("accuracy", choice).unwrap_or_default(),
        max_wait: fields.optional("max_wait", wait).unwrap_or(DEFAULT_WAIT),
        name: name?,
        level: level?,
        condition,
        key,
        limits,
        groups,
    })
}

/// The list of limits, without twins; `needed` asks for at least one.
fn limits(fields: &mut Fields<'_, '_>, needed: bool) -> Vec<Limit> {
    if needed && !fields.has("limits") {
        fields.missing("limits", "give at least one, like { requests: 100, window: 1m }");
        return Vec::new();
    }
    let before = fields.errors.0.len();
    let limits = fields.list("limits", MAX_LIMITS, limit);
    if needed && limits.is_empty() && fields.errors.0.len() == before {
        fields.refuse("limits", "is empty; give at least one limit");
    }
    for (index, limit) in limits.iter().enumerate() {
        let same = |other: &&Limit| other.id() == limit.id();
        if limits.iter().take(index).any(|other| same(&other)) {
            let message = format!(
                "counts the same as an earlier one ({}); merge them into one limit",
                limit.id()
            );
            fields.refuse(&place("limits", index), message);
        }
    }
    limits
}

fn limit(value: &Value, path: &str, errors: &mut PolicyErrors) -> Option<Limit> {
    let mut fields = Fields::of(value, path, errors)?;
    for field in LATER_UNITS.iter().chain(&LATER_LIMIT_FIELDS) {
        fields.refuse_present(field, LATER);
    }
    let known = [&LIMIT_FIELDS[..], &span::FIELDS].concat();
    fields.only(&known, &[&LATER_UNITS, &LATER_LIMIT_FIELDS]);
    let unit = Unit::Requests;
    // A field for later versions was refused already; that another is missing follows from it.
    let amount = if LATER_UNITS.iter().any(|later| fields.has(later)) {
        None
    } else {
        fields.required(unit.as_str(), "say how many pass per window", amount)
    };
    let window = span::span(&mut fields);
    let algorithm = fields.optional("algorithm", algorithm);
    span::check_algorithm(&mut fields, window, algorithm);
    Some(Limit { unit, amount: amount?, window: window?, algorithm: algorithm.unwrap_or_default() })
}

fn group(value: &Value, path: &str, errors: &mut PolicyErrors) -> Option<Group> {
    let mut fields = Fields::of(value, path, errors)?;
    fields.only(&GROUP_FIELDS, &[]);
    let name = fields.optional("name", name);
    if !fields.has("when") && !fields.has("during") {
        fields.missing("when", "say in CEL of which requests, or give during, the times");
    }
    let when = fields.optional("when", condition);
    let during = fields.object("during", during::schedule);
    let limits = limits(&mut fields, true);
    Some(Group { name, when, during, limits })
}

/// Two groups with one label would share counters.
fn check_groups(groups: &[Group], fields: &mut Fields<'_, '_>) {
    let labels: Vec<String> =
        groups.iter().enumerate().map(|(i, g)| g.label(i).to_string()).collect();
    for (index, label) in labels.iter().enumerate() {
        if labels.iter().take(index).any(|other| other == label) {
            let message = format!("has the name of an earlier group, {label}; names are unique");
            fields.refuse(&place("groups", index), message);
        }
    }
}

fn text<'v>(value: &'v Value, what: &str) -> Result<&'v str, String> {
    value.as_str().ok_or_else(|| format!("is not text; give {what}"))
}

fn name(value: &Value) -> Result<PolicyName, String> {
    PolicyName::new(text(value, "a name")?).map_err(|e| e.to_string())
}

fn condition(value: &Value) -> Result<Expr, String> {
    let source = text(value, "a CEL expression in quotes")?;
    let expr = Expr::parse(source).map_err(|e| e.to_string())?;
    if !expr.can_be_condition() {
        return Err(
            "is not a condition: it is never true or false; compare it with something".into()
        );
    }
    Ok(expr)
}

fn key_part(value: &Value, path: &str, errors: &mut PolicyErrors) -> Option<KeyPart> {
    let part = text(value, "an attribute or a CEL expression in quotes")
        .and_then(|source| KeyPart::parse(source).map_err(|e| e.to_string()));
    part.map_err(|message| errors.refuse(path, value, message)).ok()
}

fn amount(value: &Value) -> Result<u64, String> {
    value.as_u64().filter(|amount| *amount <= MAX_AMOUNT).ok_or_else(|| {
        let hint = match value.as_str() {
            Some("unlimited") => "; to lift a limit, leave it out or set mode: off",
            _ => "",
        };
        format!("is not a whole number from 0 to {MAX_AMOUNT}{hint}")
    })
}

fn algorithm(value: &Value) -> Result<Algorithm, String> {
    let known = Algorithm::ALL.map(Algorithm::as_str);
    let text = text(value, &format!("one of {}", known.join(", ")))?;
    Algorithm::parse(text).ok_or_else(|| match text {
        "token_bucket" => format!("{LATER}; use one of {}", known.join(", ")),
        _ => fields::unknown_choice(text, &known),
    })
}

/// `one of a, b, c`: what a closed choice allows.
fn one_of<C: Choice>() -> String {
    format!("give one of {}", names::<C>().join(", "))
}

fn names<C: Choice>() -> Vec<&'static str> {
    C::ALL.iter().map(|choice| choice.name()).collect()
}

fn choice<C: Choice>(value: &Value) -> Result<C, String> {
    let text = text(value, &format!("one of {}", names::<C>().join(", ")))?;
    let found = C::ALL.iter().find(|choice| choice.name() == text);
    found.copied().ok_or_else(|| fields::unknown_choice(text, &names::<C>()))
}

/// `0`, or a whole number of `us`, `ms` or `s`, up to [`MAX_WAIT`].
fn wait(value: &Value) -> Result<Duration, String> {
    let parsed = match value {
        Value::Number(number) if number.as_u64() == Some(0) => Some(Duration::ZERO),
        Value::String(text) => parse_wait(text),
        _ => None,
    };
    let message = "is not a wait; give 0 (never) or a duration from 1us to 1s, like 5ms";
    parsed.filter(|wait| *wait <= MAX_WAIT).ok_or_else(|| message.into())
}

fn parse_wait(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (number, suffix) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = number.parse().ok()?;
    match suffix {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        _ => None,
    }
}
