//! `POST /v1/check`.

use std::time::Duration;

use axum::{
    body::{Bytes, HttpBody, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use super::{answer::answer, body::Check, problem::Problem};
use crate::sidecar::gate::Gate;

/// Largest body, in bytes.
pub(super) const MAX_BODY: usize = 64 << 10;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn check(State(gate): State<Gate>, request: Request) -> Response {
    let body = match read(request).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let check = match Check::parse(&body) {
        Ok(check) => check,
        Err(detail) => return Problem::bad_request(detail).into_response(),
    };
    match check.request() {
        Ok(request) => answer(&gate.check(&request, check.hits).await, gate.headers),
        Err(detail) => Problem::bad_request(detail).into_response(),
    }
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
