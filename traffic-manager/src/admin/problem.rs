//! Errors as `application/problem+json` (RFC 9457): what happened, whose fault it is, and every
//! field at fault.

use axum::{
    Json,
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use weir_proto::policy::PolicyErrors;

use super::conditions::etag;
use crate::import::Finding;

/// What went wrong. Nothing was changed, except where the status is 504.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// The status in words.
    #[schema(example = "Unprocessable Entity")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// What happened and what to do.
    detail: String,
    /// Every field at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
    /// The `ETag` of what is there now, where the request assumed another.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    current_etag: Option<Box<str>>,
    /// The peers that have the write, where it was made and more of them were waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, example = json!(["tm-2"]))]
    replicated_to: Option<Box<[String]>>,
}

/// One field at fault.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldProblem {
    /// The path of the field; empty for the whole document.
    #[schema(example = "limits[0].window")]
    field: String,
    /// The refused value as JSON, shortened; empty if the field is missing.
    #[schema(example = "\"1 minute\"")]
    value: String,
    /// The line in the body, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// Why it was refused and what is allowed.
    #[schema(example = "is not a duration; write it like 1s, 90s, 5m, 1h30m or 30d")]
    message: String,
}

impl Problem {
    /// A problem with this status.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            current_etag: None,
            replicated_to: None,
        }
    }

    /// The client's fault, before anything was looked at.
    pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Nobody's fault; try again.
    pub(super) fn unavailable(detail: &str) -> Problem {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// There is no policy of that name.
    pub(super) fn no_policy(name: &str) -> Problem {
        Self::new(StatusCode::NOT_FOUND, format!("there is no policy {name:?}"))
    }

    /// Adds what to do instead.
    pub(super) fn advise(mut self, advice: &str) -> Problem {
        self.detail = format!("{}; {advice}", self.detail);
        self
    }

    /// A policy that breaks the rules.
    pub(super) fn invalid(errors: PolicyErrors) -> Problem {
        Self::faulty(StatusCode::UNPROCESSABLE_ENTITY, "the policy is not valid", errors)
    }

    /// A document or a query with faults.
    pub(super) fn faulty(status: StatusCode, what: &str, errors: PolicyErrors) -> Problem {
        let mut problem = Self::new(status, format!("{what}; nothing was changed"));
        let fields = errors.0.into_iter();
        problem.errors = fields
            .map(|error| FieldProblem {
                field: error.field,
                value: error.value,
                line: None,
                message: error.message,
            })
            .collect();
        problem
    }

    /// One field that breaks the rules.
    pub(super) fn invalid_field(field: &str, value: &str, message: String) -> Problem {
        let mut errors = PolicyErrors::default();
        errors.refuse(field, &value.into(), message);
        Self::faulty(StatusCode::UNPROCESSABLE_ENTITY, "the request is not valid", errors)
    }

    /// A filter that names something of which nothing is known.
    pub(super) fn unknown(field: &str, value: &str, message: &str) -> Problem {
        let mut errors = PolicyErrors::default();
        errors.refuse(field, &value.into(), message);
        Self::faulty(StatusCode::NOT_FOUND, "the query asks for something unknown", errors)
    }

    /// Another limiter's file that cannot be taken over as it is.
    pub(super) fn untranslatable<'f>(findings: impl Iterator<Item = &'f Finding>) -> Problem {
        let mut problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the file cannot be translated as it is; nothing was changed. With partial=true what \
             has no equivalent is left out",
        );
        problem.errors = findings
            .map(|finding| FieldProblem {
                field: finding.field.clone(),
                value: finding.value.clone(),
                line: Some(finding.line),
                message: finding.message.clone(),
            })
            .collect();
        problem
    }

    /// The request's conditions do not hold any more.
    pub(super) fn stale(current: Option<String>) -> Problem {
        let detail = match &current {
            Some(tag) => format!(
                "the policy was changed since you read it: its ETag is {tag} now; read it again"
            ),
            None => "the policy does not exist (any more)".to_owned(),
        };
        let mut problem = Self::new(StatusCode::PRECONDITION_FAILED, detail);
        problem.current_etag = current.map(Into::into);
        problem
    }

    /// A write that was made, and that fewer peers have than it was to wait for.
    pub(super) fn late(detail: String, replicated_to: Vec<String>) -> Problem {
        let problem = Self::new(StatusCode::GATEWAY_TIMEOUT, detail);
        Problem { replicated_to: Some(replicated_to.into()), ..problem }
    }

    /// It is to be created, and exists.
    pub(super) fn exists(name: &str, tag: &str) -> Problem {
        let detail = format!("there is a policy {name:?} already; replace it with PUT");
        let mut problem = Self::new(StatusCode::CONFLICT, detail);
        problem.current_etag = Some(etag(tag).into());
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// No such path.
pub(super) async fn not_found(uri: Uri) -> Problem {
    let detail = format!("nothing is at {}; the API is described at /docs", uri.path());
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// The path does not know the method; axum adds the `Allow` header.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not possible on {}; see the Allow header", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
