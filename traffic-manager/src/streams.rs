//! The readers of agents' streams: foreign frames in, commands for the driver out.

use tokio::sync::watch;
use tonic::{Code, Status, Streaming};
use traffic_manager_core::Input;
use weir_proto::{
    convert::WireError,
    decision::{CreditEntry, CreditFrame},
    id::{AgentId, AgentLife},
    share::View,
    time::Time,
    usage::{KeyDef, KeyId, UsageEntry, UsageFrame},
};

use crate::{
    auth::Speaker,
    driver::{Command, Driver, End},
};

/// Bytes of an agent's life in a view, and of a key or name beside its text.
const LIFE: usize = size_of::<(AgentLife, Time)>() + HEADER;
const HEADER: usize = 2 * size_of::<usize>();

/// What differs between the planes.
pub(crate) struct Plane<D> {
    /// Hands a frame in.
    pub(crate) input: Box<dyn Fn(D) -> Input + Send>,
    /// Ends the stream.
    pub(crate) close: Box<dyn FnOnce(End) -> Command + Send>,
    /// Counts frames that were refused here.
    pub(crate) malformed: metrics::Counter,
    /// Who is at the other end.
    pub(crate) speaker: Speaker,
}

/// What a frame says of its sender.
pub(crate) trait Introduction {
    /// The agent that it speaks for, in the first frame of a stream.
    fn agent(&self) -> Option<&AgentId>;
}

impl Introduction for UsageFrame {
    fn agent(&self) -> Option<&AgentId> {
        self.identity.as_ref().map(|identity| &identity.life.id)
    }
}

impl Introduction for CreditFrame {
    fn agent(&self) -> Option<&AgentId> {
        self.attach.as_ref().map(|attach| &attach.identity.life.id)
    }
}

/// What a frame takes while it waits.
pub(crate) trait Memory {
    /// Bytes that were allocated beside those of the message, about: a few names are left out.
    fn bytes(&self) -> usize;
}

impl Memory for UsageFrame {
    fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<UsageEntry>()
            + self.forgotten.capacity() * size_of::<KeyId>()
            + self.names.len() * size_of::<(KeyId, u32, u32)>()
    }
}

impl Memory for CreditFrame {
    fn bytes(&self) -> usize {
        let view = |view: &View| (view.members.len() + view.lost.len()) * LIFE;
        let attached = self
            .attach
            .as_ref()
            .map_or(0, |attach| view(&attach.view) + attach.promised.as_ref().map_or(0, view));
        self.entries.capacity() * size_of::<CreditEntry>()
            + self.keys.capacity() * (size_of::<KeyDef>() + HEADER)
            + attached
    }
}

/// Reads until the peer, the network or the driver ends the stream. While the driver's queue is
/// full nothing is read, so that the peer feels the pressure.
pub(crate) async fn read<W: prost::Message, D>(
    mut inbound: Streaming<W>,
    mut ended: watch::Receiver<Option<End>>,
    driver: Driver,
    plane: Plane<D>,
) where
    D: TryFrom<W, Error = WireError> + Memory + Introduction,
{
    let end = loop {
        let frame = tokio::select! {
            biased;
            // The driver ended it and has told the core.
            _ = ended.wait_for(Option::is_some) => return,
            frame = inbound.message() => frame,
        };
        let frame = match frame {
            Ok(Some(message)) => {
                // Names stay in the message's memory, and other text is about as long as there.
                let text = message.encoded_len();
                let frame = D::try_from(message).map_err(|error| error.to_string());
                frame.map(|frame| (text + frame.bytes(), frame))
            }
            Ok(None) => break End::regular(),
            Err(status) if is_unreadable(&status) => Err(status.message().to_owned()),
            // The connection is gone: nobody reads the answer.
            Err(_) => break End::regular(),
        };
        match frame {
            Ok((bytes, frame)) => {
                let known = frame.agent().map(|id| plane.speaker.may_be(id.as_str()));
                if let Some(Err(refused)) = known {
                    break End::because(refused);
                }
                if driver.send_frame((plane.input)(frame), bytes).await.is_err() {
                    return;
                }
            }
            Err(message) => {
                plane.malformed.increment(1);
                tracing::warn!("refused a malformed frame: {message}");
                break End::because(Status::invalid_argument(message));
            }
        }
    };
    // If the driver has stopped, it has ended every stream itself.
    let _ = driver.send((plane.close)(end)).await;
}

/// Not protobuf, or too large: the codec's words for it. What the transport says has a source.
fn is_unreadable(status: &Status) -> bool {
    let codes = [Code::Internal, Code::OutOfRange, Code::ResourceExhausted];
    codes.contains(&status.code()) && std::error::Error::source(status).is_none()
}

/// How a response ends when the driver's side of it is gone.
pub(crate) fn last_word(ended: &watch::Receiver<Option<End>>) -> Option<Status> {
    match &*ended.borrow() {
        Some(end) => end.status.clone(),
        None => Some(Status::unavailable("the manager is shutting down")),
    }
}
