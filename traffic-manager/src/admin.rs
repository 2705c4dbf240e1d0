//! The HTTP port: the admin API under `/api/v1`, its documentation, the status page, metrics and
//! the probes.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use traffic_manager_core::{Manager, Output, replica::Replica};
use weir_proto::time::Time;

use self::problem::Problem;
pub(crate) use self::{access::Access, backup::Backups, front::Front, readiness::Readiness};
use crate::{
    config::Config,
    driver::{Driver, Stopped},
    group::Group,
    keeper::Keeper,
    peers::Directory,
    store::StoreHandle,
    telemetry::Telemetry,
};

mod access;
mod backup;
mod body;
mod conditions;
mod conflicts;
mod explain;
mod fields;
mod front;
mod host;
mod import;
mod known;
mod live;
mod nodes;
mod openapi;
mod pages;
mod parents;
mod policies;
mod problem;
mod query;
mod readiness;
mod records;
mod reset;
mod schema;
mod views;
mod write;

/// A driver that does not answer by then is overloaded; the client should come back later.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the handlers need.
#[derive(Clone)]
pub(crate) struct Admin {
    driver: Driver,
    keeper: Keeper,
    telemetry: Arc<Telemetry>,
    readiness: Readiness,
    directory: Arc<Directory>,
    backups: Backups,
    store: StoreHandle,
}

impl Admin {
    /// Serves the manager that `group` is.
    pub(crate) fn new(
        config: &Config,
        group: &Group,
        telemetry: Arc<Telemetry>,
        readiness: Readiness,
    ) -> Admin {
        let (driver, keeper) = (group.driver.clone(), group.keeper.clone());
        let backups = Backups::new(group.store.clone(), &config.store);
        let (directory, store) = (group.directory(), group.store.clone());
        Admin { driver, keeper, telemetry, readiness, directory, backups, store }
    }

    /// Asks the replica something.
    fn ask<R, F>(&self, question: F) -> impl Future<Output = Result<R, Problem>> + Send + 'static
    where
        R: Send + 'static,
        F: FnOnce(&Replica, Time) -> R + Send + 'static,
    {
        let asked = self.keeper.ask(question);
        async move {
            match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Ok(result)) => Ok(result),
                Ok(Err(stopped)) => Err(Problem::unavailable(&stopped.to_string())),
                Err(_) => Err(Problem::unavailable("the manager is overloaded; try again")),
            }
        }
    }

    /// Runs a `question`, which changes nothing, where the core is.
    fn with<R, F>(&self, question: F) -> impl Future<Output = Result<R, Problem>> + Send + 'static
    where
        R: Send + 'static,
        F: FnOnce(&mut Manager, Time, &mut Vec<Output>) -> R + Send + 'static,
    {
        let driver = self.driver.clone();
        async move {
            match tokio::time::timeout(PATIENCE, driver.ask(question)).await {
                Ok(Ok(result)) => Ok(result),
                Ok(Err(Stopped)) => Err(Problem::unavailable("the manager is shutting down")),
                Err(_) => Err(Problem::unavailable("the manager is overloaded; try again")),
            }
        }
    }
}

/// Every route of the port, behind its guard.
pub(crate) fn router(admin: Admin, access: Access) -> Router {
    let api = Router::new()
        .route("/policies", get(policies::list).post(policies::create))
        .route(
            "/policies/{name}",
            get(policies::read).put(policies::replace).delete(policies::delete),
        )
        .route("/policies:validate", post(policies::validate))
        .route("/policies:import", post(import::import))
        .route("/counters", get(live::counters))
        .route("/counters:reset", post(reset::reset))
        .route("/decisions", get(live::decisions))
        .route("/explain", post(explain::explain))
        .route("/conflicts", get(conflicts::list))
        .route("/conflicts/{target}", post(conflicts::settle))
        .route("/audit", get(records::audit))
        .route("/usage", get(records::usage))
        .route("/nodes", get(nodes::nodes))
        .route("/store:backup", post(backup::backup))
        .route("/agents", get(live::agents))
        .route("/openapi.json", get(openapi::document));
    Router::new()
        .nest("/api/v1", api)
        .merge(pages::routes())
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(middleware::from_fn_with_state(access, access::check))
        .layer(middleware::from_fn(harden))
        .with_state(admin)
}

/// Headers that keep a browser from doing what no page of ours needs.
async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = HeaderValue::from_static(
        "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    );
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
