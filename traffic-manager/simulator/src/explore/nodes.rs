//! Nodes that start and end.

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use gateway_agent_core as agent_core;
use traffic_manager_core as manager_core;
use weir_proto::{
    id::{AgentId, AgentLife},
    key::CounterKey,
    policy::Policy,
    time::Time,
    usage::AgentIdentity,
};

use super::world::{AgentNode, ManagerNode, Shared, World, waker};
use crate::{network::Message, plan::Plan};

impl World {
    /// All managers and the first `agents` of `known` agents have just started.
    ///
    /// # Panics
    /// When there is no valid policy of this limit and window.
    pub fn new(
        managers: usize,
        agents: usize,
        known: usize,
        limit: u64,
        window: Duration,
    ) -> World {
        let plan =
            Plan { max_wait: Duration::from_millis(5), ..Plan::new(0, 0, limit, window, window) };
        let policy = Policy::from_json(&plan.policy())
            .unwrap_or_else(|errors| panic!("no valid policy: {errors}"));
        let limit_id = policy.all_limits().next().map(|(id, _)| id).unwrap_or_default();
        let key = CounterKey::new(policy.name.as_str(), &limit_id, &["a"])
            .unwrap_or_else(|e| panic!("no valid key: {e}"));
        let manager = || Shared::new(ManagerNode { core: None, life: 0, hung: false });
        let agent = || {
            Shared::new(AgentNode { core: None, life: 0, poked: Arc::new(AtomicBool::new(false)) })
        };
        let mut world = World {
            now: Time::ZERO,
            limit,
            window,
            managers: (0..managers).map(|_| manager()).collect(),
            agents: (0..known).map(|_| agent()).collect(),
            wires: BTreeMap::new(),
            opened: BTreeMap::new(),
            retry: BTreeMap::new(),
            cut: Vec::new(),
            used: BTreeMap::new(),
            policy: Rc::new((policy, key)),
        };
        for m in 0..managers {
            world.start_manager(m);
        }
        for a in 0..agents {
            world.start_agent(a);
        }
        world
    }

    pub(super) fn start_manager(&mut self, m: usize) {
        let policy = self.policy.0.clone();
        let time = self.manager_time();
        self.managers[m].change().life += 1;
        let config = manager_core::Config::new(self.manager_life(m));
        let mut core = manager_core::Manager::new(config, time);
        core.put_policy(policy, time, &mut Vec::new());
        let node = self.managers[m].change();
        node.core = Some(core);
        node.hung = false;
    }

    pub(super) fn kill_manager(&mut self, m: usize) {
        let node = self.managers[m].change();
        node.core = None;
        node.hung = false;
        for wire in self.wires.values_mut() {
            if wire.get().manager == m && wire.get().manager_open {
                let wire = wire.change();
                wire.manager_open = false;
                wire.up.clear();
                wire.down.push_back(Message::Close(String::new()));
            }
        }
    }

    pub(super) fn start_agent(&mut self, a: usize) {
        let managers = self.managers.len();
        let local = self.local();
        let node = self.agents[a].change();
        node.life += 1;
        let id = format!("gw-{}", a + 1);
        let id = AgentId::new(&id).unwrap_or_else(|e| panic!("{id} {e}"));
        let identity = AgentIdentity {
            life: AgentLife { id, incarnation: node.life },
            gateway_group: String::new(),
            version: String::new(),
        };
        let mut config = agent_core::Config::new(identity, managers);
        config.max_counters = 64;
        node.core = Some(agent_core::agent(config, waker(&node.poked), local));
        for m in 0..managers {
            self.open_usage(a, m);
        }
    }

    /// What it had sent arrives; what it had not is lost.
    pub(super) fn kill_agent(&mut self, a: usize) {
        self.agents[a].change().core = None;
        self.retry.retain(|(agent, _), _| *agent != a);
        for wire in self.wires.values_mut() {
            if wire.get().agent == a && wire.get().agent_open {
                let wire = wire.change();
                wire.agent_open = false;
                wire.down.clear();
                wire.up.push_back(Message::Close(String::new()));
            }
        }
    }
}
