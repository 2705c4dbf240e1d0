//! Going beyond the ceiling, where a policy is not `strict`.

use weir_proto::{amount::Charging, policy::Accuracy};

use super::{Ask, Counter};

impl Counter {
    /// Goes beyond the ceiling if the floor has room for it. Once per window, however often the
    /// ceiling is raised to what was used: the bound holds one floor per agent.
    pub(super) fn exceed(&mut self, ceiling: u64, ask: &Ask<'_>) -> bool {
        let ahead = ask.family.charging == Charging::Ahead;
        if !ahead || ask.policy.accuracy == Accuracy::Strict || self.exhausted_until().is_some() {
            return false;
        }
        let fleet = ask.standing.history.at(self.window).fleet;
        let floor = ask.policy.floor(ask.limit.capacity, fleet);
        if floor == 0 || self.cold().tight {
            return false;
        }
        let beyond = self.used.saturating_add(ask.cost).saturating_sub(ceiling.max(self.used));
        let cold = self.cold();
        if ask.family.rolling && cold.beyond_at + ask.family.length() < ask.now {
            cold.beyond = 0;
        }
        if beyond > floor.saturating_sub(cold.beyond) {
            return false;
        }
        cold.beyond += beyond;
        cold.beyond_at = ask.now;
        true
    }
}
