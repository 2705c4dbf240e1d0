//! Pages for people, metrics for Prometheus, probes for whoever starts us.

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
    routing::get,
};

use super::{Admin, problem::Problem};
use crate::telemetry::GroupView;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
/// Prometheus' text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything outside `/api`.
pub(super) fn routes() -> Router<Admin> {
    Router::new()
        .route("/", asset(HTML, include_str!("assets/status.html")))
        .route("/docs", asset(HTML, include_str!("assets/docs.html")))
        .route("/assets/weir.css", asset(STYLE, include_str!("assets/weir.css")))
        .route("/assets/status.js", asset(SCRIPT, include_str!("assets/status.js")))
        .route("/assets/docs.js", asset(SCRIPT, include_str!("assets/docs.js")))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
}

fn asset(kind: &'static str, text: &'static str) -> axum::routing::MethodRouter<Admin> {
    get(async move || ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text))
}

async fn metrics(State(admin): State<Admin>) -> Result<impl IntoResponse, Problem> {
    let (stats, fleet) = admin.with(|manager, _, _| (manager.stats(), manager.fleet())).await?;
    let look = admin.ask(|replica, now| {
        (replica.peers(now), replica.conflicts().count(), replica.totals().refused_entries)
    });
    let (peers, conflicts, refused_entries) = look.await?;
    let look = admin.keeper.ask_office(|office, now| (office.held(now), office.unrecorded()));
    let (roles, unrecorded) =
        look.await.map_err(|stopped| Problem::unavailable(&stopped.to_string()))?;
    let group = GroupView { roles, peers, conflicts, unrecorded, refused_entries };
    admin.telemetry.group(&group);
    let text = admin.telemetry.render(&stats, &fleet);
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(EXPOSITION))], text))
}

/// Alive: the driver takes commands. A restart would help if it did not.
async fn healthz(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.driver.runs() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the driver has stopped\n")
    }
}

/// Ready: agents can be served.
async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    match admin.readiness.reason() {
        None if admin.driver.runs() => (StatusCode::OK, "ready\n".to_owned()),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the driver has stopped\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}
