//! What the port answers from its first moment: probes while the manager starts, then everything.

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tower::ServiceExt;

use super::{Readiness, problem::Problem};

/// Stands before a router that comes later.
#[derive(Clone, Default)]
pub(crate) struct Front {
    readiness: Readiness,
    behind: Arc<OnceLock<Router>>,
}

impl Front {
    /// Tells why there is nothing behind it yet.
    pub(crate) fn new(readiness: Readiness) -> Front {
        Front { readiness, behind: Arc::default() }
    }

    /// What the port serves.
    pub(crate) fn router(&self) -> Router {
        Router::new().fallback(pass).with_state(self.clone())
    }

    /// Passes on every request from now on.
    pub(crate) fn open(&self, behind: Router) {
        // Whoever starts a manager does so once.
        let _ = self.behind.set(behind);
    }
}

async fn pass(State(front): State<Front>, request: Request) -> Response {
    if let Some(router) = front.behind.get() {
        let Ok(response) = router.clone().oneshot(request).await;
        return response;
    }
    let reason = front.readiness.reason().unwrap_or("starting");
    match request.uri().path() {
        // A restart would only begin anew.
        "/healthz" => "ok\n".into_response(),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
        _ => Problem::unavailable(reason).into_response(),
    }
}
