//! `status`, `counters`, `decisions`.

use std::io;

use serde_json::{Value, json};
use ureq::http::Method;

use super::{
    Failure, Filter,
    client::{Client, escape},
    output::{Output, cells, list, tell_truncated},
    table::Table,
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
    output.print(out, &whole, |whole| vec![managers(whole), agents_table(whole)])
}

fn managers(whole: &Value) -> Table {
    let mut table = Table::new(&[
        "MANAGER", "LINK", "ROLES", "REVISION", "LAG", "POLICIES", "COUNTERS", "AGENTS", "STARTED",
    ]);
    for node in list(whole, "nodes") {
        let [id, link, roles, revision, lag, policies, counters, agents, started] = cells(
            node,
            [
                "id",
                "link",
                "roles",
                "revision",
                "lag_seconds",
                "policies",
                "counters",
                "agents",
                "started",
            ],
        );
        let link = if node["self"] == true { "self".to_owned() } else { link };
        table.row([id, link, roles, revision, lag, policies, counters, agents, started]);
    }
    table
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
        table.row(cells(
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
                "last_seen",
            ],
        ));
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
            let [policy, limit, key, used, of, rejected, exhausted, ends] = cells(
                counter,
                [
                    "policy",
                    "limit_id",
                    "key",
                    "used",
                    "limit",
                    "rejected",
                    "exhausted",
                    "window_end",
                ],
            );
            let agents = list(counter, "agents").count().to_string();
            table.row([policy, limit, key, used, of, rejected, exhausted, agents, ends]);
        }
        vec![table]
    })?;
    tell_truncated(&answer, "--policy and --key");
    Ok(())
}

/// Counters begin anew.
pub(super) fn reset(
    client: &Client,
    policy: &str,
    key: Option<&[String]>,
    output: &mut Output,
    out: &mut dyn io::Write,
) -> Result<(), Failure> {
    let order = match key {
        Some(key) => json!({ "policy": policy, "key": key }),
        None => json!({ "policy": policy }),
    };
    let answer = client.write(Method::POST, "/counters:reset", None, Some(&order))?.body;
    output.print(out, &answer, |answer| {
        let mut table = Table::new(&["POLICY", "KEY", "REVISION", "CONFIRMED", "PENDING"]);
        table.row(cells(answer, ["policy", "key", "revision", "confirmed", "pending"]));
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
            let fields = ["policy", "limit_id", "key", "used", "limit", "reason", "until"];
            table.row(cells(decision, fields));
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
