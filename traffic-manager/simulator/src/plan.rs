//! A run: policies, fleet, traffic and faults.

use std::time::Duration;

use weir_proto::policy::Policy;

/// What happens to the world at some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The manager dies; its connections are reset.
    KillManager(usize),
    /// A dead manager starts, empty.
    StartManager(usize),
    /// The manager hangs: it neither reads nor writes, its sockets stay open.
    FreezeManager(usize),
    /// It goes on.
    ThawManager(usize),
    /// The agent dies; what it had not sent is lost.
    KillAgent(usize),
    /// A dead agent starts anew.
    StartAgent(usize),
    /// The agent says goodbye and ends.
    StopAgent(usize),
    /// Nothing passes between this agent and this manager.
    Cut(usize, usize),
    /// It does again.
    Heal(usize, usize),
    /// Everybody can reach this manager again.
    HealAll(usize),
    /// One connection of this agent to this manager is reset: 0 = decisions, 1 = usage.
    Reset(usize, usize, u8),
}

/// Requests at one agent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// Which agent.
    pub agent: usize,
    /// From when on.
    pub from: Duration,
    /// Until when.
    pub to: Duration,
    /// Requests per second, Poisson.
    pub rate: f64,
    /// Counter keys, drawn evenly.
    pub keys: u64,
}

/// One direction of every link between agents and managers. Streams are ordered and repeat what was
/// lost, so that loss is delay, and nothing arrives twice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Shortest one-way delay.
    pub least: Duration,
    /// Longest one-way delay; evenly drawn.
    pub most: Duration,
    /// Part of the messages that is lost and sent again after 200 ms, below 1.
    pub loss: f64,
}

/// Everything that a run needs; equal plans give equal runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// For delays, arrivals, keys.
    pub seed: u64,
    /// How long the run takes.
    pub length: Duration,
    /// Managers, all started at 0.
    pub managers: usize,
    /// Agents started at 0 (others by [`Fault::StartAgent`]).
    pub agents: usize,
    /// Agents known in total.
    pub spare_agents: usize,
    /// Limit per window.
    pub limit: u64,
    /// Window length.
    pub window: Duration,
    /// Sliding instead of fixed windows.
    pub sliding: bool,
    /// A token bucket that holds the limit and fills once per window; judged like sliding windows, which
    /// must be chosen, too.
    pub bucket: bool,
    /// `balanced` instead of `strict`.
    pub balanced: bool,
    /// How long an uncertain request waits.
    pub max_wait: Duration,
    /// One-way delay, least and most; evenly drawn.
    pub delay: (Duration, Duration),
    /// One message in so many is lost and sent again 200 ms later; 0 = none.
    pub loss: u64,
    /// Skew of each manager's clock, in milliseconds.
    pub skew_ms: Vec<i64>,
    /// How long managers reserve the share of the silent.
    pub silent_hold: Duration,
    /// Policies in the place of the one that the fields above make.
    pub policies: Vec<Policy>,
    /// Up to managers and down to agents, in the place of `delay` and `loss`.
    pub lines: Option<[Line; 2]>,
    /// How far each agent's own clock is off, in milliseconds.
    pub agent_skew_ms: Vec<i64>,
    /// How long a manager that knows of no fleet waits before it founds one.
    pub fence: Duration,
    /// Managers that start ask the others for what they know of windows that go on.
    pub recall: bool,
    /// Managers store what they know every second, and start with it.
    pub checkpoints: bool,
    /// Measure what messages weigh on the wire.
    pub weigh: bool,
    /// Keep a log of what happened.
    pub log: bool,
    /// After every event, add up what agents may admit (fixed windows, `strict`).
    pub ceilings: bool,
    /// Requests.
    pub traffic: Vec<Traffic>,
    /// What goes wrong, by time.
    pub faults: Vec<(Duration, Fault)>,
}

impl Plan {
    /// Two managers, `agents` agents, no faults, no traffic yet.
    pub fn new(seed: u64, agents: usize, limit: u64, window: Duration, length: Duration) -> Self {
        Plan {
            seed,
            length,
            managers: 2,
            agents,
            spare_agents: 0,
            limit,
            window,
            sliding: false,
            bucket: false,
            balanced: false,
            max_wait: Duration::from_millis(5),
            delay: (Duration::from_micros(300), Duration::from_micros(700)),
            loss: 0,
            skew_ms: Vec::new(),
            silent_hold: Duration::from_secs(30),
            policies: Vec::new(),
            lines: None,
            agent_skew_ms: Vec::new(),
            fence: Duration::from_secs(1),
            recall: false,
            checkpoints: false,
            weigh: false,
            log: false,
            ceilings: false,
            traffic: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// The same rate at every agent, from the start to the end.
    #[must_use]
    pub fn steady(mut self, total_rate: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "fleets are small")]
        let rate = total_rate / self.agents as f64;
        for agent in 0..self.agents {
            let to = self.length;
            self.traffic.push(Traffic { agent, from: Duration::from_secs(2), to, rate, keys: 1 });
        }
        self
    }

    /// Adds a fault.
    #[must_use]
    pub fn fault(mut self, at_ms: u64, fault: Fault) -> Self {
        self.faults.push((Duration::from_millis(at_ms), fault));
        self
    }

    /// The policies of the run.
    ///
    /// # Panics
    /// When the plan's numbers make no valid policy.
    pub fn policies(&self) -> Vec<Policy> {
        if !self.policies.is_empty() {
            return self.policies.clone();
        }
        match Policy::from_json(&self.policy()) {
            Ok(policy) => vec![policy],
            Err(errors) => panic!("the plan makes no valid policy: {errors}"),
        }
    }

    /// The policy that the plan's numbers make, as JSON.
    pub fn policy(&self) -> serde_json::Value {
        serde_json::json!({
            "name": "p",
            "level": "application",
            "key": ["application"],
            "limits": [{
                "requests": self.limit,
                "window": format!("{}s", self.window.as_secs()),
                "algorithm": match (self.bucket, self.sliding) {
                    (true, _) => "token_bucket",
                    (false, true) => "sliding_window",
                    (false, false) => "fixed_window",
                },
            }],
            "accuracy": if self.balanced { "balanced" } else { "strict" },
            "max_wait": format!("{}ms", self.max_wait.as_millis()),
        })
    }
}
