//! A real manager with agents played by hand, and a real agent with managers played by hand.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gateway_agent_core as agent;
use traffic_manager_core as manager;
use traffic_manager_core::StreamId;
use weir_proto::{
    decision::{
        Attach, CreditEntry, CreditFrame, Decision, DecisionFrame, ManagerHello, PolicyUpdate,
    },
    id::{ManagerId, ManagerLife},
    key::CounterKey,
    policy::Policy,
    request::Request,
    share::{Share, View},
    time::{Time, WindowStart},
    usage::{AgentStatus, KeyDef, UsageEntry, UsageFrame},
};

use crate::pair::{identity, manager_life};

/// A window begins here.
pub(crate) const BEGIN: Time = Time::from_secs(1_800_000_000);
/// That window, of ten seconds.
pub(crate) const WINDOW: WindowStart = WindowStart(1_800_000_000);
/// The limit of every script.
pub(crate) const LIMIT: u64 = 16;

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn policy() -> Policy {
    let policy = serde_json::json!({
        "name": "p",
        "level": "application",
        "key": ["application"],
        "limits": [{ "requests": LIMIT, "window": "10s" }],
        "accuracy": "strict",
        "max_wait": "0s",
    });
    Policy::from_json(&policy).unwrap_or_else(|e| panic!("{e}"))
}

fn key() -> CounterKey {
    CounterKey::new("p", "requests/10s/fixed_window", &["a"]).expect("a key")
}

pub(crate) fn elsewhere() -> ManagerLife {
    ManagerLife { id: ManagerId::new("tm-9").expect("a name"), incarnation: 1 }
}

/// What an agent says of itself when it attaches for the first time.
pub(crate) fn stranger(name: &str) -> Attach {
    Attach {
        identity: identity(name),
        view: View::default(),
        promised: None,
        eras: Vec::new(),
        pledged_until: Time::ZERO,
        former_manager: None,
    }
}

/// A member of view 1 of these agents, which `proposer` installed five seconds before the window.
pub(crate) fn member(name: &str, names: &[&str], proposer: ManagerLife) -> Attach {
    let members: Vec<_> = names.iter().map(|name| identity(name).life).collect();
    let fleet = u32::try_from(members.len()).expect("few");
    let view = View { number: 1, fleet, members, lost: Vec::new(), proposer: Some(proposer) };
    let share = view.share(&identity(name).life);
    Attach {
        view,
        eras: vec![(BEGIN - ms(5_000), share)],
        former_manager: Some(elsewhere()),
        ..stranger(name)
    }
}

/// One agent's session, as the agent sees it.
#[derive(Default)]
pub(crate) struct Puppet {
    seq: u64,
    pub(crate) applied: u64,
    pub(crate) proposed: Option<View>,
    pub(crate) installed: Option<View>,
    /// From when on the view counts that was installed last.
    pub(crate) from: Time,
    /// The last decision.
    pub(crate) decision: Option<Decision>,
    pub(crate) closed: Option<String>,
}

impl Puppet {
    /// The ceiling told last; 0 if none was.
    pub(crate) fn ceiling(&self) -> u64 {
        self.decision.map_or(0, |d| d.ceiling)
    }
}

/// A real manager; its agents say what the test lets them say.
pub(crate) struct Desk {
    pub(crate) manager: manager::Manager,
    pub(crate) now: Time,
    pub(crate) sessions: BTreeMap<u64, Puppet>,
    stamp: u64,
}

impl Desk {
    pub(crate) fn new(now: Time) -> Desk {
        let mut manager = manager::Manager::new(manager::Config::new(manager_life()), now);
        manager.put_policy(policy(), now, &mut Vec::new());
        Desk { manager, now, sessions: BTreeMap::new(), stamp: 0 }
    }

    /// The incumbent of a fleet of sessions 1 and 2, agents `gw-1` and `gw-2`, 50 ms into a window of
    /// which both have pledged their shares to it.
    pub(crate) fn incumbent() -> Desk {
        let mut desk = Desk::governing(2, BEGIN + ms(50));
        desk.say(1, |_| ());
        desk.say(2, |_| ());
        desk
    }

    /// The incumbent of a fleet of sessions 1 to `agents`, agents `gw-1` and so on, at this time.
    pub(crate) fn governing(agents: u64, now: Time) -> Desk {
        let mut desk = Desk::new(BEGIN - ms(5_000));
        for session in 1..=agents {
            desk.attach(session, stranger(&format!("gw-{session}")), true);
        }
        desk.until(BEGIN - ms(3_000));
        desk.promise(1..=agents);
        assert!(desk.manager.fleet().incumbent, "all have promised");
        desk.until(now);
        desk
    }

    /// These sessions promise what was proposed to them last.
    pub(crate) fn promise(&mut self, sessions: impl IntoIterator<Item = u64>) {
        for session in sessions {
            let view = self.sessions[&session].proposed.clone().expect("a view is proposed");
            self.say(session, |frame| frame.promised_view = view.number);
        }
    }

    /// Lets time pass; every session sends a beat each 100 ms.
    pub(crate) fn until(&mut self, end: Time) {
        while self.now < end {
            let next = self.manager.next_deadline().unwrap_or(Time::MAX).max(self.now).min(end);
            let beat = Time::from_millis(self.now.as_millis() / 100 * 100 + 100);
            self.now = next.min(beat);
            let mut out = Vec::new();
            if next <= self.now {
                self.manager.on_deadline(self.now, &mut out);
                self.take(out);
            }
            if self.now == beat {
                let open: Vec<u64> = self
                    .sessions
                    .iter()
                    .filter(|(_, p)| p.closed.is_none())
                    .map(|(s, _)| *s)
                    .collect();
                for session in open {
                    self.say(session, |_| ());
                }
            }
        }
    }

    pub(crate) fn attach(&mut self, session: u64, attach: Attach, complete: bool) {
        self.sessions.insert(session, Puppet::default());
        self.say(session, |frame| {
            frame.attach = Some(attach);
            frame.holdings_complete = complete;
        });
    }

    /// Sends the next frame on this session.
    pub(crate) fn say(&mut self, session: u64, fill: impl FnOnce(&mut CreditFrame)) {
        self.stamp += 1;
        let now = self.now;
        let puppet = self.sessions.get_mut(&session).expect("attached");
        puppet.seq += 1;
        let keys = if puppet.seq == 1 { vec![KeyDef { id: 0, key: key() }] } else { Vec::new() };
        let mut frame = CreditFrame {
            seq: puppet.seq,
            now,
            applied: puppet.applied,
            keys,
            stamp: self.stamp,
            ..CreditFrame::default()
        };
        fill(&mut frame);
        self.tell(manager::Input::Credit(StreamId(session), frame));
    }

    /// Says what the agent used, up to where it may, and what it wants more.
    pub(crate) fn entry(&mut self, session: u64, used: u64, ceiling: u64, want: u64) {
        self.say(session, |frame| frame.entries = vec![entry(used, ceiling, want)]);
    }

    /// A usage frame of this agent, on a stream of its own.
    pub(crate) fn usage(&mut self, name: &str, used: u64) {
        self.report(name, used, None);
    }

    /// The same, with what the agent says of itself.
    pub(crate) fn report(&mut self, name: &str, used: u64, status: Option<AgentStatus>) {
        self.stamp += 1;
        let entry = UsageEntry { key: 0, window: WINDOW, used, rejected: 0 };
        let frame = UsageFrame {
            identity: Some(identity(name)),
            seq: self.stamp,
            names: [(0, &key())].into_iter().collect(),
            entries: vec![entry],
            state_complete: true,
            status,
            ..UsageFrame::default()
        };
        self.tell(manager::Input::Usage(stream(name), frame));
    }

    /// The agent's usage stream ends.
    pub(crate) fn close_usage(&mut self, name: &str) {
        self.tell(manager::Input::UsageClosed(stream(name)));
    }

    pub(crate) fn close(&mut self, session: u64) {
        self.sessions.remove(&session);
        self.tell(manager::Input::SessionClosed(StreamId(session)));
    }

    fn tell(&mut self, input: manager::Input) {
        let mut out = Vec::new();
        self.manager.handle(input, self.now, &mut out);
        self.take(out);
    }

    fn take(&mut self, out: Vec<manager::Output>) {
        for output in out {
            match output {
                manager::Output::Decide(StreamId(session), frame) => {
                    let Some(puppet) = self.sessions.get_mut(&session) else { continue };
                    assert_eq!(frame.revision, puppet.applied + 1, "revisions are consecutive");
                    puppet.applied = frame.revision;
                    puppet.proposed = frame.propose.or(puppet.proposed.take());
                    if let Some((view, from)) = frame.install {
                        (puppet.installed, puppet.from) = (Some(view), from);
                    }
                    puppet.decision = frame.decisions.last().copied().or(puppet.decision);
                }
                manager::Output::CloseSession(StreamId(session), why) => {
                    if let Some(puppet) = self.sessions.get_mut(&session) {
                        puppet.closed = Some(why);
                    }
                }
                manager::Output::CloseUsage(_, why) => panic!("{why}"),
                manager::Output::Ack(..)
                | manager::Output::WindowClosed { .. }
                | manager::Output::Closed(_) => {}
            }
        }
    }
}

fn stream(name: &str) -> StreamId {
    StreamId(1_000 + u64::from(name.as_bytes()[name.len() - 1]))
}

pub(crate) fn entry(used: u64, ceiling: u64, want: u64) -> CreditEntry {
    CreditEntry { key: 0, window: WINDOW, used, ceiling, want, recent: 0, rejected: 0 }
}

/// A real agent; its managers, two of them, say what the test lets them say. Local time is manager
/// time.
pub(crate) struct Solo {
    pub(crate) agent: agent::Agent,
    checker: Arc<agent::Checker>,
    pub(crate) now: Time,
    /// The session that was asked for last, and the manager it is with.
    pub(crate) session: Option<(usize, agent::ConnectionId)>,
    pub(crate) dropped: Vec<agent::ConnectionId>,
    /// What it said on sessions.
    pub(crate) said: Vec<CreditFrame>,
    /// What it said on usage links, by manager.
    pub(crate) usage: Vec<(usize, UsageFrame)>,
    revision: u64,
}

impl Solo {
    pub(crate) fn new(now: Time) -> Solo {
        let config = agent::Config::new(identity("gw-1"), 2);
        let (agent, checker) = agent::agent(config, Arc::new(|| ()), now);
        let mut solo = Solo {
            agent,
            checker,
            now,
            session: None,
            dropped: Vec::new(),
            said: Vec::new(),
            usage: Vec::new(),
            revision: 0,
        };
        solo.until(now + ms(1));
        solo
    }

    /// A member of a fleet of two, 50 ms into a window that it has pledged.
    pub(crate) fn member() -> Solo {
        let mut solo = Solo::new(BEGIN - ms(5_000));
        solo.accept();
        solo.install(BEGIN - ms(4_000));
        solo.beats(BEGIN + ms(50));
        solo
    }

    /// Lets time pass; no manager says anything.
    pub(crate) fn until(&mut self, end: Time) {
        loop {
            let next = self.agent.next_deadline().unwrap_or(Time::MAX).max(self.now);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            let mut out = Vec::new();
            self.agent.on_deadline(next, &mut out);
            self.take(out);
        }
    }

    /// Lets time pass with a heartbeat each 100 ms.
    pub(crate) fn beats(&mut self, end: Time) {
        while self.now < end {
            self.until((self.now + ms(100)).min(end));
            self.decide(|_| ());
        }
    }

    pub(crate) fn tell(&mut self, input: agent::Input) {
        let mut out = Vec::new();
        self.agent.handle(input, self.now, &mut out);
        self.take(out);
    }

    /// The manager that it turned to accepts, and sends the policy.
    pub(crate) fn accept(&mut self) {
        let (_, connection) = self.session.expect("it wants a session");
        self.tell(agent::Input::SessionOpened(connection));
        self.revision = 0;
        self.decide(|frame| {
            frame.hello = Some(ManagerHello {
                life: manager_life(),
                version: String::new(),
                silent_hold_ms: 30_000,
            });
            frame.policies = Some(PolicyUpdate {
                revision: 1,
                full: true,
                put: vec![policy().to_json().to_string().into()],
                deleted: Vec::new(),
                last: true,
            });
            frame.snapshot_complete = true;
            frame.keys = vec![KeyDef { id: 0, key: key() }];
        });
    }

    /// It is a member of a fleet of two in windows begun at `from` or later.
    pub(crate) fn install(&mut self, from: Time) {
        let members = vec![identity("gw-1").life, identity("gw-2").life];
        let view =
            View { number: 1, fleet: 2, members, lost: Vec::new(), proposer: Some(manager_life()) };
        self.decide(|frame| frame.install = Some((view, from)));
    }

    /// The next frame of the session.
    pub(crate) fn decide(&mut self, fill: impl FnOnce(&mut DecisionFrame)) {
        self.revision += 1;
        let frame = self.frame(self.revision, fill);
        let (_, connection) = self.session.expect("a session");
        self.tell(agent::Input::Decision(connection, frame));
    }

    pub(crate) fn ceiling(&mut self, ceiling: u64) {
        self.decide(|frame| frame.decisions = vec![decision(ceiling)]);
    }

    pub(crate) fn frame(
        &self,
        revision: u64,
        fill: impl FnOnce(&mut DecisionFrame),
    ) -> DecisionFrame {
        let mut frame =
            DecisionFrame { revision, manager_time: self.now, ..DecisionFrame::default() };
        fill(&mut frame);
        frame
    }

    /// How many of so many requests are admitted now.
    pub(crate) fn requests(&mut self, n: u64) -> u64 {
        let request = Request::new().application("a");
        let admitted =
            (0..n).filter(|_| self.checker.check(&request, 1, self.now).allowed()).count() as u64;
        self.tell(agent::Input::Poke);
        admitted
    }

    /// Number of the last frame of the session.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    fn take(&mut self, out: Vec<agent::Output>) {
        for output in out {
            match output {
                agent::Output::Connect(manager, connection) => {
                    self.session = Some((manager, connection));
                }
                agent::Output::Disconnect(connection) => self.dropped.push(connection),
                agent::Output::Credit(_, frame) => self.said.push(frame),
                agent::Output::Usage(manager, _, report) => {
                    let frame = report.try_into().expect("the agent's report is valid");
                    self.usage.push((manager, frame));
                }
                agent::Output::Notice(agent::Notice::BadPolicy(why)) => panic!("{why}"),
                agent::Output::Policies(_) | agent::Output::Wake | agent::Output::Notice(_) => {}
            }
        }
    }
}

pub(crate) fn decision(ceiling: u64) -> Decision {
    Decision { key: 0, window: WINDOW, ceiling, exhausted: false, retry_after_ms: 0 }
}

/// The share of each member of a fleet of two, and what it may use of it unasked.
pub(crate) fn share() -> (u64, u64) {
    let share = Share { fleet: 2, rank: 0 };
    (share.of(LIMIT), share.default_of(LIMIT))
}
