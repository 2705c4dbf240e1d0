//! Events that would do nothing: the dead cannot be killed, and who is there cannot join.

use std::time::Duration;

use super::{
    super::{
        file::{File, Kind},
        select::select,
        units::{Span, human},
    },
    Faults,
    events::undo,
};
use crate::plan::Plan;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Hung,
    Down,
}

/// What one event, or its end, does to some nodes.
struct Change {
    at: Duration,
    event: usize,
    kind: Kind,
    nodes: Vec<usize>,
    /// It is the end of one that lasts.
    end: bool,
    /// The nodes are named one by one.
    named: bool,
}

/// Refuses events that find their nodes as they would leave them. Where nodes are named, each must
/// change; of parts and of all, at least one.
pub(super) fn order(file: &File, plan: &Plan, faults: &mut Faults) {
    let mut managers = vec![State::Up; plan.managers];
    let mut agents = vec![State::Up; plan.agents];
    agents.resize(plan.agents + plan.spare_agents, State::Down);
    for change in changes(file, plan) {
        let of_agents = matches!(change.kind, Kind::Join | Kind::Leave | Kind::Crash);
        let (what, states) =
            if of_agents { ("agent", &mut agents) } else { ("manager", &mut managers) };
        let idle = |node: &&usize| after(change.kind, states[**node]).is_none();
        let idle: Vec<usize> = change.nodes.iter().filter(idle).copied().collect();
        let refused =
            if change.named { !idle.is_empty() } else { idle.len() == change.nodes.len() };
        if let Some(node) = idle.first().filter(|_| refused && !change.end) {
            let (state, at) = (states[*node], human(change.at));
            let state = match (state, of_agents) {
                (State::Up, true) => "is there already",
                (State::Up, false) => "runs",
                (State::Hung, _) => "hangs already",
                (State::Down, true) => "is not there",
                (State::Down, false) => "is dead",
            };
            let message = format!(
                "names {what} {}, which {state} at {at}: {} would do nothing",
                node + 1,
                change.kind
            );
            faults.refuse(format!("events[{}].{what}s", change.event), message);
        }
        for node in &change.nodes {
            states[*node] = after(change.kind, states[*node]).unwrap_or(states[*node]);
        }
    }
}

fn changes(file: &File, plan: &Plan) -> Vec<Change> {
    let mut changes = Vec::new();
    for (i, event) in file.events.iter().enumerate() {
        let (chosen, count) = match event.event {
            Kind::Cut | Kind::Heal => continue,
            Kind::Kill | Kind::Start | Kind::Hang | Kind::Resume => {
                (&event.managers, plan.managers)
            }
            Kind::Join | Kind::Leave | Kind::Crash => {
                (&event.agents, plan.agents + plan.spare_agents)
            }
        };
        // What is wrong with the selection itself was told before.
        let Some(chosen) = chosen else { continue };
        let Ok(nodes) = select(chosen, count, "") else { continue };
        let Span(at) = event.at;
        let mut add = |at, kind, end| {
            let (nodes, named) = (nodes.clone(), chosen.names());
            changes.push(Change { at, event: i, kind, nodes, end, named });
        };
        add(at, event.event, false);
        if let (Some(Span(lasts)), Some(kind)) = (event.lasts, undo(event.event)) {
            add(at + lasts, kind, true);
        }
    }
    changes.sort_by_key(|change| change.at);
    changes
}

/// The state afterwards; `None` = the event does nothing.
fn after(kind: Kind, state: State) -> Option<State> {
    match (kind, state) {
        (Kind::Kill, State::Up | State::Hung) | (Kind::Leave | Kind::Crash, State::Up) => {
            Some(State::Down)
        }
        (Kind::Start | Kind::Join, State::Down) | (Kind::Resume, State::Hung) => Some(State::Up),
        (Kind::Hang, State::Up) => Some(State::Hung),
        _ => None,
    }
}
