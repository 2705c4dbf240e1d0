//! Every schedule of a small world, within bounds: the ceilings in force never add up to more than
//! the limit, whatever the order of events.
//!
//! The nodes are the real cores, copied before each step. A [`Scope`] says what may happen: each
//! state's choices are the messages that may arrive (in order per connection and direction), requests,
//! timers and faults. All of them are tried, depth first.
//!
//! One reduction: a state that was met before, with as much still to happen, is not searched again.
//! That is sound up to collisions of 64-bit hashes, as what a node does next depends on nothing but its
//! state and input. Timers of several nodes that are due at once go off in one order, as each changes
//! its own node only. [`Order::Prompt`] is no reduction but a bound: it leaves schedules out, and gets
//! further within the others.
//!
//! Left out: rolling windows, `balanced`, clocks that differ, loss of the use that a dead agent had
//! told to managers that failed, too (an agent's end excludes other faults; see "Assumptions" in
//! `ALGORITHM.md`).
//!
//! | module | holds |
//! |---|---|
//! | [`world`] | nodes, connections, and what is in force |
//! | [`action`] | steps to choose from |
//! | [`scene`] | states to start from |

pub mod action;
mod nodes;
pub mod scene;
mod step;
pub mod world;

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    time::Duration,
};

use weir_proto::time::Time;

pub use action::Action;
pub use scene::Scene;
pub use world::{Overdraft, World};

/// In which order messages and timers may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Any.
    Every,
    /// Messages arrive before time passes, lower connections first, unless they are held back. Requests
    /// and faults come just before a step of a node that they concern: before others they change as
    /// much as after.
    Prompt,
}

/// What may happen, at most.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// Order of events.
    pub order: Order,
    /// Steps of one schedule.
    pub steps: u32,
    /// Time that passes.
    pub time: Duration,
    /// Requests.
    pub requests: u8,
    /// Connections of which one direction is held back ([`Order::Prompt`]).
    pub holds: u8,
    /// Things that go wrong.
    pub faults: u8,
    /// Ends of what went wrong: nodes start, hanging ones go on, cuts heal.
    pub repairs: u8,
    /// States; more end the search.
    pub states: usize,
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// Steps made.
    pub steps: u64,
    /// Steps of the longest schedule.
    pub deepest: u32,
    /// Every schedule within the scope was tried.
    pub complete: bool,
    /// The first schedule after which more than the limit is in force.
    pub found: Option<(Vec<Action>, Overdraft)>,
}

/// What may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    steps: u32,
    requests: u8,
    holds: u8,
    faults: u8,
    repairs: u8,
    /// An agent has ended: its last use is known only to managers that go on. See "Assumptions".
    ended: bool,
    /// Something else went wrong.
    broken: bool,
}

impl Left {
    fn after(mut self, action: Action) -> Left {
        self.steps -= 1;
        match action {
            Action::Request(_) => self.requests -= 1,
            Action::Hold(..) => self.holds -= 1,
            Action::KillAgent(_) | Action::StopAgent(_) => {
                self.faults -= 1;
                self.ended = true;
            }
            fault if fault.is_fault() => {
                self.faults -= 1;
                self.broken = true;
            }
            Action::Heal(..)
            | Action::StartManager(_)
            | Action::ThawManager(_)
            | Action::StartAgent(_) => self.repairs -= 1,
            _ => {}
        }
        self
    }

    /// All but the steps, as one number.
    fn budget(self) -> u64 {
        let Left { steps: _, requests, holds, faults, repairs, ended, broken } = self;
        let rest = [requests, holds, faults, repairs, u8::from(ended), u8::from(broken)];
        rest.iter().fold(0, |sum, n| sum << 8 | u64::from(*n))
    }

    fn allows(&self, fault: Action) -> bool {
        if self.faults == 0 {
            return false;
        }
        match fault {
            Action::KillAgent(_) | Action::StopAgent(_) => !self.broken,
            _ => !self.ended,
        }
    }
}

#[derive(Default)]
struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

/// Searches all schedules that begin in `world`.
pub fn explore(world: &World, scope: &Scope) -> Report {
    let left = Left {
        steps: scope.steps,
        requests: scope.requests,
        holds: scope.holds,
        faults: scope.faults,
        repairs: scope.repairs,
        ended: false,
        broken: false,
    };
    let mut search = Search {
        scope,
        end: world.age() + scope.time,
        seen: HashMap::default(),
        path: Vec::new(),
        report: Report { states: 0, steps: 0, deepest: 0, complete: true, found: None },
    };
    search.visit(world, left);
    search.report.states = search.seen.len();
    search.report
}

struct Search<'a> {
    scope: &'a Scope,
    end: Duration,
    /// States, with the most steps that were left in one.
    seen: HashMap<u64, u32, BuildHasherDefault<Plain>>,
    path: Vec<Action>,
    report: Report,
}

impl Search<'_> {
    fn visit(&mut self, world: &World, left: Left) {
        if left.steps == 0 || self.report.found.is_some() {
            return;
        }
        for action in self.choices(world, left) {
            if self.seen.len() >= self.scope.states {
                self.report.complete = false;
                return;
            }
            let mut next = world.clone();
            next.step(action);
            self.path.push(action);
            self.report.steps += 1;
            self.report.deepest = self.report.deepest.max(self.scope.steps - left.steps + 1);
            if let Some(overdraft) = next.overdraft() {
                self.report.found = Some((self.path.clone(), overdraft));
                return;
            }
            let after = left.after(action);
            if self.is_new(&next, after) {
                self.visit(&next, after);
            }
            self.path.pop();
            if self.report.found.is_some() {
                return;
            }
        }
    }

    fn is_new(&mut self, world: &World, left: Left) -> bool {
        let print = world.print() ^ left.budget().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match self.seen.get_mut(&print) {
            Some(most) if *most >= left.steps => false,
            Some(most) => {
                *most = left.steps;
                true
            }
            None => {
                self.seen.insert(print, left.steps);
                true
            }
        }
    }

    fn choices(&self, world: &World, left: Left) -> Vec<Action> {
        let mut choices = world.deliveries();
        let later = world.next_deadline().is_some_and(|at| at.since(Time::ZERO) <= self.end);
        let prompt = self.scope.order == Order::Prompt;
        if prompt {
            choices.truncate(1);
        }
        if later && (!prompt || choices.is_empty()) {
            choices.push(Action::Tick);
        }
        let next = choices.first().copied().filter(|_| prompt);
        if let Some(Action::Deliver(wire, up)) = next
            && left.holds > 0
        {
            choices.extend(world.holding(wire, up));
        }
        choices.extend(world.releases());
        let now =
            |action: &Action| !prompt || next.is_some_and(|next| world.concerns(next, *action));
        if left.requests > 0 {
            choices.extend(world.requests().filter(now));
        }
        let allowed = |fault: &Action| left.allows(*fault);
        choices.extend(world.faults().into_iter().filter(allowed).filter(now));
        if left.repairs > 0 {
            choices.extend(world.repairs().into_iter().filter(now));
        }
        choices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_differ_by_whatever_may_still_happen() {
        let none = Left {
            steps: 9,
            requests: 0,
            holds: 0,
            faults: 0,
            repairs: 0,
            ended: false,
            broken: false,
        };
        let others = [
            Left { requests: 1, ..none },
            Left { holds: 1, ..none },
            Left { faults: 1, ..none },
            Left { repairs: 1, ..none },
            Left { ended: true, ..none },
            Left { broken: true, ..none },
        ];
        let budgets: std::collections::BTreeSet<u64> =
            others.iter().chain([&none]).map(|left| left.budget()).collect();
        assert_eq!(budgets.len(), others.len() + 1, "{budgets:?}");
        assert_eq!(Left { steps: 1, ..none }.budget(), none.budget(), "steps are compared apart");
    }
}
