//! Random plans: any number of things go wrong at once, within the assumptions of the bound.

mod assumptions;

use std::time::Duration;

use crate::{
    chance::Chance,
    plan::{Fault, Plan, Traffic},
    world::World,
};
pub use assumptions::keep_assumptions;

/// Which faults a plan may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Menu {
    /// Managers die, hang and return, empty.
    pub managers: bool,
    /// Links are cut and reset.
    pub links: bool,
    /// Agents die, leave, join.
    pub agents: bool,
    /// Clocks of managers differ by up to half a second.
    pub skew: bool,
    /// Windows last for 8 to 20 s instead of 1 to 5.
    pub long: bool,
}

impl Menu {
    /// Everything.
    pub const ALL: Menu =
        Menu { managers: true, links: true, agents: true, skew: true, long: false };
}

/// The plan of this seed.
pub fn plan(seed: u64, menu: Menu) -> Plan {
    let mut chance = Chance::new(seed);
    let agents = usize::try_from(chance.between(1, 6)).unwrap_or(1);
    let limits = [1, 2, 5, 10, 40, 100, 400];
    let limit = *chance.pick(&limits);
    let windows = if menu.long { [8, 8, 12, 12, 20] } else { [1, 1, 2, 3, 5] };
    let window = Duration::from_secs(*chance.pick(&windows));
    let length = Duration::from_secs(if menu.long { 30 } else { 12 });
    let mut plan = Plan::new(seed, agents, limit, window, length);
    plan.managers = usize::try_from(chance.between(1, 3)).unwrap_or(2);
    plan.spare_agents = usize::try_from(chance.below(3)).unwrap_or(0);
    let slow = *chance.pick(&[100, 500, 2_000, 20_000]);
    plan.delay = (Duration::from_micros(slow / 2), Duration::from_micros(slow));
    plan.loss = *chance.pick(&[0, 0, 50, 10]);
    plan.max_wait = Duration::from_millis(*chance.pick(&[0, 5, 5]));
    if menu.skew && chance.one_in(2) {
        plan.skew_ms = (0..plan.managers)
            .map(|_| i64::try_from(chance.below(1_001)).unwrap_or(0) - 500)
            .collect();
    }
    traffic(&mut plan, &mut chance);
    let faults = if menu.long { 13 } else { 7 };
    for _ in 0..chance.below(faults) {
        fault(&mut plan, menu, &mut chance);
    }
    keep_assumptions(&mut plan);
    plan
}

/// Whether the plan keeps the assumptions of the bound and breaks the bound all the same.
pub fn fails(plan: &Plan) -> bool {
    let mut kept = plan.clone();
    keep_assumptions(&mut kept);
    kept == *plan && World::new(kept).run().excess(plan).is_some()
}

fn traffic(plan: &mut Plan, chance: &mut Chance) {
    #[expect(clippy::cast_precision_loss, reason = "limits are small here")]
    let fair = plan.limit as f64 / plan.window.as_secs_f64();
    let factor = *chance.pick(&[0.9, 2.0, 2.0, 5.0, 10.0]);
    let all = plan.agents + plan.spare_agents;
    for agent in 0..all {
        let weight = if chance.one_in(3) { 0.1 } else { 1.0 };
        #[expect(clippy::cast_precision_loss, reason = "fleets are small")]
        let rate = (fair * factor * weight / all as f64).min(400.0);
        let (from, to) = (Duration::ZERO, plan.length);
        plan.traffic.push(Traffic { agent, from, to, rate, keys: 1 });
    }
}

fn fault(plan: &mut Plan, menu: Menu, chance: &mut Chance) {
    let last = if menu.long { 25_000 } else { 10_000 };
    let at = Duration::from_millis(chance.between(500, last));
    let until = at + Duration::from_millis(*chance.pick(&[20, 150, 600, 1_500, 4_000]));
    let manager = usize::try_from(chance.below(plan.managers as u64)).unwrap_or(0);
    let agent = usize::try_from(chance.below(plan.agents as u64)).unwrap_or(0);
    let faults = &mut plan.faults;
    match chance.below(8) {
        0 if menu.managers => {
            faults.push((at, Fault::KillManager(manager)));
            faults.push((until, Fault::StartManager(manager)));
        }
        1 if menu.managers => {
            faults.push((at, Fault::FreezeManager(manager)));
            faults.push((until, Fault::ThawManager(manager)));
        }
        2 | 3 if menu.links => {
            faults.push((at, Fault::Cut(agent, manager)));
            faults.push((until, Fault::Heal(agent, manager)));
        }
        4 if menu.links => {
            // A split: some agents lose sight of one manager at once.
            for agent in 0..plan.agents {
                if chance.one_in(2) {
                    faults.push((at, Fault::Cut(agent, manager)));
                    faults.push((until, Fault::Heal(agent, manager)));
                }
            }
        }
        5 if menu.links => {
            let kind = u8::try_from(chance.below(2)).unwrap_or(0);
            faults.push((at, Fault::Reset(agent, manager, kind)));
        }
        6 if menu.agents && plan.spare_agents > 0 => {
            let joins = plan.agents;
            faults.push((at, Fault::StartAgent(joins)));
        }
        7 if menu.agents => {
            let end =
                if chance.one_in(2) { Fault::KillAgent(agent) } else { Fault::StopAgent(agent) };
            faults.push((at, end));
            if chance.one_in(2) {
                faults.push((until, Fault::StartAgent(agent)));
            }
        }
        _ => {}
    }
}
