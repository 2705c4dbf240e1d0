//! Makes a failing plan small, so that people can see what matters in it.

use std::time::Duration;

use crate::plan::{Fault, Plan};

/// Chance differs as soon as anything is left out, so each smaller plan is tried with so many seeds.
const SEEDS: u64 = 6;
/// Lengths are kept in steps of this.
const STEP: Duration = Duration::from_millis(500);

/// The smallest plan found for which `fails` still holds, beginning with `plan` and leaving out one
/// thing after the other: faults, agents, managers, traffic, time, disorder. The seed may change.
pub fn shrink(plan: &Plan, fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut search = Search { best: plan.clone(), fails };
    loop {
        let before = search.best.clone();
        search.shorten();
        search.drop_faults();
        search.drop_nodes();
        search.drop_traffic();
        search.calm();
        if search.best == before {
            return search.best;
        }
    }
}

struct Search<F> {
    best: Plan,
    fails: F,
}

impl<F: FnMut(&Plan) -> bool> Search<F> {
    /// Takes the plan, with one of some seeds, if it fails.
    fn offer(&mut self, mut plan: Plan) -> bool {
        if plan == self.best {
            return false;
        }
        let seed = plan.seed;
        for offset in 0..SEEDS {
            plan.seed = seed.wrapping_add(offset);
            if (self.fails)(&plan) {
                self.best = plan;
                return true;
            }
        }
        false
    }

    /// Ends earlier: at half the length, or else one step before.
    fn shorten(&mut self) {
        while self.best.length > STEP {
            let half = self.best.length / 2;
            let half = half - Duration::from_micros(u64::from(half.subsec_micros() % 500_000));
            let less = [half.max(STEP), self.best.length.saturating_sub(STEP).max(STEP)];
            if !less.into_iter().any(|length| self.offer(cut_short(&self.best, length))) {
                return;
            }
        }
    }

    /// Leaves out runs of faults, long ones first.
    fn drop_faults(&mut self) {
        let mut run = self.best.faults.len();
        while run > 0 {
            let mut at = 0;
            while at < self.best.faults.len() {
                let mut plan = self.best.clone();
                let end = (at + run).min(plan.faults.len());
                plan.faults.drain(at..end);
                if !self.offer(plan) {
                    at += run;
                }
            }
            run /= 2;
        }
    }

    fn drop_nodes(&mut self) {
        for agent in (0..self.best.agents + self.best.spare_agents).rev() {
            self.offer(without_agent(&self.best, agent));
        }
        for manager in (0..self.best.managers).rev() {
            if self.best.managers > 1 {
                self.offer(without_manager(&self.best, manager));
            }
        }
    }

    /// Leaves out each agent's requests, or half of them.
    fn drop_traffic(&mut self) {
        for i in (0..self.best.traffic.len()).rev() {
            let mut plan = self.best.clone();
            plan.traffic.remove(i);
            if self.offer(plan) {
                continue;
            }
            let mut plan = self.best.clone();
            plan.traffic[i].rate /= 2.0;
            if plan.traffic[i].rate >= 1.0 {
                self.offer(plan);
            }
        }
    }

    /// A calmer world: no loss, equal clocks, nobody waits, even delays.
    fn calm(&mut self) {
        self.offer(Plan { loss: 0, ..self.best.clone() });
        self.offer(Plan { skew_ms: Vec::new(), ..self.best.clone() });
        self.offer(Plan { max_wait: Duration::ZERO, ..self.best.clone() });
        self.offer(Plan { delay: (self.best.delay.1, self.best.delay.1), ..self.best.clone() });
    }
}

/// The plan until `length`, without what would happen later.
fn cut_short(plan: &Plan, length: Duration) -> Plan {
    let mut plan = Plan { length, ..plan.clone() };
    plan.faults.retain(|(at, _)| *at <= length);
    plan.traffic.retain(|t| t.from < length);
    for traffic in &mut plan.traffic {
        traffic.to = traffic.to.min(length);
    }
    plan
}

fn without_agent(plan: &Plan, gone: usize) -> Plan {
    let mut plan = plan.clone();
    if gone < plan.agents {
        plan.agents -= 1;
    } else {
        plan.spare_agents -= 1;
    }
    plan.traffic.retain(|t| t.agent != gone);
    for traffic in &mut plan.traffic {
        traffic.agent -= usize::from(traffic.agent > gone);
    }
    let mut faults = std::mem::take(&mut plan.faults);
    faults.retain(|(_, fault)| agent_of(*fault) != Some(gone));
    let shift = |agent: usize| agent - usize::from(agent > gone);
    plan.faults = faults.into_iter().map(|(at, f)| (at, renamed(f, shift, |m| m))).collect();
    plan
}

fn without_manager(plan: &Plan, gone: usize) -> Plan {
    let mut plan = plan.clone();
    plan.managers -= 1;
    if gone < plan.skew_ms.len() {
        plan.skew_ms.remove(gone);
    }
    let mut faults = std::mem::take(&mut plan.faults);
    faults.retain(|(_, fault)| manager_of(*fault) != Some(gone));
    let shift = |manager: usize| manager - usize::from(manager > gone);
    plan.faults = faults.into_iter().map(|(at, f)| (at, renamed(f, |a| a, shift))).collect();
    plan
}

fn agent_of(fault: Fault) -> Option<usize> {
    match fault {
        Fault::KillAgent(a)
        | Fault::StartAgent(a)
        | Fault::StopAgent(a)
        | Fault::Cut(a, _)
        | Fault::Heal(a, _)
        | Fault::Reset(a, _, _) => Some(a),
        Fault::KillManager(_)
        | Fault::StartManager(_)
        | Fault::FreezeManager(_)
        | Fault::ThawManager(_)
        | Fault::HealAll(_) => None,
    }
}

fn manager_of(fault: Fault) -> Option<usize> {
    match fault {
        Fault::KillManager(m)
        | Fault::StartManager(m)
        | Fault::FreezeManager(m)
        | Fault::ThawManager(m)
        | Fault::HealAll(m)
        | Fault::Cut(_, m)
        | Fault::Heal(_, m)
        | Fault::Reset(_, m, _) => Some(m),
        Fault::KillAgent(_) | Fault::StartAgent(_) | Fault::StopAgent(_) => None,
    }
}

fn renamed(
    fault: Fault,
    agent: impl Fn(usize) -> usize,
    manager: impl Fn(usize) -> usize,
) -> Fault {
    match fault {
        Fault::KillManager(m) => Fault::KillManager(manager(m)),
        Fault::StartManager(m) => Fault::StartManager(manager(m)),
        Fault::FreezeManager(m) => Fault::FreezeManager(manager(m)),
        Fault::ThawManager(m) => Fault::ThawManager(manager(m)),
        Fault::HealAll(m) => Fault::HealAll(manager(m)),
        Fault::KillAgent(a) => Fault::KillAgent(agent(a)),
        Fault::StartAgent(a) => Fault::StartAgent(agent(a)),
        Fault::StopAgent(a) => Fault::StopAgent(agent(a)),
        Fault::Cut(a, m) => Fault::Cut(agent(a), manager(m)),
        Fault::Heal(a, m) => Fault::Heal(agent(a), manager(m)),
        Fault::Reset(a, m, kind) => Fault::Reset(agent(a), manager(m), kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_failure_needs_is_left() {
        let big = Plan { loss: 10, skew_ms: vec![100, -100, 200], managers: 3, ..plan() };
        let small = shrink(&big, |plan| {
            let kill = plan.faults.iter().any(|(_, f)| matches!(f, Fault::KillAgent(_)));
            let cut = plan.faults.iter().any(|(_, f)| matches!(f, Fault::Cut(_, _)));
            kill && cut && plan.length >= Duration::from_millis(4_700)
        });
        assert_eq!(small.faults.len(), 2, "{small:?}");
        assert_eq!((small.agents, small.spare_agents, small.managers), (2, 0, 1), "{small:?}");
        assert!(small.traffic.is_empty(), "{small:?}");
        assert_eq!(small.length, Duration::from_secs(5));
        assert_eq!((small.loss, small.skew_ms.len()), (0, 0));
    }

    #[test]
    fn who_is_left_keeps_its_faults_and_traffic() {
        let victim = |plan: &Plan| {
            plan.faults.iter().find_map(|(_, f)| match f {
                Fault::KillAgent(a) => Some(*a),
                _ => None,
            })
        };
        let small = shrink(&plan(), |plan| {
            victim(plan).is_some_and(|v| plan.traffic.iter().any(|t| t.agent == v && t.rate > 30.0))
        });
        assert_eq!((small.agents, small.faults.len(), small.traffic.len()), (1, 1, 1));
        assert_eq!(small.traffic[0].agent, 0);
        assert!(
            (small.traffic[0].rate - 50.0).abs() < 0.1,
            "halved once: {}",
            small.traffic[0].rate
        );
    }

    #[test]
    fn a_seed_that_no_longer_fails_is_replaced() {
        let small = shrink(&plan(), |plan| plan.seed.is_multiple_of(3) || plan.faults.len() > 4);
        assert!(small.faults.is_empty() && small.seed.is_multiple_of(3), "{small:?}");
    }

    fn plan() -> Plan {
        Plan::new(7, 4, 100, Duration::from_secs(1), Duration::from_secs(12))
            .steady(400.0)
            .fault(1_000, Fault::Cut(0, 1))
            .fault(1_500, Fault::Heal(0, 1))
            .fault(2_000, Fault::KillManager(0))
            .fault(3_000, Fault::KillAgent(2))
            .fault(4_000, Fault::StartManager(0))
            .fault(5_000, Fault::FreezeManager(1))
    }
}
