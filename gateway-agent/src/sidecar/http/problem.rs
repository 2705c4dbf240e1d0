//! Errors as `application/problem+json` (RFC 9457).

use axum::{
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// The problem type that the draft of the RateLimit headers registers for used up quotas.
pub(super) const QUOTA_EXCEEDED: &str =
    "https://iana.org/assignments/http-problem-types#quota-exceeded";
/// A problem that its status says everything about.
const PLAIN: &str = "about:blank";

/// An error for a client: what happened, whose fault it is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) title: &'static str,
    pub(super) status: u16,
    pub(super) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<String>,
    /// The amount of the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) window_seconds: Option<u64>,
    /// The start of a fixed window, by the managers' clock, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) window_start: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_after_seconds: Option<u64>,
    /// As the draft has it, for clients that know nothing of Weir.
    #[serde(rename = "violated-policies", skip_serializing_if = "Vec::is_empty")]
    pub(super) violated: Vec<String>,
}

impl Problem {
    /// A problem of the plain type, titled by its status.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: PLAIN,
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            policy: None,
            limit: None,
            window_seconds: None,
            window_start: None,
            retry_after_seconds: None,
            violated: Vec::new(),
        }
    }

    /// The client's request is at fault.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// The same, for results, which are cheaper with a small error.
    pub(super) fn boxed(detail: impl Into<String>) -> Box<Self> {
        Box::new(Self::bad_request(detail))
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // A struct of texts and numbers always serialises.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        (self.status(), [(CONTENT_TYPE, kind)], body).into_response()
    }
}
