//! Bodies in and out: JSON or YAML, bounded in size and time.

use std::time::Duration;

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::LengthLimitError;
use serde::Serialize;
use serde_json::Value;
use weir_proto::policy::read_yaml;

use super::problem::Problem;

/// Largest body: a policy as long as policies may be, in any layout that people use.
pub(super) const MAX_BODY: usize = 4 << 20;
/// A client that has not sent its body by then is refused.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
}

impl Format {
    /// The format that a content type names.
    fn named(kind: &str) -> Option<Format> {
        match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/json" => Some(Format::Json),
            "application/yaml" | "text/yaml" | "application/x-yaml" | "text/x-yaml" => {
                Some(Format::Yaml)
            }
            _ => None,
        }
    }

    /// The format that the client would rather read: the first that it names, JSON without one.
    pub(super) fn accepted(headers: &HeaderMap) -> Format {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        accept
            .into_iter()
            .flat_map(|list| list.split(','))
            .find_map(Format::named)
            .unwrap_or(Format::Json)
    }

    /// An answer in this format.
    pub(super) fn answer(self, status: StatusCode, value: &impl Serialize) -> Response {
        let (kind, text) = match self {
            Format::Json => ("application/json", serde_json::to_string(value).ok()),
            Format::Yaml => ("application/yaml", serde_norway::to_string(value).ok()),
        };
        match text {
            Some(text) => {
                let kind = HeaderValue::from_static(kind);
                (status, [(header::CONTENT_TYPE, kind)], Body::from(text)).into_response()
            }
            None => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the answer could not be written; this is a defect of the manager",
            )
            .into_response(),
        }
    }
}

/// A JSON or YAML body.
///
/// The content type must be given: a browser sends requests without one, or with a form's, to any
/// address that a page names, but asks before it sends these.
pub(super) struct Document(pub(super) Value);

impl<S: Sync> FromRequest<S> for Document {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Document, Problem> {
        let (format, text) = read(request).await?;
        parse(format, &text).map(Document).map_err(Problem::bad_request)
    }
}

/// A JSON or YAML body as it came, for those who want its lines.
pub(super) struct Text(pub(super) String);

impl<S: Sync> FromRequest<S> for Text {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Text, Problem> {
        read(request).await.map(|(_, text)| Text(text))
    }
}

/// No body. What is sent nevertheless, an empty body in pieces for instance, is read and thrown away: a
/// connection that is closed with something unread in it is reset, and takes the answer with it.
pub(super) struct Nothing;

impl<S: Sync> FromRequest<S> for Nothing {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Nothing, Problem> {
        whole(request).await.map(|_| Nothing)
    }
}

async fn read(request: Request) -> Result<(Format, String), Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(format) = Format::named(kind) else {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!(
                "the content type {kind:?} is not understood; send application/json or \
                 application/yaml"
            ),
        ));
    };
    let text = String::from_utf8(whole(request).await?.into())
        .map_err(|error| Problem::bad_request(format!("the body is not UTF-8: {error}")))?;
    Ok((format, text))
}

async fn whole(request: Request) -> Result<Bytes, Problem> {
    let body = to_bytes(request.into_body(), MAX_BODY);
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(unreadable(&error)),
        Err(_) => {
            let detail = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

fn parse(format: Format, text: &str) -> Result<Value, String> {
    match format {
        Format::Json => {
            serde_json::from_str(text).map_err(|e| format!("the body is not valid JSON: {e}"))
        }
        Format::Yaml => read_yaml(text).map_err(|fault| format!("the body {fault}")),
    }
}

fn unreadable(error: &axum::Error) -> Problem {
    let source = std::error::Error::source(error);
    if source.is_some_and(|source| source.is::<LengthLimitError>()) {
        let detail = format!("the body is larger than {} KiB; send it in parts", MAX_BODY >> 10);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    } else {
        Problem::bad_request(format!("the body could not be read: {error}"))
    }
}
