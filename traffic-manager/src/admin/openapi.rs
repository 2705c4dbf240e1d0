//! The API's description.

use std::sync::LazyLock;

use axum::{
    http::{HeaderValue, header},
    response::IntoResponse,
};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use super::{backup, conflicts, explain, import, live, nodes, policies, records, reset};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Weir traffic manager",
        description = "Policies, live usage and the fleet. Errors are `application/problem+json` \
                       and name every field at fault. Bodies are JSON or YAML. Where the manager \
                       asks who you are, reading takes the role viewer and everything else the role \
                       admin; else the answer is 401 or 403.",
    ),
    modifiers(&Bearer),
    security(("bearer" = [])),
    paths(
        policies::list,
        policies::create,
        policies::read,
        policies::replace,
        policies::delete,
        policies::validate,
        import::import,
        live::counters,
        live::decisions,
        reset::reset,
        explain::explain,
        conflicts::list,
        conflicts::settle,
        conflicts::dismiss,
        records::audit,
        records::usage,
        nodes::nodes,
        live::agents,
        backup::backup,
    ),
    tags(
        (name = "policies", description = "What is limited"),
        (name = "live", description = "What happens now"),
        (name = "records", description = "What was done and used"),
        (name = "fleet", description = "Managers and agents"),
        (name = "store", description = "What a manager keeps"),
    )
)]
pub(super) struct Api;

/// How callers say who they are.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = api.components.get_or_insert_with(Default::default);
        components.add_security_scheme("bearer", scheme);
    }
}

/// Written once.
static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| Api::openapi().to_json().unwrap_or_else(|error| format!("\"{error}\"")));

/// The description, as OpenAPI 3.
pub(super) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT.as_str())
}
