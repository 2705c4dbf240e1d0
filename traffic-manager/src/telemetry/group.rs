//! What `/metrics` says of a manager's part in its group: roles, what is replicated, what was refused.

use metrics::{Counter, Gauge};
use traffic_manager_core::{
    replica::{Sizes, Totals},
    roles::Role,
};

use super::{PeerGauges, registry::Registry};
use crate::store::Refusals;

/// A manager's group, as it is at one moment.
pub(crate) struct GroupView {
    /// Roles that this manager holds.
    pub(crate) roles: Vec<Role>,
    /// The other managers, met or not; 64 and those of `peers`.
    pub(crate) peers: Vec<PeerGauges>,
    /// Entries of the replica.
    pub(crate) sizes: Sizes,
    /// What became of entries.
    pub(crate) totals: Totals,
    /// Windows in no usage record.
    pub(crate) unrecorded: usize,
    /// Commits that the store refused.
    pub(crate) refusals: Refusals,
}

/// The metrics of a [`GroupView`].
pub(super) struct GroupMetrics {
    ledger_role: Gauge,
    janitor_role: Gauge,
    conflicts: Gauge,
    tombstones: Gauge,
    audit_records: Gauge,
    usage_records: Gauge,
    unrecorded: Gauge,
    conflicts_given_up: Counter,
    refused_entries: Counter,
    unreadable: Counter,
    resent: Counter,
    rounds: Counter,
    refusals: [Counter; Refusals::REASONS.len()],
}

impl GroupMetrics {
    pub(super) fn new(registry: &Registry) -> GroupMetrics {
        let role = |role: Role| registry.gauge("weir_manager_role", &[("role", role.as_str())]);
        let refused =
            |reason| registry.counter("weir_manager_refused_commits_total", &[("reason", reason)]);
        GroupMetrics {
            ledger_role: role(Role::Ledger),
            janitor_role: role(Role::Janitor),
            conflicts: registry.gauge("weir_manager_conflicts", &[]),
            tombstones: registry.gauge("weir_manager_tombstones", &[]),
            audit_records: registry.gauge("weir_manager_audit_records", &[]),
            usage_records: registry.gauge("weir_manager_usage_records", &[]),
            unrecorded: registry.gauge("weir_manager_usage_unrecorded", &[]),
            conflicts_given_up: registry.counter("weir_manager_conflicts_given_up_total", &[]),
            refused_entries: registry.counter("weir_manager_refused_entries_total", &[]),
            unreadable: registry.counter("weir_manager_unreadable_policies_total", &[]),
            resent: registry.counter("weir_manager_deltas_resent_total", &[]),
            rounds: registry.counter("weir_manager_digest_rounds_total", &[]),
            refusals: Refusals::REASONS.map(refused),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
    pub(super) fn set(&self, group: &GroupView) {
        let flag = |is: bool| f64::from(u8::from(is));
        self.ledger_role.set(flag(group.roles.contains(&Role::Ledger)));
        self.janitor_role.set(flag(group.roles.contains(&Role::Janitor)));
        self.conflicts.set(group.sizes.conflicts as f64);
        self.tombstones.set(group.sizes.tombstones as f64);
        self.audit_records.set(group.sizes.audit_records as f64);
        self.usage_records.set(group.sizes.usage_records as f64);
        self.unrecorded.set(group.unrecorded as f64);
        self.conflicts_given_up.absolute(group.totals.dropped_versions);
        self.refused_entries.absolute(group.totals.refused_entries);
        self.unreadable.absolute(group.totals.unreadable);
        self.resent.absolute(group.totals.resent);
        self.rounds.absolute(group.totals.rounds);
        for (counter, count) in self.refusals.iter().zip(group.refusals.0) {
            counter.absolute(count);
        }
    }
}
