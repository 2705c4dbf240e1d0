//! One agent and one manager whose messages arrive at once, in the order in which they were sent.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use gateway_agent_core as agent;
use traffic_manager_core as manager;
use weir_proto::{
    amount::{Amounts, Changes, Unit},
    id::{AgentId, AgentLife, ManagerId, ManagerLife},
    policy::Policy,
    request::Request,
    time::Time,
    usage::AgentIdentity,
};

/// The agent's clock is behind the manager's by this.
const BEHIND: Duration = Duration::from_secs(1_000_000);
/// A multiple of every window in these tests.
const BEGIN: Time = Time::from_secs(1_800_000_000);

pub(crate) fn manager_life() -> ManagerLife {
    ManagerLife { id: ManagerId::new("tm-1").expect("a name"), incarnation: 1 }
}

pub(crate) fn identity(name: &str) -> AgentIdentity {
    AgentIdentity {
        life: AgentLife { id: AgentId::new(name).expect("a name"), incarnation: 1 },
        gateway_group: String::new(),
        version: String::new(),
    }
}

/// The pair, and the time.
pub(crate) struct Pair {
    agent: agent::Agent,
    checker: Arc<agent::Checker>,
    manager: manager::Manager,
    session: Option<agent::ConnectionId>,
    now: Time,
    /// Sent and not yet there.
    mail: VecDeque<Message>,
    /// Nothing passes between the two.
    cut: bool,
}

enum Message {
    ToAgent(agent::Input),
    ToManager(manager::Input),
}

const USAGE: manager::StreamId = manager::StreamId(1);

impl Pair {
    /// A fleet of one that knows these policies, at a time when every window begins.
    pub(crate) fn new(policies: &[Policy]) -> Pair {
        Pair::at(BEGIN, policies)
    }

    /// The same, and the time is `begin`.
    pub(crate) fn at(begin: Time, policies: &[Policy]) -> Pair {
        Pair::start(begin, policies, agent::Config::new(identity("gw-1"), 1))
    }

    /// The same as new, with an agent that has room for so many counters.
    pub(crate) fn small(max_counters: usize, policies: &[Policy]) -> Pair {
        let config = agent::Config::new(identity("gw-1"), 1);
        Pair::start(BEGIN, policies, agent::Config { max_counters, ..config })
    }

    fn start(begin: Time, policies: &[Policy], config: agent::Config) -> Pair {
        let now = begin - Duration::from_secs(5);
        let (agent, checker) = agent::agent(config, Arc::new(|| ()), now - BEHIND);
        let mut manager = manager::Manager::new(manager::Config::new(manager_life()), now);
        for policy in policies {
            manager.put_policy(policy.clone(), now, &mut Vec::new());
        }
        let mut pair =
            Pair { agent, checker, manager, session: None, now, mail: VecDeque::new(), cut: false };
        let opened = agent::Input::UsageOpened(0, agent::ConnectionId(u64::MAX));
        pair.tell_agent(opened);
        pair.pass(begin.since(now));
        assert_eq!(pair.manager.fleet().members.len(), 1, "a fleet of one was founded");
        pair
    }

    /// Manager time.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// A request of this cost; what it sets off is done before this returns.
    pub(crate) fn check(&mut self, request: &Request<'_>, cost: u64) -> agent::Verdict {
        let verdict = self.checker.check(request, cost, self.now - BEHIND);
        self.tell_agent(agent::Input::Poke);
        verdict
    }

    /// The same with amounts of any kind.
    pub(crate) fn check_amounts(
        &mut self,
        request: &Request<'_>,
        amounts: &Amounts,
    ) -> agent::Verdict {
        let verdict = self.checker.check_amounts(request, amounts, self.now - BEHIND);
        self.tell_agent(agent::Input::Poke);
        verdict
    }

    /// What a check would answer.
    pub(crate) fn peek(&self, request: &Request<'_>, amounts: &Amounts) -> agent::Verdict {
        self.checker.peek(request, amounts, self.now - BEHIND)
    }

    /// What became known after the response; how many limits it changed.
    pub(crate) fn report(&mut self, request: &Request<'_>, unit: &str, amount: i64) -> u32 {
        let mut changes = Changes::default();
        changes.add(Unit::named(unit).expect("a unit"), amount);
        let reported = self.checker.report(request, &changes, self.now - BEHIND);
        self.tell_agent(agent::Input::Poke);
        reported.limits
    }

    /// A request ends.
    pub(crate) fn release(&mut self, lease: agent::LeaseId) -> bool {
        let released = self.checker.release(lease);
        self.tell_agent(agent::Input::Poke);
        released
    }

    /// Sets counters of a policy back.
    pub(crate) fn reset(&mut self, policy: &str, key: Option<&str>) {
        let key = key.map(|key| vec![key.to_owned()]);
        let mut out = Vec::new();
        let known = self.manager.policy(policy).expect("it exists").policy;
        let reset = manager::manager::with_reset(&known, key, self.now).expect("it counts");
        self.manager.put_policy(reset, self.now, &mut out);
        self.manager_does(out);
    }

    /// Replaces a policy.
    pub(crate) fn replace(&mut self, mut policy: Policy) {
        let mut out = Vec::new();
        let known = self.manager.policy(policy.name.as_str()).expect("it exists").policy;
        manager::manager::keep_resets(&known, &mut policy);
        self.manager.put_policy(policy, self.now, &mut out);
        self.manager_does(out);
    }

    /// Cuts the agent off for good.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
        let why = || "cut".to_owned();
        let usage = agent::ConnectionId(u64::MAX);
        self.tell_agent(agent::Input::UsageClosed(0, usage, why()));
        let session = self.session.expect("it was open");
        self.tell_agent(agent::Input::SessionClosed(session, why()));
    }

    /// Lets time pass, with whatever becomes due on the way.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let agent = self.agent.next_deadline().map_or(Time::MAX, |at| at + BEHIND);
            let manager = self.manager.next_deadline().unwrap_or(Time::MAX);
            let next = agent.min(manager).max(self.now);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            if agent <= next {
                let mut out = Vec::new();
                self.agent.on_deadline(next - BEHIND, &mut out);
                self.agent_does(out);
            }
            if manager <= next {
                let mut out = Vec::new();
                self.manager.on_deadline(next, &mut out);
                self.manager_does(out);
            }
        }
    }

    fn tell_agent(&mut self, input: agent::Input) {
        self.mail.push_back(Message::ToAgent(input));
        self.deliver();
    }

    /// Until nothing is under way.
    fn deliver(&mut self) {
        while let Some(message) = self.mail.pop_front() {
            match message {
                Message::ToAgent(input) => {
                    let mut out = Vec::new();
                    self.agent.handle(input, self.now - BEHIND, &mut out);
                    self.agent_sends(out);
                }
                Message::ToManager(input) => {
                    let mut out = Vec::new();
                    self.manager.handle(input, self.now, &mut out);
                    self.manager_sends(out);
                }
            }
        }
    }

    fn agent_does(&mut self, out: Vec<agent::Output>) {
        self.agent_sends(out);
        self.deliver();
    }

    fn manager_does(&mut self, out: Vec<manager::Output>) {
        self.manager_sends(out);
        self.deliver();
    }

    fn agent_sends(&mut self, out: Vec<agent::Output>) {
        for output in out {
            if self.cut {
                return;
            }
            let message = match output {
                agent::Output::Connect(_, connection) => {
                    self.session = Some(connection);
                    Message::ToAgent(agent::Input::SessionOpened(connection))
                }
                agent::Output::Disconnect(connection) => {
                    panic!("{connection:?} was given up without need");
                }
                agent::Output::Credit(connection, frame) => {
                    let session = manager::StreamId(connection.0 + 2);
                    Message::ToManager(manager::Input::Credit(session, frame))
                }
                agent::Output::Usage(_, _, frame) => {
                    let frame = frame.try_into().expect("a valid report");
                    Message::ToManager(manager::Input::Usage(USAGE, frame))
                }
                agent::Output::Notice(agent::Notice::BadPolicy(why)) => panic!("{why}"),
                agent::Output::Policies(_) | agent::Output::Wake | agent::Output::Notice(_) => {
                    continue;
                }
            };
            self.mail.push_back(message);
        }
    }

    fn manager_sends(&mut self, out: Vec<manager::Output>) {
        for output in out {
            let input = match output {
                manager::Output::Ack(_, seq) => {
                    let connection = agent::ConnectionId(u64::MAX);
                    let life = manager_life();
                    agent::Input::UsageAck { manager: 0, connection, seq, life }
                }
                manager::Output::Decide(_, frame) => {
                    let connection = self.session.expect("only a session gets decisions");
                    agent::Input::Decision(connection, frame)
                }
                manager::Output::CloseUsage(_, why) | manager::Output::CloseSession(_, why) => {
                    panic!("closed: {why}");
                }
                manager::Output::WindowClosed { .. } | manager::Output::Closed(_) => continue,
            };
            self.mail.push_back(Message::ToAgent(input));
        }
    }

    /// The manager, to be asked.
    pub(crate) fn manager(&self) -> &manager::Manager {
        &self.manager
    }
}
