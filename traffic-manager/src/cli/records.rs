//! `conflicts`, `audit`, `usage`.

use std::io;

use clap::Subcommand;
use serde_json::{Value, json};
use ureq::http::Method;

use super::{
    Failure, Remote,
    client::{Client, escape},
    output::{Output, cells, list, tell_truncated},
    table::Table,
    wait::Waiting,
};

/// What narrows records.
const SPAN: &str = "--policy, --from and --until";

/// Concurrent edits and their losers.
#[derive(Debug, Subcommand)]
pub(super) enum ConflictCommand {
    /// Show the versions that lost against one written at the same time at another manager
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Make a loser the policy's next version
    Restore {
        /// Its id, or the beginning of it
        id: String,
        #[command(flatten)]
        waiting: Waiting,
        #[command(flatten)]
        remote: Remote,
    },
    /// Keep the winner, and take a loser out of the log
    Dismiss {
        /// Its id, or the beginning of it
        id: String,
        #[command(flatten)]
        waiting: Waiting,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Which records to show.
#[derive(Debug, clap::Args)]
pub(super) struct Span {
    /// Only those of this policy
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// At or after this time, like 2026-12-24T20:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most this many, the newest
    #[arg(long, value_name = "COUNT", default_value = "100")]
    limit: u32,
}

impl Span {
    fn query(&self) -> String {
        let mut query = format!("?limit={}", self.limit);
        let named = [("policy", &self.policy), ("from", &self.from), ("until", &self.until)];
        for (name, value) in named {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", escape(value)));
            }
        }
        query
    }
}

/// Runs a command about conflicts.
pub(super) fn conflicts(
    command: ConflictCommand,
    connect: impl Fn(Remote) -> Result<(Client, Output), Failure>,
    out: &mut dyn io::Write,
) -> Result<(), Failure> {
    let (id, action, waiting, remote) = match command {
        ConflictCommand::List { remote } => {
            let (client, mut output) = connect(remote)?;
            let answer = client.get("/conflicts")?;
            return output.print(out, &answer, |answer| vec![conflict_table(answer)]);
        }
        ConflictCommand::Restore { id, waiting, remote } => (id, "restore", waiting, remote),
        ConflictCommand::Dismiss { id, waiting, remote } => (id, "dismiss", waiting, remote),
    };
    let (client, mut output) = connect(remote)?;
    let (id, policy) = whole_id(&client, &id)?;
    let path = waiting.path(&format!("/conflicts/{id}:{action}"));
    let settled = client.write(Method::POST, &path, None, None)?;
    let done = if action == "restore" { "restored" } else { "dismissed" };
    let mut answer = json!({ "id": id, "policy": policy, "outcome": done });
    if let Some(replicas) = settled.replicas {
        answer["replicas"] = replicas.into();
    }
    output.print(out, &answer, |answer| {
        let mut table = Table::new(&["POLICY", "OUTCOME", "PEERS"]);
        table.row(cells(answer, ["policy", "outcome", "replicas"]));
        vec![table]
    })
}

/// The one conflict whose id begins so, and its policy.
fn whole_id(client: &Client, beginning: &str) -> Result<(String, String), Failure> {
    let answer = client.get("/conflicts")?;
    let field =
        |conflict: &Value, name: &str| conflict[name].as_str().unwrap_or_default().to_owned();
    let mut found = list(&answer, "conflicts")
        .map(|conflict| (field(conflict, "id"), field(conflict, "policy")))
        .filter(|(id, _)| id.starts_with(beginning));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => {
            Err(Failure::Refused(format!("no conflict has an id that begins {beginning}")))
        }
        (Some(_), Some(_)) => Err(Failure::Refused(format!(
            "several conflicts begin {beginning}; give more of the id"
        ))),
    }
}

fn conflict_table(answer: &Value) -> Table {
    let mut table = Table::new(&["ID", "POLICY", "LOSER", "AUTHOR", "MANAGER", "AT", "WINNER"]);
    for conflict in list(answer, "conflicts") {
        let [id, policy, author, manager, at, winner] =
            cells(conflict, ["id", "policy", "author", "manager", "at", "winner"]);
        let loser = if conflict["deletion"] == true { "deletion" } else { "version" };
        let short = id.chars().take(12).collect();
        table.row([short, policy, loser.to_owned(), author, manager, at, winner]);
    }
    table
}

/// Who changed what.
pub(super) fn audit(
    client: &Client,
    span: &Span,
    output: &mut Output,
    out: &mut dyn io::Write,
) -> Result<(), Failure> {
    let answer = client.get(&format!("/audit{}", span.query()))?;
    output.print(out, &answer, |answer| {
        let mut table = Table::new(&["AT", "ACTOR", "ACTION", "POLICY", "DETAIL", "MANAGER"]);
        for record in list(answer, "records") {
            table.row(cells(record, ["at", "actor", "action", "policy", "detail", "manager"]));
        }
        vec![table]
    })?;
    tell_truncated(&answer, SPAN);
    Ok(())
}

/// What was used in periods that are over.
pub(super) fn usage(
    client: &Client,
    span: &Span,
    output: &mut Output,
    out: &mut dyn io::Write,
) -> Result<(), Failure> {
    let answer = client.get(&format!("/usage{}", span.query()))?;
    output.print(out, &answer, |answer| {
        let mut table =
            Table::new(&["START", "SECONDS", "POLICY", "LIMIT", "KEY", "ADMITTED", "REFUSED"]);
        for record in list(answer, "records") {
            let fields = ["start", "seconds", "policy", "limit_id", "key", "admitted", "refused"];
            table.row(cells(record, fields));
        }
        vec![table]
    })?;
    tell_truncated(&answer, SPAN);
    Ok(())
}
