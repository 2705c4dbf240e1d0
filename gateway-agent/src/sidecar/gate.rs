//! A check, measured.

use std::sync::Arc;

use tokio::time::Instant;
use weir_proto::{amount::Amounts, request::Request};

use super::telemetry::Telemetry;
use crate::{Agent, HeaderStyle, Verdict};

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
}

impl Gate {
    pub(crate) fn new(agent: Agent) -> Self {
        let telemetry = Arc::new(Telemetry::new());
        Self { agent, telemetry, headers: HeaderStyle::default() }
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
