//! The admin API, as the commands use it.

use std::{io::Write, time::Duration};

use serde_json::Value;
use ureq::{
    Agent, Body,
    http::{HeaderValue, Method, Request, Response, StatusCode, request::Builder},
};

use super::{Credentials, Remote, access, reach};

const TIMEOUT: Duration = Duration::from_secs(15);
/// A file that is being made or sent, and of which nothing comes for so long, does not come.
const STALLED: Duration = Duration::from_secs(120);
/// Largest answer: a thousand counters with a hundred agents each fit.
const MAX_ANSWER: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum ClientError {
    /// The server's own words.
    Refused(String),
    /// Likewise: the write was made, but not enough peers have it yet.
    Late(String),
    /// No server, or none of ours.
    Unreachable(String),
}

/// What the server answered.
pub(super) struct Answer {
    /// Its version, if it has one.
    pub(super) etag: Option<String>,
    /// How many peers have a write that was to wait for them.
    pub(super) replicas: Option<u64>,
    /// The body.
    pub(super) body: Value,
}

/// A client of one manager.
pub(super) struct Client {
    agent: Agent,
    server: String,
    /// The `Authorization` of every request.
    authorization: Option<HeaderValue>,
}

impl Client {
    /// Asks the manager that `remote` names, with its credentials.
    pub(super) fn new(remote: &Remote) -> Result<Client, ClientError> {
        Client::of(&remote.server, &remote.credentials)
    }

    /// Asks the manager at `server`.
    pub(super) fn of(server: &str, credentials: &Credentials) -> Result<Client, ClientError> {
        let server = server.trim_end_matches('/');
        let server =
            if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
        let unusable = |error: String| ClientError::Unreachable(error);
        let authorization = access::authorization(credentials).map_err(unusable)?;
        if authorization.is_some() {
            access::warn_of_plain_text(&server);
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            // A proxy that the environment names is not meant for a manager next door.
            .proxy(None)
            .tls_config(access::tls(credentials, &server).map_err(unusable)?)
            .build();
        Ok(Client { agent: Agent::new_with_config(config), server, authorization })
    }

    /// `GET`; `None` if there is no such thing.
    pub(super) fn find(&self, path: &str) -> Result<Option<Answer>, ClientError> {
        let response = self.send(Method::GET, path, None, None)?;
        if response.status() == StatusCode::NOT_FOUND {
            Ok(None)
        } else {
            answer(response).map(Some)
        }
    }

    /// `GET` of what must be there.
    pub(super) fn get(&self, path: &str) -> Result<Value, ClientError> {
        answer(self.send(Method::GET, path, None, None)?).map(|answer| answer.body)
    }

    /// A request that changes something. `condition` is a header: `If-Match` or `If-None-Match`.
    pub(super) fn write(
        &self,
        method: Method,
        path: &str,
        condition: Option<(&str, &str)>,
        body: Option<&Value>,
    ) -> Result<Answer, ClientError> {
        answer(self.send(method, path, condition, body)?)
    }

    /// Asks for a file, however large; nothing is sent with the request.
    pub(super) fn download(&self, path: &str, to: &mut dyn Write) -> Result<(), ClientError> {
        let request = self.request(Method::POST, path).body("").map_err(|e| self.unusable(&e))?;
        let request = self.agent.configure_request(request);
        let request = request.timeout_global(None).timeout_per_read(Some(STALLED)).build();
        let mut response = self.agent.run(request).map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            return answer(response).map(drop);
        }
        let length = response.body().content_length();
        let mut body = response.body_mut().as_reader();
        let copied = std::io::copy(&mut body, to).map_err(|error| {
            ClientError::Unreachable(format!("the file broke off, and is not kept: {error}"))
        })?;
        if length.is_some_and(|length| length != copied) {
            let text = format!("the file broke off after {copied} bytes, and is not kept");
            return Err(ClientError::Unreachable(text));
        }
        Ok(())
    }

    fn request(&self, method: Method, path: &str) -> Builder {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/api/v1{path}", self.server))
            .header("accept", "application/json");
        match &self.authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        }
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        condition: Option<(&str, &str)>,
        body: Option<&Value>,
    ) -> Result<Response<Body>, ClientError> {
        // An empty body with its length: without one, a POST's would be sent in pieces.
        let empty = (method == Method::POST && body.is_none()).then_some("");
        let mut request = self.request(method, path);
        if let Some((name, value)) = condition {
            request = request.header(name, value);
        }
        let result = match (body, empty) {
            (Some(body), _) => {
                let request = request.header("content-type", "application/json");
                let request = request.body(body.to_string()).map_err(|e| self.unusable(&e))?;
                self.agent.run(request)
            }
            (None, Some(empty)) => {
                self.agent.run(request.body(empty).map_err(|e| self.unusable(&e))?)
            }
            (None, None) => self.agent.run(request.body(()).map_err(|e| self.unusable(&e))?),
        };
        result.map_err(|error| self.unreachable(&error))
    }

    fn unusable(&self, error: &dyn std::fmt::Display) -> ClientError {
        ClientError::Unreachable(format!("{} is not a usable address: {error}", self.server))
    }

    fn unreachable(&self, error: &ureq::Error) -> ClientError {
        ClientError::Unreachable(reach::why(&self.server, error, TIMEOUT))
    }
}

fn answer(mut response: Response<Body>) -> Result<Answer, ClientError> {
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let etag = header("etag").map(str::to_owned);
    let replicas = header("weir-replicas").and_then(|count| count.parse().ok());
    let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_string();
    let text = text.map_err(|e| ClientError::Unreachable(format!("the answer broke off: {e}")))?;
    if status == StatusCode::NO_CONTENT {
        return Ok(Answer { etag, replicas, body: Value::Null });
    }
    let body: Value = serde_json::from_str(&text).map_err(|_| {
        let text = format!("the answer ({status}) is not JSON; is this a manager's admin address?");
        ClientError::Unreachable(text)
    })?;
    if status.is_success() {
        Ok(Answer { etag, replicas, body })
    } else if status == StatusCode::GATEWAY_TIMEOUT && replicas.is_some() {
        Err(ClientError::Late(explain(status, &body)))
    } else {
        Err(ClientError::Refused(explain(status, &body)))
    }
}

/// A problem document in words: what happened, then each field.
fn explain(status: StatusCode, problem: &Value) -> String {
    let text = |value: &Value, field: &str| {
        value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut lines = vec![match text(problem, "detail") {
        detail if detail.is_empty() => format!("the server answered {status}"),
        detail => detail,
    }];
    if status == StatusCode::UNAUTHORIZED {
        lines.push("  --token-file FILE (or WEIR_TOKEN_FILE) shows the token in a file".to_owned());
    }
    for error in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
        let (field, value) = (text(error, "field"), text(error, "value"));
        let field = if field.is_empty() { "the document".to_owned() } else { field };
        let value = if value.is_empty() { value } else { format!(" = {value}") };
        lines.push(format!("  {field}{value} {}", text(error, "message")));
    }
    lines.join("\n")
}

/// A text as one segment of a path, or one value of a query.
pub(super) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}
