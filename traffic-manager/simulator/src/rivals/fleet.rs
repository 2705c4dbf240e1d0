//! The event loop of a rival.

mod faults;
#[cfg(test)]
mod tests;

use std::{cmp::Reverse, collections::BinaryHeap, rc::Rc, sync::Arc, time::Duration};

use gateway_agent_core::ConnectionId;
use weir_proto::time::Time;

use super::{
    Sight, Strategy, Tally, Word,
    nodes::{Agent, Central, Entry, Local, Manager},
};
use crate::{
    chance::Chance,
    judge::{Facts, Ruling},
    limiter::{Answered, Limiter, Query},
    network::{Connection, KEEP_ALIVE, Kind, Network},
    outcome::Cost,
    plan::Plan,
    scenario::{Incident, Scenario},
    world::EPOCH_SECS,
};

/// Agents report, and managers look at their counters, this often.
const PERIOD: Duration = Duration::from_millis(100);
/// What is stuck at a cut is tried again after this.
const AGAIN: Duration = Duration::from_millis(50);
/// Estimated bytes of a message and of each counter in it.
const FRAME_BYTES: u64 = 10;
const ENTRY_BYTES: u64 = 16;

#[derive(Debug)]
enum Load {
    Report(Vec<Entry>),
    Words(Vec<(usize, Word)>),
}

#[derive(Debug)]
enum Event {
    Report(usize),
    Tick(usize),
    Deliver { agent: usize, manager: usize, life: u64, given_up: Time, load: Load },
}

/// Agents and managers that follow a strategy.
pub struct Fleet<S> {
    strategy: S,
    plan: Plan,
    facts: Arc<[Facts]>,
    chance: Chance,
    now: Time,
    queue: BinaryHeap<Reverse<(Time, u64, usize)>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    sequence: u64,
    agents: Vec<Agent>,
    managers: Vec<Manager>,
    network: Network,
    answers: Vec<Answered>,
    cost: Cost,
}

impl<S: Strategy> Fleet<S> {
    /// Agents and managers of this scenario, with this seed for what the network does.
    pub fn new(strategy: S, scenario: &Scenario, facts: Arc<[Facts]>, seed: u64) -> Self {
        let plan = scenario.plan.clone();
        let managers = (0..plan.managers).map(|i| Manager {
            alive: true,
            skew_ms: plan.skew_ms.get(i).copied().unwrap_or(0),
            ..Manager::default()
        });
        let total = plan.agents + plan.spare_agents;
        let agents = (0..total).map(|i| Agent::new(i < plan.agents, plan.managers));
        let mut network = Network::default();
        for agent in 0..total {
            for manager in 0..plan.managers {
                let name = ConnectionId(0);
                network.open(Connection::new((agent, 0), (manager, 0), Kind::Usage, name));
            }
        }
        let mut fleet = Fleet {
            strategy,
            facts,
            chance: Chance::new(seed),
            now: Time::ZERO,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            sequence: 0,
            agents: agents.collect(),
            managers: managers.collect(),
            network,
            answers: Vec::new(),
            cost: Cost::default(),
            plan,
        };
        for agent in 0..total {
            let phase = fleet.chance.below(100_000);
            fleet.schedule(Time::from_micros(phase), Event::Report(agent));
        }
        for manager in 0..fleet.plan.managers {
            fleet.schedule(Time::ZERO + PERIOD, Event::Tick(manager));
        }
        fleet
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        let slot = self.free.pop().unwrap_or(self.events.len());
        if slot == self.events.len() {
            self.events.push(None);
        }
        self.events[slot] = Some(event);
        self.queue.push(Reverse((at, self.sequence, slot)));
    }

    /// Manager time by the clock of one manager.
    fn clock(&self, manager: usize) -> Time {
        let micros = (self.now + Duration::from_secs(EPOCH_SECS)).as_micros();
        Time::from_micros(micros.saturating_add_signed(self.managers[manager].skew_ms * 1_000))
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Report(agent) => {
                self.report(agent);
                self.schedule(self.now + PERIOD, Event::Report(agent));
            }
            Event::Tick(manager) => {
                self.speak(manager, None);
                self.schedule(self.now + PERIOD, Event::Tick(manager));
            }
            Event::Deliver { agent, manager, life, given_up, load } => {
                self.deliver(agent, manager, life, given_up, load);
            }
        }
    }

    fn report(&mut self, agent: usize) {
        let follows = self.agents[agent].follows(self.now);
        if let Some(manager) = follows {
            self.agents[agent].last = manager;
        }
        if !self.agents[agent].alive || self.agents[agent].unsent.is_empty() {
            return;
        }
        let entries: Vec<Entry> =
            std::mem::take(&mut self.agents[agent].unsent).into_values().collect();
        for manager in 0..self.managers.len() {
            self.send(agent, manager, true, Load::Report(entries.clone()));
        }
    }

    fn send(&mut self, agent: usize, manager: usize, up: bool, load: Load) {
        let connection = agent * self.managers.len() + manager;
        let at = self.network.arrival(connection, up, &self.plan, &mut self.chance, self.now);
        match &load {
            Load::Report(entries) => {
                self.cost.usage_messages += 1;
                self.cost.usage_bytes += FRAME_BYTES + ENTRY_BYTES * entries.len() as u64;
            }
            Load::Words(words) => {
                self.cost.decision_messages += 1;
                self.cost.decision_bytes += FRAME_BYTES + ENTRY_BYTES * words.len() as u64;
            }
        }
        let life = self.managers[manager].life;
        let given_up = at + KEEP_ALIVE;
        self.schedule(at, Event::Deliver { agent, manager, life, given_up, load });
    }

    fn deliver(&mut self, agent: usize, manager: usize, life: u64, given_up: Time, load: Load) {
        let kind = if matches!(load, Load::Report(_)) { Kind::Usage } else { Kind::Session };
        if self.network.is_cut_for(agent, manager, kind) {
            if self.now < given_up {
                let event = Event::Deliver { agent, manager, life, given_up, load };
                self.schedule(self.now + AGAIN, event);
            }
            return;
        }
        match load {
            Load::Words(words) => {
                for (counter, word) in words {
                    self.agents[agent].counters.entry(counter).or_default().word = Some(word);
                }
            }
            Load::Report(entries) => {
                let node = &mut self.managers[manager];
                if !node.alive || node.life != life {
                    return;
                }
                if node.frozen {
                    node.held.push((agent, entries));
                } else {
                    self.merge(manager, &entries);
                }
            }
        }
    }

    fn merge(&mut self, manager: usize, entries: &[Entry]) {
        for entry in entries {
            let counter = self.managers[manager].counters.entry(entry.counter).or_default();
            counter.limit = entry.limit;
            counter.offered += entry.offered;
            if entry.window > counter.window {
                counter.window = entry.window;
                counter.used = 0;
            }
            if entry.window == counter.window {
                counter.used += entry.admitted;
            }
        }
        let counters: Vec<usize> = entries.iter().map(|entry| entry.counter).collect();
        self.speak(manager, Some(&counters));
    }

    /// Says what is new, of some counters or, on the clock, of all.
    fn speak(&mut self, manager: usize, some: Option<&[usize]>) {
        let clock = self.clock(manager);
        let node = &mut self.managers[manager];
        if !node.alive || node.frozen {
            return;
        }
        let now = self.now;
        let listeners = (0..self.agents.len()).filter(|agent| {
            self.agents[*agent].alive && self.agents[*agent].follows(now) == Some(manager)
        });
        let listeners: Vec<usize> = listeners.collect();
        // Whoever begins to follow may have missed words at a cut, or heard another manager since.
        let began = listeners.iter().filter(|agent| !node.listeners.contains(agent));
        for agent in began {
            for counter in node.counters.values_mut() {
                counter.said.remove(agent);
            }
        }
        node.listeners.clone_from(&listeners);
        let mut words: Vec<Vec<(usize, Word)>> = vec![Vec::new(); listeners.len()];
        for (ix, counter) in &mut node.counters {
            if some.is_some_and(|some| !some.contains(ix)) {
                continue;
            }
            let tally = counter.tally(&self.facts, clock, some.is_none());
            let Some(word) = self.strategy.word(&tally, some.is_none()) else { continue };
            for (list, agent) in words.iter_mut().zip(&listeners) {
                if counter.said.insert(*agent, word) != Some(word) {
                    list.push((*ix, word));
                }
            }
        }
        for (list, agent) in words.into_iter().zip(listeners) {
            if !list.is_empty() {
                self.send(agent, manager, false, Load::Words(list));
            }
        }
    }

    /// What the agent knows of a counter.
    fn sight(&mut self, agent: usize, hit: crate::judge::Hit, clock: Time) -> Sight {
        let facts = &self.facts[hit.limit];
        let window = facts.window.start_at(clock).0;
        let dice = self.chance.unit();
        let alive = self.agents.iter().filter(|agent| agent.alive).count() as u64;
        let before = self.agents.iter().take(agent).filter(|agent| agent.alive).count() as u64;
        let local = self.agents[agent].counters.entry(hit.counter).or_default();
        local.limit = hit.limit;
        if window > local.window {
            *local = Local { window, used: 0, ..*local };
        }
        let (limit, used, word) = (facts.amount, local.used, local.word);
        Sight { limit, window, used, fleet: (alive, before), word, dice }
    }
}

impl Central {
    /// What the manager knows; on the clock it also looks how many requests came since last time.
    fn tally(&mut self, facts: &[Facts], clock: Time, tick: bool) -> Tally {
        let facts = &facts[self.limit];
        let window = facts.window.start_at(clock);
        if window.0 > self.window {
            self.window = window.0;
            self.used = 0;
        }
        if tick {
            #[expect(clippy::cast_precision_loss, reason = "requests of 100 ms")]
            let present = std::mem::take(&mut self.offered) as f64 / PERIOD.as_secs_f64();
            let part = PERIOD.as_secs_f64();
            self.rate = self.rate * (1.0 - part) + present * part;
        }
        let left = facts.window.end(window).since(clock);
        Tally { limit: facts.amount, window: self.window, left, used: self.used, rate: self.rate }
    }
}

impl<S: Strategy> Limiter for Fleet<S> {
    fn advance(&mut self, to: Duration) {
        let end = Time::ZERO + to;
        while self.queue.peek().is_some_and(|Reverse((at, _, _))| *at <= end) {
            let Some(Reverse((at, _, slot))) = self.queue.pop() else { break };
            self.now = at;
            self.free.push(slot);
            if let Some(event) = self.events[slot].take() {
                self.happen(event);
            }
        }
        self.now = end;
    }

    fn incident(&mut self, incident: Incident) {
        match incident {
            Incident::Fault(fault) => self.fault(fault),
            Incident::CutDecisions(a, m) => self.network.set_sessions_cut(a, m, true),
            Incident::HealDecisions(a, m) => self.network.set_sessions_cut(a, m, false),
        }
        self.look();
    }

    fn ask(&mut self, agent: usize, id: u64, query: &Rc<Query>) {
        let clock = self.clock(self.agents[agent].last).max(self.agents[agent].clock);
        self.agents[agent].clock = clock;
        let mut refused = None;
        let mut sights = Vec::with_capacity(query.hits.len());
        for hit in &query.hits {
            let sight = self.sight(agent, *hit, clock);
            if refused.is_none() && !self.strategy.admits(&sight) {
                refused = Some(hit.limit);
            }
            sights.push(sight);
        }
        let pass = refused.is_none() && !query.denied;
        for (hit, sight) in query.hits.iter().zip(sights) {
            let node = &mut self.agents[agent];
            let key = (hit.counter, sight.window);
            let entry = node.unsent.entry(key).or_insert(Entry {
                counter: hit.counter,
                limit: hit.limit,
                window: sight.window,
                admitted: 0,
                offered: 0,
            });
            entry.offered += 1;
            entry.admitted += u64::from(pass);
            if let Some(local) = node.counters.get_mut(&hit.counter) {
                local.used += u64::from(pass);
            }
        }
        let ruling = if query.denied {
            Ruling::Denied
        } else if pass {
            Ruling::Pass
        } else {
            Ruling::Refused(refused)
        };
        let query = Rc::clone(query);
        self.answers.push(Answered { id, query, at: self.now, seen: clock, ruling: Some(ruling) });
    }

    fn answers(&mut self) -> Vec<Answered> {
        std::mem::take(&mut self.answers)
    }

    fn cost(&self) -> Cost {
        self.cost
    }

    fn failover(&self) -> Option<Duration> {
        None // assumed, not measured
    }
}
