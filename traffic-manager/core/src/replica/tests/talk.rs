//! Two and three replicas over links that the test holds in its hand.

use std::collections::VecDeque;

use weir_proto::peer::{Ack, PeerFrame};

use super::*;

struct Net {
    replicas: Vec<Replica>,
    now: Time,
    acked: Vec<(usize, WriteId)>,
    synced: Vec<usize>,
    /// Whether a frame gets through; the number counts frames.
    passes: fn(usize, usize, u64, &PeerFrame) -> bool,
    /// Whether there is room for an entry.
    fits: fn(&[u8], &[u8]) -> bool,
    frames: u64,
    deltas: u64,
}

impl Net {
    fn new(n: u64) -> Net {
        let replicas = (0..n).map(|i| replica(i, n as usize)).collect();
        let passes = |_, _, _, _: &PeerFrame| true;
        let (acked, synced) = (Vec::new(), Vec::new());
        let fits = |_: &[u8], _: &[u8]| true;
        Net { replicas, now: at(0), acked, synced, passes, fits, frames: 0, deltas: 0 }
    }

    fn connect(&mut self) {
        for (i, j) in self.pairs() {
            let mut out = Vec::new();
            let peer = self.replicas[j].config.me.clone();
            self.replicas[i].handle(Input::Up(peer), self.now, &mut out);
            self.carry(i, out);
        }
    }

    fn pairs(&self) -> Vec<(usize, usize)> {
        let n = self.replicas.len();
        (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).filter(|(i, j)| i != j).collect()
    }

    fn put(&mut self, i: usize, name: &str, requests: u64) -> WriteId {
        let change = self.replicas[i].put(&policy(name, requests), "anna", self.now).expect("room");
        let id = change.write().expect("a write");
        let out = apply(&mut self.replicas[i], change, self.now);
        self.carry(i, out);
        id
    }

    fn carry(&mut self, from: usize, out: Vec<Output>) {
        let mut queue: VecDeque<(usize, Output)> = out.into_iter().map(|o| (from, o)).collect();
        while let Some((i, output)) = queue.pop_front() {
            let mut more = Vec::new();
            let mut at = i;
            match output {
                Output::Send(to, frame) => {
                    let j = self.replicas.iter().position(|r| r.config.me.id == to).expect("there");
                    self.frames += 1;
                    self.deltas += u64::from(matches!(frame, PeerFrame::Delta(_)));
                    if (self.passes)(i, j, self.frames, &frame) {
                        let from = self.replicas[i].config.me.clone();
                        self.replicas[j].handle(Input::Frame(from, frame), self.now, &mut more);
                    }
                    at = j;
                }
                Output::Receive(from, delta) => {
                    let mut change = self.replicas[i].receive(&from, delta, self.now);
                    change.retain(self.fits);
                    more = apply(&mut self.replicas[i], change, self.now);
                }
                Output::Acked(write) => self.acked.push((i, write)),
                Output::Synced => self.synced.push(i),
                Output::Policy { .. } | Output::Heard(..) | Output::Crowded(_) => {}
            }
            queue.extend(more.into_iter().map(|output| (at, output)));
        }
    }

    fn play(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + Duration::from_millis(200);
            for i in 0..self.replicas.len() {
                let mut out = Vec::new();
                self.replicas[i].on_deadline(self.now, &mut out);
                self.carry(i, out);
            }
        }
    }

    fn equal(&self) -> bool {
        self.replicas.iter().all(|r| r.root() == self.replicas[0].root())
    }
}

#[test]
fn a_write_spreads_at_once_and_its_author_knows_who_has_it() {
    let mut net = Net::new(3);
    net.connect();
    net.play(Duration::from_secs(1));
    net.synced.sort_unstable();
    assert_eq!(net.synced, [0, 1, 2]);
    let write = net.put(0, "p", 5);
    assert!(net.equal());
    assert_eq!(net.replicas[0].holders(write), 2);
    assert_eq!(net.acked, [(0, write), (0, write)]);
    assert!(net.replicas.iter().all(|r| r.winner("p").is_some_and(|winner| winner.settled)));
    assert!(net.replicas[0].peers(net.now).iter().all(|p| p.up && p.outstanding == 0));
    let deltas = net.deltas;
    net.play(Duration::from_secs(60));
    assert_eq!(net.deltas, deltas, "equal states send nothing");
    assert_eq!(net.replicas[0].holders(WriteId(99)), 0);
}

#[test]
fn a_group_of_one_is_in_sync_at_once() {
    let mut net = Net::new(1);
    net.play(Duration::from_millis(200));
    assert_eq!(net.synced, [0]);
}

#[test]
fn the_first_sync_ends_when_all_that_the_peer_had_is_here() {
    let mut net = Net::new(2);
    for n in 0..500 {
        put(&mut net.replicas[1], &format!("p{n}"), 1, at(0));
    }
    // Every third delta is lost on the way, and every answer is late.
    net.passes = |_, _, n, frame| !(matches!(frame, PeerFrame::Delta(_)) && n.is_multiple_of(3));
    net.connect();
    for _ in 0..200 {
        net.play(Duration::from_millis(200));
        if net.synced.contains(&0) {
            break;
        }
    }
    assert!(net.synced.contains(&0));
    assert_eq!(net.replicas[0].winners().count(), 500);
}

#[test]
fn writes_reach_a_peer_that_only_a_third_can_reach() {
    let mut net = Net::new(3);
    net.connect();
    net.play(Duration::from_secs(1));
    net.passes = |from, to, _, _| !(from != 1 && to != 1);
    let write = net.put(0, "p", 5);
    assert!(net.equal(), "passed on at once, and not by digests later");
    net.play(Duration::from_secs(5));
    assert!(net.equal());
    assert_eq!(net.replicas[0].holders(write), 1, "the other one cannot say so");
    assert_eq!(net.replicas[0].holding(write).count(), 1);
    let peers = net.replicas[0].peers(net.now);
    assert_eq!((peers[0].outstanding, peers[1].outstanding), (0, 1));
    assert!(
        peers[1].lag >= Duration::from_secs(5) && peers[1].acked < Some(net.replicas[0].revision())
    );
    net.passes = |_, _, _, _| true;
    net.play(Duration::from_secs(20));
    assert_eq!(net.replicas[0].holders(write), 2);
    assert!(net.replicas[0].peers(net.now).iter().all(|peer| peer.lag == Duration::ZERO));
}

#[test]
fn digests_repair_what_nobody_remembers() {
    let mut net = Net::new(2);
    net.connect();
    net.play(Duration::from_secs(1));
    for n in 0..50 {
        net.put(0, &format!("p{n}"), 1);
    }
    // The disk is lost, and nobody notices a new life.
    net.replicas[1] = replica(1, 2);
    let mut out = Vec::new();
    net.replicas[1].handle(Input::Up(life(0)), net.now, &mut out);
    net.play(Duration::from_secs(10));
    assert!(net.equal());
    assert_eq!(net.replicas[1].winners().count(), 50);
}

#[test]
fn a_register_that_is_larger_than_a_frame_goes_in_parts() {
    let mut net = Net::new(2);
    for i in 10..14 {
        let mut rival = replica(i, 2);
        let limits = json!([{ "requests": 5, "window": "1m" }]);
        let key = |n: u64| [format!("{n:0>100}{i}")];
        let overrides: Vec<_> =
            (0..800).map(|n| json!({ "key": key(n), "limits": limits })).collect();
        let large = json!({
            "name": "p", "level": "api", "key": ["application"], "overrides": overrides,
            "limits": [{ "requests": 1, "window": "1m" }],
        });
        let large = Policy::from_json(&large).unwrap_or_else(|e| panic!("{e}"));
        let change = rival.put(&large, "anna", at(i)).expect("room");
        apply(&mut rival, change, at(i));
        tell(&rival, &mut net.replicas[0], at(20));
    }
    net.passes = |_, _, n, _| !n.is_multiple_of(4);
    net.connect();
    net.play(Duration::from_secs(60));
    assert!(net.equal());
    assert_eq!(net.replicas[1].conflicts().count(), 3);
}

#[test]
fn a_write_of_several_policies_is_held_by_whoever_holds_them_all() {
    let mut net = Net::new(2);
    net.connect();
    net.play(Duration::from_secs(1));
    let put = |name| net.replicas[0].put(&policy(name, 1), "anna", net.now).expect("room");
    let change = ["q", "p"].into_iter().fold(Change::default(), |all, name| all.and(put(name)));
    let write = change.write().expect("a write");
    let out = apply(&mut net.replicas[0], change, net.now);
    let mut replies = Vec::new();
    for output in out {
        let Output::Send(_, PeerFrame::Delta(Delta { number, entries })) = output else { continue };
        assert_eq!(entries.len(), 2);
        // Another one of them alone.
        let one = Delta { number: 0, entries: entries[..1].to_vec() };
        let change = net.replicas[1].receive(&life(0), one, net.now);
        apply(&mut net.replicas[1], change, net.now);
        let Some(Entry::Policy(name, register)) = everything(&net.replicas[1]).entries.pop() else {
            panic!("one policy")
        };
        let back = Delta { number: 0, entries: vec![Entry::Policy(name, register)] };
        let change = net.replicas[0].receive(&life(1), back, net.now);
        apply(&mut net.replicas[0], change, net.now);
        assert_eq!(net.replicas[0].holders(write), 0, "the other policy is missing there");
        replies.push(number);
    }
    for number in replies {
        let mut out = Vec::new();
        let ack = Input::Frame(life(1), PeerFrame::Ack(Ack { number, ..Ack::default() }));
        net.replicas[0].handle(ack, net.now, &mut out);
    }
    net.play(Duration::from_secs(5));
    assert_eq!((net.equal(), net.replicas[0].holders(write)), (true, 1));
}

/// A later life numbers its deltas from 1 on again.
#[test]
fn what_a_former_life_sent_is_not_acknowledged_to_a_later_one() {
    let (mut one, mut two) = (replica(1, 2), replica(2, 2));
    let mut out = Vec::new();
    put(&mut one, "p", 1, at(0));
    two.handle(Input::Up(life(1)), at(0), &mut out);
    let delta = Delta { number: 1, ..everything(&one) };
    let change = two.receive(&life(1), delta, at(0));
    let later = ManagerLife { incarnation: 2, ..life(1) };
    two.handle(Input::Up(later), at(1), &mut out);
    let out = apply(&mut two, change, at(1));
    let acks = |output: &Output| matches!(output, Output::Send(_, PeerFrame::Ack(_)));
    assert!(!out.iter().any(acks), "{out:?}");
    assert_eq!(requests(&two, "p"), Some(1), "but it is kept");
}

#[test]
fn a_heartbeat_with_news_leaves_once() {
    let mut replica = replica(0, 2);
    let mut out = Vec::new();
    replica.handle(Input::Up(life(1)), at(0), &mut out);
    out.clear();
    let mut beats = 0;
    // As the keeper does: the leases are renewed as often as heartbeats leave.
    for beat in 0..25_u8 {
        let now = at(0) + Duration::from_millis(200) * u32::from(beat);
        let claims = Bytes::from(vec![beat]);
        replica.announce(Announcement { ready: true, priority: 1, claims: claims.clone() }, now);
        assert!(replica.next_deadline().is_some_and(|at| at <= now), "it is due at once");
        replica.on_deadline(now, &mut out);
        for output in out.drain(..) {
            if let Output::Send(_, PeerFrame::Heartbeat(heartbeat)) = output {
                assert_eq!(heartbeat.claims, claims, "it says the newest");
                beats += 1;
            }
        }
        assert!(replica.next_deadline() > Some(now), "and nothing more is due");
    }
    assert_eq!(beats, 25, "5 s, of 5 heartbeats each");
}

#[test]
fn what_has_no_room_there_holds_nothing_up_and_comes_once_there_is_some() {
    let mut net = Net::new(2);
    net.connect();
    net.play(Duration::from_secs(1));
    net.fits = |key, _| !key.starts_with(b"\x01large");
    let large: Vec<WriteId> = (0..9).map(|n| net.put(0, &format!("large-{n}"), 1)).collect();
    let small: Vec<WriteId> = (0..9).map(|n| net.put(0, &format!("small-{n}"), 1)).collect();
    assert_eq!(net.replicas[1].winners().count(), 9, "what came after them is there at once");
    assert!(net.replicas[1].totals().refused_entries >= 9, "counted");
    let held = |net: &Net, write: &WriteId| net.replicas[0].holders(*write);
    assert!(small.iter().all(|write| held(&net, write) == 1));
    assert!(large.iter().all(|write| held(&net, write) == 0), "nobody else has them");
    let peer = &net.replicas[0].peers(net.now)[0];
    assert_eq!(peer.outstanding, 9, "and the manager knows it");
    assert!(peer.acked < Some(net.replicas[0].revision()));
    let deltas = net.deltas;
    net.play(Duration::from_secs(120));
    assert!(net.deltas - deltas < 60, "offered now and then: {}", net.deltas - deltas);
    assert!(net.replicas[0].peers(net.now)[0].lag > Duration::from_secs(100));
    net.fits = |_, _| true;
    net.play(Duration::from_secs(40));
    assert!(net.equal());
    assert!(large.iter().all(|write| held(&net, write) == 1));
    assert_eq!(net.replicas[0].peers(net.now)[0].outstanding, 0);
}

#[test]
fn what_leaves_is_lacked_by_nobody() {
    let config = Config { max_usage: 10, max_audit: 10, ..Config::new(life(0), 2) };
    let mut net = Net::new(2);
    net.replicas[0] = Replica::new(config, at(0));
    net.connect();
    net.put(0, "p", 1);
    net.play(Duration::from_secs(1));
    // What is sent is lost, and then the peer is away.
    net.passes = |_, _, _, _| false;
    let change = net.replicas[0].delete("p", "anna", net.now).expect("it is there");
    let out = apply(&mut net.replicas[0], change, net.now);
    net.carry(0, out);
    for n in 1..=100 {
        let key = UsageKey {
            policy: "p".to_owned(),
            limit: "1m".to_owned(),
            key: vec!["a".to_owned()],
            start_secs: 60 * n,
            length_secs: 60,
        };
        let record = Record::Usage(key, Usage { admitted: 1, ..Usage::default() });
        let change = net.replicas[0].record(vec![record], net.now);
        let out = apply(&mut net.replicas[0], change, net.now);
        net.carry(0, out);
        if n == 50 {
            net.replicas[0].handle(Input::Down(life(1)), net.now, &mut Vec::new());
        }
    }
    let (kept, peer) = (net.replicas[0].sizes(), net.replicas[0].peers(net.now).remove(0));
    assert_eq!((kept.usage_records, peer.outstanding), (10, 11), "as much as there is");
    let later = net.now + DAY * 31;
    let change = net.replicas[0].sweep(later);
    apply(&mut net.replicas[0], change, later);
    assert_eq!(net.replicas[0].peers(later)[0].outstanding, 10, "the deletion left, too");
}

/// How far the first one's peer is behind, if that is known.
fn behind(net: &Net) -> Option<u64> {
    let acked = net.replicas[0].peers(net.now)[0].acked?;
    net.replicas[0].revision().checked_sub(acked)
}

#[test]
fn a_peer_is_not_caught_up_before_it_said_what_it_has() {
    let mut net = Net::new(2);
    let mut stored = BTreeMap::new();
    for n in 0..50 {
        let change = net.replicas[0].put(&policy(&format!("p{n}"), 1), "anna", net.now);
        let change = change.expect("room");
        disk(&change, &mut stored);
        apply(&mut net.replicas[0], change, net.now);
    }
    // A peer with an empty disk whose answer is lost.
    net.passes = |_, _, _, _| false;
    net.connect();
    assert_eq!((net.replicas[0].revision(), behind(&net)), (50, None));
    net.passes = |_, _, _, _| true;
    net.play(Duration::from_secs(5));
    assert_eq!(behind(&net), Some(0));
    // It is known of this life of the peer, also on another link, and not of the next one.
    net.passes = |_, _, _, _| false;
    net.connect();
    assert_eq!(behind(&net), Some(0));
    let later = ManagerLife { incarnation: 2, ..life(1) };
    net.replicas[0].handle(Input::Up(later), net.now, &mut Vec::new());
    assert_eq!(behind(&net), None);

    // After a restart of ours, whose revisions begin anew, with a peer that has lost its disk.
    let mut net = Net::new(2);
    stored.iter().for_each(|(key, value)| net.replicas[0].load(key, value).expect("it reads"));
    net.passes = |_, _, _, frame| !matches!(frame, PeerFrame::Delta(_));
    net.connect();
    net.play(Duration::from_secs(1));
    assert_eq!((net.replicas[0].revision(), behind(&net)), (0, None), "it lacks all of it");
    net.passes = |_, _, _, _| true;
    net.play(Duration::from_secs(20));
    assert_eq!(behind(&net), Some(0));
}

#[test]
fn a_peer_too_many_takes_the_place_of_one_that_is_gone() {
    let mut one = replica(0, 3);
    let mut up = |n, secs| {
        let mut out = Vec::new();
        one.handle(Input::Up(life(n)), at(secs), &mut out);
        let heartbeat = PeerFrame::Heartbeat(weir_proto::peer::Heartbeat::default());
        one.handle(Input::Frame(life(n), heartbeat), at(secs), &mut Vec::new());
        let spoken = out.iter().any(|o| matches!(o, Output::Send(to, _) if *to == life(n).id));
        (spoken, out.contains(&Output::Crowded(life(n))))
    };
    assert!((1..=64).all(|n| up(n, n) == (true, false)));
    assert_eq!(up(99, 100), (false, true), "all others are there");
    for n in [7, 3] {
        one.handle(Input::Down(life(n)), at(101), &mut Vec::new());
    }
    let mut out = Vec::new();
    one.handle(Input::Up(life(99)), at(102), &mut out);
    assert!(out.iter().any(|o| matches!(o, Output::Send(to, _) if *to == life(99).id)));
    let there: Vec<ManagerId> = one.peers(at(103)).into_iter().map(|peer| peer.id).collect();
    assert_eq!(there.len(), 64);
    assert!(!there.contains(&life(3).id) && there.contains(&life(7).id), "the longest away");
}

#[test]
fn a_policy_that_a_full_peer_refuses_is_not_taken_for_held() {
    let config = Config { max_policies: 1, ..Config::new(life(1), 2) };
    let mut net = Net::new(2);
    net.replicas[1] = Replica::new(config, at(0));
    net.connect();
    net.play(Duration::from_secs(1));
    let writes: Vec<WriteId> = ["p", "q", "r"].map(|name| net.put(0, name, 1)).into();
    let held: Vec<usize> = writes.iter().map(|write| net.replicas[0].holders(*write)).collect();
    assert_eq!(held, [1, 1, 0], "registers of deletions have as much room again");
}
