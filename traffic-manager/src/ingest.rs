//! The usage plane: agents tell what they admitted.

use std::{pin::Pin, sync::Arc};

use futures_util::stream;
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};
use traffic_manager_core::Input;
use weir_proto::wire::weir::v1::{UsageAck, UsageFrame, usage_server::Usage};

use crate::{
    auth::{Guard, Speaker},
    driver::{Command, Driver, End, UsageLink},
    streams::{self, Plane},
    telemetry::Telemetry,
};

/// The `Usage` service.
pub(crate) struct Ingest {
    /// Where frames go.
    pub(crate) driver: Driver,
    /// Where refusals are counted.
    pub(crate) telemetry: Arc<Telemetry>,
    /// Who may speak for which agent.
    pub(crate) guard: Guard,
}

#[tonic::async_trait]
impl Usage for Ingest {
    type ReportStream = Pin<Box<dyn Stream<Item = Result<UsageAck, Status>> + Send>>;

    async fn report(
        &self,
        request: Request<Streaming<UsageFrame>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let id = self.driver.next_stream();
        let (acked, acks) = watch::channel(0);
        let (end, ended) = watch::channel(None);
        let open = Command::OpenUsage(id, UsageLink { acked, end });
        self.driver.send(open).await.map_err(|gone| Status::unavailable(gone.to_string()))?;
        let plane = Plane {
            input: Box::new(move |frame| Input::Usage(id, frame)),
            close: Box::new(move |end| Command::CloseUsage(id, end)),
            malformed: self.telemetry.malformed_usage.clone(),
            speaker: Speaker::of(&self.guard, &request, "usage"),
        };
        let reader = streams::read(request.into_inner(), ended.clone(), self.driver.clone(), plane);
        tokio::spawn(reader);
        let replies = Replies {
            acks,
            ended,
            done: false,
            manager_id: self.driver.id().to_string(),
            manager_incarnation: self.driver.incarnation(),
        };
        Ok(Response::new(Box::pin(stream::unfold(replies, Replies::next))))
    }
}

/// The response: the newest acknowledgement whenever the peer has taken the last one.
struct Replies {
    acks: watch::Receiver<u64>,
    ended: watch::Receiver<Option<End>>,
    done: bool,
    manager_id: String,
    manager_incarnation: u64,
}

impl Replies {
    async fn next(mut self) -> Option<(Result<UsageAck, Status>, Self)> {
        if self.done {
            return None;
        }
        if self.acks.changed().await.is_ok() {
            let ack = UsageAck {
                seq: *self.acks.borrow_and_update(),
                manager_id: self.manager_id.clone(),
                manager_incarnation: self.manager_incarnation,
            };
            return Some((Ok(ack), self));
        }
        // The driver let go of the stream, after setting its end.
        self.done = true;
        let status = streams::last_word(&self.ended)?;
        Some((Err(status), self))
    }
}
