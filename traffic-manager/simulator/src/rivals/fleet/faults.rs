//! What goes wrong at a rival.

use super::Fleet;
use crate::{
    network::Kind,
    plan::Fault,
    rivals::{
        Strategy,
        nodes::{Agent, Manager},
    },
};

impl<S: Strategy> Fleet<S> {
    /// Notes since when whom can be reached; agents act on it later.
    pub(super) fn look(&mut self) {
        for (a, agent) in self.agents.iter_mut().enumerate() {
            for (m, sight) in agent.sight.iter_mut().enumerate() {
                let node = &self.managers[m];
                let cut = self.network.is_cut_for(a, m, Kind::Session);
                let reachable = node.alive && !node.frozen && !cut;
                if sight.0 != reachable {
                    *sight = (reachable, self.now);
                }
            }
        }
    }

    fn start_agent(&mut self, a: usize) {
        if self.agents[a].alive {
            return;
        }
        let sight = self.agents[a].sight.clone();
        self.agents[a] = Agent { alive: true, sight, ..Agent::default() };
        for manager in &mut self.managers {
            for counter in manager.counters.values_mut() {
                counter.said.remove(&a);
            }
        }
    }

    fn restart_manager(&mut self, m: usize) {
        let node = &mut self.managers[m];
        if !node.alive {
            let life = node.life + 1;
            *node = Manager { alive: true, skew_ms: node.skew_ms, life, ..Manager::default() };
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::KillManager(m) => {
                self.managers[m].alive = false;
                self.managers[m].life += 1;
            }
            Fault::StartManager(m) => self.restart_manager(m),
            Fault::FreezeManager(m) => self.managers[m].frozen = true,
            Fault::ThawManager(m) => {
                self.managers[m].frozen = false;
                for (_, entries) in std::mem::take(&mut self.managers[m].held) {
                    self.merge(m, &entries);
                }
            }
            Fault::StartAgent(a) => self.start_agent(a),
            Fault::KillAgent(a) => self.agents[a].alive = false,
            Fault::StopAgent(a) => {
                self.report(a);
                self.agents[a].alive = false;
            }
            Fault::Cut(a, m) => self.network.set_cut(a, m, true),
            Fault::Heal(a, m) => self.network.set_cut(a, m, false),
            Fault::HealAll(m) => {
                for a in 0..self.agents.len() {
                    self.network.set_cut(a, m, false);
                }
            }
            Fault::Reset(..) => {}
        }
    }
}
