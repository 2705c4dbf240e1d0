//! Which request comes when, at which agent, for which key.
//!
//! Drawn from the seed alone, apart from everything that limiters do: all of them meet the same
//! requests.

mod shape;
mod spread;

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use self::spread::Weights;
pub use self::{
    shape::Shape,
    spread::{Presence, Spread},
};
use crate::{chance::Chance, scenario::Scenario};

/// Requests that follow one rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// How they follow each other.
    pub shape: Shape,
    /// From when on.
    pub from: Duration,
    /// Until when.
    pub to: Duration,
    /// At which agents.
    pub spread: Spread,
    /// Candidates among the agents.
    pub agents: Vec<usize>,
    /// Different values of `key`.
    pub keys: u64,
    /// Exponent with which few keys get most requests; `None` = all the same.
    pub keys_zipf: Option<f64>,
    /// Attribute that tells keys apart.
    pub key: String,
    /// Further attributes.
    pub attributes: Vec<(String, String)>,
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When, in true time.
    pub at: Duration,
    /// Place of its stream.
    pub stream: usize,
    /// At which agent.
    pub agent: usize,
    /// Which of the stream's keys.
    pub key: u64,
}

struct Source {
    stream: Stream,
    chance: Chance,
    agents: Weights,
    keys: Option<Weights>,
}

/// All requests of a run, in order of time.
pub struct Demand {
    sources: Vec<Source>,
    next: BinaryHeap<Reverse<(Duration, usize)>>,
    presence: Presence,
    end: Duration,
}

impl Demand {
    /// The requests of this scenario with this seed.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let sources = scenario.streams.iter().enumerate().map(|(i, stream)| Source {
            chance: Chance::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(i as u64 + 1)),
            agents: Weights::new(stream.agents.len(), stream.spread.exponent()),
            keys: stream.keys_zipf.map(|zipf| {
                Weights::new(usize::try_from(stream.keys).unwrap_or(usize::MAX), Some(zipf))
            }),
            stream: stream.clone(),
        });
        let mut demand = Demand {
            sources: sources.collect(),
            next: BinaryHeap::new(),
            presence: Presence::new(scenario),
            end: scenario.duration,
        };
        for i in 0..demand.sources.len() {
            let from = demand.sources[i].stream.from;
            demand.plan(i, from, true);
        }
        demand
    }

    fn plan(&mut self, i: usize, after: Duration, first: bool) {
        let source = &mut self.sources[i];
        let Stream { shape, from, to, .. } = &source.stream;
        let next = shape.next(after, (*from, *to), first, &mut source.chance);
        if let Some(at) = next.filter(|at| *at < (*to).min(self.end)) {
            self.next.push(Reverse((at, i)));
        }
    }
}

impl Iterator for Demand {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        loop {
            let Reverse((at, i)) = self.next.pop()?;
            self.plan(i, at, false);
            let source = &mut self.sources[i];
            let stream = &source.stream;
            let key = match &source.keys {
                Some(weights) => weights.draw(&mut source.chance) as u64,
                None => source.chance.below(stream.keys),
            };
            let agent =
                stream.spread.pick(stream, at, &source.agents, &self.presence, &mut source.chance);
            if let Some(agent) = agent {
                return Some(Arrival { at, stream: i, agent, key });
            }
        }
    }
}

#[cfg(test)]
mod tests;
