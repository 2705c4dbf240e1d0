//! JSON → policy, collecting every fault.

use std::time::Duration;

use serde_json::Value;

use self::{
    fields::{Fields, place},
    limit::limit,
    overrides::{overrides, resets},
};
use super::{
    DEFAULT_WAIT, Group, KeyPart, Level, Limit, MAX_GROUPS, MAX_LIMITS, MAX_POLICY_BYTES, MAX_WAIT,
    Override, Policy, PolicyErrors, PolicyName, Reset, choice::Choice,
};
use crate::{expr::Expr, key::MAX_KEY_PARTS, request::MAX_VALUE_BYTES};

mod during;
mod fields;
mod limit;
mod overrides;
mod span;

const POLICY_FIELDS: [&str; 15] = [
    "name",
    "level",
    "match",
    "key",
    "limits",
    "groups",
    "overrides",
    "parent",
    "request_limits",
    "resets",
    "mode",
    "on_limit",
    "on_disconnect",
    "accuracy",
    "max_wait",
];
const GROUP_FIELDS: [&str; 4] = ["name", "when", "during", "limits"];

/// Reads the policy at `path`, which is empty for a bare one.
pub(super) fn policy_at(value: &Value, path: &str) -> Result<Policy, PolicyErrors> {
    let mut errors = PolicyErrors::default();
    let policy = policy(value, path, &mut errors);
    let keys = |policy: &&Policy| policy.overrides.len() + policy.resets.len();
    if let Some(policy) = policy.as_ref().filter(|policy| keys(policy) > FEW) {
        check_length(policy, value, path, &mut errors);
    }
    policy.filter(|_| errors.0.is_empty()).ok_or(errors)
}

/// So many overrides and resets are short enough, with keys as long as they may be.
const FEW: usize = 16;
/// A byte of text has at most six as JSON (`\u001f`); what is no override or reset has less than a third of what
/// a policy may have.
const _: () = assert!(FEW * MAX_KEY_PARTS * (6 * MAX_VALUE_BYTES + 3) < MAX_POLICY_BYTES / 3 * 2);

fn check_length(policy: &Policy, value: &Value, path: &str, errors: &mut PolicyErrors) {
    let bytes = policy.to_json().to_string().len();
    if bytes > MAX_POLICY_BYTES {
        let list = |name| value.get(name).map_or(0, |list| list.to_string().len());
        let (field, advice) = if list("resets") > list("overrides") {
            ("resets", "reset the policy as a whole, which leaves none of single keys")
        } else {
            let advice = "shorten the keys, or spread the overrides over policies with conditions of \
                          their own";
            ("overrides", advice)
        };
        let message = format!(
            "make the policy {bytes} bytes long; at most {MAX_POLICY_BYTES} are allowed: {advice}"
        );
        let at = if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
        errors.refuse(at, value.get(field).unwrap_or(value), message);
    }
}

/// `None` after a fault that leaves no policy; other faults are only noted in `errors`.
fn policy(value: &Value, path: &str, errors: &mut PolicyErrors) -> Option<Policy> {
    let mut fields = Fields::of(value, path, errors)?;
    fields.only(&POLICY_FIELDS, &[]);
    let name = fields.required("name", "give each policy a unique name", name);
    let level: Option<Level> = fields.required("level", one_of::<Level>(), choice);
    let condition = fields.optional("match", condition);
    let key = fields.list("key", MAX_KEY_PARTS, key_part);
    let counted = if level == Some(Level::Deny) {
        for field in ["key", "limits", "groups", "overrides", "parent", "request_limits", "resets"]
        {
            fields.refuse_present(field, "does not belong in a deny policy, which counts nothing");
        }
        Counted::default()
    } else {
        counted(&mut fields, level.is_some())
    };
    let Counted { limits, groups, overrides, resets } = counted;
    let parent = parent(&mut fields, name.as_ref());
    Some(Policy {
        mode: fields.optional("mode", choice).unwrap_or_default(),
        on_limit: fields.optional("on_limit", choice).unwrap_or_default(),
        on_disconnect: fields.optional("on_disconnect", choice),
        accuracy: fields.optional("accuracy", choice).unwrap_or_default(),
        request_limits: fields.optional("request_limits", truth).unwrap_or_default(),
        max_wait: fields.optional("max_wait", wait).unwrap_or(DEFAULT_WAIT),
        name: name?,
        level: level?,
        condition,
        key,
        limits,
        groups,
        overrides,
        parent,
        resets,
    })
}

/// What counts, and how much passes.
#[derive(Default)]
struct Counted {
    limits: Vec<Limit>,
    groups: Vec<Group>,
    overrides: Vec<Override>,
    resets: Vec<Reset>,
}

fn counted(fields: &mut Fields<'_, '_>, needed: bool) -> Counted {
    let limits = limits(fields, needed);
    let groups = fields.list("groups", MAX_GROUPS, group);
    check_groups(&groups, fields);
    let parts = fields.count("key");
    let overrides = overrides(fields, parts, &limits);
    Counted { overrides, resets: resets(fields, parts), limits, groups }
}

/// A policy that counts these requests, too.
fn parent(fields: &mut Fields<'_, '_>, own: Option<&PolicyName>) -> Option<PolicyName> {
    let parent = fields.optional("parent", name)?;
    if Some(&parent) == own {
        fields.refuse("parent", "is this policy itself; name another one");
        return None;
    }
    Some(parent)
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

fn truth(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "is neither true nor false".to_owned())
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
