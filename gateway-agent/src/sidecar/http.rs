//! The HTTP side: checks for programs and for proxies, status, metrics and probes.

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};

use self::problem::Problem;
use super::gate::Gate;

mod amounts;
mod answer;
mod auth;
mod body;
mod check;
mod problem;
mod status;

/// What Prometheus' text format is served as.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every route of the sidecar.
pub(crate) fn router(gate: Gate) -> Router {
    Router::new()
        .route("/v1/check", post(check::check))
        .route("/v1/report", post(check::report))
        .route("/v1/auth", any(auth::auth))
        .route("/v1/auth/{*path}", any(auth::auth))
        .route("/v1/status", get(status::status))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(gate)
}

async fn metrics(State(gate): State<Gate>) -> Response {
    let text = gate.telemetry.render(&gate.agent);
    ([(CONTENT_TYPE, HeaderValue::from_static(PROMETHEUS_TEXT))], text).into_response()
}

/// The process runs and answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// The agent can decide: it has policies and a share of their limits.
async fn readyz(State(gate): State<Gate>) -> Response {
    match status::unready(&gate.agent.status(), gate.agent.ended()) {
        None => "ready\n".into_response(),
        Some(reason) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

async fn not_found() -> Problem {
    let detail = "No such path. There are POST /v1/check and /v1/report, /v1/auth, GET /v1/status, /metrics, \
                  /healthz and /readyz.";
    Problem::new(StatusCode::NOT_FOUND, detail)
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This path takes another method; see Allow.")
}

#[cfg(test)]
mod tests;
