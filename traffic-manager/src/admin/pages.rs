//! Pages for people, metrics for Prometheus, probes for whoever starts us.

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde::Deserialize;

use super::{Admin, problem::Problem};
use crate::telemetry::{GroupView, PeerGauges};

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
    let look = admin.ask(|replica, now| (replica.peers(now), replica.sizes(), replica.totals()));
    let (peers, sizes, totals) = look.await?;
    let look = admin.keeper.ask_office(|office, now| (office.held(now), office.unrecorded()));
    let (roles, unrecorded) =
        look.await.map_err(|stopped| Problem::unavailable(&stopped.to_string()))?;
    let unmet = admin.directory.unmet(peers.iter().map(|peer| &peer.id)).into_iter();
    let unmet = unmet.map(|(name, _)| PeerGauges { name, up: false, lag: None });
    let met = peers.iter().map(|peer| PeerGauges {
        name: peer.id.to_string(),
        up: peer.up,
        lag: Some(peer.lag.as_secs_f64()),
    });
    let peers = met.chain(unmet).collect();
    let refusals = admin.store.refusals();
    let group = GroupView { roles, peers, sizes, totals, unrecorded, refusals };
    let text = admin.telemetry.render(&stats, &fleet, &group);
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

/// What a probe asks about.
#[derive(Deserialize)]
struct Probe {
    #[serde(rename = "for")]
    purpose: Option<String>,
}

/// Ready: agents can be served, and the API be read. With `?for=writes` also: the store takes what is
/// written.
async fn readyz(State(admin): State<Admin>, Query(probe): Query<Probe>) -> (StatusCode, String) {
    let no = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    let yes = (StatusCode::OK, "ready\n".to_owned());
    if let Some(reason) = admin.readiness.reason() {
        return no(reason);
    }
    if !admin.driver.runs() {
        return no("the driver has stopped");
    }
    match probe.purpose.as_deref() {
        None => yes,
        Some("writes") => match admin.keeper.ask_office(|office, _| office.refused()).await {
            Ok(None) => yes,
            Ok(Some(why)) => no(&format!("writes are refused: {why}; the log says more")),
            Err(stopped) => no(&stopped.to_string()),
        },
        Some(_) => {
            let help = "for: not a purpose of probes; leave it out, or write for=writes\n";
            (StatusCode::BAD_REQUEST, help.to_owned())
        }
    }
}
