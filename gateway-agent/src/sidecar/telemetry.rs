//! Prometheus metrics. Labels are verdicts, policies and managers: sets that operators bound, never
//! what requests bring along.

use std::{
    collections::HashMap,
    sync::{OnceLock, PoisonError, RwLock},
    time::Duration,
};

use metrics::{Counter, Gauge, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use self::durations::Durations;
use super::{gate::shadows, workers::Port};
use crate::{Agent, Outcome, Reason, Verdict, headers::policy_name};

mod durations;

const CHECKS: &str = "weir_agent_checks_total";
const CHECK_DURATION: &str = "weir_agent_check_duration_seconds";
const CHECK_DURATION_HELP: &str = "Time to answer a check, waiting for a manager included.";
const SHADOW: &str = "weir_agent_shadow_refusals_total";
const UNSENT: &str = "weir_agent_usage_unsent";
const AT_RISK: &str = "weir_agent_usage_at_risk";
const UNSENT_AGE: &str = "weir_agent_usage_unsent_seconds";
const DROPPED: &str = "weir_agent_usage_dropped_total";
const LINK_UP: &str = "weir_agent_link_up";
const FAILOVERS: &str = "weir_agent_failovers_total";
const DECISION_AGE: &str = "weir_agent_decision_age_seconds";
const COUNTERS: &str = "weir_agent_counters";
const OVERFLOWED: &str = "weir_agent_overflowed_checks_total";
const REFUSED: &str = "weir_agent_refused_connections_total";
const BUILD_INFO: &str = "weir_build_info";

const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// The sidecar's metrics.
pub(crate) struct Telemetry {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    durations: Durations,
    /// Counters of checks at hand: making a name of labels costs more than many a check.
    checks: RwLock<HashMap<String, ByVerdict>>,
}

/// A policy's counters, by the place of the verdict in [`VERDICTS`]; made when first needed.
type ByVerdict = [OnceLock<Counter>; VERDICTS.len()];

impl Telemetry {
    pub(crate) fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        describe(&recorder);
        let handle = recorder.handle();
        let (durations, checks) = (Durations::default(), RwLock::default());
        let telemetry = Self { recorder, handle, durations, checks };
        telemetry.gauge(BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        telemetry
    }

    /// Counts an answered check.
    pub(crate) fn checked(&self, verdict: &Verdict, took: Duration) {
        let policy = policy_name(verdict).unwrap_or_default();
        if !self.count(policy, verdict) {
            let mut checks = self.checks.write().unwrap_or_else(PoisonError::into_inner);
            checks.entry(policy.to_owned()).or_default();
            drop(checks);
            self.count(policy, verdict);
        }
        for policy in shadows(verdict) {
            self.counter(SHADOW, &[("policy", policy)]).increment(1);
        }
        self.durations.record(took);
    }

    /// `false` if the policy is not known here yet.
    fn count(&self, policy: &str, verdict: &Verdict) -> bool {
        let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = checks.get(policy) else { return false };
        let label = verdict_label(verdict);
        let place = VERDICTS.iter().position(|verdict| *verdict == label);
        if let Some(counter) = place.and_then(|place| known.get(place)) {
            let labels = [("verdict", label), ("policy", policy)];
            counter.get_or_init(|| self.counter(CHECKS, &labels)).increment(1);
        }
        true
    }

    /// The counter of a port's connections that were closed because there were too many.
    pub(crate) fn refused_connections(&self, port: Port) -> Counter {
        let port = match port {
            Port::Http => "http",
            Port::Grpc => "grpc",
        };
        self.counter(REFUSED, &[("port", port)])
    }

    /// The text for Prometheus, with the agent's state as of now.
    pub(crate) fn render(&self, agent: &Agent) -> String {
        self.observe(agent);
        let mut text = self.handle.render();
        self.durations.render(CHECK_DURATION, CHECK_DURATION_HELP, &mut text);
        text
    }

    fn observe(&self, agent: &Agent) {
        let status = agent.status();
        self.gauge(UNSENT, &[]).set(float(status.unsent));
        self.gauge(AT_RISK, &[]).set(float(status.at_risk.amount()));
        self.gauge(UNSENT_AGE, &[]).set(status.unsent_for.as_secs_f64());
        self.gauge(COUNTERS, &[]).set(float(status.counters as u64));
        self.counter(FAILOVERS, &[]).absolute(status.failovers);
        self.counter(OVERFLOWED, &[]).absolute(status.overflowed);
        if let Some(age) = status.decision_age {
            self.gauge(DECISION_AGE, &[]).set(age.as_secs_f64());
        }
        for (url, manager) in agent.managers().iter().zip(&status.managers) {
            let manager_label = ("manager", &*url.address());
            for (link, up) in [("usage", manager.usage_up), ("decisions", manager.decisions_up)] {
                self.gauge(LINK_UP, &[manager_label, ("link", link)]).set(f64::from(u8::from(up)));
            }
            // What is dropped is dropped for all of them: the managers share one memory.
            self.counter(DROPPED, &[manager_label]).absolute(status.dropped);
        }
    }

    fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder.register_counter(&key(name, labels), &METADATA)
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.recorder.register_gauge(&key(name, labels), &METADATA)
    }
}

fn describe(recorder: &PrometheusRecorder) {
    let counter = |name: &'static str, text: &'static str| {
        recorder.describe_counter(KeyName::from(name), None, text.into());
    };
    let gauge = |name: &'static str, text: &'static str| {
        recorder.describe_gauge(KeyName::from(name), None, text.into());
    };
    counter(CHECKS, "Checks answered, by verdict and by the policy that decided.");
    counter(SHADOW, "Requests that a policy in shadow mode would have refused.");
    counter(DROPPED, "Usage of ended windows given up before the manager had it.");
    counter(OVERFLOWED, "Checks counted in a shared counter because the table was full.");
    counter(REFUSED, "Connections closed because there were too many.");
    counter(FAILOVERS, "Changes of the manager whose decisions are followed.");
    gauge(UNSENT, "Counters that changed since they were last reported.");
    gauge(AT_RISK, "Most that one counter used before it was reported, in the last seconds.");
    gauge(UNSENT_AGE, "Age of the oldest change that was not reported.");
    gauge(COUNTERS, "Counters in the table.");
    gauge(LINK_UP, "Whether the link to the manager is up.");
    gauge(DECISION_AGE, "Time since the followed manager was last heard.");
    gauge(BUILD_INFO, "Always 1; the labels describe the build.");
}

/// All labels of [`verdict_label`].
const VERDICTS: [&str; 5] = ["allowed", "limited", "over_quota", "denied", "disconnected"];

/// What the check came to.
pub(crate) fn verdict_label(verdict: &Verdict) -> &'static str {
    match verdict.outcome {
        Outcome::Allowed if verdict.over_quota => "over_quota",
        Outcome::Allowed => "allowed",
        Outcome::Refused(Reason::Denied) => "denied",
        Outcome::Refused(Reason::Disconnected) => "disconnected",
        Outcome::Refused(Reason::Limit) | Outcome::Pending { .. } => "limited",
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels = labels.iter().map(|(key, value)| Label::new(*key, (*value).to_owned()));
    Key::from_parts(name, labels.collect::<Vec<_>>())
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn float(value: u64) -> f64 {
    value as f64
}
