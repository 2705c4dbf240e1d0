//! Which links lead to which peer.

use std::collections::BTreeMap;

use tonic::Status;
use weir_proto::{
    id::{ManagerId, ManagerLife},
    peer::PeerFrame,
};

use crate::peers::{Link, LinkId};

/// A peer that can be reached.
#[derive(Debug)]
struct Peer {
    life: ManagerLife,
    /// In the order in which they were opened.
    links: Vec<Link>,
}

/// What a change of links means for the peer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It can be reached now, and could not before in this life of it.
    Up,
    /// Its last link has ended.
    Down,
    /// Nothing.
    Same,
    /// Another life of it is linked.
    Refused,
}

/// Links to all peers.
pub(super) struct Links {
    peers: BTreeMap<ManagerId, Peer>,
    /// Counts frames that no link took.
    dropped: metrics::Counter,
}

impl Links {
    /// No link yet.
    pub(super) fn new(dropped: metrics::Counter) -> Self {
        Links { peers: BTreeMap::new(), dropped }
    }

    /// A link was opened. One to another life of a peer whose links are open is refused: a life that has
    /// ended has no link for long, and a second manager with the id of a first must not take its place.
    pub(super) fn open(&mut self, life: &ManagerLife, link: Link) -> Change {
        let known = self.peers.get_mut(&life.id);
        match known {
            Some(peer) if peer.life == *life => {
                peer.links.push(link);
                Change::Same
            }
            Some(_) => {
                let id = &life.id;
                link.refuse(Status::already_exists(format!(
                    "another manager with the id {id} is linked here; give each one of its own (a former \
                     life of the same one is gone within seconds)"
                )));
                Change::Refused
            }
            None => {
                let peer = Peer { life: life.clone(), links: vec![link] };
                self.peers.insert(life.id.clone(), peer);
                Change::Up
            }
        }
    }

    /// A link has ended.
    pub(super) fn close(&mut self, life: &ManagerLife, id: LinkId) -> Change {
        let Some(peer) = self.peers.get_mut(&life.id).filter(|peer| peer.life == *life) else {
            return Change::Same;
        };
        peer.links.retain(|link| link.id != id);
        if !peer.links.is_empty() {
            return Change::Same;
        }
        self.peers.remove(&life.id);
        Change::Down
    }

    /// Sends over the newest link that takes it; otherwise the frame is lost, as frames may be. A
    /// heartbeat goes over every link: one on which nothing comes is taken for dead.
    pub(super) fn send(&self, to: &ManagerId, frame: &PeerFrame) {
        let Some(peer) = self.peers.get(to) else { return };
        let everywhere = matches!(frame, PeerFrame::Heartbeat(_));
        let mut taken = false;
        for link in peer.links.iter().rev() {
            taken |= link.send(frame.clone());
            if taken && !everywhere {
                return;
            }
        }
        if !taken {
            self.dropped.increment(1);
        }
    }

    /// Whether frames of this life are those of the peer as it is now.
    pub(super) fn is_current(&self, life: &ManagerLife) -> bool {
        self.peers.get(&life.id).is_some_and(|peer| peer.life == *life)
    }
}

/// Says that nothing is told to this peer: links to as many as there may be are open.
pub(super) fn warn_of(life: &ManagerLife) {
    tracing::warn!(
        peer = %life.id,
        "nothing is replicated with this peer: there are as many others as a group may have; take \
         managers that are no part of it off the list of peers"
    );
}
