//! The readers of agents' streams: foreign frames in, commands for the driver out.

use tokio::sync::watch;
use tonic::{Code, Status, Streaming};
use traffic_manager_core::Input;
use weir_proto::convert::WireError;

use crate::driver::{Command, Driver, End};

/// Largest frame. Agents cut their state into frames far below this.
pub(crate) const MAX_FRAME: usize = 4 << 20;

/// What differs between the planes.
pub(crate) struct Plane<D> {
    /// Hands a frame in.
    pub(crate) input: Box<dyn Fn(D) -> Input + Send>,
    /// Ends the stream.
    pub(crate) close: Box<dyn FnOnce(End) -> Command + Send>,
    /// Counts frames that were refused here.
    pub(crate) malformed: metrics::Counter,
}

/// Reads until the peer, the network or the driver ends the stream. While the driver's queue is
/// full nothing is read, so that the peer feels the pressure.
pub(crate) async fn read<W, D>(
    mut inbound: Streaming<W>,
    mut ended: watch::Receiver<Option<End>>,
    driver: Driver,
    plane: Plane<D>,
) where
    D: TryFrom<W, Error = WireError>,
{
    let end = loop {
        let frame = tokio::select! {
            biased;
            // The driver ended it and has told the core.
            _ = ended.wait_for(Option::is_some) => return,
            frame = inbound.message() => frame,
        };
        let frame = match frame {
            Ok(Some(frame)) => D::try_from(frame).map_err(|error| error.to_string()),
            Ok(None) => break End::regular(),
            Err(status) if is_unreadable(&status) => Err(status.message().to_owned()),
            // The connection is gone: nobody reads the answer.
            Err(_) => break End::regular(),
        };
        match frame {
            Ok(frame) => {
                if driver.send(Command::Frame((plane.input)(frame))).await.is_err() {
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
