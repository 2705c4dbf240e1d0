//! The event loop: time, frames, and what a shell does with outputs.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use traffic_manager_core::replica::{Change, Input, Output, Replica, WriteId};
use weir_proto::{
    id::ManagerLife,
    peer::{Delta, PeerFrame, VersionHash},
    wire::weir::v1 as wire,
};

use super::{Outcome, Plan, network::Network, node::Node, oracle::Oracle};
use crate::chance::Chance;

/// By then all must have converged, once nothing fails any more.
const BOUND: Duration = Duration::from_secs(120);
/// After that nothing but heartbeats may travel.
const QUIET: Duration = Duration::from_secs(4);

/// What happens at a time.
#[derive(Debug)]
pub(super) enum Event {
    /// A frame arrives, if the receiver's life is the one it was sent to.
    Frame { from: ManagerLife, to: (usize, ManagerLife), frame: Box<PeerFrame> },
    /// The receiver notices that the link to a life is open, or that it has closed.
    Link { at: usize, peer: ManagerLife, up: bool },
    /// The store's queue has come to what a peer sent.
    Receive { at: (usize, ManagerLife), from: ManagerLife, delta: Box<Delta> },
    /// A manager's deadline.
    Tick(usize),
    /// Something random.
    Act,
    /// A stopped manager starts.
    Start(usize),
}

/// A run.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) chance: Chance,
    pub(super) age: Duration,
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network,
    pub(super) oracle: Oracle,
    pub(super) acts: u64,
    pub(super) written: BTreeMap<(usize, u64, WriteId), (String, VersionHash)>,
    events: BTreeMap<(Duration, u64), Event>,
    scheduled: u64,
    outcome: Outcome,
    /// Deltas and digests sent since it was last set to zero.
    chatter: u64,
}

impl World {
    pub(super) fn new(plan: Plan) -> World {
        let mut world = World {
            chance: Chance::new(plan.seed ^ 0x7265_706c_6963_6173),
            age: Duration::ZERO,
            nodes: (0..plan.managers).map(|i| Node::new(i, plan.managers)).collect(),
            network: Network::new(&plan),
            oracle: Oracle::default(),
            acts: 0,
            written: BTreeMap::new(),
            events: BTreeMap::new(),
            scheduled: 0,
            outcome: Outcome::default(),
            chatter: 0,
            plan,
        };
        for i in 0..world.plan.managers {
            world.nodes[i].skew = world.random_skew();
            let late = if world.chance.one_in(4) { world.chance.below(5_000) } else { 0 };
            world.at(Duration::from_millis(late), Event::Start(i));
        }
        world.at(Duration::from_millis(1), Event::Act);
        world
    }

    pub(super) fn random_skew(&mut self) -> i64 {
        let most = u64::try_from(self.plan.skew.as_micros()).unwrap_or(0);
        let skew = i64::try_from(self.chance.below(most + 1)).unwrap_or(0);
        if self.chance.one_in(2) { skew } else { -skew }
    }

    pub(super) fn at(&mut self, age: Duration, event: Event) {
        self.scheduled += 1;
        self.events.insert((age.max(self.age), self.scheduled), event);
    }

    pub(super) fn after(&mut self, pause: Duration, event: Event) {
        self.at(self.age + pause, event);
    }

    pub(super) fn log(&mut self, text: impl FnOnce() -> String) {
        if self.plan.log {
            self.outcome.log.push(format!("{:.6} {}", self.age.as_secs_f64(), text()));
        }
    }

    pub(super) fn fail(&mut self, text: String) {
        self.log(|| format!("FAILURE {text}"));
        self.outcome.failures.push(text);
    }

    /// Plays it to its end.
    pub(super) fn run(mut self) -> Outcome {
        while self.acts < self.plan.actions && self.step() {}
        self.heal();
        let healed = self.age;
        while !self.equal() && self.age < healed + BOUND && self.step() {}
        self.outcome.converged_after = self.age - healed;
        if !self.equal() {
            self.fail("they do not converge".to_owned());
        }
        self.play_for(QUIET);
        self.chatter = 0;
        self.play_for(QUIET);
        if self.chatter > 0 {
            let chatter = self.chatter;
            self.fail(format!("{chatter} deltas or digests travel though all are equal"));
        }
        self.judge();
        self.last_write();
        let (writes, lost_with_disks) = self.oracle.totals();
        let conflicts = self.nodes.first().and_then(|node| node.replica.as_ref());
        self.outcome.conflicts = conflicts.map_or(0, |r| r.conflicts().count() as u64);
        self.outcome.failures.append(&mut self.oracle.failures);
        Outcome { writes, lost_with_disks, ..self.outcome }
    }

    pub(super) fn play_for(&mut self, time: Duration) {
        let end = self.age + time;
        while self.age < end && self.step() {}
    }

    fn step(&mut self) -> bool {
        let Some(((age, _), event)) = self.events.pop_first() else { return false };
        self.age = age;
        match event {
            Event::Act => self.act(),
            Event::Start(i) => self.start(i),
            Event::Tick(i) => self.tick(i),
            Event::Receive { at: (i, life), from, delta } => {
                if self.nodes[i].life == life
                    && let Some(out) = self.receive(i, &from, *delta)
                {
                    self.outputs(i, out);
                }
            }
            Event::Link { at, peer, up } => {
                self.nodes[at].reaches(&peer, up);
                let input = if up { Input::Up(peer) } else { Input::Down(peer) };
                self.handle(at, input);
            }
            Event::Frame { from, to: (to, life), frame } => {
                if self.nodes[to].life == life {
                    self.outcome.frames += 1;
                    self.handle(to, Input::Frame(from, *frame));
                }
            }
        }
        true
    }

    fn handle(&mut self, i: usize, input: Input) {
        let age = self.age;
        let node = &mut self.nodes[i];
        let now = node.clock(age);
        let Some(replica) = &mut node.replica else { return };
        let mut out = Vec::new();
        replica.handle(input, now, &mut out);
        self.outputs(i, out);
    }

    fn tick(&mut self, i: usize) {
        let age = self.age;
        let node = &mut self.nodes[i];
        let now = node.clock(age);
        let Some(replica) = &mut node.replica else { return };
        let mut out = Vec::new();
        if replica.next_deadline().is_some_and(|deadline| deadline <= now) {
            replica.on_deadline(now, &mut out);
            if let Some(next) = replica.next_deadline() {
                let at = node.age_at(next);
                self.at(at, Event::Tick(i));
            }
        }
        self.outputs(i, out);
    }

    /// The links between a new life and all others open, a little later at each end.
    fn start(&mut self, i: usize) {
        if self.nodes[i].replica.is_some() {
            return;
        }
        let age = self.age;
        if let Err(error) = self.nodes[i].start(age) {
            self.fail(format!("tm-{i} does not start: {error}"));
            return;
        }
        let life = self.nodes[i].life.clone();
        self.log(|| format!("start {}#{}", life.id, life.incarnation));
        self.at(age, Event::Tick(i));
        for j in (0..self.nodes.len()).filter(|j| *j != i) {
            let peer = self.nodes[j].life.clone();
            if self.nodes[j].replica.is_some() {
                let pause = Duration::from_micros(self.chance.below(20_000));
                self.after(pause, Event::Link { at: i, peer, up: true });
                let pause = Duration::from_micros(self.chance.below(20_000));
                self.after(pause, Event::Link { at: j, peer: life.clone(), up: true });
            }
        }
    }

    /// One thing after the other, as they came.
    pub(super) fn outputs(&mut self, i: usize, out: Vec<Output>) {
        let mut queue = VecDeque::from(out);
        while let Some(output) = queue.pop_front() {
            self.nodes[i].serve(&output);
            match output {
                Output::Send(to, frame) => self.send(i, to.as_str(), frame),
                // It waits for what the store has to do before.
                Output::Receive(from, delta) if self.chance.one_in(4) => {
                    let at = (i, self.nodes[i].life.clone());
                    let pause = Duration::from_micros(self.chance.below(100_000));
                    self.after(pause, Event::Receive { at, from, delta: Box::new(delta) });
                }
                Output::Receive(from, delta) => {
                    if let Some(more) = self.receive(i, &from, delta) {
                        queue.extend(more);
                    }
                }
                Output::Acked(write) => self.acked(i, write),
                Output::Policy { .. } | Output::Synced | Output::Crowded(_) | Output::Heard(..) => {
                }
            }
        }
    }

    fn receive(&mut self, i: usize, from: &ManagerLife, delta: Delta) -> Option<Vec<Output>> {
        let now = self.nodes[i].clock(self.age);
        let mut change = self.nodes[i].replica.as_ref()?.receive(from, delta, now);
        if self.plan.crowded && self.acts < self.plan.actions && self.chance.one_in(3) {
            let some = self.chance.below(2);
            let fits = |key: &[u8]| key.iter().copied().map(u64::from).sum::<u64>() % 2 == some;
            let out = change.retain(|key, _| fits(key));
            self.log(|| format!("tm-{i}: no room for {out:?}"));
        }
        self.store(i, change)
    }

    /// Commits and applies; now and then the disk is full, or the manager dies in between.
    pub(super) fn store(&mut self, i: usize, change: Change) -> Option<Vec<Output>> {
        let healthy = self.acts >= self.plan.actions;
        if !healthy && self.chance.one_in(40) {
            self.log(|| format!("tm-{i}: disk full"));
            return None;
        }
        self.nodes[i].commit(&change);
        if !healthy && self.chance.one_in(200) {
            self.log(|| format!("tm-{i}: dies between commit and apply"));
            self.stop(i);
            return None;
        }
        let now = self.nodes[i].clock(self.age);
        let names: Vec<String> = self.policies();
        let replica = self.nodes[i].replica.as_mut()?;
        let mut out = Vec::new();
        replica.apply(change, now, &mut out);
        for name in names {
            if let Some(register) = replica.register(&name) {
                self.oracle.look_at(&name, &register);
            }
        }
        Some(out)
    }

    pub(super) fn policies(&self) -> Vec<String> {
        (0..self.plan.policies).map(|n| format!("p{n}")).collect()
    }

    fn send(&mut self, i: usize, to: &str, frame: PeerFrame) {
        if matches!(frame, PeerFrame::Delta(_) | PeerFrame::Digest(_) | PeerFrame::Want(_)) {
            self.chatter += 1;
        }
        let to = self.nodes.iter().position(|node| node.life.id.as_str() == to);
        let Some((j, life)) =
            to.and_then(|j| Some((j, self.nodes[i].links.get(&self.nodes[j].life.id)?.clone())))
        else {
            return;
        };
        for delay in self.network.arrivals(i, j, &mut self.chance) {
            let frame =
                if self.chance.one_in(8) { self.over_the_wire(&frame) } else { frame.clone() };
            let (from, to) = (self.nodes[i].life.clone(), (j, life.clone()));
            self.after(delay, Event::Frame { from, to, frame: Box::new(frame) });
        }
    }

    /// As it comes out of the schema's messages.
    fn over_the_wire(&mut self, frame: &PeerFrame) -> PeerFrame {
        match PeerFrame::try_from(wire::PeerFrame::from(frame.clone())) {
            Ok(read) if read == *frame => {}
            Ok(read) => self.fail(format!("{frame:?} became {read:?}")),
            Err(error) => self.fail(format!("{frame:?} is refused: {error}")),
        }
        frame.clone()
    }

    /// A peer is said to hold a write: as many disks must have it, or have had it.
    fn acked(&mut self, i: usize, write: WriteId) {
        let key = (i, self.nodes[i].life.incarnation, write);
        let Some((policy, hash)) = self.written.get(&key).cloned() else { return };
        let said = self.nodes[i].replica.as_ref().map_or(0, |replica| replica.holders(write));
        if self.plan.disks_fail {
            return; // who held it may have lost it since
        }
        let now = self.nodes[i].clock(self.age);
        let others = (0..self.nodes.len()).filter(|j| *j != i);
        let disks: Vec<Replica> = others.filter_map(|j| self.nodes[j].loaded(now).ok()).collect();
        let disks: Vec<&Replica> = disks.iter().collect();
        let true_holders = self.oracle.holders(&policy, hash, &disks);
        if true_holders < said {
            self.fail(format!("{true_holders} peers hold a write of {policy}, not {said}"));
        }
    }

    pub(super) fn stop(&mut self, i: usize) {
        self.nodes[i].replica = None;
        let life = self.nodes[i].life.clone();
        for j in (0..self.nodes.len()).filter(|j| *j != i) {
            // Not everybody notices before the next life is there.
            if self.chance.one_in(2) {
                let peer = life.clone();
                let pause = Duration::from_millis(self.chance.below(1_500));
                self.after(pause, Event::Link { at: j, peer, up: false });
            }
        }
        let pause = Duration::from_millis(self.chance.below(3_000));
        self.after(pause, Event::Start(i));
    }

    /// Everything works from now on.
    fn heal(&mut self) {
        self.log(|| "all heals".to_owned());
        self.network.heal();
        for i in 0..self.nodes.len() {
            self.start(i);
        }
        let pairs = if self.plan.noticed { self.pairs() } else { Vec::new() };
        for (i, j) in pairs {
            // Once more later: ends may still notice cuts that are over, and dial again.
            for later in [Duration::ZERO, Duration::from_secs(2)] {
                let peer = self.nodes[j].life.clone();
                self.after(later, Event::Link { at: i, peer, up: true });
            }
        }
    }

    pub(super) fn pairs(&self) -> Vec<(usize, usize)> {
        let n = self.nodes.len();
        (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).filter(|(i, j)| i != j).collect()
    }
}
