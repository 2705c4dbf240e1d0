//! The handle that requests are checked with.

use std::{
    fmt,
    future::Future,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use gateway_agent_core::{
    Checker, LeaseId, Outcome, Reported, UnknownAmount, Verdict, agent::Status,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use weir_proto::{
    amount::{Amounts, Changes, Unit},
    id::AgentLife,
    request::Request,
    rule::Rules,
    usage::AgentIdentity,
};

use crate::{
    access::Access,
    clock::{Clock, incarnation},
    config::{Config, ManagerUrl},
    driver::{Channels, Driver, Snapshot},
    rules::RuleBook,
};

/// Most checks that wait at a time; others are answered at once.
pub const MAX_WAITERS: usize = 4_096;

/// Why an agent did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The agent's links are tokio tasks.
    #[error("there is no tokio runtime here; call Agent::connect inside one")]
    NoRuntime,
    /// A certificate, key or token cannot be used, or one is missing; in words.
    #[error("{0}")]
    Access(String),
}

/// A gateway agent in this process. Cheap to clone: all clones are one agent.
///
/// It leaves the fleet when the last clone is dropped, and in good order with [`Agent::shutdown`].
#[derive(Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

struct Inner {
    checker: Arc<Checker>,
    clock: Clock,
    managers: Vec<ManagerUrl>,
    wake: Arc<Notify>,
    waiters: Semaphore,
    leave: Arc<Notify>,
    rules: Arc<RuleBook>,
    status: watch::Receiver<Arc<Snapshot>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.leave.notify_one();
    }
}

impl Agent {
    /// Starts an agent on the current tokio runtime and returns at once; it connects by itself, and
    /// keeps trying. Until the first policies arrive every check passes: see [`Agent::wait_ready`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(config: Config) -> Result<Agent, ConnectError> {
        Agent::start(config, Driver::run)
    }

    /// An agent whose driver runs as `drive` says.
    fn start<F>(config: Config, drive: impl FnOnce(Driver) -> F) -> Result<Agent, ConnectError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let access = Arc::new(access(&config)?);
        let clock = Clock::start();
        let (wake, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let poke = Arc::new(Notify::new());
        let ring = poke.clone();
        let managers = config.managers.clone();
        let waker = Arc::new(move || ring.notify_one());
        let (core, checker) = gateway_agent_core::agent(core_config(config), waker, clock.now());

        let now = clock.now();
        let first = Snapshot { at: now, status: core.status(now) };
        let (to_status, status) = watch::channel(Arc::new(first));
        let rules = Arc::new(RuleBook::default());
        let channels = Channels {
            wake: wake.clone(),
            poke,
            leave: leave.clone(),
            rules: rules.clone(),
            status: to_status,
        };
        let driver = drive(Driver::new(core, clock, managers.clone(), access, channels));
        runtime.spawn(watch_over(runtime.spawn(driver)));

        let waiters = Semaphore::new(MAX_WAITERS);
        let inner = Inner { checker, clock, managers, wake, waiters, leave, rules, status };
        Ok(Agent { inner: Arc::new(inner) })
    }

    /// Decides about one request, from memory alone: it never waits.
    ///
    /// An uncertain request near its limit is refused; [`Agent::check_wait`] would have waited.
    pub fn check(&self, request: &Request<'_>) -> Verdict {
        self.check_n(request, 1)
    }

    /// Decides about a request that counts as `hits`. All or nothing: when any limit refuses, none
    /// of them is charged.
    pub fn check_n(&self, request: &Request<'_>, hits: u64) -> Verdict {
        self.inner.checker.check(request, hits, self.inner.clock.recent())
    }

    /// Like [`Agent::check_wait`] where it need not wait; `None`, and nothing is counted, where it
    /// would. For callers that cannot wait where they are.
    pub fn check_at_once(
        &self,
        request: &Request<'_>,
        amounts: impl Into<Amounts>,
    ) -> Option<Verdict> {
        let amounts = amounts.into();
        let verdict = self.try_check(request, &amounts);
        match verdict.outcome {
            Outcome::Allowed => Some(verdict),
            // The last look is the one that counts the refusal.
            Outcome::Refused(_) => Some(self.check_amounts(request, &amounts)),
            Outcome::Pending { .. } => None,
        }
    }

    /// Decides about a request with amounts of several kinds. Those that are known after the response
    /// only are reported then: [`Agent::report`]. What it holds of limits of concurrency it holds until
    /// [`Agent::release`], or until the limit's lease is over.
    pub fn check_amounts(&self, request: &Request<'_>, amounts: &Amounts) -> Verdict {
        self.inner.checker.check_amounts(request, amounts, self.inner.clock.recent())
    }

    /// What [`Agent::check_wait`] would answer now. Nothing is counted.
    pub async fn peek(&self, request: &Request<'_>, amounts: &Amounts) -> Verdict {
        let checker = &self.inner.checker;
        let now = || self.inner.clock.recent();
        let verdict = checker.try_peek(request, amounts, now());
        let Outcome::Pending { wait } = verdict.outcome else { return verdict };
        let later = self.wait(wait, || checker.try_peek(request, amounts, now())).await;
        later.unwrap_or_else(|| checker.peek(request, amounts, now()))
    }

    /// What [`Agent::check_amounts`] would answer now. Nothing is counted.
    pub fn peek_at_once(&self, request: &Request<'_>, amounts: &Amounts) -> Verdict {
        self.inner.checker.peek(request, amounts, self.inner.clock.recent())
    }

    /// Counts what became known after the response, over the limits if need be; negative amounts are
    /// taken back from present fixed windows, never below zero.
    pub fn report(&self, request: &Request<'_>, changes: &Changes) -> Reported {
        self.inner.checker.report(request, changes, self.inner.clock.recent())
    }

    /// The first of these units that no policy in force can count, be it off: most likely a misspelt name.
    /// `None` as long as there are no policies.
    pub fn unknown<'u>(&self, units: impl Iterator<Item = &'u Unit>) -> Option<UnknownAmount> {
        self.inner.checker.unknown(units)
    }

    /// A request is over: what its [`Verdict::lease`] held is free again. False if it was so before.
    pub fn release(&self, lease: LeaseId) -> bool {
        self.inner.checker.release(lease)
    }

    /// Like [`Agent::check_amounts`], but an uncertain request waits for its manager's answer, at most
    /// for the policy's `max_wait`. When [`MAX_WAITERS`] wait already, it does not.
    pub async fn check_wait(&self, request: &Request<'_>, amounts: impl Into<Amounts>) -> Verdict {
        let amounts = amounts.into();
        let verdict = self.try_check(request, &amounts);
        match verdict.outcome {
            Outcome::Allowed => return verdict,
            Outcome::Refused(_) => {}
            Outcome::Pending { wait } => {
                let again = || self.try_check(request, &amounts);
                if let Some(allowed) = self.wait(wait, again).await {
                    return allowed;
                }
            }
        }
        // The last look is the one that counts the refusal.
        self.check_amounts(request, &amounts)
    }

    /// Looks again at every wake-up until the request is decided, for `patience` at most. `None`
    /// unless it is allowed.
    async fn wait(&self, patience: Duration, look: impl Fn() -> Verdict) -> Option<Verdict> {
        let _place = self.inner.waiters.try_acquire().ok()?;
        let end = Instant::now() + patience;
        loop {
            // Listen first and look afterwards: a wake-up between the two is not missed.
            let mut woken = std::pin::pin!(self.inner.wake.notified());
            woken.as_mut().enable();
            let verdict = look();
            match verdict.outcome {
                Outcome::Allowed => return Some(verdict),
                Outcome::Refused(_) => return None,
                Outcome::Pending { .. } => timeout_at(end, woken).await.ok()?,
            }
        }
    }

    fn try_check(&self, request: &Request<'_>, amounts: &Amounts) -> Verdict {
        self.inner.checker.try_check(request, amounts, self.inner.clock.recent())
    }

    /// Runs `job` with the rules that the policies in force name, if they name any: which of them a
    /// rate limit descriptor meets is said by [`Rules::find`], and told to policies by
    /// [`Request::rule`].
    pub fn with_rules<R>(&self, job: impl FnOnce(Option<&Rules>) -> R) -> R {
        self.inner.rules.with(job)
    }

    /// What the agent knows of itself, at most a few milliseconds old. Once it has
    /// [ended](Agent::ended) this is what it knew last, without readiness and links.
    pub fn status(&self) -> Status {
        let snapshot = self.inner.status.borrow().clone();
        let mut status = snapshot.status.clone();
        if self.ended() {
            status.ready = false;
            for manager in &mut status.managers {
                (manager.usage_up, manager.decisions_up) = (false, false);
            }
        }
        let passed = self.inner.clock.now().since(snapshot.at);
        status.decision_age = status.decision_age.map(|age| age + passed);
        status
    }

    /// Whether the agent has policies and a share of their limits, and follows a manager or looks
    /// for one.
    pub fn ready(&self) -> bool {
        !self.ended() && self.inner.status.borrow().status.ready
    }

    /// Whether the agent has stopped to speak with managers for good: after [`Agent::shutdown`], or
    /// because of a fault that the log tells. Checks are still answered, from what was known last.
    pub fn ended(&self) -> bool {
        // The driver's end of the channel goes with it.
        self.inner.status.has_changed().is_err()
    }

    /// Waits until the agent is ready, at most for `patience`; says whether it is.
    pub async fn wait_ready(&self, patience: Duration) -> bool {
        let mut status = self.inner.status.clone();
        let ready = status.wait_for(|snapshot| snapshot.status.ready);
        matches!(timeout(patience, ready).await, Ok(Ok(_))) && !self.ended()
    }

    /// The configured managers, in order of preference; [`Status`] numbers them like this.
    pub fn managers(&self) -> &[ManagerUrl] {
        &self.inner.managers
    }

    /// Leaves the fleet in good order: hands the shares back and brings the last usage to every
    /// reachable manager. Takes about a second at most. Checks afterwards are answered as by an
    /// agent that reaches no manager.
    pub async fn shutdown(&self) {
        self.inner.leave.notify_one();
        let mut status = self.inner.status.clone();
        // The driver's end of the channel goes when it is done.
        while status.changed().await.is_ok() {}
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("managers", &self.inner.managers).finish_non_exhaustive()
    }
}

/// Says so when the driver ends unasked; that it has ended is seen by the channel that it drops.
async fn watch_over(driver: JoinHandle<()>) {
    if let Err(error) = driver.await {
        tracing::error!(
            %error,
            "the agent has ended by a fault: it speaks with no manager any more and is not ready; \
             restart it"
        );
    }
}

/// Reads every file that [`Agent::connect`] would read, and says whether managers could accept what is
/// in them now.
#[cfg(feature = "sidecar")]
pub(crate) fn check_files(config: &Config) -> Result<(), ConnectError> {
    access(config)?;
    config.access.valid_at(crate::clock::unix_seconds()).map_err(ConnectError::Access)
}

/// The credentials, if they do for every manager.
fn access(config: &Config) -> Result<Access, ConnectError> {
    let access = Access::load(config.access.clone()).map_err(ConnectError::Access)?;
    let encrypted = config.managers.iter().find(|manager| manager.is_https());
    if let Some(manager) = encrypted.filter(|_| !access.speaks_tls()) {
        let why = format!("{manager} needs tls.ca: who signs the managers' certificates");
        return Err(ConnectError::Access(why));
    }
    if config.exposes_token() {
        tracing::warn!(
            "the token goes to managers in plain text; write https:// if they speak TLS"
        );
    }
    Ok(access)
}

fn core_config(config: Config) -> gateway_agent_core::Config {
    let identity = AgentIdentity {
        life: AgentLife { id: config.id, incarnation: incarnation() },
        gateway_group: config.gateway_group,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut core = gateway_agent_core::Config::new(identity, config.managers.len());
    core.fail_back = config.fail_back;
    core.on_disconnect = config.on_disconnect;
    core.max_counters = config.max_counters;
    // Drawn by the standard library, which wants nothing hashed for it.
    core.seed = RandomState::new().build_hasher().finish();
    core
}

#[cfg(all(test, feature = "sidecar"))]
mod tests;
