//! `status`, `counters`, `decisions`.

use std::io;

use serde_json::{Value, json};
use ureq::http::Method;

use super::{
    Failure, Filter,
    client::{Client, escape},
    output::{Output, cells, list, tell_truncated, text},
    table::Table,
    units::{duration, moment},
    wait::Waiting,
};

/// Managers and agents.
pub(super) fn status(
    client: &Client,
    output: &mut Output,
    out: &mut dyn io::Write,
) -> Result<(), Failure> {
    let nodes = client.get("/nodes")?;
    let agents = client.get("/agents")?;
    let whole = json!({ "nodes": nodes["nodes"], "agents": agents["agents"] });
    output.print(out, &whole, |whole| {
        let unreached = unreached(whole);
        [managers(whole), agents_table(whole)].into_iter().chain(unreached).collect()
    })
}

fn managers(whole: &Value) -> Table {
    let mut table = Table::new(&[
        "MANAGER", "LINK", "ROLES", "REVISION", "LAG", "POLICIES", "COUNTERS", "AGENTS", "STARTED",
    ]);
    for node in list(whole, "nodes") {
        let [id, link, roles, revision, policies, counters, agents] =
            cells(node, ["id", "link", "roles", "revision", "policies", "counters", "agents"]);
        let link = if node["self"] == true { "self".to_owned() } else { link };
        let (lag, started) = (duration(node, "lag_seconds"), moment(node, "started"));
        // One that was never met has not told its name.
        let id = if id.is_empty() { text(node, "address") } else { id };
        table.row([id, link, roles, revision, lag, policies, counters, agents, started]);
    }
    table
}

/// Why peers cannot be reached; `None` if all can.
fn unreached(whole: &Value) -> Option<Table> {
    let mut table = Table::new(&["UNREACHED", "ADDRESS", "LAST TRIED", "BECAUSE"]);
    let mut nodes = list(whole, "nodes").filter(|node| node["last_failure"].is_string()).peekable();
    nodes.peek()?;
    for node in nodes {
        let [id, address, because] = cells(node, ["id", "address", "last_failure"]);
        table.row([id, address, moment(node, "last_failure_at"), because]);
    }
    Some(table)
}

fn agents_table(whole: &Value) -> Table {
    let mut table = Table::new(&[
        "AGENT",
        "GROUP",
        "FOLLOWS",
        "CONNECTED",
        "MEMBER",
        "REVISION",
        "UNSENT",
        "DROPPED",
        "LAST SEEN",
    ]);
    for agent in list(whole, "agents") {
        let [id, group, follows, connected, member, revision, unsent, dropped] = cells(
            agent,
            [
                "id",
                "gateway_group",
                "active_manager",
                "connected",
                "member",
                "policies_revision",
                "unsent",
                "dropped",
            ],
        );
        let seen = moment(agent, "last_seen");
        table.row([id, group, follows, connected, member, revision, unsent, dropped, seen]);
    }
    table
}

/// Live usage.
pub(super) fn counters(
    client: &Client,
    filter: &Filter,
    output: &mut Output,
    out: &mut dyn io::Write,
) -> Result<(), Failure> {
    let answer = client.get(&format!("/counters{}", query(filter)))?;
    output.print(out, &answer, |answer| {
        let mut table = Table::new(&[
            "POLICY",
            "LIMIT",
            "KEY",
            "USED",
            "OF",
            "REJECTED",
            "EXHAUSTED",
            "AGENTS",
            "WINDOW ENDS",
        ]);
        for counter in list(answer, "counters") {
            let [policy, limit, key, used, of, rejected, exhausted] = cells(
                counter,
                ["policy", "limit_id", "key", "used", "limit", "rejected", "exhausted"],
            );
            let ends = moment(counter, "window_end");
            let agents = list(counter, "agents").count().to_string();
            table.row([policy, limit, key, used, of, rejected, exhausted, agents, ends]);
        }
        vec![table]
    })?;
    tell_truncated(&answer, "--policy and --key");
    Ok(())
}

/// Which counters begin anew: those of a key, or all of the policy.
pub(super) fn order(policy: &str, key: Option<&[String]>) -> Value {
    match key {
        Some(key) => json!({ "policy": policy, "key": key }),
        None => json!({ "policy": policy }),
    }
}

/// Counters begin anew.
pub(super) fn reset(
    client: &Client,
    order: &Value,
    waiting: &Waiting,
    output: &mut Output,
    out: &mut dyn io::Write,
) -> Result<(), Failure> {
    let path = waiting.path("/counters:reset");
    let mut answer = client.write(Method::POST, &path, None, Some(order))?;
    if let Some(replicas) = answer.replicas {
        answer.body["replicas"] = replicas.into();
    }
    output.print(out, &answer.body, |answer| {
        let mut table = Table::new(&["POLICY", "KEY", "REVISION", "CONFIRMED", "PENDING", "PEERS"]);
        let fields = ["policy", "key", "revision", "confirmed", "pending", "replicas"];
        table.row(cells(answer, fields));
        vec![table]
    })
}

/// Who is throttled now.
pub(super) fn decisions(
    client: &Client,
    filter: &Filter,
    output: &mut Output,
    out: &mut dyn io::Write,
) -> Result<(), Failure> {
    let answer = client.get(&format!("/decisions{}", query(filter)))?;
    output.print(out, &answer, |answer| {
        let mut table = Table::new(&["POLICY", "LIMIT", "KEY", "USED", "OF", "REASON", "UNTIL"]);
        for decision in list(answer, "decisions") {
            let [policy, limit, key, used, of, reason] =
                cells(decision, ["policy", "limit_id", "key", "used", "limit", "reason"]);
            table.row([policy, limit, key, used, of, reason, moment(decision, "until")]);
        }
        vec![table]
    })?;
    tell_truncated(&answer, "--policy and --key");
    Ok(())
}

fn query(filter: &Filter) -> String {
    let mut query = format!("?limit={}", filter.limit);
    for (name, value) in [("policy", &filter.policy), ("key", &filter.key)] {
        if let Some(value) = value {
            query.push_str(&format!("&{name}={}", escape(value)));
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_fits_on_a_screen_and_is_read_without_a_calculator() {
        let whole = json!({
            "nodes": [
                {
                    "id": "tm-frankfurt", "self": true, "roles": ["fleet", "ledger", "janitor"],
                    "revision": 1_234_567, "policies": 100_000, "counters": 1_000_000,
                    "agents": 1_000, "started": "2026-11-27T08:49:12.544983Z",
                },
                {
                    "id": "tm-dublin", "self": false, "roles": [], "link": "down",
                    "revision": 1_234_560, "lag_seconds": 5.256_983,
                },
            ],
            "agents": [{
                "id": "gw-frankfurt", "gateway_group": "eu-central", "active_manager": "tm-frankfurt",
                "connected": true, "member": true, "policies_revision": 1_234_567,
                "unsent": 12_345, "dropped": 0, "last_seen": "2026-11-27T08:50:01.123456Z",
            }],
        });
        let mut text = Vec::new();
        managers(&whole).print(&mut text).unwrap();
        agents_table(&whole).print(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        for shown in ["5.3s", "2026-11-27T08:49:12Z", "2026-11-27T08:50:01Z"] {
            assert!(text.contains(shown), "{shown} in {text}");
        }
    }
}
