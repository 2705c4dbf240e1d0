//! Why a request meets a policy, or why it does not: for people, so everything is looked at, and
//! slowly. What is met is what [`PolicySet::resolve`] meets.

use std::{collections::BTreeSet, fmt, ops::ControlFlow, sync::Arc};

use super::{PolicySet, Scratch};
use crate::{
    expr::EvalError,
    key::{CounterKey, KeyError},
    policy::{Group, Limit, Mode, Policy},
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
    /// Each limit that counts, and the key of its counter. None at level `deny`.
    pub limits: Vec<(Limit, CounterKey)>,
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

/// The policies that are met, in the order in which they are asked; then the others by level and name.
pub fn explain(set: &PolicySet, request: &Request<'_>, time: Time) -> Vec<Finding> {
    let (mut findings, mut bytes) = (Vec::new(), Vec::new());
    set.resolve(request, time, &mut Scratch::default(), |hit| {
        let mut key = |limit| {
            hit.key_into(limit, &mut bytes);
            CounterKey::parse(&bytes)
        };
        let limits = hit.counted();
        let limits: Result<Vec<_>, KeyError> =
            limits.map(|limit| Ok((Limit::clone(&limit.limit), key(limit)?))).collect();
        let policy = Arc::clone(&hit.policy.policy);
        let outcome = limits.map_err(Unmet::TooLong).map(|limits| {
            let (group, passed_over) = group(&policy, request, time);
            Met { group, passed_over, limits }
        });
        findings.push(Finding { policy, outcome });
        ControlFlow::Continue(())
    });
    let met: BTreeSet<_> = findings.iter().map(|f: &Finding| f.policy.name.clone()).collect();
    let mut others: Vec<_> = set.policies().filter(|policy| !met.contains(&policy.name)).collect();
    // Stable: they come by name.
    others.sort_by_key(|policy| policy.level);
    findings.extend(others.into_iter().map(|policy| Finding {
        policy: Arc::clone(policy),
        outcome: Err(unmet(policy, request)),
    }));
    findings
}

/// Why a policy is not met.
fn unmet(policy: &Policy, request: &Request<'_>) -> Unmet {
    if policy.mode == Mode::Off {
        return Unmet::Off;
    }
    match policy.condition.as_ref().map_or(Ok(true), |condition| condition.matches(request)) {
        Ok(true) => {}
        Ok(false) => return Unmet::False,
        Err(error) => return Unmet::Condition(error),
    }
    for (place, part) in policy.key.iter().enumerate() {
        if let Err(error) = part.text_into(request, &mut String::new()) {
            return Unmet::Key(place, error);
        }
    }
    // Nothing else is left.
    Unmet::TooLong(KeyError::TooLong)
}

/// The group that applies, and those before it.
fn group(
    policy: &Policy,
    request: &Request<'_>,
    time: Time,
) -> (Option<String>, Vec<(String, GroupUnmet)>) {
    let mut passed_over = Vec::new();
    for (place, group) in policy.groups.iter().enumerate() {
        let label = group.label(place).to_string();
        match applies(group, request, time) {
            Ok(()) => return (Some(label), passed_over),
            Err(why) => passed_over.push((label, why)),
        }
    }
    (None, passed_over)
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
