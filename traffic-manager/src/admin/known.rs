//! Filters that name nothing: an empty list would hide a misspelt name.

use traffic_manager_core::replica::{AuditFilter, Replica, UsageFilter};
use weir_proto::{peer::EntryKey, policy::PolicyName};

use super::{Admin, problem::Problem};

/// Whether a policy has this name, or had it as far as is remembered: its deletion and the records of it are
/// kept for a while.
fn is_policy(replica: &Replica, name: &str) -> bool {
    let policy = Some(name.to_owned());
    replica.winner(name).is_some()
        || PolicyName::new(name).is_ok_and(|name| replica.has(&EntryKey::Policy(name)))
        || replica
            .audit(&AuditFilter { policy: policy.clone(), ..Default::default() })
            .next()
            .is_some()
        || replica.usage(&UsageFilter { policy, ..Default::default() }).next().is_some()
}

/// Refuses the name of a policy that nothing is known of.
pub(super) fn policy(replica: &Replica, name: Option<&str>) -> Result<(), Problem> {
    match name {
        Some(name) if !is_policy(replica, name) => {
            let message =
                "is unknown: no policy has this name, and there is no record of one that had";
            Err(Problem::unknown("policy", name, message))
        }
        _ => Ok(()),
    }
}

/// Refuses a limit that no policy has (this one, if one is named), and of which there is no record.
pub(super) fn limit(
    replica: &Replica,
    policy: Option<&str>,
    limit: Option<&str>,
) -> Result<(), Problem> {
    let Some(limit) = limit else { return Ok(()) };
    let meant = |name: &str| policy.is_none_or(|policy| policy == name);
    let mut policies = replica.winners().map(|winner| &winner.policy);
    if policies.any(|policy| meant(policy.name.as_str()) && policy.limit(limit).is_some()) {
        return Ok(());
    }
    let (policy, wanted) = (policy.map(str::to_owned), Some(limit.to_owned()));
    let filter = UsageFilter { policy, limit: wanted, ..Default::default() };
    if replica.usage(&filter).next().is_some() {
        return Ok(());
    }
    let message = "is unknown: no policy that is asked about has this limit, and there is no record of \
                   it; a limit is named like requests/1m/fixed_window";
    Err(Problem::unknown("limit_id", limit, message))
}

impl Admin {
    /// Refuses the name of a policy that nothing is known of.
    pub(super) async fn known_policy(&self, name: Option<&str>) -> Result<(), Problem> {
        let Some(name) = name.map(str::to_owned) else { return Ok(()) };
        self.ask(move |replica, _| policy(replica, Some(&name))).await?
    }
}
