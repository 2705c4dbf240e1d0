//! Requests: those of the plan, and those that others ask, with their answers.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use gateway_agent_core as agent_core;
use weir_proto::{
    amount::Amounts,
    policy::Policy,
    request::Request,
    time::{Time, WindowStart},
    window::Algorithm,
};

use super::{EPOCH_SECS, Event, World};

/// A request at an agent.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Comes back in the [`Answer`]; 0 = nobody wants to hear of it.
    pub id: u64,
    /// Names and values of its attributes.
    pub attributes: Arc<[(String, String)]>,
    /// For the counts in [`crate::Outcome`].
    pub key: u64,
}

/// What became of a request that was asked by [`World::ask`].
#[derive(Debug, Clone)]
pub struct Answer {
    /// As asked.
    pub id: u64,
    /// True time of the answer.
    pub at: Time,
    /// Manager time as the agent saw it: it names the windows that were counted in.
    pub seen: Time,
    /// Whether it may pass.
    pub allowed: bool,
    /// Name of the policy that refused it, and the limit's id.
    pub by: Option<(Arc<str>, Arc<str>)>,
    /// The agent had no policies yet, so that a gateway would not have used it.
    pub unready: bool,
}

/// A request that waits.
#[derive(Clone, Copy)]
struct Waiter {
    id: u64,
    until: Time,
}

impl World {
    /// A request at this agent now. Its answer may come later; see [`World::answers`]. An agent that
    /// is not alive answers nothing.
    pub fn ask(&mut self, agent: usize, ask: Ask) {
        self.outcome.requests += 1;
        self.request(agent, ask, None);
    }

    /// Takes the answers that came since the last call.
    pub fn answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    pub(super) fn arrive(&mut self, i: usize) {
        let traffic = self.plan.traffic[i];
        let next = self.now + self.chance.pause(traffic.rate);
        if next <= Time::ZERO + traffic.to {
            self.schedule(next, Event::Arrive(i));
        }
        let key = self.chance.below(traffic.keys.max(1));
        if self.agents[traffic.agent].core.is_some() {
            let ask = self.keys.entry(key).or_insert_with(|| {
                let attributes = Arc::new([("application".to_owned(), format!("app-{key}"))]);
                Ask { id: 0, attributes, key }
            });
            let ask = ask.clone();
            self.ask(traffic.agent, ask);
        }
    }

    /// One request, or another try of one that waits.
    fn request(&mut self, agent: usize, ask: Ask, waiter: Option<Waiter>) {
        let local = self.local(agent);
        let Some(checker) = self.agents[agent].checker.clone() else { return };
        let mut request = Request::new();
        for (name, value) in ask.attributes.iter() {
            // Names were checked when the scenario was read.
            let _ = request.set(name, value.as_str());
        }
        let over = waiter.is_some_and(|w| w.until <= self.now);
        let verdict = if over || self.policies.iter().all(|policy| policy.max_wait.is_zero()) {
            checker.check(&request, 1, local)
        } else {
            checker.try_check(&request, &Amounts::default(), local)
        };
        self.tally(agent, &ask, waiter.is_none(), &verdict);
        if let agent_core::Outcome::Pending { wait } = verdict.outcome {
            let waiter = waiter.unwrap_or_else(|| self.wait(agent, self.now + wait));
            self.agents[agent].waiting.insert(waiter.id, (ask, waiter.until));
        } else if ask.id != 0 {
            let answer = self.answer(agent, ask.id, &verdict);
            self.answers.push(answer);
        }
        if self.agents[agent].poked.load(Ordering::Relaxed) {
            let life = self.agents[agent].life;
            self.schedule(self.now, Event::Poke(agent, life));
        }
    }

    fn wait(&mut self, agent: usize, until: Time) -> Waiter {
        self.outcome.waited += 1;
        self.links += 1;
        let (id, life) = (self.links, self.agents[agent].life);
        self.schedule(until, Event::GiveUp { agent, life, id });
        Waiter { id, until }
    }

    fn tally(&mut self, agent: usize, ask: &Ask, first: bool, verdict: &agent_core::Verdict) {
        if verdict.allowed() {
            self.outcome.admitted += u64::from(verdict.limit.is_some());
        }
        let Some(limit) = verdict.limit.as_ref().filter(|_| ask.id == 0) else { return };
        let key = ask.key;
        if first {
            *self.outcome.offered.entry((key, limit.start)).or_default() += 1;
        }
        if verdict.allowed() {
            let floor = self.floor(agent, &limit.policy.policy, limit.start);
            if floor > 0 {
                let label = if self.plan.sliding { WindowStart::default() } else { limit.start };
                self.outcome.allow(key, label, (agent, self.agents[agent].life), floor);
            }
            *self.outcome.windows.entry((key, limit.start)).or_default() += 1;
            self.spend(agent, key, limit.start);
            if self.plan.sliding {
                self.outcome.times.entry(key).or_default().push(self.now);
            }
            let text =
                || format!("agent {agent} admits key {key} in {}", limit.start.0 - EPOCH_SECS);
            self.log(text);
        }
    }

    /// Not `strict`: what this agent may admit beyond its ceiling belongs to the bound.
    fn floor(&self, agent: usize, policy: &Policy, window: WindowStart) -> u64 {
        let core = self.agents[agent].core.as_ref();
        core.map_or(0, |core| policy.floor(self.plan.limit, core.share(window).fleet))
    }

    fn answer(&mut self, agent: usize, id: u64, verdict: &agent_core::Verdict) -> Answer {
        let refusal = verdict.limit.as_ref().filter(|_| !verdict.allowed());
        let by = refusal.map(|limit| {
            (Arc::from(limit.policy.policy.name.as_str()), Arc::from(limit.limit_id()))
        });
        Answer {
            id,
            at: self.now,
            seen: self.manager_time_at(agent, verdict),
            allowed: verdict.allowed(),
            by,
            unready: verdict.limit.is_none() && verdict.policy().is_none(),
        }
    }

    /// Manager time as the agent sees it: told by any fixed window that it has just counted in.
    fn manager_time_at(&mut self, agent: usize, verdict: &agent_core::Verdict) -> Time {
        let local = self.local(agent);
        let fixed = verdict.limit.as_ref().filter(|limit| {
            limit.limit().is_some_and(|found| found.limit.algorithm == Algorithm::FixedWindow)
        });
        if let Some(limit) = fixed {
            let time = end(limit.start, limit.window) - limit.reset;
            self.agents[agent].seen = Some(offset(time, local));
            return time;
        }
        let node = &mut self.agents[agent];
        let seen = node
            .seen
            .or_else(|| node.core.as_ref().map(|core| core.status(local).manager_time_offset_us));
        Time::from_micros(local.as_micros().saturating_add_signed(seen.unwrap_or(0)))
    }

    /// Ceilings changed at this agent: those who wait try again.
    pub(super) fn wake(&mut self, agent: usize) {
        for (id, (ask, until)) in std::mem::take(&mut self.agents[agent].waiting) {
            self.request(agent, ask, Some(Waiter { id, until }));
        }
    }

    pub(super) fn give_up(&mut self, agent: usize, id: u64) {
        if let Some((ask, until)) = self.agents[agent].waiting.remove(&id) {
            self.request(agent, ask, Some(Waiter { id, until }));
        }
    }
}

fn end(start: WindowStart, length: Duration) -> Time {
    start.time() + length
}

fn offset(time: Time, local: Time) -> i64 {
    let (time, local) = (time.as_micros(), local.as_micros());
    i64::try_from(time).unwrap_or(i64::MAX) - i64::try_from(local).unwrap_or(i64::MAX)
}
