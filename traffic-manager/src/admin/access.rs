//! The guard of the HTTP port: which path wants which role.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{host, problem::Problem};
use crate::{
    auth::{Credentials, Guard, Need, Role, Why},
    config::Config,
    net::Caller,
    tls::Port,
};

/// Paths that everybody may read: probes, and pages and descriptions that hold no data.
const OPEN: [&str; 8] = [
    "/healthz",
    "/readyz",
    "/",
    "/docs",
    "/assets/weir.css",
    "/assets/status.js",
    "/assets/docs.js",
    "/api/v1/openapi.json",
];
/// Calls that are no GET, and change nothing.
const QUESTIONS: [&str; 2] = ["/api/v1/explain", "/api/v1/policies:validate"];

/// What the port asks of its callers.
#[derive(Clone)]
pub(crate) struct Access {
    /// Who judges.
    pub(crate) guard: Guard,
    /// Whether `/metrics` is for everybody.
    pub(crate) metrics_open: bool,
    /// Whether to answer those alone who ask for this machine: see [`host`].
    pub(crate) local_only: bool,
}

impl Access {
    /// What the configuration says of the port.
    pub(crate) fn new(config: &Config, guard: Guard) -> Access {
        let metrics_open = config.auth.as_ref().is_some_and(|auth| auth.metrics_open);
        let open = config.tls.is_none() && config.auth.is_none();
        Access { guard, metrics_open, local_only: open && config.http.ip().is_loopback() }
    }

    fn need(&self, method: &Method, path: &str) -> Need {
        let reads = method == Method::GET || method == Method::HEAD;
        match path {
            "/metrics" if reads && self.metrics_open => Need::Nothing,
            _ if reads && OPEN.contains(&path) => Need::Nothing,
            _ if reads || QUESTIONS.contains(&path) => Need::Role(Role::Viewer),
            _ => Need::Role(Role::Admin),
        }
    }
}

/// Refuses the request, or lets it through with its [`crate::auth::Actor`].
pub(super) async fn check(
    State(access): State<Access>,
    mut request: Request,
    next: Next,
) -> Response {
    if access.local_only
        && let Err(problem) = host::check(request.headers())
    {
        return problem.into_response();
    }
    let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
    // Nothing behind this needs the token.
    let authorization = request.headers_mut().remove(header::AUTHORIZATION);
    let credentials = Credentials::new(authorization.as_ref(), caller.certificate);
    let need = access.need(request.method(), request.uri().path());
    let what = || {
        let path: String = request.uri().path().chars().take(128).collect();
        format!("{} {path}", request.method())
    };
    let admitted = access.guard.admit(Port::Http, caller.address, &credentials, need, what);
    match admitted {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(why) => refusal(why, need),
    }
}

fn refusal(why: Why, need: Need) -> Response {
    let needed = match need {
        Need::Role(role) => format!("{why}; it takes the role {role}"),
        _ => why.to_string(),
    };
    if !why.is_identity() {
        return Problem::new(StatusCode::FORBIDDEN, needed).into_response();
    }
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, needed).into_response();
    let challenge = match why {
        Why::NoCredentials => "Bearer realm=\"weir\"",
        _ => "Bearer realm=\"weir\", error=\"invalid_token\"",
    };
    let challenge = HeaderValue::from_static(challenge);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::telemetry::Telemetry;

    #[test]
    fn writing_takes_an_admin_and_reading_a_viewer() {
        let guard = Guard::new(watch::channel(None).1, Telemetry::new().unwrap());
        let mut access = Access { guard, metrics_open: false, local_only: false };
        let (view, change) = (Need::Role(Role::Viewer), Need::Role(Role::Admin));
        for (method, path, need) in [
            (Method::GET, "/readyz", Need::Nothing),
            (Method::HEAD, "/", Need::Nothing),
            (Method::POST, "/healthz", change),
            (Method::GET, "/metrics", view),
            (Method::GET, "/api/v1/policies", view),
            (Method::GET, "/healthz/", view),
            (Method::GET, "/what/comes/later", view),
            (Method::POST, "/api/v1/explain", view),
            (Method::POST, "/api/v1/policies:validate", view),
            (Method::POST, "/api/v1/policies:import", change),
            (Method::POST, "/api/v1/store:backup", change),
            (Method::GET, "/api/v1/store:backup", view),
            (Method::PUT, "/api/v1/policies/a", change),
            (Method::DELETE, "/api/v1/policies/a", change),
            (Method::OPTIONS, "/api/v1/policies", change),
            (Method::POST, "/what/comes/later", change),
        ] {
            assert_eq!(access.need(&method, path), need, "{method} {path}");
        }
        access.metrics_open = true;
        assert_eq!(access.need(&Method::GET, "/metrics"), Need::Nothing);
    }
}
