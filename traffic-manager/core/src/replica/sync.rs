//! Spreading entries over links that lose, double and reorder frames.
//!
//! Per peer there is a set of keys that it is not known to hold. Deltas carry the present state of some
//! of them, and are acknowledged once durable; what is not is sent again. Digests find what such
//! bookkeeping cannot know: after a restart, a cut, a lost disk. Whatever is lost, only delays.

mod parts;
mod peer;
mod pending;
mod writes;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use weir_proto::{
    id::{ManagerId, ManagerLife},
    peer::{Ack, Digest, EntryKey, Heartbeat, MAX_HASHES, PeerFrame, Stamp, Summary},
    time::Time,
};

use super::{
    Announcement, Input, Output, PeerStatus, WriteId, change::Received, entries::Entries, hash, key,
};
use peer::Peer;
use pending::Mark;
use writes::Writes;

/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(200);
/// Most peers: far more managers than a group has.
const MAX_PEERS: usize = 64;
/// Hashes in one summary; parts sent in answer to one digest, the others come in the next round.
const PART_HASHES: usize = MAX_HASHES / 2;
const MAX_PARTS: usize = 16;

/// What sync must know of the replica.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) entries: &'a Entries,
    pub(super) now: Time,
    pub(super) revision: u64,
    pub(super) policies_revision: u64,
    pub(super) stamp: Stamp,
}

/// All peers.
#[derive(Debug, Clone)]
pub(super) struct Sync {
    me: ManagerLife,
    alone: bool,
    peers: BTreeMap<ManagerId, Peer>,
    announcement: Announcement,
    heartbeat_at: Time,
    next_number: u64,
    next_round: u64,
    writes: Writes,
    synced: bool,
    pub(super) resent: u64,
}

impl Sync {
    pub(super) fn new(me: ManagerLife, group: usize, now: Time) -> Sync {
        Sync {
            me,
            alone: group <= 1,
            peers: BTreeMap::new(),
            announcement: Announcement::default(),
            heartbeat_at: now,
            next_number: 0,
            next_round: 0,
            writes: Writes::default(),
            synced: false,
            resent: 0,
        }
    }

    /// Entries changed here: every peer lacks them.
    pub(super) fn changed(&mut self, keys: impl Iterator<Item = EntryKey>, cx: Context<'_>) {
        let mark = Mark { revision: cx.revision, since: cx.now };
        for key in keys {
            for peer in self.peers.values_mut() {
                peer.lacks(key.clone(), mark);
            }
        }
    }

    /// Entries left: nobody lacks them any more.
    pub(super) fn gone(&mut self, keys: Vec<EntryKey>) {
        let keys: BTreeSet<EntryKey> = keys.into_iter().collect();
        if !keys.is_empty() {
            self.peers.values_mut().for_each(|peer| peer.forget(&keys));
        }
    }

    /// This life wrote entries.
    pub(super) fn wrote(&mut self, id: WriteId, keys: BTreeSet<EntryKey>, revision: u64) {
        self.writes.add(id, keys, revision);
    }

    /// A peer's entries are durable here.
    pub(super) fn received(&mut self, from: Received, cx: Context<'_>, out: &mut Vec<Output>) {
        // A later life would take it for the acknowledgement of a delta of its own.
        let Some(peer) = self.peers.get_mut(&from.from.id).filter(|p| p.life == from.from) else {
            return;
        };
        if from.number > 0 {
            let refused = from.refused.iter().map(of_key).collect();
            let ack = Ack { number: from.number, refused };
            out.push(Output::Send(from.from.id.clone(), PeerFrame::Ack(ack)));
        }
        peer.arrived(from.arrived.iter().map(of_key));
        if from.refused.is_empty() {
            peer.hurry(cx.now);
        }
        for key in &from.known {
            peer.holds(key);
            self.writes.held(key, cx.revision, &from.from.id, out);
        }
    }

    /// Sends what can be sent, and tells when the first sync has ended.
    pub(super) fn flush(&mut self, cx: Context<'_>, out: &mut Vec<Output>) {
        for peer in self.peers.values_mut() {
            peer.fill(cx.entries, (cx.now, cx.revision), &mut self.next_number, out);
        }
        let mut up = self.peers.values().filter(|peer| peer.up).peekable();
        let told = self.alone || (up.peek().is_some() && up.all(|peer| peer.synced));
        if told && !self.synced {
            self.synced = true;
            out.push(Output::Synced);
        }
    }

    pub(super) fn handle(&mut self, input: Input, cx: Context<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Up(life) => self.up(life, cx, out),
            Input::Down(life) => {
                if let Some(peer) = self.current(&life) {
                    peer.up = false;
                }
            }
            Input::Frame(life, frame) => {
                if let Some(peer) = self.current(&life) {
                    peer.heard = Some(cx.now);
                    self.frame(&life, frame, cx, out);
                }
            }
        }
        self.flush(cx, out);
    }

    fn current(&mut self, life: &ManagerLife) -> Option<&mut Peer> {
        self.peers.get_mut(&life.id).filter(|peer| peer.life == *life)
    }

    fn up(&mut self, life: ManagerLife, cx: Context<'_>, out: &mut Vec<Output>) {
        if life.id == self.me.id {
            return;
        }
        if !self.has_room(&life.id) {
            out.push(Output::Crowded(life));
            return;
        }
        let peer =
            self.peers.entry(life.id.clone()).or_insert_with(|| Peer::new(life.clone(), cx.now));
        if life.incarnation < peer.life.incarnation {
            return; // an old life's link that has not been noticed to be dead
        }
        if life != peer.life {
            *peer = Peer::new(life.clone(), cx.now);
        }
        peer.link_up(cx.now);
        self.next_round += 1;
        peer.begin_round(self.next_round, cx.now);
        let digest =
            Digest { round: self.next_round, buckets: cx.entries.digests().sums().to_vec() };
        out.push(Output::Send(life.id.clone(), PeerFrame::Digest(digest)));
        let heartbeat = self.heartbeat(cx);
        out.push(Output::Send(life.id, PeerFrame::Heartbeat(heartbeat)));
    }

    /// Makes room for one more peer: of too many, the one that is down and was heard longest ago is forgotten.
    fn has_room(&mut self, id: &ManagerId) -> bool {
        if self.peers.len() < MAX_PEERS || self.peers.contains_key(id) {
            return true;
        }
        let away = self.peers.values().filter(|peer| !peer.up);
        let oldest = away.min_by_key(|peer| peer.heard).map(|peer| peer.life.id.clone());
        oldest.is_some_and(|id| self.peers.remove(&id).is_some())
    }

    fn heartbeat(&self, cx: Context<'_>) -> Heartbeat {
        Heartbeat {
            now: cx.now,
            stamp: cx.stamp,
            revision: cx.revision,
            root: cx.entries.digests().root(),
            entries: cx.entries.digests().len() as u64,
            ready: self.announcement.ready,
            priority: self.announcement.priority,
            claims: self.announcement.claims.clone(),
            policies_revision: cx.policies_revision,
        }
    }

    fn frame(
        &mut self,
        from: &ManagerLife,
        frame: PeerFrame,
        cx: Context<'_>,
        out: &mut Vec<Output>,
    ) {
        match frame {
            // The shell's.
            PeerFrame::Hello(_) | PeerFrame::AskCounters(_) | PeerFrame::Counters(_) => {}
            PeerFrame::Heartbeat(heartbeat) => self.heard(from, heartbeat, cx, out),
            PeerFrame::Delta(delta) => out.push(Output::Receive(from.clone(), delta)),
            PeerFrame::Ack(ack) => self.acked(from, &ack, cx.now, out),
            PeerFrame::Digest(digest) => answer(from, &digest, cx.entries, out),
            PeerFrame::Summary(summary) => self.summary(from, &summary, cx, out),
            PeerFrame::Want(hashes) => {
                let mark = Mark { revision: cx.revision, since: cx.now };
                if let Some(peer) = self.current(from) {
                    for key in hashes.iter().filter_map(|hash| cx.entries.digests().key(*hash)) {
                        peer.lacks(key.clone(), mark);
                    }
                }
            }
        }
    }

    fn heard(
        &mut self,
        from: &ManagerLife,
        heartbeat: Heartbeat,
        cx: Context<'_>,
        out: &mut Vec<Output>,
    ) {
        let equal = heartbeat.root == cx.entries.digests().root();
        out.push(Output::Heard(from.clone(), heartbeat.clone()));
        let Some(peer) = self.current(from) else { return };
        if heartbeat.revision >= peer.heartbeat.revision {
            peer.heartbeat = heartbeat;
        }
        if equal {
            // What a peer holds it never loses in one life, so that even a late heartbeat says it.
            peer.equal(cx.now);
            self.writes.all_held(&from.id, out);
        } else {
            peer.differs_since = peer.differs_since.or(Some(cx.now));
        }
    }

    fn acked(&mut self, from: &ManagerLife, ack: &Ack, now: Time, out: &mut Vec<Output>) {
        let Some(peer) = self.peers.get_mut(&from.id).filter(|peer| peer.life == *from) else {
            return;
        };
        let refused: BTreeSet<u64> = ack.refused.iter().copied().collect();
        let Some(flight) = peer.acked(ack.number, refused.is_empty(), now) else { return };
        let mut taken = Vec::with_capacity(flight.keys.len());
        for (key, mark) in flight.keys {
            if !refused.is_empty() && refused.contains(&of_key(&key)) {
                peer.refuses(key, mark);
            } else {
                taken.push(key);
            }
        }
        // A large register lands in several deltas.
        let on_the_way = peer.on_the_way();
        for key in taken.iter().filter(|key| peer.took(key) && !on_the_way.contains(key)) {
            self.writes.held(key, flight.revision, &from.id, out);
        }
    }

    fn summary(
        &mut self,
        from: &ManagerLife,
        summary: &Summary,
        cx: Context<'_>,
        out: &mut Vec<Output>,
    ) {
        let Some(peer) = self.current(from) else { return };
        let mark = Mark { revision: cx.revision, since: cx.now };
        let mut wanted = Vec::new();
        for bucket in &summary.buckets {
            let (news, want) = cx.entries.digests().compare(bucket);
            news.into_iter().for_each(|key| peer.lacks(key, mark));
            wanted.extend(want);
        }
        for hashes in wanted.chunks(MAX_HASHES) {
            out.push(Output::Send(from.id.clone(), PeerFrame::Want(hashes.to_vec())));
        }
        peer.answered(summary.round, (summary.part, summary.parts), &wanted);
    }

    /// News is told at once: the next heartbeat is due, and the only one of this moment.
    pub(super) fn announce(&mut self, announcement: Announcement, now: Time) {
        if announcement != self.announcement {
            self.announcement = announcement;
            self.heartbeat_at = self.heartbeat_at.min(now);
        }
    }

    fn beat(&mut self, cx: Context<'_>, out: &mut Vec<Output>) {
        self.heartbeat_at = cx.now + HEARTBEAT;
        let heartbeat = self.heartbeat(cx);
        for peer in self.peers.values().filter(|peer| peer.up) {
            let frame = PeerFrame::Heartbeat(heartbeat.clone());
            out.push(Output::Send(peer.life.id.clone(), frame));
        }
    }

    pub(super) fn next_deadline(&self) -> Time {
        self.heartbeat_at
    }

    /// Heartbeats, what to send again, and rounds of digests. Returns whether it was due.
    pub(super) fn on_deadline(&mut self, cx: Context<'_>, out: &mut Vec<Output>) {
        if cx.now < self.heartbeat_at {
            return;
        }
        self.beat(cx, out);
        for peer in self.peers.values_mut() {
            self.resent += peer.resend(cx.now);
            if peer.round_due(cx.now) {
                self.next_round += 1;
                peer.begin_round(self.next_round, cx.now);
                let buckets = cx.entries.digests().sums().to_vec();
                let frame = PeerFrame::Digest(Digest { round: self.next_round, buckets });
                out.push(Output::Send(peer.life.id.clone(), frame));
            }
        }
        self.flush(cx, out);
    }

    pub(super) fn rounds(&self) -> u64 {
        self.next_round
    }

    pub(super) fn holders(&self, write: WriteId) -> impl Iterator<Item = &ManagerId> {
        self.writes.holders(write)
    }

    pub(super) fn status(&self, cx: Context<'_>) -> Vec<PeerStatus> {
        let root = cx.entries.digests().root();
        let status = |peer: &Peer| {
            let oldest = peer.oldest();
            let since = oldest.map(|mark| mark.since).or(peer.differs_since);
            PeerStatus {
                id: peer.life.id.clone(),
                life: peer.life.clone(),
                up: peer.up,
                ready: peer.heartbeat.ready,
                priority: peer.heartbeat.priority,
                heard: peer.heard,
                acked: peer.acked_revision(cx.revision),
                outstanding: peer.outstanding(),
                lag: since.map_or(Duration::ZERO, |since| cx.now.since(since)),
                revision: peer.heartbeat.revision,
                policies_revision: peer.heartbeat.policies_revision,
                equal: peer.heard.is_some() && peer.heartbeat.root == root,
            }
        };
        self.peers.values().map(status).collect()
    }
}

fn of_key(key: &EntryKey) -> u64 {
    hash::of_key(&key::encode(key))
}

/// Tells what is in the buckets that differ.
fn answer(from: &ManagerLife, digest: &Digest, entries: &Entries, out: &mut Vec<Output>) {
    let parts = entries.digests().differing(&digest.buckets, PART_HASHES);
    let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    for (part, buckets) in (0..count).zip(parts).take(MAX_PARTS) {
        let summary = Summary { round: digest.round, parts: count, part, buckets };
        out.push(Output::Send(from.id.clone(), PeerFrame::Summary(summary)));
    }
}
