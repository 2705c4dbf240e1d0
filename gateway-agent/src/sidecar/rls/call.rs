//! One call: answered at once if it can be, and finished later if not.

use std::{
    future::{Future, poll_fn},
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
use crate::{HeaderStyle, Verdict};

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
    /// A descriptor waits for a manager. The body holds the message's part of the window.
    Decide { message: Bytes, decided: Vec<Verdict>, body: RecvStream },
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
        // Dropping the body gives the window back.
        match message.and_then(|message| Ok((service.decide(&message, &mut decided)?, message))) {
            Ok((true, _)) => send(&mut respond, Ok(&decided), service.gate.headers),
            Ok((false, message)) => {
                // A copy: the bytes that arrived are part of a larger buffer.
                let message = Bytes::copy_from_slice(&message);
                return Some(Call { respond, rest: Rest::Decide { message, decided, body } });
            }
            Err(status) => send(&mut respond, Err(&status), service.gate.headers),
        }
        None
    }

    /// Does the rest, with all the waiting that it takes. A call that the client gives up meanwhile
    /// is given up here too: what is not decided yet is not counted.
    pub(super) async fn finish(self, service: Arc<RateLimits>) {
        let Call { mut respond, rest } = self;
        let outcome = match rest {
            Rest::Other(request) => return others::serve(&service, request, respond).await,
            Rest::Decide { message, decided, body: _held } => {
                let verdicts = service.decide_later(message, decided);
                unless_cancelled(&mut respond, verdicts).await
            }
            Rest::Read { headers, body, gathered } => {
                let verdicts = read_and_decide(&service, &headers, body, gathered);
                unless_cancelled(&mut respond, verdicts).await
            }
        };
        if let Some(outcome) = outcome {
            send(&mut respond, outcome.as_ref(), service.gate.headers);
        }
    }
}

/// What `work` comes to; `None` once the client has cancelled the call, or is gone.
async fn unless_cancelled<T>(
    respond: &mut SendResponse<Bytes>,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        // A call that is cancelled already must not count.
        biased;
        _ = poll_fn(|cx| respond.poll_reset(cx)) => None,
        done = work => Some(done),
    }
}

/// Waits for the rest of the message, and for what it takes to decide.
async fn read_and_decide(
    service: &RateLimits,
    headers: &HeaderMap,
    mut body: RecvStream,
    mut gathered: Gathered,
) -> Result<Vec<Verdict>, Status> {
    let read = poll_fn(|cx| frame::poll_read(headers, &mut body, &mut gathered, MAX_MESSAGE, cx));
    let message = timeout(ARRIVAL, read)
        .await
        .map_err(|_| Status::deadline_exceeded("the message did not arrive in time"))??;
    service.decide_later(message, Vec::new()).await
}

/// Sends an answer. A client that is gone is no error.
fn send(
    respond: &mut SendResponse<Bytes>,
    outcome: Result<&Vec<Verdict>, &Status>,
    style: HeaderStyle,
) {
    let Ok(decided) = outcome.map_err(|status| {
        let _ = respond.send_response(frame::failed(status), true);
    }) else {
        return;
    };
    if let Ok(mut stream) = respond.send_response(frame::ok(), false) {
        let _ = send_message(&mut stream, frame::write(|out| response::write(decided, style, out)));
    }
}

/// Sends the one message and the good end. What the client has no room for yet waits in the
/// connection: one small answer for each of its bounded number of calls.
fn send_message(stream: &mut SendStream<Bytes>, message: Bytes) -> Result<(), h2::Error> {
    stream.send_data(message, false)?;
    stream.send_trailers(frame::success())
}

#[cfg(test)]
mod tests;
