//! At which agents requests arrive.

use std::time::Duration;

use super::Stream;
use crate::{
    chance::Chance,
    plan::Fault,
    scenario::{Incident, Scenario},
};

/// A gateway gets requests so long after its agent started: by then the agent says that it is ready.
const READY: Duration = Duration::from_millis(500);

/// How requests are spread over a stream's agents.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spread {
    /// As many at each.
    Even,
    /// The first get most, with this exponent.
    Zipf(f64),
    /// All at one, and at the next after so long.
    Moving(Duration),
}

/// When agents get requests, as far as the scenario says.
#[derive(Debug, Clone)]
pub struct Presence {
    /// For each agent, from when to when.
    spans: Vec<Vec<(Duration, Duration)>>,
}

impl Presence {
    /// As the scenario's incidents say.
    pub fn new(scenario: &Scenario) -> Self {
        let mut spans: Vec<Vec<(Duration, Duration)>> = vec![Vec::new(); scenario.fleet()];
        for agent in spans.iter_mut().take(scenario.plan.agents) {
            agent.push((Duration::ZERO, Duration::MAX));
        }
        for (at, incident) in &scenario.incidents {
            match incident {
                Incident::Fault(Fault::StartAgent(agent)) => {
                    let list = &mut spans[*agent];
                    if list.last().is_none_or(|(_, to)| *to <= *at) {
                        list.push((*at + READY, Duration::MAX));
                    }
                }
                Incident::Fault(Fault::StopAgent(agent) | Fault::KillAgent(agent)) => {
                    if let Some((_, to)) = spans[*agent].last_mut() {
                        *to = (*to).min(*at);
                    }
                }
                _ => {}
            }
        }
        Presence { spans }
    }

    /// Whether the agent gets requests then.
    pub fn at(&self, agent: usize, at: Duration) -> bool {
        self.spans[agent].iter().any(|(from, to)| *from <= at && at < *to)
    }
}

/// A distribution over places 0 to n - 1.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    /// Sums up to each place; `None` = all the same.
    sums: Option<Vec<f64>>,
    count: usize,
}

impl Weights {
    /// Zipf with this exponent; even without one.
    pub(super) fn new(count: usize, exponent: Option<f64>) -> Self {
        let sums = exponent.map(|exponent| {
            let mut sum = 0.0;
            #[expect(clippy::cast_precision_loss, reason = "places are few")]
            let weight = |place: usize| (place as f64 + 1.0).powf(-exponent);
            let add = |place| {
                sum += weight(place);
                sum
            };
            (0..count).map(add).collect()
        });
        Weights { sums, count }
    }

    /// A place.
    pub(super) fn draw(&self, chance: &mut Chance) -> usize {
        let Some(sums) = &self.sums else {
            return usize::try_from(chance.below(self.count as u64)).unwrap_or(0);
        };
        let point = chance.unit() * sums.last().copied().unwrap_or(0.0);
        sums.partition_point(|sum| *sum <= point).min(self.count.saturating_sub(1))
    }
}

impl Spread {
    /// The exponent of the distribution over agents.
    pub(super) fn exponent(self) -> Option<f64> {
        match self {
            Spread::Zipf(exponent) => Some(exponent),
            Spread::Even | Spread::Moving(_) => None,
        }
    }

    /// The agent of a request; `None` when no candidate is there.
    pub(super) fn pick(
        self,
        stream: &Stream,
        at: Duration,
        weights: &Weights,
        presence: &Presence,
        chance: &mut Chance,
    ) -> Option<usize> {
        if let Spread::Moving(every) = self {
            let turn = at.saturating_sub(stream.from).as_micros() / every.as_micros().max(1);
            let count = stream.agents.len();
            let first = usize::try_from(turn % count as u128).unwrap_or(0);
            let mut order = (0..count).map(|k| stream.agents[(first + k) % count]);
            return order.find(|agent| presence.at(*agent, at));
        }
        // Usually the first draw is there.
        for _ in 0..64 {
            let agent = stream.agents[weights.draw(chance)];
            if presence.at(agent, at) {
                return Some(agent);
            }
        }
        let there: Vec<usize> =
            stream.agents.iter().copied().filter(|agent| presence.at(*agent, at)).collect();
        (!there.is_empty()).then(|| *chance.pick(&there))
    }
}
