//! What people write. Unknown fields are refused, with the names of those that there are.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

use super::units::{Amount, Number, Offset, Part, Rate, Span, Whole};

/// A scenario file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// One line for people.
    #[serde(default)]
    pub title: String,
    /// Seed of the first run [default: 1]; `--seed` overrides it.
    pub seed: Option<Whole>,
    /// How long the run takes, in virtual time.
    pub duration: Span,
    /// Windows that begin before this are not judged [default: 3s].
    pub warm_up: Option<Span>,
    /// Fail when the fullest window exceeds the limit by more than so many per cent.
    pub expect_over: Option<Number>,
    /// Fail when on average more per cent of the limit is missing where it was wanted.
    pub expect_under: Option<Number>,
    /// Fail when more per cent of the requests is refused where there was room for all.
    pub expect_wrong: Option<Number>,
    /// A policy document (YAML or JSON) beside the scenario, in the place of `policies`.
    pub policies_file: Option<String>,
    /// Policies as in a policy document.
    pub policies: Option<Vec<serde_json::Value>>,
    /// The managers.
    #[serde(default)]
    pub managers: Managers,
    /// The agents.
    pub agents: Agents,
    /// The network between both.
    #[serde(default)]
    pub network: Network,
    /// Clocks that are wrong.
    #[serde(default)]
    pub clocks: Clocks,
    /// Who sends how much; at least one.
    #[serde(default)]
    pub traffic: Vec<Traffic>,
    /// What happens.
    #[serde(default)]
    pub events: Vec<Event>,
}

/// `[managers]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Managers {
    /// How many, all started at 0 [default: 2].
    pub count: Option<Whole>,
    /// How long the share of a silent agent stays reserved [default: 30s].
    pub silent_hold: Option<Span>,
    /// How long a manager that knows of no fleet waits before it founds one [default: 1s].
    pub fence: Option<Span>,
}

/// `[agents]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agents {
    /// How many are there from the start. Events of kind `join` may add more.
    pub count: Whole,
}

/// `[network]`: every link between an agent and a manager.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// One-way delay [default: 500us].
    pub delay: Option<Span>,
    /// Each message takes up to this much less or more [default: 0s].
    pub jitter: Option<Span>,
    /// Part of the messages that is lost, and sent again 200 ms later [default: 0].
    pub loss: Option<Part>,
    /// Other values for agents to managers.
    pub up: Line,
    /// Other values for managers to agents.
    pub down: Line,
}

/// `[network.up]`, `[network.down]`
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Line {
    /// One-way delay.
    pub delay: Option<Span>,
    /// Each message takes up to this much less or more.
    pub jitter: Option<Span>,
    /// Part of the messages that is lost, and sent again 200 ms later.
    pub loss: Option<Part>,
}

/// `[clocks]`: by how much clocks are off, in the order of the nodes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clocks {
    /// Managers' clocks.
    pub managers: Vec<Offset>,
    /// Agents' clocks.
    pub agents: Vec<Offset>,
}

/// How requests follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// At random, `rate` on average (a Poisson process).
    #[default]
    Poisson,
    /// At equal distances.
    Steady,
    /// `requests` within `within`, at `from` and then `every` so often.
    Burst,
    /// At `rate` for `on`, then nothing for `off`, and so on.
    OnOff,
    /// From `rate` to `to_rate`, evenly over the stream's time.
    Ramp,
}

/// At which agents requests arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// At each as many.
    #[default]
    Even,
    /// At few agents most (exponent `zipf`).
    Zipf,
    /// All at one agent, and `move_every` so often at the next.
    Moving,
}

/// `[[traffic]]`: a stream of requests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// How requests follow each other [default: poisson].
    #[serde(default)]
    pub shape: Shape,
    /// Requests per second in all, like `2x` (of the limit), `500/s` or `90/m`.
    pub rate: Option<Rate>,
    /// `ramp`: the rate at the end.
    pub to_rate: Option<Rate>,
    /// `burst`: how many, like 500 or `2x` (the limit).
    pub requests: Option<Amount>,
    /// `burst`: within which time [default: 100ms].
    pub within: Option<Span>,
    /// `burst`: again after this; once without it.
    pub every: Option<Span>,
    /// `on-off`: how long.
    pub on: Option<Span>,
    /// `on-off`: how long not.
    pub off: Option<Span>,
    /// Policy whose first limit multiples refer to [default: the first].
    pub of: Option<String>,
    /// From when on [default: 0s].
    pub from: Option<Span>,
    /// Until when [default: the end].
    pub to: Option<Span>,
    /// At which of the agents [default: even].
    #[serde(default)]
    pub spread: Spread,
    /// `zipf`: the exponent [default: 1.2].
    pub zipf: Option<Number>,
    /// `moving`: how long at each agent.
    pub move_every: Option<Span>,
    /// Only at these agents: 3, [1, 2], "1-10" or "30%" [default: all].
    pub agents: Option<Select>,
    /// How many different values the attribute `key` has [default: 1].
    pub keys: Option<Whole>,
    /// Exponent with which few of the keys get most requests; without it each gets as many.
    pub keys_zipf: Option<Number>,
    /// Attribute that tells keys apart [default: application].
    pub key: Option<String>,
    /// Further attributes of each request.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// Some of the nodes, counted from 1: 3, [1, 2], "1-10", "30%" or "all".
#[derive(Debug, Clone, PartialEq)]
pub enum Select {
    /// One.
    One(u64),
    /// Several.
    List(Vec<u64>),
    /// In words.
    Text(String),
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Managers die, and forget everything.
    Kill,
    /// Dead managers start, empty.
    Start,
    /// Managers stand still; their sockets stay open.
    Hang,
    /// They go on.
    Resume,
    /// Nothing passes between agents and managers.
    Cut,
    /// It does again.
    Heal,
    /// Agents start.
    Join,
    /// Agents say goodbye and end.
    Leave,
    /// Agents die.
    Crash,
}

/// What a cut cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plane {
    /// Everything.
    #[default]
    All,
    /// Decisions only: agents still report what they admit.
    Decisions,
}

/// `[[events]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When.
    pub at: Span,
    /// What.
    pub event: Kind,
    /// To which managers (`kill`, `start`, `hang`, `resume`; of `cut` and `heal` [default: all]).
    pub managers: Option<Select>,
    /// To which agents (`join`, `leave`, `crash`; of `cut` and `heal` [default: all]).
    pub agents: Option<Select>,
    /// What is cut [default: all].
    #[serde(default)]
    pub plane: Plane,
    /// Undone after this time (`kill`, `hang`, `cut`, `leave`, `crash`).
    #[serde(rename = "for")]
    pub lasts: Option<Span>,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Shape::Poisson => "poisson",
            Shape::Steady => "steady",
            Shape::Burst => "burst",
            Shape::OnOff => "on-off",
            Shape::Ramp => "ramp",
        })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Spread::Even => "even",
            Spread::Zipf => "zipf",
            Spread::Moving => "moving",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Kill => "kill",
            Kind::Start => "start",
            Kind::Hang => "hang",
            Kind::Resume => "resume",
            Kind::Cut => "cut",
            Kind::Heal => "heal",
            Kind::Join => "join",
            Kind::Leave => "leave",
            Kind::Crash => "crash",
        })
    }
}
