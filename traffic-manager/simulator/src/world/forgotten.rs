//! What some manager never hears of agents that have ended.
//!
//! An agent that ends tells every manager what it used, or dies and does not. Managers reserve its
//! ceilings for a while; in windows that go on for longer, whoever grants then goes by what it has heard
//! (ALGORITHM.md, Assumptions). Such a window may hold what one of them had not heard on top.

use std::{collections::BTreeMap, time::Duration};

use manager_core::Export;
use traffic_manager_core as manager_core;
use weir_proto::{id::AgentLife, key::CounterKey, time::WindowStart};

use super::{Event, World};

/// By then what an agent sent at last has arrived, if it ever does.
const ARRIVED: Duration = Duration::from_millis(1_500);

/// What agents used, by counter, window and life.
pub(super) type Uses = BTreeMap<(u64, WindowStart, AgentLife), u64>;

impl World {
    /// An agent ends now: looks a moment later at who has heard what it used.
    pub(super) fn note_end(&mut self, i: usize) {
        let Some(core) = &self.agents[i].core else { return };
        let life = core.life();
        let used = core.uses().into_iter().filter_map(|(counter, window, used)| {
            Some(((number(&counter)?, window, life.clone()), used))
        });
        let used: Uses = used.collect();
        self.schedule(self.now + ARRIVED, Event::Ended(used));
    }

    /// What the manager that heard least has not heard of it.
    pub(super) fn look_at_end(&mut self, used: Uses) {
        let all = 0..self.managers.len();
        let known: Vec<Uses> = all
            .filter(|manager| self.managers[*manager].core.is_some())
            .map(|manager| self.known_of_the_ended(manager))
            .collect();
        for (of, used) in used {
            let heard = |known: &Uses| known.get(&of).copied().unwrap_or(0);
            let least = known.iter().map(heard).min().unwrap_or(0);
            self.forget(of, used.saturating_sub(least));
        }
    }

    /// A manager dies: what it alone knows of agents that have ended is forgotten with it.
    pub(super) fn note_forgotten(&mut self, i: usize) {
        let others = (0..self.managers.len()).filter(|other| *other != i);
        let elsewhere: Vec<Uses> = others.map(|other| self.known_of_the_ended(other)).collect();
        for (of, used) in self.known_of_the_ended(i) {
            let kept = elsewhere.iter().filter_map(|known| known.get(&of)).max();
            self.forget(of, used.saturating_sub(kept.copied().unwrap_or(0)));
        }
    }

    fn forget(&mut self, (key, window, life): (u64, WindowStart, AgentLife), amount: u64) {
        // A rolling counter may hold what has left since; more than the limit has not stayed.
        let amount = amount.min(self.plan.limit);
        let lives = self.outcome.lost.entry((key, window)).or_default();
        let most = lives.entry(life.incarnation).or_default();
        *most = amount.max(*most);
    }

    fn known_of_the_ended(&self, i: usize) -> Uses {
        let mut known = Uses::new();
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
                        known.insert((key, part.window, life.clone()), part.used);
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
        let ran = |agent: &super::AgentNode| agent.core.as_ref().map(|core| core.life());
        self.agents.iter().filter_map(ran).any(|of| of == *life)
    }
}

/// The number of a simulated counter.
fn number(key: &CounterKey) -> Option<u64> {
    key.parts().next().and_then(|part| part.strip_prefix("app-"))?.parse().ok()
}
