//! Why a request meets a policy, or why it does not: for people, so everything is looked at, and
//! slowly. What is met is what [`PolicySet::resolve`](super::PolicySet::resolve) meets.

use std::{fmt, sync::Arc};

use crate::{
    expr::EvalError,
    key::{CounterKey, KeyError},
    policy::{Group, Level, Limit, Mode, Policy},
    request::Request,
    time::Time,
};

/// One policy and one request.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The policy.
    pub policy: Arc<Policy>,
    /// What came of it.
    pub outcome: Result<Met, Unmet>,
}

/// How a policy is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// The label of the group whose limits count; `None` = the policy's own do.
    pub group: Option<String>,
    /// The groups before that one, all if none applies, and why they do not.
    pub passed_over: Vec<(String, GroupUnmet)>,
    /// Each limit that counts, with its id and the key of its counter. None at level `deny`.
    pub limits: Vec<(String, Limit, CounterKey)>,
}

/// Why a policy is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    /// `mode: off`.
    Off,
    /// `match` is false.
    False,
    /// `match` fails.
    Condition(EvalError),
    /// A part of `key` fails; its place.
    Key(usize, EvalError),
    /// The request's values are too long for a key.
    TooLong(KeyError),
}

impl Unmet {
    /// The cause in one word: `off`, `condition_false`, `attribute_absent` or `error`.
    pub fn cause(&self) -> &'static str {
        match self {
            Unmet::Off => "off",
            Unmet::False => "condition_false",
            Unmet::Condition(EvalError::Absent(_)) | Unmet::Key(_, EvalError::Absent(_)) => {
                "attribute_absent"
            }
            Unmet::Condition(_) | Unmet::Key(..) | Unmet::TooLong(_) => "error",
        }
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unmet::Off => f.write_str("its mode is off"),
            Unmet::False => f.write_str("match is false"),
            Unmet::Condition(error) => write!(f, "match has no value: {error}"),
            Unmet::Key(place, error) => write!(f, "key[{place}] has no value: {error}"),
            Unmet::TooLong(error) => write!(f, "its key is not usable: {error}"),
        }
    }
}

/// Why a group does not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupUnmet {
    /// It is not the time of `during`.
    During,
    /// `when` is false.
    False,
    /// `when` fails.
    Condition(EvalError),
}

impl fmt::Display for GroupUnmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupUnmet::During => f.write_str("it is not the time of during"),
            GroupUnmet::False => f.write_str("when is false"),
            GroupUnmet::Condition(error) => write!(f, "when has no value: {error}"),
        }
    }
}

/// Looks at the policies in evaluation order: by level, then by name.
pub fn explain<'p>(
    policies: impl IntoIterator<Item = &'p Arc<Policy>>,
    request: &Request<'_>,
    time: Time,
) -> Vec<Finding> {
    let mut policies: Vec<&Arc<Policy>> = policies.into_iter().collect();
    policies.sort_by_key(|policy| (policy.level, policy.name.clone()));
    let finding = |policy: &Arc<Policy>| Finding {
        policy: Arc::clone(policy),
        outcome: look(policy, request, time),
    };
    policies.into_iter().map(finding).collect()
}

fn look(policy: &Policy, request: &Request<'_>, time: Time) -> Result<Met, Unmet> {
    if policy.mode == Mode::Off {
        return Err(Unmet::Off);
    }
    if let Some(condition) = &policy.condition
        && !condition.matches(request).map_err(Unmet::Condition)?
    {
        return Err(Unmet::False);
    }
    let mut parts = Vec::new();
    for (place, part) in policy.key.iter().enumerate() {
        let mut text = String::new();
        part.text_into(request, &mut text).map_err(|error| Unmet::Key(place, error))?;
        parts.push(text);
    }
    // All or none: with the longest of its ids, too, the key must be one.
    for (id, _) in policy.all_limits() {
        key(policy, &id, &parts)?;
    }
    let mut passed_over = Vec::new();
    for (place, group) in policy.groups.iter().enumerate() {
        let label = group.label(place).to_string();
        match applies(group, request, time) {
            Ok(()) => {
                let limits =
                    group.limits.iter().map(|limit| (group.limit_id(place, limit), *limit));
                let limits = counted(policy, limits, &parts)?;
                return Ok(Met { group: Some(label), passed_over, limits });
            }
            Err(why) => passed_over.push((label, why)),
        }
    }
    let own = policy.limits.iter().map(|limit| (limit.id(), *limit));
    let own = if policy.level == Level::Deny { Vec::new() } else { counted(policy, own, &parts)? };
    Ok(Met { group: None, passed_over, limits: own })
}

fn applies(group: &Group, request: &Request<'_>, time: Time) -> Result<(), GroupUnmet> {
    if group.during.as_ref().is_some_and(|during| !during.holds(time)) {
        return Err(GroupUnmet::During);
    }
    match group.when.as_ref().map_or(Ok(true), |when| when.matches(request)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(GroupUnmet::False),
        Err(error) => Err(GroupUnmet::Condition(error)),
    }
}

fn counted(
    policy: &Policy,
    limits: impl Iterator<Item = (String, Limit)>,
    parts: &[String],
) -> Result<Vec<(String, Limit, CounterKey)>, Unmet> {
    limits.map(|(id, limit)| key(policy, &id, parts).map(|key| (id, limit, key))).collect()
}

fn key(policy: &Policy, id: &str, parts: &[String]) -> Result<CounterKey, Unmet> {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    CounterKey::new(policy.name.as_str(), id, &parts).map_err(Unmet::TooLong)
}
