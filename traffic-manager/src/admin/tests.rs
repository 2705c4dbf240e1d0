//! The admin API through its router, with a driver and a keeper behind it.

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode, header},
};
use serde_json::{Value, json};
use tower::ServiceExt;
use utoipa::OpenApi;

use super::*;
use crate::{
    auth::Guard,
    config::{Config, Settings},
    group::Group,
    security::PeerAccess,
    stop::{Stopper, stop},
};

const POLICIES: &str = "/api/v1/policies";
const GOLD: &str = "/api/v1/policies/gold";

/// A manager without ports.
struct Served {
    router: Router,
    readiness: Readiness,
    stopper: Stopper,
    driver: Driver,
    group: Option<Group>,
}

async fn serve() -> Served {
    let settings = Settings { id: Some("tm-1".into()), ..Settings::default() };
    let config = Config::resolve(settings).unwrap();
    let telemetry = Telemetry::new().unwrap();
    let (stopper, stop) = stop();
    let guard = Guard::open(Arc::clone(&telemetry));
    let access = (PeerAccess::load(&config).unwrap(), guard.clone());
    let group = Group::start(&config, access, &telemetry, &stop).await.unwrap();
    let readiness = Readiness::default();
    let driver = group.driver.clone();
    let admin = Admin::new(&config, &group, telemetry, readiness.clone());
    let access = Access::new(&config, guard);
    Served { router: router(admin, access), readiness, stopper, driver, group: Some(group) }
}

struct Answer {
    status: StatusCode,
    kind: String,
    etag: String,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The fields at fault; checks on the way that it is a problem document.
    fn fields(&self) -> Vec<String> {
        assert_eq!(self.kind, "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}

impl Served {
    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let header = |name| {
            let value = response.headers().get(name);
            value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let (kind, etag) = (header(header::CONTENT_TYPE), header(header::ETAG));
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, kind, etag, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "").await
    }

    async fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.call(method, path, &[("content-type", "application/json")], &body.to_string()).await
    }
}

fn gold(requests: u64) -> Value {
    json!({
        "name": "gold", "level": "application", "key": ["application"],
        "limits": [{ "requests": requests, "window": "1m" }],
    })
}

#[tokio::test]
async fn a_policy_lives_from_post_to_delete() {
    let served = serve().await;
    let made = served.json("POST", POLICIES, &gold(5)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert!(made.etag.starts_with('"') && made.etag.ends_with('"'), "{}", made.etag);
    assert_eq!(made.json()["bound"]["limits"][0]["limit"], 5);

    let again = served.json("POST", POLICIES, &gold(6)).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(again.json()["current_etag"], made.etag);

    let list = served.get(POLICIES).await.json();
    assert_eq!(list["apiVersion"], "weir/v1");
    assert_eq!(list["policies"][0]["name"], "gold");

    assert_eq!(served.call("DELETE", GOLD, &[], "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(served.get(GOLD).await.status, StatusCode::NOT_FOUND);
    assert_eq!(served.call("DELETE", GOLD, &[], "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_stale_writer_overwrites_nothing() {
    let served = serve().await;
    let first = served.json("POST", POLICIES, &gold(5)).await.etag;
    let put = async |condition: (&str, &str), requests| {
        let headers = [("content-type", "application/json"), condition];
        served.call("PUT", GOLD, &headers, &gold(requests).to_string()).await
    };
    let second = put(("if-match", &first), 6).await;
    assert_eq!(second.status, StatusCode::OK);
    assert_ne!(second.etag, first);

    let stale = put(("if-match", &first), 7).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(stale.json()["current_etag"], second.etag);
    assert_eq!(put(("if-none-match", "*"), 7).await.status, StatusCode::PRECONDITION_FAILED);
    let stale = served.call("DELETE", GOLD, &[("if-match", &first)], "").await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(served.get(GOLD).await.json()["limits"][0]["requests"], 6);

    let same = put(("if-match", &second.etag), 6).await;
    assert_eq!((same.status, &same.etag), (StatusCode::OK, &second.etag), "equal = no new version");
    let read = served.call("GET", GOLD, &[("if-none-match", &second.etag)], "").await;
    assert_eq!((read.status, read.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    let broken = put(("if-match", "5"), 8).await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn put_creates_only_when_asked_to() {
    let served = serve().await;
    assert_eq!(served.json("PUT", GOLD, &gold(5)).await.status, StatusCode::NOT_FOUND);
    let mut nameless = gold(5);
    nameless.as_object_mut().unwrap().remove("name");
    let headers = [("content-type", "application/json"), ("if-none-match", "*")];
    let made = served.call("PUT", GOLD, &headers, &nameless.to_string()).await;
    assert_eq!(made.status, StatusCode::CREATED, "the path names it: {}", made.text);
    let other = served.json("PUT", "/api/v1/policies/silver", &gold(5)).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.fields(), ["name"]);
}

#[tokio::test]
async fn what_is_read_can_be_written_back() {
    let served = serve().await;
    served.json("POST", POLICIES, &gold(5)).await;
    for kind in ["application/json", "application/yaml"] {
        let read = served.call("GET", GOLD, &[("accept", kind)], "").await;
        assert_eq!(read.kind, kind);
        assert!(read.text.contains("bound"), "{}", read.text);
        let headers = [("content-type", kind), ("if-match", &read.etag)];
        let written = served.call("PUT", GOLD, &headers, &read.text).await;
        assert_eq!((written.status, written.etag), (StatusCode::OK, read.etag), "{}", written.text);
    }
}

#[tokio::test]
async fn every_field_at_fault_is_named() {
    let served = serve().await;
    let wrong = json!({
        "name": "a b", "level": "nowhere", "limits": [{ "requests": -1, "window": "1 minute" }],
        "colour": "red",
    });
    let refused = served.json("POST", POLICIES, &wrong).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let fields = refused.fields();
    for field in ["name", "level", "limits[0].requests", "limits[0].window", "colour"] {
        assert!(fields.iter().any(|f| f == field), "{field} in {fields:?}");
    }
    assert_eq!(served.get(POLICIES).await.json()["policies"], json!([]));
}

#[tokio::test]
async fn a_dry_run_tells_and_changes_nothing() {
    let served = serve().await;
    served.json("POST", POLICIES, &gold(5)).await;
    let mut silver = gold(1);
    silver["name"] = "silver".into();
    let document = json!({ "apiVersion": "weir/v1", "policies": [gold(6), silver] });
    let answer = served.json("POST", "/api/v1/policies:validate", &document).await;
    let outcomes = json!([
        { "name": "gold", "outcome": "replace" }, { "name": "silver", "outcome": "create" },
    ]);
    assert_eq!((answer.status, &answer.json()["policies"]), (StatusCode::OK, &outcomes));
    let one = served.json("POST", "/api/v1/policies:validate", &gold(5)).await;
    assert_eq!(one.json()["policies"][0]["outcome"], "unchanged");
    let document = json!({ "apiVersion": "weir/v1", "policies": [{ "name": "x" }] });
    let refused = served.json("POST", "/api/v1/policies:validate", &document).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.fields().contains(&"policies[0].level".to_owned()), "{}", refused.text);
    assert_eq!(served.get(POLICIES).await.json()["policies"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn bodies_are_bounded_and_typed() {
    let served = serve().await;
    let post = async |kind: &str, body: &str| {
        served.call("POST", POLICIES, &[("content-type", kind)], body).await
    };
    let broken = post("application/json", "{\"name\": \"gold\",\n  oops").await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    assert!(broken.json()["detail"].as_str().unwrap().contains("line 2"), "{}", broken.text);
    let broken = post("text/yaml", "name: gold\nlevel: [").await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    assert!(broken.json()["detail"].as_str().unwrap().contains("line"), "{}", broken.text);
    let form = post("application/x-www-form-urlencoded", "a=b").await;
    assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let untyped = served.call("POST", POLICIES, &[], "{}").await;
    assert_eq!(untyped.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let huge = format!("{{\"name\": \"{}\"}}", "x".repeat(body::MAX_BODY));
    let huge = post("application/json", &huge).await;
    assert_eq!(huge.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(huge.fields().is_empty());
    let yaml = "name: y\nlevel: api\nlimits: [{ requests: 1, window: 1s }]\n";
    assert_eq!(post("application/yaml; charset=utf-8", yaml).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn as_many_overrides_as_a_policy_may_have_fit_into_a_body() {
    let served = serve().await;
    let policy = |overrides: u32, key: usize| {
        let one = |n| {
            let name = format!("{n:0key$}");
            serde_json::json!({ "key": [name], "limits": [{ "requests": 20_000, "window": "1m" }] })
        };
        let overrides: Vec<_> = (0..overrides).map(one).collect();
        serde_json::json!({ "name": "customers", "level": "api", "key": ["application"],
            "limits": [{ "requests": 1, "window": "1m" }], "overrides": overrides })
    };
    let post = async |policy: serde_json::Value| {
        let json = [("content-type", "application/json")];
        served.call("POST", POLICIES, &json, &policy.to_string()).await
    };
    let many = post(policy(10_000, 40)).await;
    assert_eq!(many.status, StatusCode::CREATED, "{}", many.text);
    // Longer than what reaches an agent in one frame.
    let long = post(policy(3_500, 1_000)).await;
    assert_eq!(long.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(long.text.contains("3145728") && long.text.contains("overrides"), "{}", long.text);
    // What no request can have is not remembered: no manager could read the policy back.
    let reset = async |key: String| {
        let order = serde_json::json!({ "policy": "customers", "key": [key] }).to_string();
        let json = [("content-type", "application/json")];
        served.call("POST", "/api/v1/counters:reset", &json, &order).await
    };
    let long = reset("x".repeat(1_025)).await;
    assert_eq!(long.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", long.text);
    assert!(long.text.contains("1025 bytes") && long.text.contains("\"key\""), "{}", long.text);
    assert!(long.text.len() < 1_000, "the key is not repeated whole");
    assert_eq!(reset("x".repeat(1_024)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let served = serve().await;
    for path in ["/api/v1/nothing", "/nothing", "/api/v1/conflict", "/api/v1/policies/a/b"] {
        let answer = served.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.fields().is_empty());
    }
    let answer = served.call("PATCH", POLICIES, &[], "").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer.fields().is_empty());
}

#[tokio::test]
async fn an_empty_manager_shows_itself() {
    let served = serve().await;
    assert_eq!(served.get("/api/v1/nodes").await.json()["nodes"][0]["id"], "tm-1");
    assert_eq!(served.get("/api/v1/agents").await.json(), json!({ "agents": [] }));
    let of = json!({ "manager": "tm-1", "followed": [], "truncated": false });
    let none = |list: &str| {
        let mut answer = of.clone();
        answer[list] = json!([]);
        answer
    };
    assert_eq!(served.get("/api/v1/counters?limit=5").await.json(), none("counters"));
    assert_eq!(served.get("/api/v1/decisions").await.json(), none("decisions"));
    served.json("POST", POLICIES, &gold(5)).await;
    let metrics = served.get("/metrics").await.text;
    for line in ["weir_manager_policies 1", "weir_build_info{version=", "weir_manager_role{role="] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn a_manager_whose_store_refuses_is_ready_for_everything_but_writes() {
    let served = serve().await;
    let writes = "/readyz?for=writes";
    assert_eq!(served.get(writes).await.status, StatusCode::SERVICE_UNAVAILABLE, "it starts");
    served.readiness.serving();
    assert_eq!(served.get(writes).await.status, StatusCode::OK);
    served.group.as_ref().unwrap().store.shutdown().await;
    let refused = served.json("POST", POLICIES, &gold(5)).await;
    assert!(refused.status.is_server_error(), "{}", refused.text);
    let answer = served.get(writes).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text.contains("the store is closed"), "{}", answer.text);
    assert_eq!(served.get("/readyz").await.status, StatusCode::OK);
    let unknown = served.get("/readyz?for=reads").await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    assert!(unknown.text.contains("for=writes"), "{}", unknown.text);
}

#[tokio::test]
async fn probes_follow_the_life_of_the_manager() {
    let mut served = serve().await;
    let ready = served.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.text.contains("gRPC"), "{}", ready.text);
    assert_eq!(served.get("/healthz").await.status, StatusCode::OK);
    served.readiness.serving();
    assert_eq!(served.get("/readyz").await.status, StatusCode::OK);
    served.readiness.leaving();
    assert_eq!(served.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    served.stopper.stop();
    served.group.take().unwrap().close().await;
    assert!(served.driver.with(|_, _, _| ()).await.is_err(), "the driver has ended");
    assert_eq!(served.get("/healthz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let answer = served.get(POLICIES).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.fields().is_empty());
}

#[tokio::test]
async fn pages_need_nothing_from_elsewhere() {
    let served = serve().await;
    for page in ["/", "/docs", "/assets/weir.css", "/assets/status.js", "/assets/docs.js"] {
        let answer = served.get(page).await;
        assert_eq!(answer.status, StatusCode::OK, "{page}");
        assert!(!answer.text.contains("http://") && !answer.text.contains("https://"), "{page}");
    }
}

#[tokio::test]
async fn the_description_matches_the_routes() {
    let served = serve().await;
    let described = served.get("/api/v1/openapi.json").await.json();
    assert_eq!(described, serde_json::to_value(openapi::Api::openapi()).unwrap());
    let mut operations = 0;
    for (path, item) in described["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let path = path.replace("{name}", "absent");
            let answer = served.call(method.as_str(), &path, &[], "").await;
            let missing = answer.text.contains("nothing is at");
            let allowed = answer.status != StatusCode::METHOD_NOT_ALLOWED;
            assert!(allowed && !missing, "{method} {path} is described but not served");
            operations += 1;
        }
    }
    assert_eq!(operations, 19);
    let text = described.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(!described["components"]["schemas"][name].is_null(), "{name} is not described");
    }
}

const IMPORT: &str = "/api/v1/policies:import";
/// The second descriptor has no equivalent.
const ENVOYS: &str = "domain: d
descriptors:
- {key: k, rate_limit: {unit: day, requests_per_unit: 5}}
- {key: k, value: v, quota_mode: true, rate_limit: {unit: day, requests_per_unit: 9}}
";

#[tokio::test]
async fn another_limiters_file_is_taken_over_or_every_line_is_named() {
    let served = serve().await;
    let yaml = [("content-type", "application/yaml")];
    let import = async |query: &str, body: &str| {
        served.call("POST", &format!("{IMPORT}?{query}"), &yaml, body).await
    };
    let refused = import("format=envoy", ENVOYS).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.fields(), ["descriptors[1].quota_mode"]);
    let error = &refused.json()["errors"][0];
    assert_eq!((&error["line"], &error["value"]), (&json!(4), &json!("true")));

    let tried = import("format=envoy&partial=true&dry_run=true", ENVOYS).await;
    assert_eq!(tried.status, StatusCode::OK, "{}", tried.text);
    let tried = tried.json();
    assert_eq!(tried["policies"][0], json!({ "name": "d.k", "outcome": "create" }));
    assert_eq!(tried["document"]["policies"][1]["mode"], "off");
    assert_eq!(tried["findings"][0]["severity"], "no_equivalent");
    assert_eq!(served.get(POLICIES).await.json()["policies"], json!([]), "only tried");

    for outcome in ["create", "unchanged"] {
        let done = import("format=envoy&partial=true", ENVOYS).await.json();
        assert_eq!(done["policies"][1], json!({ "name": "d.k.v", "outcome": outcome }));
    }
    let changed = ENVOYS.replace("requests_per_unit: 5", "requests_per_unit: 6");
    let done = import("format=envoy&partial=true", &changed).await.json();
    assert_eq!(done["policies"][0]["outcome"], "replace");
    assert_eq!(served.get("/api/v1/policies/d.k").await.json()["limits"][0]["requests"], 6);

    let limits = "- {namespace: n, name: l, max_value: 1, seconds: 60}\n";
    let done = import("format=limitador", limits).await.json();
    assert_eq!(done["policies"][0]["name"], "n.l");
}

#[tokio::test]
async fn an_import_says_what_it_wants_to_be_told() {
    let served = serve().await;
    let yaml = [("content-type", "application/yaml")];
    for (query, headers, body, status, words) in [
        ("format=nginx", &yaml[..], ENVOYS, 400, "give envoy or limitador"),
        ("", &yaml, ENVOYS, 400, "format"),
        ("format=envoy&dryrun=true", &yaml, ENVOYS, 400, "dryrun"),
        ("format=envoy", &[], ENVOYS, 415, "content type"),
        ("format=envoy", &yaml, "", 422, "is empty"),
        ("format=envoy", &yaml, "domain: [", 422, "is not valid YAML"),
        ("format=envoy", &yaml, "domain: d\ndescriptors: [{key: ''}]", 422, "descriptors[0].key"),
    ] {
        let answer = served.call("POST", &format!("{IMPORT}?{query}"), headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{query} {}", answer.text);
        assert!(answer.text.contains(words), "{query}: {}", answer.text);
    }
    let json = json!({ "domain": "d", "descriptors": [
        { "key": "k", "rate_limit": { "unit": "day", "requests_per_unit": 1 } },
    ] });
    let answer = served.json("POST", &format!("{IMPORT}?format=envoy"), &json).await;
    assert_eq!(answer.status, StatusCode::OK, "JSON is YAML: {}", answer.text);
}

mod refusals;
