//! Metrics and log.
//!
//! Every manager has its own registry rather than the process's: two managers in one process do not
//! mix their numbers.

use std::{io::IsTerminal, sync::Arc};

use metrics::{Counter, Gauge, Histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use traffic_manager_core::{
    replica::PeerStatus,
    roles::Role,
    view::{FleetView, Stats},
};

use self::registry::Registry;
use crate::{
    auth::Why,
    config::{Config, LogFormat},
    tls::Port,
};

mod registry;

/// A manager's group, for the metrics.
pub(crate) struct GroupView {
    /// Roles that this manager holds.
    pub(crate) roles: Vec<Role>,
    /// The other managers; at most 64.
    pub(crate) peers: Vec<PeerStatus>,
    /// Losers in the log.
    pub(crate) conflicts: usize,
    /// Windows in no usage record.
    pub(crate) unrecorded: usize,
    /// Entries of peers that had no room.
    pub(crate) refused_entries: u64,
}

/// The manager's metrics. No label ever holds a counter's key.
pub(crate) struct Telemetry {
    registry: Registry,
    handle: PrometheusHandle,
    overshoot: Histogram,
    undershoot: Histogram,
    usage_reports: Counter,
    usage_entries: Counter,
    grants: Counter,
    recalls: Counter,
    exhaustions: Counter,
    refused_counters: Counter,
    refused_frames: Counter,
    counters: Gauge,
    policies: Gauge,
    agents: Gauge,
    sessions: Gauge,
    fleet_role: Gauge,
    ledger_role: Gauge,
    janitor_role: Gauge,
    conflicts: Gauge,
    unrecorded: Gauge,
    refused_entries: Counter,
    /// Usage frames refused before the core saw them.
    pub(crate) malformed_usage: Counter,
    /// Credit frames refused before the core saw them.
    pub(crate) malformed_credit: Counter,
    /// Peers' frames that could not be read.
    pub(crate) malformed_peers: Counter,
    /// Usage that is in no record, because too much of it waited.
    pub(crate) usage_given_up: Counter,
    /// Subscribers that read too slowly.
    pub(crate) subscribers_cut_off: Counter,
    /// Jumps of the wall clock.
    pub(crate) clock_jumps: Counter,
    /// gRPC connections beyond the bound.
    pub(crate) refused_grpc: Counter,
    /// HTTP connections beyond the bound.
    pub(crate) refused_http: Counter,
    denied_grpc: [Counter; Why::ALL.len()],
    denied_http: [Counter; Why::ALL.len()],
    certificate_expiry: Gauge,
}

impl Telemetry {
    /// A new registry, with every series present from the start.
    ///
    /// # Errors
    /// None in practice: the buckets are constant.
    pub(crate) fn new() -> Result<Arc<Telemetry>, BuildError> {
        let registry = Registry::new()?;
        let malformed = "weir_manager_malformed_frames_total";
        let refused = "weir_manager_refused_connections_total";
        let decisions = "weir_manager_decisions_total";
        let denied = |port: &'static str| {
            let labels = |why: Why| [("port", port), ("reason", why.label())];
            Why::ALL.map(|why| registry.counter("weir_manager_denied_total", &labels(why)))
        };
        registry.gauge("weir_build_info", &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        Ok(Arc::new(Telemetry {
            overshoot: registry.histogram("weir_manager_overshoot_ratio"),
            undershoot: registry.histogram("weir_manager_undershoot_ratio"),
            usage_reports: registry.counter("weir_manager_usage_reports_total", &[]),
            usage_entries: registry.counter("weir_manager_usage_entries_total", &[]),
            grants: registry.counter(decisions, &[("kind", "grant")]),
            recalls: registry.counter(decisions, &[("kind", "recall")]),
            exhaustions: registry.counter(decisions, &[("kind", "exhausted")]),
            refused_counters: registry.counter("weir_manager_refused_counters_total", &[]),
            refused_frames: registry.counter("weir_manager_refused_frames_total", &[]),
            counters: registry.gauge("weir_manager_counters", &[]),
            policies: registry.gauge("weir_manager_policies", &[]),
            agents: registry.gauge("weir_manager_agents", &[]),
            sessions: registry.gauge("weir_manager_decision_sessions", &[]),
            fleet_role: registry.gauge("weir_manager_role", &[("role", "fleet")]),
            ledger_role: registry.gauge("weir_manager_role", &[("role", "ledger")]),
            janitor_role: registry.gauge("weir_manager_role", &[("role", "janitor")]),
            conflicts: registry.gauge("weir_manager_conflicts", &[]),
            unrecorded: registry.gauge("weir_manager_usage_unrecorded", &[]),
            refused_entries: registry.counter("weir_manager_refused_entries_total", &[]),
            malformed_usage: registry.counter(malformed, &[("plane", "usage")]),
            malformed_credit: registry.counter(malformed, &[("plane", "decisions")]),
            malformed_peers: registry.counter(malformed, &[("plane", "peers")]),
            usage_given_up: registry.counter("weir_manager_usage_records_given_up_total", &[]),
            subscribers_cut_off: registry.counter("weir_manager_subscribers_cut_off_total", &[]),
            clock_jumps: registry.counter("weir_manager_clock_jumps_total", &[]),
            refused_grpc: registry.counter(refused, &[("port", "grpc")]),
            refused_http: registry.counter(refused, &[("port", "http")]),
            denied_grpc: denied("grpc"),
            denied_http: denied("http"),
            certificate_expiry: registry.gauge("weir_manager_certificate_expiry_seconds", &[]),
            handle: registry.handle(),
            registry,
        }))
    }

    /// A window closed in which the limit was approached: what was admitted above it, and what was
    /// refused although there was room, as parts of the limit.
    pub(crate) fn window_closed(&self, admitted: u64, refused: u64, limit: u64) {
        if limit == 0 {
            // A limit of nothing has no ratio; the counter shows what passed.
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a ratio for a histogram")]
        let part = |amount: u64| amount as f64 / limit as f64;
        self.overshoot.record(part(admitted.saturating_sub(limit)));
        self.undershoot.record(part(refused.min(limit.saturating_sub(admitted))));
    }

    /// The text for Prometheus, with the core's numbers as they are now.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
    pub(crate) fn render(&self, stats: &Stats, fleet: &FleetView) -> String {
        self.usage_reports.absolute(stats.usage_frames);
        self.usage_entries.absolute(stats.usage_entries);
        self.grants.absolute(stats.decisions_grant);
        self.recalls.absolute(stats.decisions_recall);
        self.exhaustions.absolute(stats.decisions_exhausted);
        self.refused_counters.absolute(stats.refused_counters);
        self.refused_frames.absolute(stats.refused_frames);
        self.counters.set(stats.counters as f64);
        self.policies.set(stats.policies as f64);
        self.agents.set(stats.agents as f64);
        self.sessions.set(stats.decision_sessions as f64);
        self.fleet_role.set(f64::from(u8::from(fleet.incumbent)));
        self.handle.render()
    }

    /// What the next text says of the group.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
    pub(crate) fn group(&self, group: &GroupView) {
        let flag = |is: bool| f64::from(u8::from(is));
        self.ledger_role.set(flag(group.roles.contains(&Role::Ledger)));
        self.janitor_role.set(flag(group.roles.contains(&Role::Janitor)));
        self.conflicts.set(group.conflicts as f64);
        self.unrecorded.set(group.unrecorded as f64);
        self.refused_entries.absolute(group.refused_entries);
        for peer in &group.peers {
            let of = |name| self.registry.gauge_of(name, "peer", peer.id.as_str());
            of("weir_manager_replication_lag_seconds").set(peer.lag.as_secs_f64());
            of("weir_manager_peer_up").set(flag(peer.up));
        }
    }

    /// Counts calls and connections that were refused for that reason.
    pub(crate) fn denied(&self, port: Port, why: Why) -> &Counter {
        let reasons = match port {
            Port::Grpc => &self.denied_grpc,
            Port::Http => &self.denied_http,
        };
        &reasons[why.index()]
    }

    /// How long the manager's certificate is still valid; negative when it is not.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
    pub(crate) fn certificate_expiry(&self, seconds: i64) {
        self.certificate_expiry.set(seconds as f64);
    }

    /// The text without the core's numbers.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        self.handle.render()
    }

    /// Moves recorded samples into the buckets; without it they pile up between two scrapes.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// Starts the log of the process, on standard error. A second manager in the process writes to the
/// log of the first.
pub fn start_log(config: &Config) {
    let level = config.log_level.0;
    // Libraries speak only when something is wrong.
    let filter = EnvFilter::new(format!("warn,traffic_manager={level}"));
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    let started = match config.log_format {
        LogFormat::Text => {
            log.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
        }
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("the log of this process is already started");
    }
}
