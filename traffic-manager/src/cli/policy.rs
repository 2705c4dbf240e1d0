//! `policy list|get|apply|delete|validate|import`.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use serde_json::Value;
use ureq::http::Method;
use weir_proto::{
    amount::Unit,
    policy::{MAX_DOCUMENT_BYTES, Policy, parse_document, read_yaml},
};

use super::{
    Client, Failure, Output, Remote, Waiting,
    client::{ClientError, escape},
    import::{self, Import},
    output::{cells, list, text},
    table::Table,
    wait,
};

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// List every policy
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Show one policy, with the bound that holds for it now
    Get {
        /// Its name
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create or replace each policy of a file
    Apply {
        /// YAML or JSON; - reads standard input
        #[arg(long, short, value_name = "FILE")]
        file: PathBuf,
        /// Only tell what would be done
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        waiting: Waiting,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete a policy
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        waiting: Waiting,
        #[command(flatten)]
        remote: Remote,
    },
    /// Check a file without changing anything
    Validate {
        /// YAML or JSON; - reads standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        remote: Remote,
    },
    /// Take over the files of another limiter, unchanged
    ///
    /// What a file says is translated into policies, or named with its line: then nothing is written,
    /// unless --partial is given. Policies of an earlier import that the files have no more stay.
    Import(Import),
}

/// Runs a command.
pub(super) fn obey(command: PolicyCommand, out: &mut dyn io::Write) -> Result<(), Failure> {
    match command {
        PolicyCommand::List { remote } => {
            let answer = Client::new(&remote)?.get("/policies")?;
            Output::new(remote.output).print(out, &answer, |answer| vec![overview(answer)])
        }
        PolicyCommand::Get { name, remote } => {
            let found = Client::new(&remote)?.find(&place(&name))?;
            let policy = found.ok_or_else(|| no_policy(&name))?.body;
            Output::new(remote.output).print(out, &policy, |policy| vec![details(policy)])
        }
        PolicyCommand::Apply { file, dry_run, waiting, remote } => {
            let policies = read(&file)?;
            apply(&Client::new(&remote)?, &policies, dry_run, &waiting, out)
        }
        PolicyCommand::Delete { name, waiting, remote } => {
            let client = Client::new(&remote)?;
            let deleted = client.write(Method::DELETE, &waiting.path(&place(&name)), None, None);
            if matches!(deleted, Ok(_) | Err(ClientError::Late(_))) {
                writeln!(out, "policy {name} deleted")?;
            }
            Ok(wait::tell(&deleted?, out)?)
        }
        PolicyCommand::Validate { file, remote } => {
            let policies: Vec<Value> = read(&file)?.iter().map(Policy::to_json).collect();
            let document = serde_json::json!({ "apiVersion": "weir/v1", "policies": policies });
            let client = Client::new(&remote)?;
            let answer = client.write(Method::POST, "/policies:validate", None, Some(&document))?;
            Output::new(remote.output).print(out, &answer.body, |answer| {
                let mut table = Table::new(&["POLICY", "APPLYING WOULD"]);
                for policy in list(answer, "policies") {
                    table.row(cells(policy, ["name", "outcome"]));
                }
                vec![table]
            })
        }
        PolicyCommand::Import(options) => import::obey(&options, out),
    }
}

/// Creates or replaces each of them, and says so; then waits.
pub(super) fn apply(
    client: &Client,
    policies: &[Policy],
    dry_run: bool,
    waiting: &Waiting,
    out: &mut dyn io::Write,
) -> Result<(), Failure> {
    let note = if dry_run { " (dry run)" } else { "" };
    let mut last = None;
    for policy in policies {
        let (outcome, tag) = write(client, policy, dry_run)?;
        writeln!(out, "policy {} {outcome}{note}", policy.name)?;
        last = Some((policy, tag));
    }
    let Some((policy, Some(tag))) = last.filter(|_| !dry_run && waiting.is_on()) else {
        return Ok(());
    };
    // A policy that is written as it is changes nothing, and is answered when peers have all that is here.
    let path = waiting.path(&place(policy.name.as_str()));
    let condition = Some(("if-match", tag.as_str()));
    let settled = client.write(Method::PUT, &path, condition, Some(&policy.to_json()))?;
    Ok(wait::tell(&settled, out)?)
}

/// Creates or replaces, but only what was looked at: a rival write in between is an error. Tells what was
/// done, and the tag of the version that is there now.
fn write(
    client: &Client,
    policy: &Policy,
    dry_run: bool,
) -> Result<(&'static str, Option<String>), Failure> {
    let path = place(policy.name.as_str());
    let body = policy.to_json();
    let (condition, outcome) = match client.find(&path)? {
        Some(now) if equal(&now.body, &body) => return Ok(("unchanged", now.etag)),
        Some(now) => (("if-match", now.etag.unwrap_or_else(|| "*".to_owned())), "replaced"),
        None => (("if-none-match", "*".to_owned()), "created"),
    };
    if dry_run {
        return Ok((outcome, None));
    }
    let condition = Some((condition.0, condition.1.as_str()));
    let written = client.write(Method::PUT, &path, condition, Some(&body))?;
    Ok((outcome, written.etag))
}

/// The server adds what it computes.
fn equal(served: &Value, own: &Value) -> bool {
    let own = own.as_object().into_iter().flatten();
    let served = served.as_object().into_iter().flatten();
    // Resets are the server's own.
    let written = |(name, _): &(&String, &Value)| *name != "bound" && *name != "resets";
    served.filter(written).eq(own.filter(written))
}

/// The policies of a file; every fault of it is reported.
fn read(file: &Path) -> Result<Vec<Policy>, Failure> {
    let (name, text) = read_text(file)?;
    parse_document(&without_bound(text)).map_err(|errors| {
        let lines: Vec<String> = errors.0.iter().map(|error| format!("  {error}")).collect();
        Failure::Refused(format!("{name} is not valid; nothing was changed\n{}", lines.join("\n")))
    })
}

/// What `policy get` printed can be applied again: the bound in it is computed.
fn without_bound(text: String) -> String {
    match read_yaml(&text) {
        Ok(Value::Object(mut policy)) if policy.contains_key("name") => {
            policy.shift_remove("bound").map_or(text, |_| Value::Object(policy).to_string())
        }
        _ => text,
    }
}

/// A file's name for people, and its text.
pub(super) fn read_text(file: &Path) -> Result<(String, String), Failure> {
    let (name, text) = if file == Path::new("-") {
        let mut text = String::new();
        // One byte more than allowed is enough to be refused.
        let limit = MAX_DOCUMENT_BYTES as u64 + 1;
        (
            "standard input".to_owned(),
            io::stdin().take(limit).read_to_string(&mut text).map(|_| text),
        )
    } else {
        (file.display().to_string(), fs::read_to_string(file))
    };
    match text {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(Failure::Unreachable(format!("cannot read {name}: {error}"))),
    }
}

fn place(name: &str) -> String {
    format!("/policies/{}", escape(name))
}

fn no_policy(name: &str) -> Failure {
    Failure::Refused(format!("there is no policy {name:?}"))
}

fn overview(answer: &Value) -> Table {
    let mut table = Table::new(&["NAME", "LEVEL", "MODE", "KEY", "LIMITS", "MATCH"]);
    for policy in list(answer, "policies") {
        let [name, level, mode, key, condition] =
            cells(policy, ["name", "level", "mode", "key", "match"]);
        table.row([name, level, mode, key, limits(policy), condition]);
    }
    table
}

/// `5000 requests/1m`, `20 books/day@Europe/Berlin`, `200 requests/1s burst 50`, `5 concurrency`
fn limit(limit: &Value) -> String {
    let unit = Unit::names().into_iter().find(|unit| !limit[*unit].is_null());
    let mut line = match unit {
        Some(unit) => format!("{} {unit}", text(limit, unit)),
        None => format!("{} {}", text(&limit["amount"], "value"), text(&limit["amount"], "name")),
    };
    let spans = [("window", "/"), ("calendar", "/"), ("timezone", "@"), ("burst", " burst ")];
    for (field, before) in spans.into_iter().filter(|(field, _)| !limit[*field].is_null()) {
        line.push_str(before);
        line.push_str(&text(limit, field));
    }
    line
}

/// `5000 requests/1m, 10 requests/1s`
fn limits(policy: &Value) -> String {
    let mut all: Vec<String> = list(policy, "limits").map(limit).collect();
    let groups = list(policy, "groups").count();
    if groups > 0 {
        all.push(format!("{groups} conditional"));
    }
    all.join(", ")
}

fn details(policy: &Value) -> Table {
    let mut table = Table::new(&["FIELD", "VALUE"]);
    for (field, value) in policy.as_object().into_iter().flatten() {
        match field.as_str() {
            "limits" => table.row(["limits".to_owned(), limits(policy)]),
            "groups" => {
                for group in list(policy, "groups") {
                    let condition = format!("{} when {}", limits(group), text(group, "when"));
                    table.row(["group".to_owned(), condition]);
                }
            }
            "overrides" => {
                let count = list(policy, "overrides").count();
                table.row(["overrides".to_owned(), format!("{count} keys have other amounts")]);
            }
            "bound" => {
                for limit in list(value, "limits") {
                    let [id, bound] = cells(limit, ["id", "bound"]);
                    let accuracy = text(value, "accuracy");
                    let line = if limit["bound"].is_null() {
                        format!("{id}: what is under way comes on top")
                    } else {
                        format!("at most {bound} of {id} ({accuracy})")
                    };
                    table.row(["bound".to_owned(), line]);
                }
            }
            _ => table.row([field.clone(), text(policy, field)]),
        }
    }
    table
}
