//! What happens to the agent: its status, and one line for each change of it.

use std::time::Duration;

use serde::Deserialize;
use tokio::{sync::mpsc, task::spawn_blocking, time::interval};

use crate::screen::Style;

/// How often the agent is asked.
const PERIOD: Duration = Duration::from_millis(100);
/// An agent that does not answer by then is stopped or busy.
const PATIENCE: Duration = Duration::from_millis(500);

/// The part of `GET /v1/status` that is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Seen {
    pub(crate) active_manager: Option<Named>,
    pub(crate) isolated: bool,
    pub(crate) managers: Vec<Manager>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Manager {
    pub(crate) usage: String,
}

/// A client that never waits for long.
pub(crate) fn client() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .proxy(None)
        .build();
    ureq::Agent::new_with_config(config)
}

/// Asks the agent again and again; `None` when it does not answer. Ends with its receiver.
pub(crate) async fn follow(url: String, news: mpsc::Sender<Option<Seen>>) {
    let client = client();
    let mut ticks = interval(PERIOD);
    loop {
        ticks.tick().await;
        let (client, url) = (client.clone(), url.clone());
        let seen = spawn_blocking(move || look(&client, &url)).await.unwrap_or_default();
        if news.send(seen).await.is_err() {
            return;
        }
    }
}

fn look(client: &ureq::Agent, url: &str) -> Option<Seen> {
    let text = client.get(url).call().ok()?.into_body().read_to_string().ok()?;
    serde_json::from_str(&text).ok()
}

/// The lines that tell how `after` differs from `before`. `names` are the managers in list order.
pub(crate) fn changes(
    names: &[&str],
    before: &Option<Seen>,
    after: &Option<Seen>,
) -> Vec<(Style, String)> {
    let (before, after) = match (before, after) {
        (Some(before), Some(after)) => (before, after),
        (Some(_), None) => return vec![(Style::Bad, "the agent does not answer".to_owned())],
        (None, Some(after)) => return first_word(after),
        (None, None) => return Vec::new(),
    };
    let mut lines = Vec::new();
    if let Some(line) = leader(names, before, after) {
        lines.push(line);
    }
    if after.isolated && !before.isolated {
        let text = "no manager is reachable: the agent goes on with its share of each limit";
        lines.push((Style::Bad, text.to_owned()));
    }
    for (name, (was, is)) in names.iter().zip(before.managers.iter().zip(&after.managers)) {
        match (was.usage.as_str(), is.usage.as_str()) {
            ("up", "down") => lines.push((Style::Bad, format!("usage does not reach {name}"))),
            ("down", "up") => lines.push((Style::Good, format!("usage reaches {name}"))),
            _ => {}
        }
    }
    lines
}

fn first_word(seen: &Seen) -> Vec<(Style, String)> {
    let text = match &seen.active_manager {
        Some(manager) => format!("the agent follows {}", manager.name),
        None => "the agent answers, and looks for a manager".to_owned(),
    };
    vec![(Style::Good, text)]
}

/// A change of the manager that the agent follows. Between two of them it follows none for a
/// moment, and a new one is nameless until it has spoken: that is not told.
fn leader(names: &[&str], before: &Seen, after: &Seen) -> Option<(Style, String)> {
    let name = |seen: &Seen| seen.active_manager.as_ref().map(|m| m.name.clone());
    let (was, is) = (name(before), name(after)?);
    if was.as_ref() == Some(&is) {
        return None;
    }
    let place = |name: &String| names.iter().position(|n| n == name);
    Some(match was {
        Some(was) if place(&is) < place(&was) => {
            (Style::Good, format!("home again: the agent follows {is}"))
        }
        Some(was) => (Style::Bad, format!("failover: the agent follows {is}, not {was}")),
        None => (Style::Good, format!("the agent follows {is}")),
    })
}

/// Carries the last named manager over moments without one, so that a change is told once.
pub(crate) fn settle(before: &Option<Seen>, after: Option<Seen>) -> Option<Seen> {
    let mut after = after?;
    let nameless = after.active_manager.as_ref().is_none_or(|m| m.name.is_empty());
    if nameless {
        after.active_manager = before.as_ref().and_then(|seen| seen.active_manager.clone());
    }
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["tm-1", "tm-2"];

    fn seen(active: Option<&str>, usage: [&str; 2]) -> Option<Seen> {
        Some(Seen {
            active_manager: active.map(|name| Named { name: name.to_owned() }),
            isolated: false,
            managers: usage.map(|usage| Manager { usage: usage.to_owned() }).into(),
        })
    }

    fn told(states: impl IntoIterator<Item = Option<Seen>>) -> Vec<String> {
        let (mut before, mut lines) = (None, Vec::new());
        for state in states {
            let after = settle(&before, state);
            lines.extend(changes(&NAMES, &before, &after).into_iter().map(|(_, text)| text));
            before = after;
        }
        lines
    }

    #[test]
    fn a_failover_and_the_way_home_are_one_line_each() {
        let (up, down) = (["up", "up"], ["down", "up"]);
        let lines = told([
            seen(Some("tm-1"), up),
            seen(None, down),
            seen(Some(""), down),
            seen(Some("tm-2"), down),
            seen(Some("tm-2"), up),
            seen(Some("tm-1"), up),
        ]);
        assert_eq!(
            lines,
            [
                "the agent follows tm-1",
                "usage does not reach tm-1",
                "failover: the agent follows tm-2, not tm-1",
                "usage reaches tm-1",
                "home again: the agent follows tm-1",
            ]
        );
    }

    #[test]
    fn isolation_and_silence_are_told_once() {
        let mut alone = seen(None, ["down", "down"]);
        if let Some(seen) = &mut alone {
            seen.isolated = true;
        }
        let lines = told([seen(Some("tm-1"), ["down", "down"]), alone.clone(), alone, None, None]);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[1].starts_with("no manager is reachable"), "{lines:?}");
        assert_eq!(lines[2], "the agent does not answer");
    }
}
