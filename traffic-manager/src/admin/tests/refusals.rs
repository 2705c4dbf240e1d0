//! What is wrong with a request is told field by field, at every call, in words of this API.

use super::*;

/// What the libraries underneath say, which means nothing to a caller.
const FOREIGN: [&str; 7] = [
    "invalid type",
    "invalid value",
    "unknown variant",
    "missing field",
    "unknown field `",
    "Failed to deserialize",
    "Invalid URL",
];

impl Answer {
    /// A refusal's faults as field, value and message.
    fn faults(&self) -> Vec<[String; 3]> {
        assert_eq!(self.kind, "application/problem+json", "{}", self.text);
        assert!(!FOREIGN.iter().any(|words| self.text.contains(words)), "{}", self.text);
        let problem = self.json();
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        let text = |error: &Value, name: &str| error[name].as_str().unwrap().to_owned();
        errors.iter().map(|e| ["field", "value", "message"].map(|name| text(e, name))).collect()
    }

    #[track_caller]
    fn names(&self, what: &str, status: u16, field: &str, value: &str, words: &str) {
        assert_eq!(self.status.as_u16(), status, "{what}: {}", self.text);
        let named = self.faults().into_iter().any(|[at, refused, message]| {
            at == field && refused == value && message.contains(words)
        });
        assert!(named, "{what}: {field} = {value} … {words} in {}", self.text);
    }
}

#[tokio::test]
async fn every_call_refuses_parameters_that_it_does_not_know() {
    let served = serve().await;
    let described = served.get("/api/v1/openapi.json").await.json();
    let mut calls = 0;
    for (path, item) in described["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let path = path.replace("{name}", "gold").replace("{id}", &"0".repeat(64));
            let what = format!("{method} {path}");
            let asked = format!("{path}?surprise=5");
            let answer = served.json(&method.to_ascii_uppercase(), &asked, &gold(5)).await;
            answer.names(&what, 400, "surprise", "\"5\"", "is an unknown parameter; ");
            calls += 1;
        }
    }
    assert_eq!(calls, 19);
    assert_eq!(served.get(POLICIES).await.json()["policies"], json!([]), "nothing was written");
}

#[tokio::test]
async fn a_parameter_that_is_refused_is_named_with_its_value_and_what_is_allowed() {
    let served = serve().await;
    served.json("POST", POLICIES, &gold(5)).await;
    for (query, field, value, words) in [
        ("GET counters?limit=0", "limit", "\"0\"", "a whole number from 1 to 1000"),
        ("GET counters?limit=many", "limit", "\"many\"", "a whole number from 1 to 1000"),
        ("GET decisions?limit=1001", "limit", "\"1001\"", "a whole number from 1 to 1000"),
        ("GET counters?polcy=gold", "polcy", "\"gold\"", "known are policy, key, limit"),
        ("GET counters?limit=1&limit=2", "limit", "\"2\"", "is given twice"),
        ("GET audit?limit=10001", "limit", "\"10001\"", "a whole number from 1 to 10000"),
        ("GET audit?from=yesterday", "from", "\"yesterday\"", "2026-12-24T20:00:00Z"),
        ("GET audit?until=1969-12-31T00:00:00Z", "until", "\"1969-12-31T00:00:00Z\"", "from 1970"),
        ("GET audit?action=drop", "action", "\"drop\"", "known are create, replace, delete, reset"),
        ("GET usage?from=5", "from", "\"5\"", "2026-12-24T20:00:00Z"),
        ("GET usage?key=shop", "key", "\"shop\"", "a JSON list of texts"),
        ("GET usage?key=[5]", "key", "\"[5]\"", "a JSON list of texts"),
        ("POST policies?wait=some", "wait", "\"some\"", "neither all nor a number"),
        ("POST policies?wait=-1", "wait", "\"-1\"", "neither all nor a number"),
        ("POST policies?wait=9", "wait", "\"9\"", "more than the 0 peers"),
        ("PUT policies/gold?wait=9", "wait", "\"9\"", "more than the 0 peers"),
        ("DELETE policies/gold?wait=x", "wait", "\"x\"", "neither all nor a number"),
        ("POST policies:import?format=nginx", "format", "\"nginx\"", "give envoy or limitador"),
        ("POST policies:import", "format", "", "is missing; give envoy or limitador"),
        ("POST policies:import?format=envoy&dry_run=1", "dry_run", "\"1\"", "true nor false"),
        ("POST policies:import?format=envoy&partial=no", "partial", "\"no\"", "true nor false"),
        ("POST policies:import?format=envoy&wait=x", "wait", "\"x\"", "neither all nor a number"),
    ] {
        let (method, path) = query.split_once(' ').unwrap();
        let answer = served.json(method, &format!("/api/v1/{path}"), &gold(6)).await;
        answer.names(query, 400, field, value, words);
    }
    let all = served.get("/api/v1/audit?limit=0&from=x&action=y&z=1").await;
    assert_eq!(all.fields().len(), 4, "all of them at once: {}", all.text);
    assert_eq!(served.get(GOLD).await.json()["limits"][0]["requests"], 5, "nothing was written");
    for path in ["/api/v1/policies/%FF", "/api/v1/conflicts/%FF"] {
        let method = if path.contains("conflicts") { "POST" } else { "GET" };
        let answer = served.call(method, path, &[], "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.faults().is_empty() && answer.text.contains("UTF-8"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_page_of_another_host_gets_nothing() {
    let served = serve().await;
    for (method, path) in [("GET", "/"), ("GET", POLICIES), ("POST", POLICIES), ("GET", "/metrics")]
    {
        let evil = served.call(method, path, &[("host", "evil.example:9610")], "").await;
        assert_eq!(evil.status, StatusCode::MISDIRECTED_REQUEST, "{method} {path}: {}", evil.text);
        assert!(evil.faults().is_empty() && evil.text.contains("evil.example"), "{}", evil.text);
    }
    let own = served.call("GET", POLICIES, &[("host", "localhost:9610")], "").await;
    assert_eq!(own.status, StatusCode::OK, "{}", own.text);
}

#[tokio::test]
async fn a_filter_that_names_nothing_says_so() {
    let served = serve().await;
    served.json("POST", POLICIES, &gold(5)).await;
    served
        .json("POST", POLICIES, &{
            let mut gone = gold(1);
            gone["name"] = "gone".into();
            gone
        })
        .await;
    let gone = served.call("DELETE", "/api/v1/policies/gone", &[], "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    for call in ["counters", "decisions", "usage", "audit"] {
        let nope = served.get(&format!("/api/v1/{call}?policy=nope")).await;
        nope.names(call, 404, "policy", "\"nope\"", "no policy has this name");
        for name in ["gold", "gone"] {
            let answer = served.get(&format!("/api/v1/{call}?policy={name}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{call} {name}: {}", answer.text);
        }
    }
    let audit = served.get("/api/v1/audit?policy=gone").await.json();
    assert_eq!(audit["records"].as_array().unwrap().len(), 2, "{audit}");
    let limit = served.get("/api/v1/usage?limit_id=requests/1m/fixed_window").await;
    assert_eq!(limit.status, StatusCode::OK, "{}", limit.text);
    for query in
        ["limit_id=requests/2m/fixed_window", "policy=gold&limit_id=tokens/1m/fixed_window"]
    {
        let limit = served.get(&format!("/api/v1/usage?{query}")).await;
        assert_eq!(limit.status, StatusCode::NOT_FOUND, "{}", limit.text);
        assert_eq!(limit.fields(), ["limit_id"]);
    }
}

/// Call, body, status; then a fault of the answer: field, value, words of its message.
const BODIES: &str = r#"
POST policies | [] | 422 | | […] | is not an object
POST policies | {"name": 5, "level": "api"} | 422 | name | 5 | is not
PUT policies/gold | {"level": 5} | 422 | level | 5 | deny
POST policies:validate | 5 | 422 | | 5 | is not an object
POST policies:validate | {"name": "x", "level": "y"} | 422 | level | "y" | deny
POST counters:reset | 5 | 422 | | 5 | is not an object with the fields policy, key
POST counters:reset | {} | 422 | policy | | is missing; name the policy
POST counters:reset | {"policy": 5} | 422 | policy | 5 | is not a text
POST counters:reset | {"policy": "gold", "key": "x"} | 422 | key | "x" | is not a list of texts
POST counters:reset | {"policy": "gold", "key": [5]} | 422 | key | […] | is not a list of texts
POST counters:reset | {"policy": "gold", "x": 5} | 422 | x | 5 | known are policy, key
POST explain | [] | 400 | | […] | is not an object with the fields attributes, amounts, at
POST explain | {"colour": 1} | 400 | colour | 1 | known are attributes, amounts, at
POST explain | {"at": 5} | 400 | at | 5 | 2026-12-24T20:00:00Z
POST explain | {"at": "soon"} | 400 | at | "soon" | 2026-12-24T20:00:00Z
POST explain | {"amounts": 5} | 400 | amounts | 5 | {"requests": 1}
POST explain | {"amounts": {"requests": -1}} | 400 | amounts.requests | -1 | from 0 to
POST explain | {"amounts": {"requests": "1"}} | 400 | amounts.requests | "1" | from 0 to
POST explain | {"amounts": {"A b": 1}} | 400 | amounts.A b | 1 | known are requests
POST explain | {"attributes": "x"} | 400 | attributes | "x" | is not an object of attributes
POST explain | {"attributes": {"api": 5}} | 400 | attributes.api | 5 | is not a text
POST explain | {"attributes": {"api": null}} | 400 | attributes.api | null | is not a text
POST explain | {"attributes": {"apy": "x"}} | 400 | attributes.apy | "x" | known are api
POST explain | {"attributes": {"query": "x"}} | 400 | attributes.query | "x" | is not an object
POST explain | {"attributes": {"headers": {"a": []}}} | 400 | attributes.headers.a | […] | is not a text
POST explain | {"attributes": {"descriptors": {}}} | 400 | attributes.descriptors | {…} | is not a list
POST explain | {"attributes": {"descriptors": [{}]}} | 400 | attributes.descriptors[0] | {…} | a list
POST explain | {"attributes": {"descriptors": [[{"key": 1}]]}} | 400 | attributes.descriptors[0][0] | {…} | two texts
POST explain | {"attributes": {"ip": "localhost"}} | 400 | attributes | {…} | neither an IPv4 nor an IPv6 address
"#;

#[tokio::test]
async fn a_body_that_is_refused_is_named_field_by_field() {
    let served = serve().await;
    served.json("POST", POLICIES, &gold(5)).await;
    for row in BODIES.trim().lines() {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [call, body, status, field, value, words] = cells[..] else { panic!("{row}") };
        let (method, path) = call.split_once(' ').unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        let answer = served.json(method, &format!("/api/v1/{path}"), &body).await;
        answer.names(row, status.parse().unwrap(), field, value, words);
    }
    let all = json!({ "attributes": { "api": 5, "headers": 5 }, "amounts": { "requests": -1 }, "at": 5, "x": 1 });
    let all = served.json("POST", "/api/v1/explain", &all).await;
    assert_eq!(all.fields().len(), 5, "all of them at once: {}", all.text);
    let id = served.call("POST", "/api/v1/conflicts/17:restore", &[], "").await;
    id.names("conflicts", 422, "id", "\"17\"", "64 hexadecimal digits");
    let broken = [("content-type", "application/json")];
    for call in ["policies", "policies:validate", "counters:reset", "explain"] {
        let answer = served.call("POST", &format!("/api/v1/{call}"), &broken, "{\"a\":\n 5").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{call}");
        assert!(answer.faults().is_empty() && answer.text.contains("line 2"), "{}", answer.text);
    }
}
