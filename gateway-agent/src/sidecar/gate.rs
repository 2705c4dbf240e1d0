//! A check, measured.

use std::sync::Arc;

use tokio::time::Instant;
use weir_proto::{
    amount::{Amounts, Unit},
    request::Request,
};

use super::telemetry::Telemetry;
use crate::{Agent, HeaderStyle, UnknownAmount, Verdict};

/// The policies in shadow mode that would have refused, each once.
pub(crate) fn shadows(verdict: &Verdict) -> Vec<&str> {
    let mut names: Vec<&str> =
        verdict.shadow.iter().map(|policy| policy.policy.name.as_str()).collect();
    // Several limits of one policy stand side by side.
    names.dedup();
    names
}

/// What the servers check requests with.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) agent: Agent,
    pub(crate) telemetry: Arc<Telemetry>,
    /// Which headers clients get.
    pub(crate) headers: HeaderStyle,
    /// Whether requests may bring limits along.
    pub(crate) request_limits: bool,
}

impl Gate {
    pub(crate) fn new(agent: Agent) -> Self {
        let telemetry = Arc::new(Telemetry::new());
        Self { agent, telemetry, headers: HeaderStyle::default(), request_limits: false }
    }

    /// Refuses limits of requests unless they are trusted.
    pub(crate) fn trust(&self, brings_limit: bool) -> Result<(), String> {
        if brings_limit && !self.request_limits {
            let text = "limit: this agent does not let requests bring limits along; set \
                        request_limits = true in its configuration if all its callers may choose them";
            return Err(text.to_owned());
        }
        Ok(())
    }

    /// Refuses amounts that no policy counts.
    pub(crate) fn know<'u>(&self, units: impl Iterator<Item = &'u Unit>) -> Result<(), String> {
        let Some(UnknownAmount { name, known }) = self.agent.unknown(units) else { return Ok(()) };
        let built_in = Unit::names().join(", ");
        let named = match known.as_slice() {
            [] => "policies name no amounts of their own".to_owned(),
            known => format!("policies name {}", known.join(", ")),
        };
        Err(format!("amounts.{name}: no policy counts it; known are {built_in}; {named}"))
    }

    /// Checks a request; `None` if it is uncertain and worth waiting: then nothing is counted, and
    /// [`Gate::check`] is the one that waits.
    pub(crate) fn try_check(
        &self,
        request: &Request<'_>,
        amounts: impl Into<Amounts>,
    ) -> Option<Verdict> {
        let began = Instant::now();
        let verdict = self.agent.check_at_once(request, amounts)?;
        self.telemetry.checked(&verdict, began.elapsed());
        Some(verdict)
    }

    /// Checks a request, which may wait for the policy's `max_wait` when the answer is uncertain.
    pub(crate) async fn check(
        &self,
        request: &Request<'_>,
        amounts: impl Into<Amounts>,
    ) -> Verdict {
        let began = Instant::now();
        let verdict = self.agent.check_wait(request, amounts).await;
        self.telemetry.checked(&verdict, began.elapsed());
        verdict
    }
}
