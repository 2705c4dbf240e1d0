//! What the bound assumes of the world (see `ALGORITHM.md`, "Assumptions"), as a repair of plans.

use std::time::Duration;

use crate::plan::{Fault, Plan};

/// A manager that starts empty hears of everybody within this time, with a margin for reconnecting.
const FOUNDING: Duration = Duration::from_secs(2);
/// An agent that ends was heard for this long before: by then every link is open again.
const HEARD_BEFORE: Duration = Duration::from_secs(1);
/// And for this long after: what it sent arrives, and the manager has told the others.
const HEARD_AFTER: Duration = Duration::from_millis(300);

/// Somebody who belonged to the fleet for this long before an end lives on for as long after it.
const WITNESS: Duration = Duration::from_secs(2);

/// Changes the plan so that the bound's assumptions hold:
///
/// - A manager that starts, at the beginning or later, hears of every living agent within its fence:
///   everybody can reach it when it starts, and cuts that begin soon after heal at once.
/// - An agent's use is not lost together with everybody who knew it: it ends only while some manager
///   hears it, from a second before until 300 ms after. Ends that break this are left out.
/// - Where managers start empty, or cannot hear everybody, not all agents end at once: somebody who was there for two seconds
///   before an end lives for two more, to say that there is a fleet. Other ends are left out.
///
/// Plans that keep the assumptions stay as they are.
pub fn keep_assumptions(plan: &mut Plan) {
    let_founders_hear(plan);
    let lonely = lonely_ends(plan);
    let mut index = 0;
    plan.faults.retain(|_| {
        index += 1;
        !lonely.contains(&(index - 1))
    });
}

fn let_founders_hear(plan: &mut Plan) {
    let started = plan.faults.iter().filter_map(|(at, fault)| match fault {
        Fault::StartManager(m) => Some((*m, *at)),
        _ => None,
    });
    let starts: Vec<(usize, Duration)> = started.collect();
    let beginning = (0..plan.managers).map(|m| (m, Duration::ZERO));
    let cuts: Vec<(usize, usize, Duration)> = plan
        .faults
        .iter()
        .filter_map(|(at, fault)| match fault {
            Fault::Cut(a, m) => Some((*a, *m, *at)),
            _ => None,
        })
        .collect();
    for (manager, start) in beginning.chain(starts.iter().copied()) {
        for (agent, m, at) in &cuts {
            if *m == manager && *at >= start && *at < start + FOUNDING {
                add(plan, *at, Fault::Heal(*agent, manager));
            }
        }
    }
    for (manager, start) in starts {
        add(plan, start, Fault::HealAll(manager));
    }
}

/// Adds the fault behind those of the same time, unless it is there.
fn add(plan: &mut Plan, at: Duration, fault: Fault) {
    if !plan.faults.contains(&(at, fault)) {
        plan.faults.push((at, fault));
    }
}

/// Places of the faults that end an agent whom no manager hears well enough.
fn lonely_ends(plan: &Plan) -> Vec<usize> {
    let ends = plan.faults.iter().enumerate().filter_map(|(i, (at, fault))| match fault {
        Fault::KillAgent(agent) | Fault::StopAgent(agent) => Some((i, *agent, *at)),
        _ => None,
    });
    let blind = |fault: &Fault| matches!(fault, Fault::StartManager(_) | Fault::Cut(..));
    let may_found = plan.faults.iter().any(|(_, fault)| blind(fault));
    let all = plan.agents + plan.spare_agents;
    let heard = |agent, at| (0..plan.managers).any(|m| hears(plan, m, agent, at));
    let witnessed = |agent, at| (0..all).any(|other| other != agent && lives(plan, other, at));
    ends.filter(|(_, agent, at)| !heard(*agent, *at) || may_found && !witnessed(*agent, *at))
        .map(|(i, _, _)| i)
        .collect()
}

/// Whether the agent lives all the time around `at`.
fn lives(plan: &Plan, agent: usize, at: Duration) -> bool {
    let (from, to) = (at.saturating_sub(WITNESS), at + WITNESS);
    let mut faults: Vec<&(Duration, Fault)> = plan.faults.iter().collect();
    faults.sort_by_key(|(at, _)| *at);
    let mut alive = agent < plan.agents;
    for (time, fault) in faults {
        if *time > to {
            break;
        }
        match *fault {
            Fault::KillAgent(a) | Fault::StopAgent(a) if a == agent && *time >= from => {
                return false;
            }
            Fault::KillAgent(a) | Fault::StopAgent(a) if a == agent => alive = false,
            Fault::StartAgent(a) if a == agent && *time <= from => alive = true,
            _ => {}
        }
    }
    alive
}

/// Whether the manager hears the agent all the time around `at`.
fn hears(plan: &Plan, manager: usize, agent: usize, at: Duration) -> bool {
    let (from, to) = (at.saturating_sub(HEARD_BEFORE), at + HEARD_AFTER);
    let mut faults: Vec<&(Duration, Fault)> = plan.faults.iter().collect();
    faults.sort_by_key(|(at, _)| *at);
    let (mut alive, mut frozen, mut cut) = (true, false, false);
    for (time, fault) in faults {
        if *time > from && !(alive && !frozen && !cut) {
            return false;
        }
        if *time > to {
            return true;
        }
        match *fault {
            Fault::KillManager(m) if m == manager => (alive, frozen) = (false, false),
            Fault::StartManager(m) if m == manager && !alive => (alive, frozen) = (true, false),
            Fault::FreezeManager(m) if m == manager => frozen = true,
            Fault::ThawManager(m) if m == manager => frozen = false,
            Fault::Cut(a, m) if (a, m) == (agent, manager) => cut = true,
            Fault::Heal(a, m) if (a, m) == (agent, manager) => cut = false,
            Fault::HealAll(m) if m == manager => cut = false,
            _ => {}
        }
    }
    alive && !frozen && !cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan::new(1, 3, 10, Duration::from_secs(1), Duration::from_secs(12))
    }

    fn kept(plan: &Plan) -> Vec<(Duration, Fault)> {
        let mut plan = plan.clone();
        keep_assumptions(&mut plan);
        let once = plan.clone();
        keep_assumptions(&mut plan);
        assert_eq!(plan, once, "repaired twice is repaired once");
        plan.faults
    }

    #[test]
    fn plans_that_keep_the_assumptions_stay() {
        let plan = plan()
            .fault(4_000, Fault::KillManager(0))
            .fault(4_200, Fault::KillAgent(1))
            .fault(5_000, Fault::Cut(0, 1));
        assert_eq!(kept(&plan), plan.faults);
    }

    #[test]
    fn an_agent_that_nobody_hears_does_not_end() {
        let frozen =
            plan().fault(4_000, Fault::KillManager(0)).fault(4_000, Fault::FreezeManager(1));
        let lonely = frozen.clone().fault(5_000, Fault::KillAgent(2));
        assert_eq!(kept(&lonely), frozen.faults);
        let thawed = frozen.fault(5_000, Fault::ThawManager(1));
        let soon = thawed.clone().fault(5_900, Fault::StopAgent(2));
        assert_eq!(kept(&soon), thawed.faults);
        let later = thawed.fault(6_100, Fault::StopAgent(2));
        assert_eq!(kept(&later), later.faults);
    }

    #[test]
    fn the_last_who_heard_an_agent_outlives_it() {
        let cut = plan().fault(3_000, Fault::Cut(2, 0));
        let dies =
            cut.clone().fault(5_000, Fault::KillAgent(2)).fault(5_200, Fault::KillManager(1));
        assert_eq!(kept(&dies), [cut.faults[0], dies.faults[2]]);
        let lives = cut.fault(5_000, Fault::KillAgent(2)).fault(5_400, Fault::KillManager(1));
        assert_eq!(kept(&lives), lives.faults);
    }

    #[test]
    fn where_managers_start_empty_not_all_agents_end_at_once() {
        let first = plan().fault(4_000, Fault::KillManager(0)).fault(4_500, Fault::StartManager(0));
        let all = (0..3).fold(first, |plan, agent| plan.fault(8_000, Fault::KillAgent(agent)));
        let ends = |plan: &Plan| {
            let end = |f: &&(Duration, Fault)| matches!(f.1, Fault::KillAgent(_));
            kept(plan).iter().filter(end).count()
        };
        assert_eq!(ends(&all), 0);
        let mut two = all.clone();
        two.faults.pop();
        assert_eq!(ends(&two), 2, "the third says that there is a fleet");
        let never = (0..3).fold(plan(), |plan, agent| plan.fault(8_000, Fault::KillAgent(agent)));
        assert_eq!(ends(&never), 3, "both managers know everything");
    }

    #[test]
    fn whoever_starts_is_reached_by_everybody() {
        let plan = plan()
            .fault(3_000, Fault::KillManager(0))
            .fault(4_000, Fault::StartManager(0))
            .fault(4_500, Fault::Cut(1, 0));
        let mut healed = plan.faults.clone();
        healed.push((Duration::from_millis(4_500), Fault::Heal(1, 0)));
        healed.push((Duration::from_millis(4_000), Fault::HealAll(0)));
        assert_eq!(kept(&plan), healed);
    }

    #[test]
    fn nobody_is_cut_off_while_the_fleet_is_founded() {
        let plan = plan().fault(800, Fault::Cut(1, 1)).fault(2_000, Fault::Cut(0, 1));
        let mut healed = plan.faults.clone();
        healed.push((Duration::from_millis(800), Fault::Heal(1, 1)));
        assert_eq!(kept(&plan), healed);
    }
}
