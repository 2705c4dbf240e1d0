//! The usage plane: one task per manager keeps a stream open and reports to it.
//!
//! The tasks know nothing of each other, so that a manager that hangs delays nobody. What to send is
//! the core's business; it keeps few frames unacknowledged, so that a full queue means a dead link.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use gateway_agent_core::{ConnectionId, Input, ManagerIndex};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_stream::StreamExt;
use tonic::Streaming;
use weir_proto::{
    convert::MAX_FRAME_BYTES,
    id::{ManagerId, ManagerLife},
    wire::weir::v1::{UsageAck, UsageFrame as WireFrame, usage_client::UsageClient},
};

use crate::{
    access::Access,
    config::ManagerUrl,
    driver::Event,
    link::{Backoff, OPEN_TIMEOUT, Outbox, call, connect, describe, entropy},
};

/// Frames that wait for the network. The core keeps at most four unacknowledged; one that finds
/// this queue full closes the link.
const QUEUE: usize = 16;

/// Stands for the link that could not be opened; numbers begin with 1.
const UNOPENED: ConnectionId = ConnectionId(0);

/// Gives every usage link of an agent its number.
#[derive(Debug, Clone, Default)]
pub(crate) struct LinkNumbers(Arc<AtomicU64>);

impl LinkNumbers {
    fn next(&self) -> ConnectionId {
        ConnectionId(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Reports to one manager.
pub(crate) struct Publisher {
    pub(crate) manager: ManagerIndex,
    pub(crate) url: ManagerUrl,
    pub(crate) access: Arc<Access>,
    pub(crate) numbers: LinkNumbers,
    pub(crate) events: mpsc::Sender<Event>,
}

impl Publisher {
    /// Keeps a usage stream open until the driver is gone.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new(entropy());
        let mut known_down = false;
        while !self.events.is_closed() {
            let ended = self.attempt().await;
            if ended.acknowledged {
                // Only an answer proves that the manager works; an open connection does not.
                backoff.reset();
                known_down = false;
            }
            if !ended.opened {
                let closed = Input::UsageClosed(self.manager, UNOPENED, ended.reason.clone());
                // A driver that is gone needs to know nothing.
                let _ = self.events.send(closed.into()).await;
            }
            let pause = backoff.pause();
            if known_down {
                tracing::debug!(manager = %self.url, reason = ended.reason, "no usage link");
            } else {
                tracing::warn!(manager = %self.url, reason = ended.reason, "no usage link; retrying");
            }
            known_down = true;
            sleep(pause).await;
        }
    }

    async fn attempt(&self) -> Ended {
        let channel = match connect(&self.url, &self.access).await {
            Ok(channel) => channel,
            Err(reason) => return Ended::unopened(reason),
        };
        let (outbox, frames, dropped) = Outbox::new(QUEUE);
        let mut client = UsageClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES);
        let call = match call(&self.access, frames.map(WireFrame::from)) {
            Ok(call) => client.report(call),
            Err(reason) => return Ended::unopened(reason),
        };
        let acks = match timeout(OPEN_TIMEOUT, call).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Ended::unopened(describe(&status)),
            Err(_) => {
                return Ended::unopened("accepted the connection but not the call".to_owned());
            }
        };
        let connection = self.numbers.next();
        if self.events.send(Event::UsageOpened(self.manager, connection, outbox)).await.is_err() {
            return Ended::unopened("the agent has ended".to_owned());
        }
        tracing::debug!(manager = %self.url, "usage link open");
        let ended = self.follow(connection, acks, dropped).await;
        let closed = Input::UsageClosed(self.manager, connection, ended.reason.clone());
        // A driver that is gone needs no farewell.
        let _ = self.events.send(closed.into()).await;
        ended
    }

    /// Hands acknowledgements to the driver until the link ends.
    async fn follow(
        &self,
        connection: ConnectionId,
        mut acks: Streaming<UsageAck>,
        mut dropped: oneshot::Receiver<()>,
    ) -> Ended {
        let mut acknowledged = false;
        let reason = loop {
            let ack = tokio::select! {
                ack = acks.message() => ack,
                _ = &mut dropped => break "the manager takes no more frames".to_owned(),
            };
            let ack = match ack {
                Ok(Some(ack)) => ack,
                Ok(None) => break "the manager ended the stream".to_owned(),
                Err(status) => break describe(&status),
            };
            let id = match ManagerId::new(&ack.manager_id) {
                Ok(id) => id,
                Err(error) => break format!("malformed acknowledgement: manager_id {error}"),
            };
            if !acknowledged {
                tracing::info!(manager = %self.url, name = %id, "usage link works");
            }
            acknowledged = true;
            let life = ManagerLife { id, incarnation: ack.manager_incarnation };
            let input = Input::UsageAck { manager: self.manager, connection, seq: ack.seq, life };
            if self.events.send(input.into()).await.is_err() {
                break "the agent has ended".to_owned();
            }
        };
        Ended { reason, acknowledged, opened: true }
    }
}

/// Why a link is gone, and whether the manager ever answered on it.
struct Ended {
    reason: String,
    acknowledged: bool,
    opened: bool,
}

impl Ended {
    fn unopened(reason: String) -> Self {
        Self { reason, acknowledged: false, opened: false }
    }
}
