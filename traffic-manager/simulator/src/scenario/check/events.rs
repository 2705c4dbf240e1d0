//! `[[events]]`, checked.

use std::time::Duration;

use super::{
    super::{
        Incident,
        file::{Event, File, Kind, Plane, Select},
        select::{highest, select},
        units::{Span, human},
    },
    Faults, MAX_AGENTS,
    order::order,
};
use crate::plan::{Fault, Plan};

const MAX_EVENTS: usize = 1_000;

type Timeline = Vec<(Duration, Incident)>;
type Marks = Vec<(Duration, String)>;

/// What happens, in order, and in words. Makes room in the plan for agents that join.
pub(super) fn events(file: &File, plan: &mut Plan, faults: &mut Faults) -> (Timeline, Marks) {
    if file.events.len() > MAX_EVENTS {
        faults.refuse("events", format!("has more than {MAX_EVENTS} entries"));
    }
    let joins = file.events.iter().filter(|event| event.event == Kind::Join);
    let last = joins.filter_map(|event| highest(event.agents.as_ref()?)).max().unwrap_or(0);
    let last = usize::try_from(last.min(MAX_AGENTS)).unwrap_or(0);
    plan.spare_agents = last.saturating_sub(plan.agents);
    if plan.agent_skew_ms.len() > plan.agents + plan.spare_agents {
        let (clocks, agents) = (plan.agent_skew_ms.len(), plan.agents + plan.spare_agents);
        faults.refuse("clocks.agents", format!("has {clocks} clocks for {agents} agents"));
    }
    let (mut timeline, mut marks) = (Timeline::new(), Marks::new());
    for (i, event) in file.events.iter().enumerate().take(MAX_EVENTS) {
        let place = Place { field: format!("events[{i}]"), plan };
        place.event(event, &mut timeline, &mut marks, faults);
    }
    order(file, plan, faults);
    timeline.sort_by_key(|(at, _)| *at);
    marks.sort_by_key(|(at, _)| *at);
    (timeline, marks)
}

struct Place<'a> {
    field: String,
    plan: &'a Plan,
}

impl Place<'_> {
    fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.field)
    }

    fn event(
        &self,
        event: &Event,
        timeline: &mut Timeline,
        marks: &mut Marks,
        faults: &mut Faults,
    ) {
        let Span(at) = event.at;
        if at > self.plan.length {
            faults.refuse(self.at("at"), format!("= {} is after the end of the run", human(at)));
        }
        let (managers, agents) = match event.event {
            Kind::Cut | Kind::Heal => {
                (self.managers(event, true, faults), self.agents(event, true, faults))
            }
            Kind::Kill | Kind::Start | Kind::Hang | Kind::Resume => {
                self.without("agents", event.agents.as_ref(), event.event, faults);
                (self.managers(event, false, faults), Vec::new())
            }
            Kind::Join | Kind::Leave | Kind::Crash => {
                self.without("managers", event.managers.as_ref(), event.event, faults);
                (Vec::new(), self.agents(event, false, faults))
            }
        };
        if event.plane != Plane::All && !matches!(event.event, Kind::Cut | Kind::Heal) {
            faults.refuse(self.at("plane"), "has no meaning for this event; leave it out");
        }
        let mut add = |at, kind| {
            let all = incidents(kind, event.plane, &agents, &managers);
            timeline.extend(all.into_iter().map(|incident| (at, incident)));
            marks.push((at, words(kind, event.plane, &agents, &managers, self.plan)));
        };
        add(at, event.event);
        let Some(Span(lasts)) = event.lasts else { return };
        if lasts.is_zero() {
            faults.refuse(self.at("for"), "= 0s undoes it at once; leave the event out");
        }
        match undo(event.event) {
            Some(kind) => add(at + lasts, kind),
            None => faults.refuse(self.at("for"), "has no meaning for this event; leave it out"),
        }
    }

    fn without(&self, name: &str, given: Option<&Select>, kind: Kind, faults: &mut Faults) {
        if given.is_some() {
            let message = format!("has no meaning for this event ({kind}); leave it out");
            faults.refuse(self.at(name), message);
        }
    }

    fn managers(&self, event: &Event, all: bool, faults: &mut Faults) -> Vec<usize> {
        self.choose("managers", event.managers.as_ref(), self.plan.managers, all, faults)
    }

    fn agents(&self, event: &Event, all: bool, faults: &mut Faults) -> Vec<usize> {
        let total = self.plan.agents + self.plan.spare_agents;
        self.choose("agents", event.agents.as_ref(), total, all, faults)
    }

    fn choose(
        &self,
        name: &str,
        given: Option<&Select>,
        count: usize,
        all: bool,
        faults: &mut Faults,
    ) -> Vec<usize> {
        let what = name.trim_end_matches('s');
        match given {
            Some(given) => {
                faults.keep(&self.at(name), select(given, count, what)).unwrap_or_default()
            }
            None if all => (0..count).collect(),
            None => {
                faults.refuse(self.at(name), "is missing; say which, like 1, [1, 2] or \"all\"");
                Vec::new()
            }
        }
    }
}

/// What ends an event that lasts.
pub(super) fn undo(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::Kill => Some(Kind::Start),
        Kind::Hang => Some(Kind::Resume),
        Kind::Cut => Some(Kind::Heal),
        Kind::Leave | Kind::Crash => Some(Kind::Join),
        Kind::Start | Kind::Resume | Kind::Heal | Kind::Join => None,
    }
}

fn incidents(kind: Kind, plane: Plane, agents: &[usize], managers: &[usize]) -> Vec<Incident> {
    let pairs = || agents.iter().flat_map(|a| managers.iter().map(|m| (*a, *m)));
    let each = |nodes: &[usize], fault: fn(usize) -> Fault| {
        nodes.iter().map(|node| Incident::Fault(fault(*node))).collect()
    };
    match (kind, plane) {
        (Kind::Kill, _) => each(managers, Fault::KillManager),
        (Kind::Start, _) => each(managers, Fault::StartManager),
        (Kind::Hang, _) => each(managers, Fault::FreezeManager),
        (Kind::Resume, _) => each(managers, Fault::ThawManager),
        (Kind::Join, _) => each(agents, Fault::StartAgent),
        (Kind::Leave, _) => each(agents, Fault::StopAgent),
        (Kind::Crash, _) => each(agents, Fault::KillAgent),
        (Kind::Cut, Plane::All) => {
            pairs().map(|(a, m)| Incident::Fault(Fault::Cut(a, m))).collect()
        }
        (Kind::Heal, Plane::All) => {
            pairs().map(|(a, m)| Incident::Fault(Fault::Heal(a, m))).collect()
        }
        (Kind::Cut, Plane::Decisions) => {
            pairs().map(|(a, m)| Incident::CutDecisions(a, m)).collect()
        }
        (Kind::Heal, Plane::Decisions) => {
            pairs().map(|(a, m)| Incident::HealDecisions(a, m)).collect()
        }
    }
}

/// The event for a picture's legend.
fn words(kind: Kind, plane: Plane, agents: &[usize], managers: &[usize], plan: &Plan) -> String {
    let name = |what: &str, nodes: &[usize], all: usize| match nodes {
        [one] => format!("{what} {}", one + 1),
        _ if nodes.len() == all => format!("all {what}s"),
        _ => format!("{} {what}s", nodes.len()),
    };
    let agents = name("agent", agents, plan.agents + plan.spare_agents);
    let managers = name("manager", managers, plan.managers);
    let plane = if plane == Plane::Decisions { " (decisions only)" } else { "" };
    match kind {
        Kind::Kill => format!("kill {managers}"),
        Kind::Start => format!("start {managers}"),
        Kind::Hang => format!("hang {managers}"),
        Kind::Resume => format!("resume {managers}"),
        Kind::Cut => format!("cut {agents} from {managers}{plane}"),
        Kind::Heal => format!("heal {agents} to {managers}{plane}"),
        Kind::Join => format!("{agents} join"),
        Kind::Leave => format!("{agents} leave"),
        Kind::Crash => format!("{agents} crash"),
    }
}
