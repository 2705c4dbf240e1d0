//! From what people wrote to what a run needs.

mod events;
mod order;
mod traffic;

use std::time::Duration;

use weir_proto::{
    amount::Unit,
    policy::{Limit, Policy, parse_document},
    window::Algorithm,
};

use super::{
    Expectations, Refusal, Scenario, ScenarioError,
    file::{self, File},
    units::{Number, Span, Whole, human},
};
use crate::{
    judge::facts,
    plan::{Line, Plan},
};

const MAX_MANAGERS: u64 = 10;
const MAX_AGENTS: u64 = 1_000;
/// Clocks further off than this have nothing to do with time.
const MAX_SKEW_MS: i64 = 600_000;
const WARM_UP: Duration = Duration::from_secs(3);
const DELAY: Duration = Duration::from_micros(500);
/// Longer delays are outages; `cut` makes those.
const MAX_DELAY: Duration = Duration::from_secs(10);
/// More loss than this is an outage.
const MAX_LOSS: f64 = 0.5;

/// Collects faults, so that one run shows all of them.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Refusal>);

impl Faults {
    pub(super) fn refuse(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Refusal { file: None, field: field.into(), message: message.into() });
    }

    /// The value, or a fault of this field.
    pub(super) fn keep<T>(&mut self, field: &str, value: Result<T, String>) -> Option<T> {
        value.map_err(|message| self.refuse(field, message)).ok()
    }
}

/// See [`Scenario::parse`].
pub(super) fn check(
    file: File,
    read: impl FnOnce(&str) -> Result<String, String>,
) -> Result<Scenario, ScenarioError> {
    let mut faults = Faults::default();
    let duration = file.duration.0;
    let warm_up = file.warm_up.map_or(WARM_UP, |Span(span)| span);
    if duration <= warm_up {
        let message = format!(
            "= {} leaves nothing to judge: make it longer than warm_up {}",
            human(duration),
            human(warm_up)
        );
        faults.refuse("duration", message);
    }
    let policies = policies(&file, read, &mut faults);
    refuse_unjudged(&policies, &mut faults);
    let mut plan = plan(&file, duration, &mut faults);
    let (incidents, marks) = events::events(&file, &mut plan, &mut faults);
    let streams = traffic::streams(&file, &plan, &policies, &mut faults);
    let expect = expectations(&file, &mut faults);
    plan.policies.clone_from(&policies);
    if !faults.0.is_empty() {
        return Err(ScenarioError::Invalid(faults.0));
    }
    let seed = file.seed.map_or(1, |Whole(seed)| seed);
    let title = file.title;
    Ok(Scenario {
        title,
        seed,
        duration,
        warm_up,
        expect,
        policies,
        plan,
        streams,
        incidents,
        marks,
    })
}

/// The judge counts requests in windows.
fn refuse_unjudged(policies: &[Policy], faults: &mut Faults) {
    for (at, policy) in policies.iter().enumerate() {
        for (id, limit) in policy.all_limits() {
            if limit.unit != Unit::Requests || limit.algorithm == Algorithm::TokenBucket {
                let message =
                    format!("has {id}; only requests in fixed and sliding windows are simulated");
                faults.refuse(format!("policies[{at}].limits"), message);
            }
        }
    }
}

fn expectations(file: &File, faults: &mut Faults) -> Expectations {
    let mut read = |field, value: Option<Number>, most: f64| {
        let Number(percent) = value?;
        if !(percent >= 0.0 && percent.is_finite()) {
            faults.refuse(field, "is no number of per cent; write 0 or more");
        } else if percent > most {
            faults.refuse(field, format!("= {percent} can never fail; write at most {most}"));
        }
        Some(percent)
    };
    Expectations {
        over: read("expect_over", file.expect_over, f64::MAX),
        under: read("expect_under", file.expect_under, 100.0),
        wrong: read("expect_wrong", file.expect_wrong, 100.0),
    }
}

fn policies(
    file: &File,
    read: impl FnOnce(&str) -> Result<String, String>,
    faults: &mut Faults,
) -> Vec<Policy> {
    let text = match (&file.policies, &file.policies_file) {
        (Some(list), None) => {
            serde_json::json!({ "apiVersion": "weir/v1", "policies": list }).to_string()
        }
        (None, Some(name)) => match read(name) {
            Ok(text) => text,
            Err(error) => {
                faults.refuse("policies_file", format!("= {name:?}: {error}"));
                return Vec::new();
            }
        },
        (Some(_), Some(_)) => {
            faults.refuse("policies_file", "and policies exclude each other; keep one of them");
            return Vec::new();
        }
        (None, None) => {
            faults.refuse("policies", "are missing; write [[policies]], or name a policies_file");
            return Vec::new();
        }
    };
    match parse_document(&text) {
        Ok(policies) => {
            if facts(&policies).is_empty() {
                let message = "have no limit that refuses (mode: enforce, on_limit: reject); \
                               a simulation needs at least one";
                faults.refuse(
                    if file.policies.is_some() { "policies" } else { "policies_file" },
                    message,
                );
            }
            policies
        }
        Err(errors) => {
            for error in errors.0 {
                let at = if error.value.is_empty() {
                    String::new()
                } else {
                    format!("= {} ", error.value)
                };
                let field =
                    if error.field.is_empty() { "the document".to_owned() } else { error.field };
                let message = format!("{at}{}", error.message);
                faults.0.push(Refusal { file: file.policies_file.clone(), field, message });
            }
            Vec::new()
        }
    }
}

/// Managers, agents, network and clocks.
fn plan(file: &File, duration: Duration, faults: &mut Faults) -> Plan {
    let managers = file.managers.count.map_or(2, |Whole(count)| count);
    if !(1..=MAX_MANAGERS).contains(&managers) {
        faults.refuse("managers.count", format!("= {managers} is not in 1 to {MAX_MANAGERS}"));
    }
    let Whole(agents) = file.agents.count;
    if !(1..=MAX_AGENTS).contains(&agents) {
        faults.refuse("agents.count", format!("= {agents} is not in 1 to {MAX_AGENTS}"));
    }
    let small = |n: u64, most: u64| usize::try_from(n.clamp(1, most)).unwrap_or(1);
    let agents = small(agents, MAX_AGENTS);
    let mut plan = Plan::new(0, agents, 0, Duration::from_secs(1), duration);
    plan.managers = small(managers, MAX_MANAGERS);
    if let Some(Span(hold)) = file.managers.silent_hold {
        plan.silent_hold = hold;
    }
    if let Some(Span(fence)) = file.managers.fence {
        plan.fence = fence;
    }
    let network = &file.network;
    let up = line("network.up", &network.up, network, faults);
    let down = line("network.down", &network.down, network, faults);
    plan.lines = Some([up, down]);
    plan.skew_ms = clocks("clocks.managers", &file.clocks.managers, plan.managers, faults);
    plan.agent_skew_ms = clocks("clocks.agents", &file.clocks.agents, usize::MAX, faults);
    plan
}

fn line(field: &str, own: &file::Line, all: &file::Network, faults: &mut Faults) -> Line {
    let delay = own.delay.or(all.delay).map_or(DELAY, |Span(span)| span);
    let jitter = own.jitter.or(all.jitter).map_or(Duration::ZERO, |Span(span)| span);
    let loss = own.loss.or(all.loss).map_or(0.0, |part| part.0);
    if delay > MAX_DELAY {
        let message = format!(
            "= {} is longer than {}; for outages write events",
            human(delay),
            human(MAX_DELAY)
        );
        faults.refuse(format!("{field}.delay"), message);
    }
    if jitter > delay {
        let message = format!("= {} is more than the delay, {}", human(jitter), human(delay));
        faults.refuse(format!("{field}.jitter"), message);
    }
    if loss > MAX_LOSS {
        let message = format!("= {loss} is more than 50%; for outages write events");
        faults.refuse(format!("{field}.loss"), message);
    }
    Line { least: delay.saturating_sub(jitter), most: delay + jitter, loss }
}

fn clocks(
    field: &str,
    offsets: &[super::units::Offset],
    nodes: usize,
    faults: &mut Faults,
) -> Vec<i64> {
    if offsets.len() > nodes {
        let message = format!("has {} clocks for {nodes} nodes", offsets.len());
        faults.refuse(field, message);
    }
    let skews: Vec<i64> = offsets.iter().map(|offset| offset.ms).collect();
    if let Some(wrong) = skews.iter().find(|ms| ms.abs() > MAX_SKEW_MS) {
        faults.refuse(field, format!("is {wrong} ms off; at most {MAX_SKEW_MS}"));
    }
    skews
}

/// The limit that multiples in the file refer to.
fn limit_of<'p>(policies: &'p [Policy], name: Option<&str>) -> Result<&'p Limit, String> {
    let first = |policy: &'p Policy| {
        policy.limits.first().or_else(|| policy.groups.first().and_then(|g| g.limits.first()))
    };
    match name {
        None => policies.iter().find_map(first).ok_or_else(|| "needs a policy with a limit".into()),
        Some(name) => policies
            .iter()
            .find(|policy| policy.name.as_str() == name)
            .and_then(first)
            .ok_or_else(|| format!("= {name:?} is not the name of a policy with a limit")),
    }
}
