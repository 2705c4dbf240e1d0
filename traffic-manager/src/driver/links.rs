//! The streams that the driver serves, and how it ends them.
//!
//! A stream has two tasks besides the driver: a reader that hands frames in, and the response that
//! the server polls. Both watch the stream's end: once the driver has set it (or dropped its side),
//! the reader stops and the response finishes with that status.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};
use tonic::Status;
use traffic_manager_core::StreamId;
use weir_proto::wire::weir::v1 as wire;

/// Frames that wait for one subscriber. A full queue cuts the subscriber off: it comes back and
/// starts from a snapshot, which is cheaper than a backlog without end.
pub(crate) const SESSION_QUEUE: usize = 256;

/// Why and how a stream ends.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// What the peer is told; `None` = a regular end.
    pub(crate) status: Option<Status>,
    /// Frames still queued are sent first.
    pub(crate) flush: bool,
}

impl End {
    /// Answers the peer's own goodbye.
    pub(crate) fn regular() -> Self {
        End { status: None, flush: true }
    }

    /// Tells the peer why, after what is queued.
    pub(crate) fn because(status: Status) -> Self {
        End { status: Some(status), flush: true }
    }

    /// Does not wait for a peer that does not read.
    pub(crate) fn cut_off(status: Status) -> Self {
        End { status: Some(status), flush: false }
    }
}

/// The driver's side of a usage stream. Only the newest acknowledgement matters: it covers the ones
/// before it.
#[derive(Debug)]
pub(crate) struct UsageLink {
    /// The newest `seq` merged.
    pub(crate) acked: watch::Sender<u64>,
    /// Set once, at the end.
    pub(crate) end: watch::Sender<Option<End>>,
}

/// The driver's side of a decision session.
#[derive(Debug)]
pub(crate) struct SessionLink {
    /// At most [`SESSION_QUEUE`] frames.
    pub(crate) frames: mpsc::Sender<wire::DecisionFrame>,
    /// Set once, at the end.
    pub(crate) end: watch::Sender<Option<End>>,
}

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It waits in the queue, or its stream is already gone and its end is on the way to us.
    Queued,
    /// The queue was full; the subscriber is cut off.
    CutOff,
}

/// Every open stream.
#[derive(Debug, Default)]
pub(super) struct Links {
    usage: BTreeMap<StreamId, UsageLink>,
    sessions: BTreeMap<StreamId, SessionLink>,
}

impl Links {
    pub(super) fn open_usage(&mut self, stream: StreamId, link: UsageLink) {
        self.usage.insert(stream, link);
    }

    pub(super) fn open_session(&mut self, stream: StreamId, link: SessionLink) {
        self.sessions.insert(stream, link);
    }

    /// Acknowledges; a stream that just ended needs no acknowledgement.
    pub(super) fn ack(&self, stream: StreamId, seq: u64) {
        if let Some(link) = self.usage.get(&stream) {
            link.acked.send_replace(seq);
        }
    }

    /// Queues a frame, or cuts the subscriber off.
    pub(super) fn decide(&mut self, stream: StreamId, frame: wire::DecisionFrame) -> Sent {
        let Some(link) = self.sessions.get(&stream) else { return Sent::Queued };
        match link.frames.try_send(frame) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Sent::Queued,
            Err(mpsc::error::TrySendError::Full(_)) => {
                let text = "too slow: decisions piled up; subscribe again for a snapshot";
                self.end_session(stream, End::cut_off(Status::resource_exhausted(text)));
                Sent::CutOff
            }
        }
    }

    pub(super) fn end_usage(&mut self, stream: StreamId, end: End) {
        if let Some(link) = self.usage.remove(&stream) {
            link.end.send_replace(Some(end));
        }
    }

    pub(super) fn end_session(&mut self, stream: StreamId, end: End) {
        if let Some(link) = self.sessions.remove(&stream) {
            link.end.send_replace(Some(end));
        }
    }

    /// Ends every stream.
    pub(super) fn end_all(&mut self, status: &Status) {
        for (_, link) in std::mem::take(&mut self.usage) {
            link.end.send_replace(Some(End::because(status.clone())));
        }
        for (_, link) in std::mem::take(&mut self.sessions) {
            link.end.send_replace(Some(End::because(status.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_cuts_the_subscriber_off_at_once() {
        let (frames, mut queue) = mpsc::channel(2);
        let (end, ended) = watch::channel(None);
        let mut links = Links::default();
        links.open_session(StreamId(1), SessionLink { frames, end });
        assert_eq!(links.decide(StreamId(1), wire::DecisionFrame::default()), Sent::Queued);
        assert_eq!(links.decide(StreamId(1), wire::DecisionFrame::default()), Sent::Queued);
        assert_eq!(links.decide(StreamId(1), wire::DecisionFrame::default()), Sent::CutOff);
        let end = ended.borrow().clone().expect("the end is set");
        assert!(!end.flush);
        assert_eq!(end.status.map(|status| status.code()), Some(tonic::Code::ResourceExhausted));
        assert_eq!(links.decide(StreamId(1), wire::DecisionFrame::default()), Sent::Queued);
        assert!(queue.try_recv().is_ok());
    }
}
