//! Names, help texts and buckets.

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString,
};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

/// Overshoot and undershoot, as a part of the limit. The first bucket holds the windows that kept it exactly.
const PARTS: [f64; 11] = [0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];
const META: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

const COUNTERS: [(&str, &str); 18] = [
    ("weir_manager_usage_reports_total", "Usage frames merged."),
    ("weir_manager_usage_entries_total", "Counter entries in the merged usage frames."),
    ("weir_manager_decisions_total", "Decisions sent to agents, by kind."),
    ("weir_manager_refused_counters_total", "Counters refused because max_counters was reached."),
    (
        "weir_manager_refused_frames_total",
        "Frames that broke the protocol; their stream was ended.",
    ),
    (
        "weir_manager_malformed_frames_total",
        "Frames that could not be read; their stream was ended.",
    ),
    (
        "weir_manager_usage_records_given_up_total",
        "Windows whose usage is in no record, because too many waited to be recorded.",
    ),
    (
        "weir_manager_refused_commits_total",
        "Changes that the store refused, by reason; nothing of them was kept.",
    ),
    (
        "weir_manager_peer_frames_dropped_total",
        "Frames of the links between managers given up, by the queue that was full; they are told again.",
    ),
    ("weir_manager_conflicts_given_up_total", "Losers that left a policy which had too many."),
    (
        "weir_manager_refused_entries_total",
        "Entries of peers that had no room here, or cannot be true.",
    ),
    (
        "weir_manager_unreadable_policies_total",
        "Versions of policies that this build cannot read; the one before stayed in force.",
    ),
    (
        "weir_manager_deltas_resent_total",
        "Deltas sent to peers again, as they were not acknowledged.",
    ),
    (
        "weir_manager_digest_rounds_total",
        "Comparisons with peers of everything that is replicated.",
    ),
    ("weir_manager_subscribers_cut_off_total", "Subscribers cut off because they read too slowly."),
    ("weir_manager_clock_jumps_total", "Jumps of the wall clock, absorbed into manager time."),
    ("weir_manager_refused_connections_total", "Connections closed because there were too many."),
    ("weir_manager_denied_total", "Calls and handshakes refused, by port and reason."),
];

const GAUGES: [(&str, &str); 12] = [
    ("weir_build_info", "Always 1; the label tells the version."),
    ("weir_manager_counters", "Counters kept."),
    ("weir_manager_policies", "Policies in force."),
    ("weir_manager_agents", "Agents known."),
    ("weir_manager_decision_sessions", "Agents that follow this manager's decisions."),
    (
        "weir_manager_certificate_expiry_seconds",
        "How long the manager's certificate is still valid; 0 without TLS.",
    ),
    (
        "weir_manager_role",
        "1 if this manager has the role: fleet = it sizes the agents' shares, ledger = it records usage, \
         janitor = it clears away what is old.",
    ),
    ("weir_manager_conflicts", "Losers of concurrent edits in the conflict log."),
    ("weir_manager_tombstones", "Deletions of policies kept, so that they reach every manager."),
    ("weir_manager_audit_records", "Records of who changed what."),
    ("weir_manager_usage_records", "Records of what was used in windows that are over."),
    ("weir_manager_usage_unrecorded", "Windows that closed and are in no usage record yet."),
];

const HISTOGRAMS: [(&str, &str); 2] = [
    (
        "weir_manager_overshoot_ratio",
        "Amount admitted above the limit, as a part of the limit, of windows that came near it.",
    ),
    (
        "weir_manager_undershoot_ratio",
        "Requests refused although the limit had room, as a part of the limit, of windows that came \
         near it.",
    ),
];

/// The registry of one manager.
pub(super) struct Registry(PrometheusRecorder);

impl Registry {
    pub(super) fn new() -> Result<Registry, BuildError> {
        let mut builder = PrometheusBuilder::new();
        for (name, _) in HISTOGRAMS {
            builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &PARTS)?;
        }
        let recorder = builder.build_recorder();
        for (name, help) in COUNTERS {
            recorder.describe_counter(KeyName::from(name), None, SharedString::from(help));
        }
        for (name, help) in GAUGES {
            recorder.describe_gauge(KeyName::from(name), None, SharedString::from(help));
        }
        for (name, help) in HISTOGRAMS {
            recorder.describe_histogram(KeyName::from(name), None, SharedString::from(help));
        }
        Ok(Registry(recorder))
    }

    pub(super) fn counter(
        &self,
        name: &'static str,
        labels: &[(&'static str, &'static str)],
    ) -> Counter {
        self.0.register_counter(&key(name, labels), &META)
    }

    pub(super) fn gauge(
        &self,
        name: &'static str,
        labels: &[(&'static str, &'static str)],
    ) -> Gauge {
        self.0.register_gauge(&key(name, labels), &META)
    }

    pub(super) fn histogram(&self, name: &'static str) -> Histogram {
        self.0.register_histogram(&key(name, &[]), &META)
    }

    pub(super) fn handle(&self) -> PrometheusHandle {
        self.0.handle()
    }
}

fn key(name: &'static str, labels: &[(&'static str, &'static str)]) -> Key {
    let labels: Vec<Label> =
        labels.iter().map(|&(name, value)| Label::from_static_parts(name, value)).collect();
    Key::from_parts(name, labels)
}
