//! `/v1/auth`: sub-requests of proxies (NGINX `auth_request`, Traefik `forwardAuth`, HAProxy).
//!
//! 200 lets the request pass; 429, 403 and 503 refuse it. A proxy that understands only 401 and 403
//! (NGINX) asks with `/v1/auth?refuse=403`: every refusal is a 403 then, and `X-Weir-Verdict` tells
//! `limited`, `denied` and `disconnected` apart.
//!
//! | attribute | from, first that is there |
//! |---|---|
//! | `path`, `query` | `X-Original-URI`, `X-Original-URL`, `X-Forwarded-Uri` |
//! | `method` | `X-Original-Method`, `X-Forwarded-Method` |
//! | `host` | `X-Original-Host`, `X-Forwarded-Host` |
//! | `ip` | `X-Real-IP`, the *last* address of `X-Forwarded-For` |
//! | `application`, `subscription-tier`, … | `X-Weir-Application`, `X-Weir-Subscription-Tier`, … |
//! | `headers` | all headers but `X-Weir-*` |
//!
//! # Whom the headers are believed
//!
//! The caller, entirely: whoever reaches this port decides what a request looks like. That is right
//! for a sidecar behind its proxy, and two things are the proxy's to do:
//! - set the headers above itself, on every sub-request, so that the client's own do not pass
//!   through. Above all it must overwrite or remove `X-Weir-*` and `X-Real-IP`; a client that could
//!   name its own application or address would choose its own limit;
//! - if it appends to `X-Forwarded-For`, its own entry is the last one, the address that it saw. The
//!   entries before it come from the client and are not believed.

use std::{borrow::Cow, net::IpAddr};

use axum::{
    extract::{Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use weir_proto::request::{Field, Request, RequestError};

use super::{
    answer::{refusal, with_headers},
    problem::Problem,
};
use crate::sidecar::{gate::Gate, proxy::shortened, telemetry::verdict_label};

/// Tells refusals apart for a proxy that sees only one status.
const VERDICT: HeaderName = HeaderName::from_static("x-weir-verdict");
/// Prefix of the headers that set an attribute.
const PREFIX: &str = "x-weir-";

/// How the proxy wants its answer.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    /// Status of every refusal, in the place of 429, 403 and 503.
    refuse: Option<u16>,
}

pub(super) async fn auth(State(gate): State<Gate>, uri: Uri, headers: HeaderMap) -> Response {
    let status = match options(&uri) {
        Ok(options) => options.refuse.and_then(|status| StatusCode::from_u16(status).ok()),
        Err(problem) => return problem.into_response(),
    };
    let request = match describe(&headers) {
        Ok(request) => request,
        Err(problem) => return problem.into_response(),
    };
    let verdict = gate.check(&request, 1).await;
    let mut response = match refusal(&verdict) {
        Some(problem) => problem.into_response(),
        None => StatusCode::OK.into_response(),
    };
    if let (false, Some(status)) = (verdict.allowed(), status) {
        *response.status_mut() = status;
    }
    response.headers_mut().insert(VERDICT, HeaderValue::from_static(verdict_label(&verdict)));
    with_headers(response, &verdict, gate.headers)
}

fn options(uri: &Uri) -> Result<Options, Box<Problem>> {
    let parsed = Query::<Options>::try_from_uri(uri);
    match parsed.map(|Query(options)| options) {
        Ok(options) if options.refuse.is_none_or(|s| [401, 403, 429].contains(&s)) => Ok(options),
        _ => Err(Problem::boxed(
            "The query of /v1/auth takes refuse=401, refuse=403 or refuse=429, and nothing else.",
        )),
    }
}

/// What the headers say of the request behind the sub-request.
fn describe(headers: &HeaderMap) -> Result<Request<'_>, Box<Problem>> {
    let first = |names: &[&str]| names.iter().find_map(|name| text(headers, name));
    let mut request = Request::new();
    if let Some(method) = first(&["x-original-method", "x-forwarded-method"]) {
        request = request.method(method);
    }
    if let Some(host) = first(&["x-original-host", "x-forwarded-host"]) {
        request = request.host(host);
    }
    if let Some(uri) = first(&["x-original-uri", "x-original-url", "x-forwarded-uri"]) {
        request = with_uri(request, &uri);
    }
    if let Some(ip) = client(headers)? {
        request = request.ip(ip);
    }
    for name in headers.keys() {
        let Some(value) = text(headers, name.as_str()) else { continue };
        request = match name.as_str().strip_prefix(PREFIX) {
            Some(attribute) => with_attribute(request, attribute, value)?,
            None => request.header(name.as_str(), value),
        };
    }
    request.check().map_err(refused)?;
    Ok(request)
}

/// A header as text; several of one name are one list, as HTTP has it.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter().map(|value| lossy(value.as_bytes()));
    let first = values.next()?;
    Some(shortened(values.fold(first, |list, value| Cow::Owned(format!("{list}, {value}")))))
}

fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn with_attribute<'a>(
    mut request: Request<'a>,
    attribute: &str,
    value: Cow<'a, str>,
) -> Result<Request<'a>, Box<Problem>> {
    let name = attribute.replace('-', "_");
    if Field::parse(&name).is_none() {
        let known = Field::ALL.map(|field| field.as_str().replace('_', "-")).join(", ");
        return Err(Problem::boxed(format!(
            "The header X-Weir-{attribute} names no attribute; known are {known}."
        )));
    }
    request.set(&name, value).map_err(|error| refused(&error))?;
    Ok(request)
}

/// Sets path and query from a path (`/a?b=c`) or a whole URL.
fn with_uri<'a>(request: Request<'a>, uri: &str) -> Request<'a> {
    let path = match uri.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => uri,
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let request = request.path(path.to_owned());
    query.split('&').filter(|pair| !pair.is_empty()).fold(request, |request, pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        request.query(decoded(name), decoded(value))
    })
}

/// Undoes the encoding of query parameters.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match (*first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The client's address as the nearest proxy saw it.
fn client(headers: &HeaderMap) -> Result<Option<IpAddr>, Box<Problem>> {
    let from = |name: &str| headers.get(name).map(|value| lossy(value.as_bytes()));
    if let Some(ip) = from("x-real-ip") {
        return address("X-Real-IP", &ip).map(Some);
    }
    let last = headers.get_all("x-forwarded-for").iter().next_back();
    let Some(list) = last.map(|value| lossy(value.as_bytes())) else {
        return Ok(None);
    };
    address("X-Forwarded-For", list.rsplit(',').next().unwrap_or_default()).map(Some)
}

/// An address, which some proxies write with a port.
fn address(header: &str, text: &str) -> Result<IpAddr, Box<Problem>> {
    let text = text.trim();
    let socket = || text.parse::<std::net::SocketAddr>().map(|address| address.ip());
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().or_else(|_| socket()).map_err(|_| {
        let shown: String = text.chars().take(64).collect();
        Problem::boxed(format!("{header} holds {shown:?}, which is not an address."))
    })
}

fn refused(error: &RequestError) -> Box<Problem> {
    let status = match error {
        RequestError::TooMany { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    Box::new(Problem::new(status, error.to_string()))
}

#[cfg(test)]
mod tests;
