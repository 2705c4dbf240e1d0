//! gRPC's unary calls over HTTP/2, by hand: "gRPC over HTTP2" in the protocol's own documents.
//!
//! A message is a byte that says whether it is compressed, four of length, and the bytes. The answer
//! is one message and trailers with `grpc-status`; an error is headers alone.

use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use tonic::{Status, metadata::MetadataValue};

/// Flag and length.
const PREFIX: usize = 5;
/// About the length of an answer.
const USUAL: usize = 320;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const ZERO: HeaderValue = HeaderValue::from_static("0");
const INTERNAL: HeaderValue = HeaderValue::from_static("13");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Refuses what is not gRPC, as the protocol asks: with 415 rather than a gRPC status.
pub(super) fn refuse_head(headers: &HeaderMap) -> Option<Response<()>> {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind.is_some_and(is_grpc) {
        return None;
    }
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response.headers_mut().insert(ACCEPT, GRPC);
    Some(response)
}

/// `application/grpc`, with `+proto` and parameters if any.
fn is_grpc(kind: &[u8]) -> bool {
    let Some((name, rest)) = kind.split_at_checked(b"application/grpc".len()) else {
        return false;
    };
    if !name.eq_ignore_ascii_case(b"application/grpc") {
        return false;
    }
    let format = rest.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    format.is_empty() || format.eq_ignore_ascii_case(b"+proto")
}

/// What has come of a call's message. It counts against the connection's window until the body is
/// dropped, which is when the call is decided or given up: a connection holds no more than that
/// window of messages, whether they are unfinished or wait for a manager.
#[derive(Debug, Default)]
pub(super) struct Gathered(BytesMut);

/// The one message of a call, of `limit` bytes at most.
///
/// # Errors
/// It is no message, or too long; the client ended the call.
pub(super) fn poll_read(
    headers: &HeaderMap,
    body: &mut RecvStream,
    gathered: &mut Gathered,
    limit: usize,
    cx: &mut Context<'_>,
) -> Poll<Result<Bytes, Status>> {
    loop {
        let Some(data) = ready!(body.poll_data(cx)) else {
            return Poll::Ready(match length(headers, &gathered.0, limit)? {
                Some(length) if gathered.0.len() == PREFIX + length => {
                    Ok(gathered.0.split_off(PREFIX).freeze())
                }
                _ => Err(Status::internal("the call ends before its message does")),
            });
        };
        let mut data = data.map_err(|error| Status::cancelled(error.to_string()))?;
        let whole = |bytes: &[u8]| match length(headers, bytes, limit)? {
            Some(length) if bytes.len() > PREFIX + length => {
                Err(Status::internal("the call has more than one message"))
            }
            length => Ok(length.is_some_and(|length| bytes.len() == PREFIX + length)),
        };
        // Nearly always all of it is there at once, and need not be copied.
        if gathered.0.is_empty() && whole(&data)? && body.is_end_stream() {
            data.advance(PREFIX);
            return Poll::Ready(Ok(data));
        }
        gathered.0.extend_from_slice(&data);
        whole(&gathered.0)?;
    }
}

/// What the prefix says of the message's length; `None` while the prefix is not all there.
fn length(headers: &HeaderMap, bytes: &[u8], limit: usize) -> Result<Option<usize>, Status> {
    let Some((prefix, _)) = bytes.split_first_chunk::<PREFIX>() else { return Ok(None) };
    let [flag, length @ ..] = *prefix;
    match (flag, headers.get(ENCODING)) {
        (0, _) => {}
        (1, Some(encoding)) if encoding != "identity" => {
            let encoding = encoding.to_str().unwrap_or("?");
            let text = format!("messages compressed by {encoding:?} are not supported");
            let mut status = Status::unimplemented(text);
            status.metadata_mut().insert(ACCEPT_ENCODING, MetadataValue::from_static("identity"));
            return Err(status);
        }
        (1, _) => return Err(Status::internal("a compressed message without grpc-encoding")),
        (other, _) => {
            return Err(Status::internal(format!("{other} is not a flag of compression")));
        }
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > limit {
        let text = format!("the message has {length} bytes; at most {limit} are read");
        return Err(Status::resource_exhausted(text));
    }
    Ok(Some(length))
}

/// A message with its prefix. `message` appends it to what is there.
pub(super) fn write(message: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(USUAL);
    out.put_bytes(0, PREFIX);
    message(&mut out);
    // Questions are bounded, and what an answer says of a policy is too: far from 4 GB.
    let length = u32::try_from(out.len() - PREFIX).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(1..PREFIX) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    out.freeze()
}

/// The head of an answer.
pub(super) fn ok() -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// The good end of an answer.
pub(super) fn success() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(STATUS, ZERO);
    trailers
}

/// An error, in headers alone.
pub(super) fn failed(status: &Status) -> Response<()> {
    let mut response = ok();
    if status.add_header(response.headers_mut()).is_err() {
        response.headers_mut().insert(STATUS, INTERNAL);
    }
    response
}

#[cfg(test)]
mod tests;
