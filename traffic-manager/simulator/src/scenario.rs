//! Scenarios: runs that people write, in TOML.
//!
//! [`mod@file`] is what they write, [`Scenario`] what a run needs; the step between them happens once and
//! reports every fault with the name of its field. `deploy/scenarios` has examples of everything.

mod check;
pub mod file;
mod select;
#[cfg(test)]
mod tests;
pub mod units;

use std::{fmt, time::Duration};

use weir_proto::policy::{Accuracy, Policy};

use crate::{
    demand::Stream,
    plan::{Fault, Plan},
};

/// Something that happens to the world at some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Incident {
    /// A fault, or a change of the fleet.
    Fault(Fault),
    /// Nothing passes on decision sessions of this agent with this manager; usage does.
    CutDecisions(usize, usize),
    /// It does again.
    HealDecisions(usize, usize),
}

/// What the author demands of a run, in per cent of the limit; `None` = nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Expectations {
    /// The fullest window exceeds the limit by at most this.
    pub over: Option<f64>,
    /// Windows that an exact limiter fills miss at most this on average.
    pub under: Option<f64>,
    /// Of the requests in windows in which an exact limiter refuses nothing, at most this is refused.
    pub wrong: Option<f64>,
}

/// A scenario that can be run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// One line for people; may be empty.
    pub title: String,
    /// Seed of the first run.
    pub seed: u64,
    /// Length in virtual time.
    pub duration: Duration,
    /// Windows that begin earlier are not judged: the fleet is founded.
    pub warm_up: Duration,
    /// What the author demands.
    pub expect: Expectations,
    /// Policies, at least one.
    pub policies: Vec<Policy>,
    /// Managers, network, clocks; without traffic and faults.
    pub plan: Plan,
    /// The traffic.
    pub streams: Vec<Stream>,
    /// What happens, in order.
    pub incidents: Vec<(Duration, Incident)>,
    /// Events in the author's words, for pictures.
    pub marks: Vec<(Duration, String)>,
}

/// One field that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The policies file that it is in; `None` = the scenario itself.
    pub file: Option<String>,
    /// As in the file: `traffic[0].rate`.
    pub field: String,
    /// What is wrong and what to do, phrased to follow the name of the field.
    pub message: String,
}

/// Why a scenario cannot be run. Its author is at fault; nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// Not TOML, an unknown field or a value of a wrong type; with line and column.
    #[error("{0}")]
    Malformed(String),
    /// Values that make no run.
    #[error("{}", lines(.0))]
    Invalid(Vec<Refusal>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        write!(f, "{} {}", self.field, self.message)
    }
}

fn lines(faults: &[Refusal]) -> String {
    faults.iter().map(Refusal::to_string).collect::<Vec<_>>().join("\n")
}

impl Scenario {
    /// Reads a scenario. `read` gives the text of its `policies_file`, or says why it cannot.
    ///
    /// # Errors
    /// The text is not TOML, has unknown fields, or makes no run: then every fault is told.
    pub fn parse(
        text: &str,
        read: impl FnOnce(&str) -> Result<String, String>,
    ) -> Result<Scenario, ScenarioError> {
        let file: file::File =
            toml::from_str(text).map_err(|e| ScenarioError::Malformed(e.to_string()))?;
        check::check(file, read)
    }

    /// The same with this accuracy in every policy.
    #[must_use]
    pub fn with_accuracy(&self, accuracy: Accuracy) -> Scenario {
        let mut other = self.clone();
        for policy in &mut other.policies {
            policy.accuracy = accuracy;
        }
        other
    }

    /// Whether every policy promises never to exceed its limit.
    pub fn strict(&self) -> bool {
        self.policies.iter().all(|policy| policy.accuracy != Accuracy::Balanced)
    }

    /// Agents that live at some time.
    pub fn fleet(&self) -> usize {
        self.plan.agents + self.plan.spare_agents
    }
}
