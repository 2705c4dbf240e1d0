//! Whoever limits a scenario's requests: Weir's own cores, or a [rival](crate::rivals).

use std::{collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use weir_proto::time::Time;

use crate::{
    judge::{Facts, Hit, Ruling},
    outcome::Cost,
    plan::Fault,
    scenario::{Incident, Scenario},
    world::{Ask, World},
};

/// What all requests of one kind share.
#[derive(Debug)]
pub struct Query {
    /// Names and values of their attributes.
    pub attributes: Arc<[(String, String)]>,
    /// The counters that they count in.
    pub hits: Vec<Hit>,
    /// A deny policy refuses them.
    pub denied: bool,
}

/// What became of a request.
#[derive(Debug)]
pub struct Answered {
    /// The request's number.
    pub id: u64,
    /// The request.
    pub query: Rc<Query>,
    /// True time.
    pub at: Time,
    /// Manager time as the limiter saw it: it names the windows.
    pub seen: Time,
    /// Whether it may pass; `None` when the agent was not ready to be asked.
    pub ruling: Option<Ruling>,
}

/// One way to share limits among agents. Everything happens in order of time.
pub trait Limiter {
    /// Does all that is due by then.
    fn advance(&mut self, to: Duration);
    /// Something happens to the world.
    fn incident(&mut self, incident: Incident);
    /// A request at an agent that lives, with a number above 0 of its own. That the agent is not ready
    /// to be asked is answered at once.
    fn ask(&mut self, agent: usize, id: u64, query: &Rc<Query>);
    /// Takes the answers since the last call; those to requests that wait come later.
    fn answers(&mut self) -> Vec<Answered>;
    /// What crossed the network so far.
    fn cost(&self) -> Cost;
    /// The longest time until an agent followed a manager again after the one that it followed was
    /// killed, hung or cut off; `None` when that did not happen, or it never did.
    fn failover(&self) -> Option<Duration>;
}

/// The real cores.
pub struct Weir {
    world: World,
    facts: Arc<[Facts]>,
    queries: BTreeMap<u64, Rc<Query>>,
    losses: Vec<(Time, usize)>,
}

impl Weir {
    /// Agents and managers of this scenario, with this seed for what the network does.
    pub fn new(scenario: &Scenario, facts: Arc<[Facts]>, seed: u64) -> Self {
        let mut plan = scenario.plan.clone();
        plan.seed = seed;
        plan.weigh = true;
        plan.policies.clone_from(&scenario.policies);
        Weir { world: World::new(plan), facts, queries: BTreeMap::new(), losses: Vec::new() }
    }
}

impl Limiter for Weir {
    fn advance(&mut self, to: Duration) {
        self.world.run_until(to);
    }

    fn incident(&mut self, incident: Incident) {
        let now = self.world.now();
        match incident {
            Incident::Fault(Fault::KillManager(m) | Fault::FreezeManager(m)) => {
                for agent in self.world.followers(m) {
                    self.losses.push((now, agent));
                }
            }
            Incident::Fault(Fault::Cut(a, m)) | Incident::CutDecisions(a, m) => {
                if self.world.followers(m).contains(&a) {
                    self.losses.push((now, a));
                }
            }
            Incident::Fault(_) | Incident::HealDecisions(..) => {}
        }
        self.world.strike(incident);
    }

    fn ask(&mut self, agent: usize, id: u64, query: &Rc<Query>) {
        self.queries.insert(id, Rc::clone(query));
        let ask = Ask { id, attributes: Arc::clone(&query.attributes), key: 0 };
        self.world.ask(agent, ask);
    }

    fn answers(&mut self) -> Vec<Answered> {
        let answers = self.world.answers();
        let mut known = Vec::with_capacity(answers.len());
        for answer in answers {
            let Some(query) = self.queries.remove(&answer.id) else { continue };
            let ruling = if answer.allowed {
                Ruling::Pass
            } else if let Some((policy, id)) = &answer.by {
                let same = |f: &Facts| f.policy == **policy && f.id == **id;
                Ruling::Refused(self.facts.iter().position(same))
            } else {
                Ruling::Denied
            };
            // An agent without policies is not ready, and a gateway sends it nothing.
            let ready = !(answer.unready && (query.denied || !query.hits.is_empty()));
            let ruling = ready.then_some(ruling);
            known.push(Answered { id: answer.id, query, at: answer.at, seen: answer.seen, ruling });
        }
        known
    }

    fn cost(&self) -> Cost {
        self.world.outcome().cost
    }

    fn failover(&self) -> Option<Duration> {
        let followed = &self.world.outcome().followed;
        let again = |(at, agent): &(Time, usize)| {
            let next = followed.iter().find(|(t, a, m)| t >= at && a == agent && m.is_some());
            next.map(|(t, _, _)| t.since(*at))
        };
        self.losses.iter().filter_map(again).max()
    }
}
