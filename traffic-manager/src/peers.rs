//! Links between managers: each dials every peer of its configuration, and serves those that dial it.
//!
//! A link carries frames both ways and begins with each side's greeting. Between two managers there
//! are two links where both can dial, and one where a firewall lets only one of them; frames go over any.
//! A link may lose frames (its queue is bounded): the protocol above tells again what was not
//! acknowledged.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};
use tonic::{Status, Streaming};
use weir_proto::{
    id::ManagerLife,
    peer::{PeerFrame, PeerHello},
    wire::weir::v1 as wire,
};

pub(crate) use self::{
    directory::{Contact, Directory},
    serve::PeerService,
};
use crate::{
    auth::{Guard, Speaker},
    security::PeerAccess,
};

pub(crate) mod dial;
mod directory;
mod serve;

/// Frames that wait for one link. What finds it full is dropped, and told again later.
const LINK_QUEUE: usize = 64;
/// Events of all links that the keeper has not looked at; readers wait while it is full.
pub(crate) const EVENTS: usize = 32;
/// A peer speaks at least five times a second: a link that is silent for this long is dead.
const SILENCE: Duration = Duration::from_secs(3);

/// One link; numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// The keeper's end of a link. Dropping it ends the link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    frames: mpsc::Sender<wire::PeerFrame>,
    end: watch::Sender<Option<Status>>,
}

impl Link {
    /// Ends the link, and tells the peer why.
    pub(crate) fn refuse(self, why: Status) {
        self.end.send_replace(Some(why));
    }

    /// Queues a frame; false when the queue is full or the link has ended.
    pub(crate) fn send(&self, frame: PeerFrame) -> bool {
        self.frames.try_send(frame.into()).is_ok()
    }
}

/// What links tell the keeper.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// A link to this peer works; `address` is where it was dialled, if from here.
    Up { peer: PeerHello, address: Option<String>, link: Link },
    /// A frame came.
    Frame(ManagerLife, PeerFrame),
    /// The link has ended.
    Down(ManagerLife, LinkId),
}

/// What every link needs to know of this manager.
#[derive(Clone)]
pub(crate) struct Me {
    /// How it introduces itself.
    pub(crate) greeting: PeerHello,
    /// Where events go.
    pub(crate) events: mpsc::Sender<LinkEvent>,
    /// Counts frames that could not be read.
    pub(crate) malformed: metrics::Counter,
    /// With which credentials it dials.
    pub(crate) access: PeerAccess,
    /// Who may speak for which manager.
    pub(crate) guard: Guard,
    /// Whom it met where.
    pub(crate) directory: Arc<Directory>,
}

/// A link that begins: what the keeper will hold, and the other end of both.
pub(crate) fn open(
    id: LinkId,
) -> (Link, mpsc::Receiver<wire::PeerFrame>, watch::Receiver<Option<Status>>) {
    let (frames, queue) = mpsc::channel(LINK_QUEUE);
    let (end, ended) = watch::channel(None);
    (Link { id, frames, end }, queue, ended)
}

/// Reads a link until it ends; says why it did.
async fn follow(
    me: &Me,
    address: Option<String>,
    speaker: &Speaker,
    link: Link,
    mut inbound: Streaming<wire::PeerFrame>,
    mut ended: watch::Receiver<Option<Status>>,
) -> Result<(), Status> {
    let peer = greeting(me, &mut inbound).await?;
    speaker.may_be(peer.life.id.as_str())?;
    let (life, id) = (peer.life.clone(), link.id);
    if let Some(address) = &address
        && let Some(other) = me.directory.met(address, &life.id)
    {
        tracing::warn!(
            peer = %life.id,
            "{address} and {other} lead to one manager: name each peer once, by an address of its own"
        );
    }
    let gone = |_| Status::unavailable("the manager is shutting down");
    me.events.send(LinkEvent::Up { peer, address, link }).await.map_err(gone)?;
    let end = loop {
        let frame = tokio::select! {
            biased;
            // The keeper let go of it.
            _ = ended.changed() => break ended.borrow().clone().map_or(Ok(()), Err),
            frame = timeout_at(Instant::now() + SILENCE, inbound.message()) => frame,
        };
        let frame = match frame {
            Ok(Ok(Some(frame))) => frame,
            Ok(Ok(None)) => break Ok(()),
            Ok(Err(status)) => break Err(status),
            Err(_) => break Err(Status::deadline_exceeded("the peer is silent")),
        };
        match PeerFrame::try_from(frame) {
            Ok(frame) => {
                me.events.send(LinkEvent::Frame(life.clone(), frame)).await.map_err(gone)?
            }
            Err(error) => {
                me.malformed.increment(1);
                tracing::warn!(peer = %life.id, "refused a malformed frame: {error}");
                break Err(Status::invalid_argument(error.to_string()));
            }
        }
    };
    me.events.send(LinkEvent::Down(life, id)).await.map_err(gone)?;
    end
}

/// The peer's first frame, checked.
async fn greeting(me: &Me, inbound: &mut Streaming<wire::PeerFrame>) -> Result<PeerHello, Status> {
    let first = timeout_at(Instant::now() + SILENCE, inbound.message());
    let first = first.await.map_err(|_| Status::deadline_exceeded("no greeting came"))??;
    let first = first.ok_or_else(|| Status::unavailable("the stream ended without a greeting"))?;
    let refused = |why: String| {
        me.malformed.increment(1);
        Status::invalid_argument(why)
    };
    let peer = match PeerFrame::try_from(first) {
        Ok(PeerFrame::Hello(greeting)) => greeting,
        Ok(_) => return Err(refused("the first frame is not a greeting".to_owned())),
        Err(error) => return Err(refused(error.to_string())),
    };
    if peer.life == me.greeting.life {
        return Err(Status::already_exists("this is the manager itself; take it out of its peers"));
    }
    if peer.life.id == me.greeting.life.id {
        let text = format!("two managers have the id {}; give each one of its own", peer.life.id);
        return Err(Status::already_exists(text));
    }
    Ok(peer)
}
