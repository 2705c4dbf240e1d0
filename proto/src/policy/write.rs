//! The canonical form of a policy.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Group, Limit, Override, Policy, Reset};
use crate::{
    amount::{MAX_AMOUNT, Unit},
    schedule::Schedule,
    window::Window,
};

/// Writes a policy; see [`Policy::to_json`].
pub(super) fn policy(policy: &Policy) -> Value {
    let mut map = Map::new();
    let mut put = |name: &str, value: Value| {
        map.insert(name.to_owned(), value);
    };
    put("name", json!(policy.name.as_str()));
    put("level", json!(policy.level.as_str()));
    if let Some(condition) = &policy.condition {
        put("match", json!(condition.source()));
    }
    if !policy.key.is_empty() {
        put("key", policy.key.iter().map(|part| Value::from(part.to_string())).collect());
    }
    if !policy.limits.is_empty() {
        put("limits", policy.limits.iter().map(limit).collect());
    }
    if !policy.groups.is_empty() {
        put("groups", policy.groups.iter().map(group).collect());
    }
    if !policy.overrides.is_empty() {
        put("overrides", policy.overrides.iter().map(exception).collect());
    }
    if let Some(parent) = &policy.parent {
        put("parent", json!(parent.as_str()));
    }
    if policy.request_limits {
        put("request_limits", json!(true));
    }
    if !policy.resets.is_empty() {
        put("resets", policy.resets.iter().map(reset).collect());
    }
    put("mode", json!(policy.mode.as_str()));
    put("on_limit", json!(policy.on_limit.as_str()));
    if let Some(choice) = policy.on_disconnect {
        put("on_disconnect", json!(choice.as_str()));
    }
    put("accuracy", json!(policy.accuracy.as_str()));
    put("max_wait", json!(wait(policy.max_wait)));
    Value::Object(map)
}

fn group(group: &Group) -> Value {
    let mut map = Map::new();
    if let Some(name) = &group.name {
        map.insert("name".to_owned(), json!(name.as_str()));
    }
    if let Some(when) = &group.when {
        map.insert("when".to_owned(), json!(when.source()));
    }
    if let Some(schedule) = &group.during {
        map.insert("during".to_owned(), during(schedule));
    }
    map.insert("limits".to_owned(), group.limits.iter().map(limit).collect());
    Value::Object(map)
}

fn during(schedule: &Schedule) -> Value {
    let mut map = Map::new();
    map.insert("timezone".to_owned(), json!(schedule.zone.name()));
    if let Some(days) = schedule.weekdays {
        map.insert("weekdays".to_owned(), days.names().collect());
    }
    if let Some(hours) = schedule.hours {
        map.insert("hours".to_owned(), json!(hours.to_string()));
    }
    if !schedule.dates.is_empty() {
        map.insert("dates".to_owned(), schedule.dates.iter().map(ToString::to_string).collect());
    }
    Value::Object(map)
}

fn limit(limit: &Limit) -> Value {
    let mut map = Map::new();
    match &limit.unit {
        Unit::Custom(name) => {
            let value = json!({ "name": name.as_str(), "value": amount(limit.amount) });
            map.insert("amount".to_owned(), value);
        }
        unit => {
            map.insert(unit.as_str().to_owned(), amount(limit.amount));
        }
    }
    if limit.unit == Unit::Concurrency {
        map.insert("lease".to_owned(), json!(limit.window.to_string()));
        return Value::Object(map);
    }
    span(limit.window, &mut map);
    map.insert("algorithm".to_owned(), json!(limit.algorithm.as_str()));
    if let Some(burst) = limit.burst {
        map.insert("burst".to_owned(), json!(burst));
    }
    Value::Object(map)
}

fn amount(amount: u64) -> Value {
    if amount == MAX_AMOUNT { json!("unlimited") } else { json!(amount) }
}

fn exception(exception: &Override) -> Value {
    let limits: Value = exception.limits.iter().map(limit).collect();
    json!({ "key": exception.key, "limits": limits })
}

fn reset(reset: &Reset) -> Value {
    match &reset.key {
        Some(key) => json!({ "key": key, "at": reset.at }),
        None => json!({ "at": reset.at }),
    }
}

fn span(window: Window, map: &mut Map<String, Value>) {
    match window.as_calendar() {
        None => {
            map.insert("window".to_owned(), json!(window.to_string()));
        }
        Some(calendar) => {
            map.insert("calendar".to_owned(), json!(calendar.period().as_str()));
            map.insert("timezone".to_owned(), json!(calendar.zone().name()));
        }
    }
}

/// A duration up to a second with the largest suffix that loses nothing.
fn wait(wait: Duration) -> String {
    let micros = wait.as_micros();
    match micros {
        0 => "0s".to_owned(),
        _ if micros.is_multiple_of(1_000_000) => format!("{}s", micros / 1_000_000),
        _ if micros.is_multiple_of(1_000) => format!("{}ms", micros / 1_000),
        _ => format!("{micros}us"),
    }
}
