//! The decision plane: each agent subscribes to the manager that it follows.

use std::{pin::Pin, sync::Arc};

use futures_util::stream;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};
use traffic_manager_core::Input;
use weir_proto::wire::weir::v1::{CreditFrame, DecisionFrame, decisions_server::Decisions};

use crate::{
    auth::{Guard, Speaker},
    driver::{Command, Driver, End, SESSION_QUEUE, SessionLink},
    streams::{self, Plane},
    telemetry::Telemetry,
};

/// The `Decisions` service.
pub(crate) struct Broker {
    /// Where credit frames go and decisions come from.
    pub(crate) driver: Driver,
    /// Where refusals are counted.
    pub(crate) telemetry: Arc<Telemetry>,
    /// Who may speak for which agent.
    pub(crate) guard: Guard,
}

#[tonic::async_trait]
impl Decisions for Broker {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<DecisionFrame, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<CreditFrame>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let id = self.driver.next_stream();
        let (frames, queue) = mpsc::channel(SESSION_QUEUE);
        let (end, ended) = watch::channel(None);
        let open = Command::OpenSession(id, SessionLink { frames, end });
        self.driver.send(open).await.map_err(|gone| Status::unavailable(gone.to_string()))?;
        let plane = Plane {
            input: Box::new(move |frame| Input::Credit(id, frame)),
            close: Box::new(move |end| Command::CloseSession(id, end)),
            malformed: self.telemetry.malformed_credit.clone(),
            speaker: Speaker::of(&self.guard, &request, "decisions"),
        };
        let reader = streams::read(request.into_inner(), ended.clone(), self.driver.clone(), plane);
        tokio::spawn(reader);
        let feed = Feed { queue, ended, done: false };
        Ok(Response::new(Box::pin(stream::unfold(feed, Feed::next))))
    }
}

/// The response: frames in order, then the end. A subscriber that is cut off gets its end before
/// the frames that piled up for it.
struct Feed {
    queue: mpsc::Receiver<DecisionFrame>,
    ended: watch::Receiver<Option<End>>,
    done: bool,
}

impl Feed {
    async fn next(mut self) -> Option<(Result<DecisionFrame, Status>, Self)> {
        if self.done {
            return None;
        }
        let frame = tokio::select! {
            biased;
            Ok(_) = self.ended.wait_for(|end| end.as_ref().is_some_and(|end| !end.flush)) => None,
            frame = self.queue.recv() => frame,
        };
        if let Some(frame) = frame {
            return Some((Ok(frame), self));
        }
        self.done = true;
        let status = streams::last_word(&self.ended)?;
        Some((Err(status), self))
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn feed() -> (SessionLink, Feed) {
        let (frames, queue) = mpsc::channel(4);
        let (end, ended) = watch::channel(None);
        (SessionLink { frames, end }, Feed { queue, ended, done: false })
    }

    async fn drain(feed: Feed) -> (usize, Option<Code>) {
        let (mut frames, mut feed) = (0, feed);
        while let Some((item, rest)) = feed.next().await {
            match item {
                Ok(_) => frames += 1,
                Err(status) => return (frames, Some(status.code())),
            }
            feed = rest;
        }
        (frames, None)
    }

    #[tokio::test]
    async fn a_regular_end_comes_after_the_frames() {
        let (link, feed) = feed();
        link.frames.try_send(DecisionFrame::default()).unwrap();
        link.end.send_replace(Some(End::regular()));
        drop(link);
        assert_eq!(drain(feed).await, (1, None));
    }

    #[tokio::test]
    async fn a_refusal_comes_after_the_frames() {
        let (link, feed) = feed();
        link.frames.try_send(DecisionFrame::default()).unwrap();
        link.end.send_replace(Some(End::because(Status::failed_precondition("no"))));
        drop(link);
        assert_eq!(drain(feed).await, (1, Some(Code::FailedPrecondition)));
    }

    #[tokio::test]
    async fn a_cut_off_comes_before_the_frames() {
        let (link, feed) = feed();
        link.frames.try_send(DecisionFrame::default()).unwrap();
        link.end.send_replace(Some(End::cut_off(Status::resource_exhausted("slow"))));
        drop(link);
        assert_eq!(drain(feed).await, (0, Some(Code::ResourceExhausted)));
    }

    #[tokio::test]
    async fn a_dead_driver_is_told_as_unavailable() {
        let (link, feed) = feed();
        drop(link);
        assert_eq!(drain(feed).await, (0, Some(Code::Unavailable)));
    }
}
