//! What a group forgets with its last witness.

use std::collections::BTreeMap;

use manager_core::Export;
use traffic_manager_core as manager_core;
use weir_proto::{id::AgentLife, key::CounterKey, time::WindowStart};

use super::World;

/// What ended agents used, by counter, window and life.
type Known = BTreeMap<(u64, WindowStart, AgentLife), u64>;

impl World {
    /// A manager dies. What it alone knows of agents that have ended is used on nobody's books from then
    /// on (ALGORITHM.md, Assumptions): each window may hold that much more.
    pub(super) fn note_forgotten(&mut self, i: usize) {
        let others = (0..self.managers.len()).filter(|other| *other != i);
        let elsewhere: Vec<Known> = others.map(|other| self.known_of_the_ended(other)).collect();
        for ((key, window, life), used) in self.known_of_the_ended(i) {
            let of = (key, window, life);
            let kept = elsewhere.iter().filter_map(|known| known.get(&of)).max();
            let forgotten = used.saturating_sub(kept.copied().unwrap_or(0));
            *self.outcome.lost.entry((key, window)).or_default() += forgotten;
        }
    }

    fn known_of_the_ended(&self, i: usize) -> Known {
        let mut known = Known::new();
        let time = self.managers[i].time(self.now);
        let Some(core) = &self.managers[i].core else { return known };
        let mut export = Export::all();
        loop {
            let piece = core.export_counters(&export, time);
            for state in &piece.states {
                let Some(key) = number(&state.key) else { continue };
                for part in &state.parts {
                    let life = piece.agents.get(part.agent as usize).map(|a| &a.identity.life);
                    if let Some(life) = life.filter(|life| !self.lives(life)) {
                        // A rolling counter may hold what has left since; more than the limit has not stayed.
                        let used = part.used.min(self.plan.limit);
                        known.insert((key, part.window, life.clone()), used);
                    }
                }
            }
            if piece.next.is_none() {
                return known;
            }
            export.cursor = piece.next;
        }
    }

    fn lives(&self, life: &AgentLife) -> bool {
        self.agents.iter().enumerate().any(|(i, agent)| {
            agent.core.is_some()
                && agent.life == life.incarnation
                && life.id.as_str() == format!("gw-{}", i + 1)
        })
    }
}

/// The number of a simulated counter.
pub(super) fn number(key: &CounterKey) -> Option<u64> {
    key.parts().next().and_then(|part| part.strip_prefix("app-"))?.parse().ok()
}
