//! What was written down: who changed what, and what was used.

use axum::{Json, extract::State};
use serde::Serialize;
use traffic_manager_core::replica::{AuditFilter, AuditRecord, UsageFilter, UsageRecord};
use utoipa::{IntoParams, ToSchema};
use weir_proto::time::Time;

use super::{
    Admin, known,
    problem::Problem,
    query::{Parameters, Params, Query},
    views::{instant, page},
};

const MAX_LIMIT: usize = 10_000;

/// What audit records are about.
const ACTIONS: [&str; 7] = ["create", "replace", "delete", "reset", "restore", "dismiss", "denied"];

/// Which audit records to show.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Only those of this policy.
    policy: Option<String>,
    /// Only those of this actor.
    actor: Option<String>,
    /// Only those of this action: `create`, `replace`, `delete`, `reset`, `restore`, `dismiss`, `denied`.
    action: Option<String>,
    /// At or after this time (RFC 3339).
    #[param(value_type = Option<String>)]
    from: Option<Time>,
    /// Before this time (RFC 3339).
    #[param(value_type = Option<String>)]
    until: Option<Time>,
    /// At most this many, 1 to 10000; 100 if not given.
    #[param(value_type = Option<usize>)]
    limit: usize,
}

impl Parameters for AuditQuery {
    const NAMES: &'static [&'static str] = &["policy", "actor", "action", "from", "until", "limit"];

    fn read(query: &mut Query) -> Self {
        let action = |text: &str| ACTIONS.contains(&text).then(|| text.to_owned());
        let actions = format!("is not an action; known are {}", ACTIONS.join(", "));
        AuditQuery {
            policy: query.text("policy"),
            actor: query.text("actor"),
            action: query.parsed("action", action, &actions),
            from: query.time("from"),
            until: query.time("until"),
            limit: query.limit(MAX_LIMIT),
        }
    }
}

/// Some audit records, the newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditRecords {
    records: Vec<AuditEntry>,
    /// There are more; narrow the filter.
    truncated: bool,
}

/// Who did what.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditEntry {
    /// When.
    at: String,
    /// Who.
    actor: String,
    /// What.
    action: String,
    /// To which policy; empty if to none.
    policy: String,
    /// `ETag` of the version that came of it, without its quotes; empty if there is none.
    version: String,
    /// In words.
    detail: String,
    /// The manager that did it.
    manager: String,
    /// Its number in that life of that manager.
    number: u64,
}

impl From<AuditRecord<'_>> for AuditEntry {
    fn from((key, audit): AuditRecord<'_>) -> Self {
        AuditEntry {
            at: instant(audit.at),
            actor: audit.actor.clone(),
            action: audit.action.clone(),
            policy: audit.policy.clone(),
            version: audit.tag.clone(),
            detail: audit.detail.clone(),
            manager: key.origin.id.to_string(),
            number: key.seq,
        }
    }
}

/// Who changed what.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "records", operation_id = "listAudit", params(AuditQuery),
    responses((status = 200, body = AuditRecords), (status = 400, description = "A parameter is not valid", body = Problem), (status = 404, description = "Nothing is known of the policy that is named", body = Problem)),
)]
pub(super) async fn audit(
    State(admin): State<Admin>,
    Params(query): Params<AuditQuery>,
) -> Result<Json<AuditRecords>, Problem> {
    let AuditQuery { policy, actor, action, from, until, limit } = query;
    let filter = AuditFilter { policy, actor, action, from, until };
    let records = admin.ask(move |replica, _| {
        known::policy(replica, filter.policy.as_deref())?;
        let records = replica.audit(&filter).take(limit + 1).map(AuditEntry::from);
        Ok::<_, Problem>(records.collect::<Vec<_>>())
    });
    let (records, truncated) = page(records.await??, limit);
    Ok(Json(AuditRecords { records, truncated }))
}

/// Which usage records to show.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UsageQuery {
    /// Only those of this policy.
    policy: Option<String>,
    /// Only those of this limit: `requests/1m/fixed_window`.
    limit_id: Option<String>,
    /// Only those of this key: its parts as a JSON list.
    #[param(value_type = Option<String>)]
    key: Option<Vec<String>>,
    /// Periods that begin at or after this time (RFC 3339).
    #[param(value_type = Option<String>)]
    from: Option<Time>,
    /// Periods that begin before this time (RFC 3339).
    #[param(value_type = Option<String>)]
    until: Option<Time>,
    /// At most this many, 1 to 10000; 100 if not given.
    #[param(value_type = Option<usize>)]
    limit: usize,
}

impl Parameters for UsageQuery {
    const NAMES: &'static [&'static str] = &["policy", "limit_id", "key", "from", "until", "limit"];

    fn read(query: &mut Query) -> Self {
        let key = |text: &str| serde_json::from_str(text).ok();
        let keys = "is not a JSON list of texts like [\"shop\",\"orders\"]";
        UsageQuery {
            policy: query.text("policy"),
            limit_id: query.text("limit_id"),
            key: query.parsed("key", key, keys),
            from: query.time("from"),
            until: query.time("until"),
            limit: query.limit(MAX_LIMIT),
        }
    }
}

/// Some usage records, the newest period first.
#[derive(Serialize, ToSchema)]
pub(super) struct UsageRecords {
    records: Vec<UsageEntry>,
    /// There are more; narrow the filter.
    truncated: bool,
}

/// What was used in a period that is over.
#[derive(Serialize, ToSchema)]
pub(super) struct UsageEntry {
    /// The policy.
    policy: String,
    /// The limit in it.
    limit_id: String,
    /// The values of the policy's key.
    key: Vec<String>,
    /// Begin of the period: the window, or the minute for shorter windows and for rolling ones.
    start: String,
    /// Its length in seconds.
    seconds: u64,
    /// Admitted, in the limit's unit.
    admitted: u64,
    /// Requests refused.
    refused: u64,
}

impl From<UsageRecord<'_>> for UsageEntry {
    fn from((key, usage): UsageRecord<'_>) -> Self {
        UsageEntry {
            policy: key.policy.clone(),
            limit_id: key.limit.clone(),
            key: key.key.clone(),
            start: instant(Time::from_secs(key.start_secs)),
            seconds: key.length_secs,
            admitted: usage.admitted,
            refused: usage.refused,
        }
    }
}

/// Usage per policy, key and period, of periods that are over.
#[utoipa::path(
    get, path = "/api/v1/usage", tag = "records", operation_id = "listUsage", params(UsageQuery),
    responses((status = 200, body = UsageRecords), (status = 400, description = "A parameter is not valid", body = Problem), (status = 404, description = "Nothing is known of the policy that is named", body = Problem)),
)]
pub(super) async fn usage(
    State(admin): State<Admin>,
    Params(query): Params<UsageQuery>,
) -> Result<Json<UsageRecords>, Problem> {
    let limit = query.limit;
    let filter = UsageFilter {
        policy: query.policy,
        limit: query.limit_id,
        key: query.key,
        from_secs: query.from.map(Time::as_secs),
        until_secs: query.until.map(Time::as_secs),
    };
    let records = admin.ask(move |replica, _| {
        known::policy(replica, filter.policy.as_deref())?;
        known::limit(replica, filter.policy.as_deref(), filter.limit.as_deref())?;
        let records = replica.usage(&filter).take(limit + 1).map(UsageEntry::from);
        Ok::<_, Problem>(records.collect::<Vec<_>>())
    });
    let (records, truncated) = page(records.await??, limit);
    Ok(Json(UsageRecords { records, truncated }))
}
