//! gRPC's unary calls over HTTP/2, by hand: "gRPC over HTTP2" in the protocol's own documents.
//!
//! A message is a byte that says whether it is compressed, four of length, and the bytes. The answer
//! is one message and trailers with `grpc-status`; an error is headers alone.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use prost::Message;
use tonic::{Status, body::Body as OtherBody};

/// Flag and length.
const PREFIX: usize = 5;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const ZERO: HeaderValue = HeaderValue::from_static("0");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The body of an answer.
pub(crate) enum Answer {
    /// One message, then success; and success alone when the message is gone.
    Message(Option<Bytes>),
    /// Nothing: the headers said it.
    Empty,
    /// What another service of the port says.
    Other(OtherBody),
}

/// Refuses what is not gRPC, as the protocol asks: with 415 rather than a gRPC status.
pub(super) fn refuse_head(headers: &HeaderMap) -> Option<Response<Answer>> {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind.is_some_and(is_grpc) {
        return None;
    }
    let mut response = Response::new(Answer::Empty);
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

/// The one message of a call, of `limit` bytes at most.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Incoming,
    limit: usize,
) -> Result<Bytes, Status> {
    let mut body = pin!(body);
    let first = data(body.as_mut()).await?;
    let mut message = first.ok_or_else(|| Status::internal("the call has no message"))?;
    // Nearly always all of it is there at once, and not copied.
    let mut gathered = BytesMut::new();
    loop {
        let so_far = if gathered.is_empty() { &message[..] } else { &gathered[..] };
        if let Some(length) = length(headers, so_far, limit)? {
            let whole = PREFIX + length;
            if so_far.len() > whole {
                return Err(Status::internal("the call has more than one message"));
            }
            if so_far.len() == whole && body.is_end_stream() {
                break;
            }
        }
        match data(body.as_mut()).await? {
            Some(more) => {
                if gathered.is_empty() {
                    gathered.extend_from_slice(&message);
                }
                gathered.extend_from_slice(&more);
            }
            None if length(headers, so_far, limit)?.is_some_and(|l| so_far.len() == PREFIX + l) => {
                break;
            }
            None => return Err(Status::internal("the call ends within its message")),
        }
    }
    if !gathered.is_empty() {
        message = gathered.freeze();
    }
    message.advance(PREFIX);
    Ok(message)
}

/// The next bytes; `None` at the end. Trailers of a request have no meaning.
async fn data(mut body: Pin<&mut Incoming>) -> Result<Option<Bytes>, Status> {
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|error| Status::cancelled(error.to_string()))?;
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => return Ok(Some(data)),
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
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
            status.metadata_mut().as_mut().insert(ACCEPT_ENCODING, IDENTITY);
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

/// A message with its prefix.
pub(super) fn write(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(PREFIX + length);
    out.put_u8(0);
    // Answers are as long as questions, which are bounded.
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // The buffer grows as needed: nothing can fail.
    let _ = message.encode(&mut out);
    out.freeze()
}

/// Success.
pub(super) fn ok(message: Bytes) -> Response<Answer> {
    let mut response = Response::new(Answer::Message(Some(message)));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// An error, in headers alone.
pub(super) fn failed(status: &Status) -> Response<Answer> {
    let mut response = Response::new(Answer::Empty);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC);
    if status.add_header(headers).is_err() {
        headers.insert(STATUS, HeaderValue::from_static("13"));
    }
    response
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        match this {
            Answer::Message(message) => {
                let Some(message) = message.take() else {
                    *this = Answer::Empty;
                    let mut trailers = HeaderMap::with_capacity(1);
                    trailers.insert(STATUS, ZERO);
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                };
                Poll::Ready(Some(Ok(Frame::data(message))))
            }
            Answer::Empty => Poll::Ready(None),
            Answer::Other(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Message(_) => false,
            Answer::Empty => true,
            Answer::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Message(_) => SizeHint::default(),
            Answer::Empty => SizeHint::with_exact(0),
            Answer::Other(body) => body.size_hint(),
        }
    }
}
