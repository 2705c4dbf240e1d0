//! A small blocking HTTP client. Every request has a connection of its own, so that a program which
//! was killed and restarted is never judged by a stale one.

use std::{sync::LazyLock, time::Duration};

use serde_json::Value;
use ureq::{Agent, http::Request};

const TIMEOUT: Duration = Duration::from_secs(5);
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

static AGENT: LazyLock<Agent> = LazyLock::new(|| agent(0, TIMEOUT));

fn agent(idle_connections: usize, timeout: Duration) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_idle_connections(idle_connections)
        .proxy(None)
        .timeout_global(Some(timeout))
        .build()
        .into()
}

/// A client that keeps its connection, as gateways do; for programs that are not restarted.
pub(crate) struct Session(Agent);

impl Session {
    pub(crate) fn new() -> Self {
        Self(agent(1, TIMEOUT))
    }

    pub(crate) fn post_json(&self, url: &str, body: &Value) -> Result<Response, String> {
        send_with(&self.0, "POST", url, JSON, &body.to_string())
    }
}

/// What came back, whatever the status.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    /// The first header of this name, in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| &**v)
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it isn't.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|e| panic!("status {}, not JSON: {e}: {}", self.status, self.body))
    }
}

/// Sends a request. `Err` when nothing came back: refused, reset, or no answer in time.
pub(crate) fn send(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Response, String> {
    send_with(&AGENT, method, url, headers, body)
}

fn send_with(
    agent: &Agent,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Response, String> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let fault = |e: ureq::Error| format!("{method} {url}: {e}");
    let mut response = if body.is_empty() {
        agent.run(request.body(()).map_err(|e| e.to_string())?).map_err(fault)?
    } else {
        agent.run(request.body(body).map_err(|e| e.to_string())?).map_err(fault)?
    };
    let text = |value: &ureq::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
    Ok(Response {
        status: response.status().as_u16(),
        headers: response.headers().iter().map(|(k, v)| (k.to_string(), text(v))).collect(),
        body: response.body_mut().read_to_string().map_err(fault)?,
    })
}

pub(crate) fn get(url: &str) -> Result<Response, String> {
    send("GET", url, &[], "")
}

pub(crate) fn post_json(url: &str, body: &Value) -> Result<Response, String> {
    send("POST", url, JSON, &body.to_string())
}

/// As [`post_json`], for an answer that may take long.
pub(crate) fn post_json_within(
    url: &str,
    body: &Value,
    within: Duration,
) -> Result<Response, String> {
    send_with(&agent(0, within), "POST", url, JSON, &body.to_string())
}
