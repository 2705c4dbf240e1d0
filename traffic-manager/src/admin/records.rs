//! What was written down: who changed what, and what was used.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use traffic_manager_core::replica::{AuditFilter, AuditRecord, UsageFilter, UsageRecord};
use utoipa::{IntoParams, ToSchema};
use weir_proto::time::Time;

use super::{
    Admin,
    body::Params,
    problem::Problem,
    views::{instant, page},
};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 10_000;

fn limit(wanted: Option<usize>) -> Result<usize, Problem> {
    match wanted.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        limit => Err(Problem::bad_request(format!("limit={limit} is not in 1 to {MAX_LIMIT}"))),
    }
}

fn time(name: &str, text: Option<&str>) -> Result<Option<Time>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let instant = text.parse::<Timestamp>().ok();
    let micros = instant.and_then(|at| u64::try_from(at.as_microsecond()).ok());
    micros.map(|micros| Some(Time::from_micros(micros))).ok_or_else(|| {
        let why = "is not a time like 2026-12-24T20:00:00Z, from 1970 on";
        Problem::bad_request(format!("{name}={text} {why}"))
    })
}

/// Which audit records to show.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Only those of this policy.
    policy: Option<String>,
    /// Only those of this actor.
    actor: Option<String>,
    /// Only those of this action: `create`, `replace`, `delete`, `reset`, `restore`, `dismiss`, `denied`.
    action: Option<String>,
    /// At or after this time (RFC 3339).
    from: Option<String>,
    /// Before this time (RFC 3339).
    until: Option<String>,
    /// At most this many, 1 to 10000; 100 if not given.
    limit: Option<usize>,
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
    responses((status = 200, body = AuditRecords), (status = 400, description = "A parameter is not valid", body = Problem)),
)]
pub(super) async fn audit(
    State(admin): State<Admin>,
    Params(query): Params<AuditQuery>,
) -> Result<Json<AuditRecords>, Problem> {
    let limit = limit(query.limit)?;
    let filter = AuditFilter {
        from: time("from", query.from.as_deref())?,
        until: time("until", query.until.as_deref())?,
        policy: query.policy,
        actor: query.actor,
        action: query.action,
    };
    let records = admin.ask(move |replica, _| {
        replica.audit(&filter).take(limit + 1).map(AuditEntry::from).collect::<Vec<_>>()
    });
    let (records, truncated) = page(records.await?, limit);
    Ok(Json(AuditRecords { records, truncated }))
}

/// Which usage records to show.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UsageQuery {
    /// Only those of this policy.
    policy: Option<String>,
    /// Only those of this limit: `requests/1m/fixed_window`.
    limit_id: Option<String>,
    /// Only those of this key: its parts as a JSON list.
    key: Option<String>,
    /// Periods that begin at or after this time (RFC 3339).
    from: Option<String>,
    /// Periods that begin before this time (RFC 3339).
    until: Option<String>,
    /// At most this many, 1 to 10000; 100 if not given.
    limit: Option<usize>,
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
    responses((status = 200, body = UsageRecords), (status = 400, description = "A parameter is not valid", body = Problem)),
)]
pub(super) async fn usage(
    State(admin): State<Admin>,
    Params(query): Params<UsageQuery>,
) -> Result<Json<UsageRecords>, Problem> {
    let limit = limit(query.limit)?;
    let key = query.key.as_deref().map(|text| {
        serde_json::from_str::<Vec<String>>(text).map_err(|_| {
            let why = "is not a JSON list of texts like [\"shop\",\"orders\"]";
            Problem::bad_request(format!("key={text} {why}"))
        })
    });
    let filter = UsageFilter {
        from_secs: time("from", query.from.as_deref())?.map(Time::as_secs),
        until_secs: time("until", query.until.as_deref())?.map(Time::as_secs),
        policy: query.policy,
        limit: query.limit_id,
        key: key.transpose()?,
    };
    let records = admin.ask(move |replica, _| {
        replica.usage(&filter).take(limit + 1).map(UsageEntry::from).collect::<Vec<_>>()
    });
    let (records, truncated) = page(records.await?, limit);
    Ok(Json(UsageRecords { records, truncated }))
}
