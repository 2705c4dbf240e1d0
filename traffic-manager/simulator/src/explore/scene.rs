//! States to start from.

use std::time::Duration;

use super::{Action, World};

/// Length of the window in every scene.
pub const WINDOW: Duration = Duration::from_secs(2);

/// A state to start from: two managers, a fleet of agents, a window in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// The window has just begun, and nothing is used.
    Fresh,
    /// All but one of the limit is used, by the first agent.
    Near,
    /// As before, 20 ms before the window ends.
    Ending,
    /// The last agent follows the second manager, the others the first.
    Split,
    /// The first manager has just died with half of the limit used: nobody knows yet.
    Takeover,
    /// One more agent has just started.
    Joining,
    /// All managers died in this window, with half of the limit used: the agents will soon be alone.
    Abandoned,
    /// All managers died in the window before: the agents are alone.
    Alone,
}

impl Scene {
    /// All of them.
    pub const ALL: [Scene; 8] = [
        Scene::Fresh,
        Scene::Near,
        Scene::Ending,
        Scene::Split,
        Scene::Takeover,
        Scene::Joining,
        Scene::Abandoned,
        Scene::Alone,
    ];

    /// The world in this state.
    pub fn world(self, agents: usize, limit: u64) -> World {
        let known = agents + usize::from(self == Scene::Joining);
        let mut world = World::new(2, agents, known, limit, WINDOW);
        let pass = |world: &mut World, ms: u64| world.pass(Duration::from_millis(ms));
        pass(&mut world, 3_990);
        match self {
            Scene::Fresh => pass(&mut world, 4_020),
            Scene::Near => {
                pass(&mut world, 4_020);
                world.use_up(0, limit - 1);
            }
            Scene::Ending => {
                pass(&mut world, 5_800);
                world.use_up(0, limit - 1);
                pass(&mut world, 5_980);
            }
            Scene::Split => {
                world.step(Action::Cut(agents - 1, 0));
                pass(&mut world, 6_020);
                world.use_up(0, limit / 2);
            }
            Scene::Takeover => {
                pass(&mut world, 4_150);
                world.use_up(0, limit / 2);
                world.step(Action::KillManager(0));
            }
            Scene::Joining => {
                pass(&mut world, 4_150);
                world.use_up(0, limit / 2);
                world.step(Action::StartAgent(agents));
            }
            Scene::Abandoned => {
                pass(&mut world, 4_150);
                world.use_up(0, limit / 2);
                pass(&mut world, 4_250);
                world.step(Action::KillManager(0));
                world.step(Action::KillManager(1));
                pass(&mut world, 5_240);
            }
            Scene::Alone => {
                world.step(Action::KillManager(0));
                world.step(Action::KillManager(1));
                pass(&mut world, 6_020);
            }
        }
        world
    }
}

impl World {
    /// Lets everything happen in prompt order until this age.
    pub fn pass(&mut self, until: Duration) {
        while let Some(action) = self.prompt(until) {
            self.step(action);
        }
        self.now = self.now.max(weir_proto::time::Time::ZERO + until);
    }

    /// What happens next if nothing is held back.
    pub(super) fn prompt(&self, until: Duration) -> Option<Action> {
        if let Some(first) = self.deliveries().first() {
            return Some(*first);
        }
        let next = self.next_deadline()?;
        (next.since(weir_proto::time::Time::ZERO) <= until).then_some(Action::Tick)
    }

    /// Requests at one agent until so many were admitted in all, or a second has passed.
    fn use_up(&mut self, agent: usize, amount: u64) {
        let before: u64 = self.used.values().flat_map(|w| w.values()).sum();
        for _ in 0..100 {
            let now: u64 = self.used.values().flat_map(|w| w.values()).sum();
            if now >= before + amount {
                return;
            }
            self.step(Action::Request(agent));
            self.pass(self.age() + Duration::from_millis(3));
        }
    }
}
