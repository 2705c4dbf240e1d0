//! One call: answered at once if it can be, and finished later if not.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, Method, Request};
use tokio::time::timeout;
use tonic::Status;

use super::{
    MAX_MESSAGE, RateLimits, SHOULD_RATE_LIMIT,
    frame::{self, Gathered},
    others, response,
};
use crate::Verdict;

/// How long a message may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// A call that could not be answered at once.
pub(super) struct Call {
    respond: SendResponse<Bytes>,
    rest: Rest,
}

/// What is left to do.
enum Rest {
    /// The message is not all there.
    Read { headers: HeaderMap, body: RecvStream, gathered: Gathered },
    /// A descriptor waits for a manager.
    Decide { message: Bytes, decided: Vec<Verdict> },
    /// Another service of the port.
    Other(Request<RecvStream>),
}

impl Call {
    /// Answers a call; `None` if that is all.
    pub(super) fn answer(
        service: &RateLimits,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> Option<Call> {
        if request.uri().path() != SHOULD_RATE_LIMIT || request.method() != Method::POST {
            return Some(Call { respond, rest: Rest::Other(request) });
        }
        let (head, mut body) = request.into_parts();
        let headers = head.headers;
        if let Some(refusal) = frame::refuse_head(&headers) {
            // The client has gone if this fails.
            let _ = respond.send_response(refusal, true);
            return None;
        }
        let mut gathered = Gathered::default();
        // Nobody is woken: a task of its own will look again.
        let mut cx = Context::from_waker(Waker::noop());
        let message =
            match frame::poll_read(&headers, &mut body, &mut gathered, MAX_MESSAGE, &mut cx) {
                Poll::Ready(message) => message,
                Poll::Pending => {
                    return Some(Call { respond, rest: Rest::Read { headers, body, gathered } });
                }
            };
        let mut decided = Vec::new();
        match message.and_then(|message| Ok((service.decide(&message, &mut decided)?, message))) {
            Ok((true, _)) => send(&mut respond, Ok(&decided)),
            Ok((false, message)) => {
                return Some(Call { respond, rest: Rest::Decide { message, decided } });
            }
            Err(status) => send(&mut respond, Err(&status)),
        }
        None
    }

    /// Does the rest, with all the waiting that it takes.
    pub(super) async fn finish(mut self, service: Arc<RateLimits>) {
        let outcome = match self.rest {
            Rest::Other(request) => return others::serve(&service, request, self.respond).await,
            Rest::Decide { message, decided } => service.decide_later(message, decided).await,
            Rest::Read { headers, mut body, mut gathered } => {
                let read = poll_fn(|cx| {
                    frame::poll_read(&headers, &mut body, &mut gathered, MAX_MESSAGE, cx)
                });
                match timeout(ARRIVAL, read).await {
                    Ok(Ok(message)) => service.decide_later(message, Vec::new()).await,
                    Ok(Err(status)) => Err(status),
                    Err(_) => Err(Status::deadline_exceeded("the message did not arrive in time")),
                }
            }
        };
        send(&mut self.respond, outcome.as_ref());
    }
}

/// Sends an answer. A client that is gone is no error.
fn send(respond: &mut SendResponse<Bytes>, outcome: Result<&Vec<Verdict>, &Status>) {
    let Ok(decided) = outcome.map_err(|status| {
        let _ = respond.send_response(frame::failed(status), true);
    }) else {
        return;
    };
    if let Ok(mut stream) = respond.send_response(frame::ok(), false) {
        let _ = send_message(&mut stream, frame::write(|out| response::write(decided, out)));
    }
}

/// Sends the one message and the good end. What the client has no room for yet waits in the
/// connection: one small answer for each of its bounded number of calls.
fn send_message(stream: &mut SendStream<Bytes>, message: Bytes) -> Result<(), h2::Error> {
    stream.send_data(message, false)?;
    stream.send_trailers(frame::success())
}
