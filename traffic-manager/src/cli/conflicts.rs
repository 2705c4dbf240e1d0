//! `conflicts list|show|restore|dismiss`.

use std::io;

use clap::Subcommand;
use serde_json::{Value, json};
use ureq::http::Method;

use super::{
    Failure, Remote, Waiting,
    client::{Client, escape},
    output::{Output, cells, list, text},
    table::Table,
    units::{cut, moment, short},
};

/// Longest value of a policy in a table of two: both fit on a screen, with the name of the field.
const VALUE: usize = 48;

/// Concurrent edits and their losers.
#[derive(Debug, Subcommand)]
pub(super) enum ConflictCommand {
    /// Show the versions that lost against one written at the same time at another manager, and what won
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Show one of them beside the version that won: where they differ
    Show {
        /// Its id, or the beginning of it
        id: String,
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

/// Runs a command.
pub(super) fn obey(
    command: ConflictCommand,
    connect: impl Fn(Remote) -> Result<(Client, Output), Failure>,
    out: &mut dyn io::Write,
) -> Result<(), Failure> {
    let (id, action, waiting, remote) = match command {
        ConflictCommand::List { remote } => {
            let (client, mut output) = connect(remote)?;
            let answer = client.get("/conflicts")?;
            return output.print(out, &answer, |answer| vec![overview(answer)]);
        }
        ConflictCommand::Show { id, remote } => {
            let (client, mut output) = connect(remote)?;
            return show(&client, &id, &mut output, out);
        }
        ConflictCommand::Restore { id, waiting, remote } => (id, "restore", waiting, remote),
        ConflictCommand::Dismiss { id, waiting, remote } => (id, "dismiss", waiting, remote),
    };
    let (client, mut output) = connect(remote)?;
    let conflict = find(&client, &id)?;
    let (id, policy) = (text(&conflict, "id"), text(&conflict, "policy"));
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

/// The one conflict whose id begins so.
fn find(client: &Client, beginning: &str) -> Result<Value, Failure> {
    let answer = client.get("/conflicts")?;
    let mut found = list(&answer, "conflicts")
        .filter(|conflict| conflict["id"].as_str().unwrap_or_default().starts_with(beginning));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        (None, _) => {
            Err(Failure::Refused(format!("no conflict has an id that begins {beginning}")))
        }
        (Some(_), Some(_)) => Err(Failure::Refused(format!(
            "several conflicts begin {beginning}; give more of the id"
        ))),
    }
}

/// Two lines for each conflict: who lost, and to whom.
fn overview(answer: &Value) -> Table {
    let mut table = Table::new(&["ID", "POLICY", "SIDE", "VERSION", "AUTHOR", "MANAGER", "AT"]);
    for conflict in list(answer, "conflicts") {
        let id = short(&text(conflict, "id"));
        let mut row = |outcome: &str, side: &Value, tag: String| {
            let [author, manager] = cells(side, ["author", "manager"]);
            let (policy, at) = (text(conflict, "policy"), moment(side, "at"));
            let outcome = outcome.to_owned();
            table.row([id.clone(), policy, outcome, tag, author, manager, at]);
        };
        row("lost", conflict, lost(conflict));
        row("won", &conflict["won"], won(conflict));
    }
    table
}

/// The loser's version, named like a tag.
fn lost(conflict: &Value) -> String {
    let hash: String = text(conflict, "id").chars().take(16).collect();
    version(conflict, format!("{:x}-{hash}", conflict["ref_number"].as_u64().unwrap_or_default()))
}

/// The winner's version: its tag.
fn won(conflict: &Value) -> String {
    version(&conflict["won"], text(conflict, "winner"))
}

fn version(side: &Value, tag: String) -> String {
    if side["deletion"] == true { "deletion".to_owned() } else { tag }
}

/// Both sides: where they come from, and the fields in which they differ.
fn show(
    client: &Client,
    id: &str,
    output: &mut Output,
    out: &mut dyn io::Write,
) -> Result<(), Failure> {
    let mut conflict = find(client, id)?;
    let holds = client.find(&format!("/policies/{}", escape(&text(&conflict, "policy"))))?;
    if let Some(holds) = holds {
        conflict["won"]["version"] = holds.body;
    }
    output.print(out, &conflict, |conflict| vec![beside(conflict)])
}

fn beside(conflict: &Value) -> Table {
    let mut table = Table::new(&["FIELD", "LOST", "WON"]);
    let won_side = &conflict["won"];
    let id = short(&text(conflict, "id"));
    table.row(["id".to_owned(), id, String::new()]);
    let name = text(conflict, "policy");
    table.row(["policy".to_owned(), name.clone(), name]);
    table.row(["version".to_owned(), lost(conflict), won(conflict)]);
    for field in ["author", "manager"] {
        table.row([field.to_owned(), text(conflict, field), text(won_side, field)]);
    }
    table.row(["at".to_owned(), moment(conflict, "at"), moment(won_side, "at")]);
    let (lost, won) = (&conflict["version"], &won_side["version"]);
    let fields = |side: &Value| -> Vec<String> {
        side.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let mut names = fields(lost);
    names.extend(fields(won).into_iter().filter(|name| lost.get(name).is_none()));
    // What the manager computes is in one of them alone.
    for name in names.iter().filter(|name| *name != "bound" && lost.get(name) != won.get(name)) {
        table.row([name.clone(), value(lost, name), value(won, name)]);
    }
    table
}

/// A field of a policy in one line.
fn value(policy: &Value, name: &str) -> String {
    match policy.get(name) {
        None => String::new(),
        Some(Value::String(text)) => cut(text, VALUE),
        Some(value) => cut(&value.to_string(), VALUE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflict() -> Value {
        json!({
            "id": "17d4540112573c19b435b5813d8d375ce890aea279801a15c78c94e2a256f1e6",
            "policy": "subscription-tiers", "deletion": false, "ref_number": 18,
            "author": "bert@example.com", "manager": "tm-frankfurt",
            "at": "2026-11-27T08:50:21.825022Z", "winner": "12-4ca3e7b185ee67f8",
            "version": { "name": "login", "level": "api", "match": "x".repeat(500), "mode": "off" },
            "won": {
                "deletion": false, "ref_number": 18, "author": "ann@example.com", "manager": "tm-1",
                "at": "2026-11-27T08:50:23.100000Z",
                "version": { "name": "login", "level": "api", "limits": [{ "requests": 5 }], "bound": {} },
            },
        })
    }

    fn lines(table: &Table) -> Vec<String> {
        let mut text = Vec::new();
        table.print(&mut text).unwrap();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_list_says_who_lost_to_whom() {
        let mut deleted = conflict();
        deleted["won"]["deletion"] = true.into();
        let lines = lines(&overview(&json!({ "conflicts": [conflict(), deleted] })));
        assert!(lines.iter().all(|line| line.chars().count() <= 120), "{lines:#?}");
        let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
        let (id, policy) = ("17d454011257", "subscription-tiers");
        let (lost, at) = ("12-17d4540112573c19", "2026-11-27T08:50:21Z");
        let author = "bert@example.com";
        assert_eq!(words(1), [id, policy, "lost", lost, author, "tm-frankfurt", at]);
        let (won, at) = ("12-4ca3e7b185ee67f8", "2026-11-27T08:50:23Z");
        assert_eq!(words(2), [id, policy, "won", won, "ann@example.com", "tm-1", at]);
        assert_eq!(words(4)[3], "deletion");
    }

    #[test]
    fn one_conflict_is_shown_side_by_side_where_it_differs() {
        let lines = lines(&beside(&conflict()));
        assert!(lines.iter().all(|line| line.chars().count() <= 120), "{lines:#?}");
        let fields: Vec<&str> =
            lines.iter().filter_map(|line| line.split_whitespace().next()).collect();
        let origin = ["FIELD", "id", "policy", "version", "author", "manager", "at"];
        assert_eq!(fields, [&origin[..], &["match", "mode", "limits"]].concat());
    }
}
