//! The decision plane: sessions with the managers that the core chooses.
//!
//! The core decides when to connect, to whom, and when to give up; a session only carries frames
//! between it and one manager. A frame that cannot be understood ends the session, for a missing
//! decision would be a gap.

use std::sync::Arc;

use gateway_agent_core::{ConnectionId, Input};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::Streaming;
use weir_proto::{
    convert::MAX_FRAME_BYTES,
    decision::{CreditFrame, DecisionFrame},
    wire::weir::v1::{
        CreditFrame as WireCredit, DecisionFrame as WireDecision, decisions_client::DecisionsClient,
    },
};

use crate::{
    access::Access,
    config::ManagerUrl,
    driver::Event,
    link::{LINGER, OPEN_TIMEOUT, Outbox, call, connect, describe},
};

/// Frames that wait for the network; one that finds the queue full closes the session.
const QUEUE: usize = 256;

/// One decision session.
pub(crate) struct Session {
    url: ManagerUrl,
    access: Arc<Access>,
    connection: ConnectionId,
    events: mpsc::Sender<Event>,
}

impl Session {
    /// Where a session's frames go, and the task that carries them. It ends when the outbox is
    /// dropped or the manager goes.
    pub(crate) fn start(
        url: ManagerUrl,
        access: Arc<Access>,
        connection: ConnectionId,
        events: mpsc::Sender<Event>,
    ) -> (Outbox<CreditFrame>, impl Future<Output = ()>) {
        let (outbox, frames, dropped) = Outbox::new(QUEUE);
        (outbox, Self { url, access, connection, events }.run(frames, dropped))
    }

    async fn run(self, frames: ReceiverStream<CreditFrame>, mut dropped: oneshot::Receiver<()>) {
        let opened = tokio::select! {
            opened = self.open(frames) => opened,
            // Nobody waits for the answer any more.
            _ = &mut dropped => return,
        };
        let reason = match opened {
            Ok(decisions) => match self.follow(decisions, dropped).await {
                Some(reason) => reason,
                None => return,
            },
            Err(reason) => reason,
        };
        tracing::debug!(manager = %self.url, reason, "decision session ended");
        self.tell(Input::SessionClosed(self.connection, reason)).await;
    }

    async fn open(
        &self,
        frames: ReceiverStream<CreditFrame>,
    ) -> Result<Streaming<WireDecision>, String> {
        let channel = connect(&self.url, &self.access).await?;
        let mut client = DecisionsClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES);
        let call = client.subscribe(call(&self.access, frames.map(WireCredit::from))?);
        match timeout(OPEN_TIMEOUT, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(describe(&status)),
            Err(_) => Err("accepted the connection but not the call".to_owned()),
        }
    }

    /// Hands decisions to the driver. `None` when the driver ended the session.
    async fn follow(
        &self,
        mut decisions: Streaming<WireDecision>,
        mut dropped: oneshot::Receiver<()>,
    ) -> Option<String> {
        if !self.tell(Input::SessionOpened(self.connection)).await {
            return None;
        }
        loop {
            let frame = tokio::select! {
                frame = decisions.message() => frame,
                _ = &mut dropped => {
                    linger(decisions).await;
                    return None;
                }
            };
            let frame = match frame {
                Ok(Some(frame)) => DecisionFrame::try_from(frame),
                Ok(None) => return Some("the manager ended the session".to_owned()),
                Err(status) => return Some(describe(&status)),
            };
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return Some(format!("the manager sent a malformed frame: {error}")),
            };
            if !self.tell(Input::Decision(self.connection, frame)).await {
                return None;
            }
        }
    }

    /// Waits for room in the driver's queue, which holds the manager's stream back. `false` when
    /// the driver is gone.
    async fn tell(&self, input: Input) -> bool {
        self.events.send(input.into()).await.is_ok()
    }
}

/// Lets the last frames leave: the upstream has ended, and a manager that read it to the end closes
/// the downstream.
async fn linger(mut decisions: Streaming<WireDecision>) {
    let _ = timeout(LINGER, async { while let Ok(Some(_)) = decisions.message().await {} }).await;
}
