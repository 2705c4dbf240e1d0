//! The other managers of the group, by what they said last: who is there, and ready to take over.

use std::{collections::BTreeMap, time::Duration};

use weir_proto::{
    id::{Incarnation, ManagerId, ManagerLife},
    time::Time,
};

use super::{Claims, SETTLE, SILENCE};

/// Most managers that are remembered. Of more, the one heard least recently is forgotten.
const MAX_PEERS: usize = 64;

#[derive(Debug, Clone)]
struct Peer {
    incarnation: Incarnation,
    /// Its clock, in its newest heartbeat.
    sent: u64,
    priority: u32,
    ready: bool,
    heard: Time,
    /// Ready and heard without a gap since then.
    since: Time,
    lost: bool,
}

impl Peer {
    fn present(&self, now: Time) -> bool {
        !self.lost && now.since(self.heard) < SILENCE
    }
}

/// All others.
#[derive(Debug, Clone, Default)]
pub(super) struct Peers(BTreeMap<ManagerId, Peer>);

impl Peers {
    /// Takes a heartbeat in; false if it is not newer than what is known.
    pub(super) fn hear(&mut self, life: &ManagerLife, claims: &Claims, now: Time) -> bool {
        let known = self.0.get(&life.id);
        let newer = |p: &Peer| (p.incarnation, p.sent) < (life.incarnation, claims.sent);
        if !known.is_none_or(newer) {
            return false;
        }
        let same = known.filter(|p| p.incarnation == life.incarnation);
        let steady = same.filter(|p| p.present(now) && p.ready && claims.ready);
        let peer = Peer {
            incarnation: life.incarnation,
            sent: claims.sent,
            priority: claims.priority,
            ready: claims.ready,
            heard: now,
            since: steady.map_or(now, |p| p.since),
            lost: false,
        };
        if self.0.len() >= MAX_PEERS && known.is_none() {
            let oldest = self.0.iter().min_by_key(|(_, p)| p.heard).map(|(id, _)| id.clone());
            oldest.and_then(|id| self.0.remove(&id));
        }
        self.0.insert(life.id.clone(), peer);
        true
    }

    pub(super) fn lost(&mut self, id: &ManagerId) {
        if let Some(peer) = self.0.get_mut(id) {
            peer.lost = true;
        }
    }

    /// A later life of that manager was heard.
    pub(super) fn superseded(&self, life: &ManagerLife) -> bool {
        self.0.get(&life.id).is_some_and(|p| p.incarnation > life.incarnation)
    }

    /// How many are there.
    pub(super) fn present(&self, now: Time) -> usize {
        self.0.values().filter(|p| p.present(now)).count()
    }

    /// Whether somebody who would take over before `me` is there and ready, or (if `unready`) not yet.
    pub(super) fn anyone_before(&self, me: (u32, &ManagerId), unready: bool, now: Time) -> bool {
        let before = |(id, p): (&ManagerId, &Peer)| {
            (p.priority, id) < me && p.present(now) && (p.ready || unready)
        };
        self.0.iter().any(before)
    }

    /// Whether somebody of a lower number than `priority` has been ready for long.
    pub(super) fn better(&self, priority: u32, now: Time) -> bool {
        let steady = |p: &Peer| p.ready && now.since(p.since) >= SETTLE;
        self.0.values().any(|p| p.priority < priority && p.present(now) && steady(p))
    }

    /// For so long nothing could be heard.
    pub(super) fn excuse(&mut self, pause: Duration, now: Time) {
        for peer in self.0.values_mut() {
            peer.heard = now.min(peer.heard + pause);
        }
    }
}
