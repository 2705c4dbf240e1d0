//! `POST /v1/check` and `POST /v1/report`.

use std::time::Duration;

use axum::{
    Json,
    body::{Bytes, HttpBody, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::time::timeout;

use super::{
    answer::answer,
    body::{Check, Report, parse},
    problem::Problem,
};
use crate::{LeaseId, sidecar::gate::Gate};

/// Largest body, in bytes.
pub(super) const MAX_BODY: usize = 64 << 10;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn check(State(gate): State<Gate>, request: Request) -> Response {
    let body = match read(request).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let check: Check<'_> = match parse(&body) {
        Ok(check) => check,
        Err(detail) => return Problem::bad_request(detail).into_response(),
    };
    let trusted = gate.trust(check.limit.is_some());
    let trusted = trusted.and_then(|()| gate.know(check.amounts.0.units()));
    let described = trusted.and_then(|()| gate.agent.with_rules(|rules| check.request(rules)));
    match described {
        Ok(request) if check.peek => {
            answer(&gate.agent.peek(&request, &check.amounts.0).await, gate.headers)
        }
        Ok(request) => answer(&gate.check(&request, check.amounts.0.clone()).await, gate.headers),
        Err(detail) => Problem::bad_request(detail).into_response(),
    }
}

/// What came of a report.
#[derive(Serialize)]
struct Outcome {
    /// Limits whose counters changed.
    limits: u32,
    /// Whether the lease was still held.
    #[serde(skip_serializing_if = "Option::is_none")]
    released: Option<bool>,
}

pub(super) async fn report(State(gate): State<Gate>, request: Request) -> Response {
    let body = match read(request).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    match settle(&gate, &body) {
        Ok(outcome) => Json(outcome).into_response(),
        Err(detail) => Problem::bad_request(detail).into_response(),
    }
}

fn settle(gate: &Gate, body: &[u8]) -> Result<Outcome, String> {
    let report: Report<'_> = parse(body)?;
    if report.amounts.0.is_empty() && report.lease.is_none() {
        return Err("The report says nothing: give amounts, or the lease of a check.".to_owned());
    }
    gate.trust(report.limit.is_some())?;
    gate.know(report.amounts.0.units())?;
    let agent = &gate.agent;
    let lease = report.lease.as_deref().map(str::parse::<LeaseId>).transpose();
    let lease = lease.map_err(|_| "lease: is not one that a check has answered".to_owned())?;
    let request = agent.with_rules(|rules| report.request(rules))?;
    let released = lease.map(|lease| agent.release(lease));
    Ok(Outcome { limits: agent.report(&request, &report.amounts.0).limits, released })
}

async fn read(request: Request) -> Result<Bytes, Box<Problem>> {
    let body = request.into_body();
    let too_large = || {
        let detail = format!("The body has more than {MAX_BODY} bytes.");
        Box::new(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
    };
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    match timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => Ok(body),
        // The reader does not say which; a connection that broke hears neither.
        Ok(Err(_)) => Err(too_large()),
        Err(_) => {
            let detail = "The body did not arrive in time.";
            Err(Box::new(Problem::new(StatusCode::REQUEST_TIMEOUT, detail)))
        }
    }
}
