//! A group of managers on a virtual clock: their real roles and accounts; heartbeats that get lost, late
//! and out of order; clocks that differ and run apart.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use traffic_manager_core::{
    accounts::{Duty, UsageRecord},
    roles::{BEAT, Claims, Epoch, Epochs, Role, RoleChange, Roles, RolesConfig},
};
use weir_proto::{
    id::{ManagerId, ManagerLife},
    time::Time,
};
use weir_simulator::chance::Chance;

use super::{
    books::{Book, Books, Records},
    judge::Judge,
    plan::{Disk, Fault, Plan},
};

/// True time when a run begins, in microseconds: some minute.
pub(crate) const BEGIN: u64 = 1_800_000_000_000_000;

/// One manager. What a restart keeps is outside of `roles`.
pub(crate) struct Node {
    pub(crate) roles: Option<Roles>,
    pub(crate) book: Book,
    pub(crate) paused: bool,
    life: ManagerLife,
    priority: u32,
    stored: Epochs,
    /// How its clock differs, in microseconds, and runs apart, in millionths.
    skew: u64,
    drift: u64,
    /// Its next deadline in the queue; earlier ones are void.
    deadline: u64,
    /// What arrived or came due while it stood still.
    waiting: Vec<Event>,
}

impl Node {
    pub(crate) fn clock(&self, now: u64) -> Time {
        Time::from_micros(BEGIN + self.skew + now + now / 1_000_000 * self.drift)
    }

    /// Its roles, if it runs.
    pub(crate) fn running(&self) -> Option<&Roles> {
        self.roles.as_ref().filter(|_| !self.paused)
    }

    pub(crate) fn priority(&self) -> u32 {
        self.priority
    }

    fn incarnation(&self) -> u64 {
        self.life.incarnation
    }
}

#[derive(Debug, Clone)]
enum Event {
    Fault(Fault),
    Resume(usize),
    /// Of that incarnation: a heartbeat is due.
    Beat(usize, u64),
    /// Of that number: a deadline is due.
    Tick(usize, u64),
    Deliver {
        from: usize,
        to: usize,
        life: ManagerLife,
        claims: Vec<u8>,
        records: Option<Rc<Records>>,
    },
    /// Records reach the store, if the epoch under which they were begun still allows it.
    Commit(usize, u64, Option<Epoch>, Vec<UsageRecord>),
    /// A window closes.
    Close,
}

pub(crate) struct World {
    plan: Plan,
    pub(crate) nodes: Vec<Node>,
    judge: Judge,
    books: Books,
    chance: Chance,
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    number: u64,
    cuts: Vec<Vec<bool>>,
}

impl World {
    pub(crate) fn new(plan: Plan) -> World {
        let mut chance = Chance::new(plan.seed ^ 0xb0b);
        let node = |(n, priority): (usize, &u32), chance: &mut Chance| Node {
            roles: None,
            book: Book::default(),
            paused: false,
            life: ManagerLife {
                id: ManagerId::new(&format!("tm-{n}")).expect("a name"),
                incarnation: 0,
            },
            priority: *priority,
            stored: Epochs::default(),
            skew: chance.below(1_000_000),
            drift: chance.below(1_000),
            deadline: 0,
            waiting: Vec::new(),
        };
        let nodes: Vec<Node> =
            plan.priorities.iter().enumerate().map(|p| node(p, &mut chance)).collect();
        let count = nodes.len();
        let mut world = World {
            judge: Judge::new(count, &plan),
            books: Books::new(plan.seed, count),
            cuts: vec![vec![false; count]; count],
            nodes,
            chance,
            now: 0,
            queue: BTreeMap::new(),
            number: 0,
            plan,
        };
        for n in 0..count {
            let after = world.chance.below(500);
            world.at(after * 1_000, Event::Fault(Fault::Start(n, Disk::Kept)));
        }
        for (at, fault) in world.plan.faults.clone() {
            world.at(at * 1_000, Event::Fault(fault));
        }
        if world.plan.books {
            world.at(1_000_000, Event::Close);
        }
        world
    }

    fn at(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.queue.insert((at.max(self.now), self.number), event);
    }

    /// Runs to the end; panics where a rule is broken.
    pub(crate) fn run(mut self) -> World {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > self.plan.length * 1_000 {
                break;
            }
            self.now = at;
            self.step(event);
            self.judge.look(&self.nodes, self.now);
        }
        if self.plan.calm + 4_000 <= self.plan.length {
            self.judge.settled(&self.nodes, self.now, self.plan.fail_back);
        }
        if self.plan.books {
            self.books.balance(&self.nodes, self.now);
        }
        self
    }

    /// Who holds the role, if one does.
    pub(crate) fn holder(&self, role: Role) -> Option<usize> {
        self.judge.writers(&self.nodes, role, self.now).first().map(|(n, _)| *n)
    }

    /// When the role was gained last, in milliseconds.
    pub(crate) fn gained(&self, role: Role) -> Vec<(u64, usize)> {
        self.judge.gained(role)
    }

    fn step(&mut self, event: Event) {
        let node = match &event {
            Event::Beat(n, _) | Event::Tick(n, _) | Event::Commit(n, ..) => Some(*n),
            Event::Deliver { to, .. } => Some(*to),
            _ => None,
        };
        if let Some(node) = node.map(|n| &mut self.nodes[n]).filter(|node| node.paused) {
            node.waiting.push(event);
            return;
        }
        match event {
            Event::Fault(fault) => self.fault(fault),
            Event::Resume(n) => self.resume(n),
            Event::Beat(n, life) if self.lives(n, life) => self.beat(n),
            Event::Tick(n, deadline) if self.nodes[n].deadline == deadline => self.tick(n),
            Event::Deliver { from, to, life, claims, records } if !self.cuts[from][to] => {
                self.deliver((from, to), &life, &claims, records);
            }
            Event::Commit(n, life, epoch, records) if self.lives(n, life) => {
                self.commit(n, epoch, &records);
            }
            Event::Close => {
                self.books.close(&mut self.nodes, self.now);
                if self.now < self.plan.calm * 1_000 {
                    self.at(self.now + 500_000, Event::Close);
                }
            }
            _ => {}
        }
    }

    fn lives(&self, n: usize, life: u64) -> bool {
        self.nodes[n].roles.is_some() && self.nodes[n].incarnation() == life
    }

    fn fault(&mut self, fault: Fault) {
        self.judge.disturbed(self.now);
        match fault {
            Fault::Kill(n) => {
                let node = &mut self.nodes[n];
                (node.roles, node.paused) = (None, false);
                node.waiting.clear();
                node.book.crash();
                self.books.crash(n);
                self.judge.broke(n);
            }
            Fault::Start(n, disk) => self.start(n, disk),
            Fault::Pause(n, ms) if self.nodes[n].running().is_some() => {
                self.nodes[n].paused = true;
                self.judge.broke(n);
                self.at(self.now + ms * 1_000, Event::Resume(n));
            }
            Fault::Pause(..) => {}
            Fault::Cut(from, to) => self.cuts[from][to] = true,
            Fault::Heal(from, to) => self.cuts[from][to] = false,
            Fault::Split(mask) => {
                let side = |n: usize| mask >> n & 1;
                for (from, row) in self.cuts.iter_mut().enumerate() {
                    row.iter_mut().enumerate().for_each(|(to, cut)| *cut = side(from) != side(to));
                }
            }
            Fault::HealAll => self.cuts.iter_mut().flatten().for_each(|cut| *cut = false),
        }
    }

    fn start(&mut self, n: usize, disk: Disk) {
        let group = self.nodes.len();
        let node = &mut self.nodes[n];
        if node.roles.is_some() {
            return;
        }
        if disk == Disk::Empty {
            node.stored = Epochs::default();
            self.judge.forgot(n);
        }
        node.life.incarnation += 1;
        let config = RolesConfig {
            me: node.life.clone(),
            priority: node.priority,
            fail_back: self.plan.fail_back,
            group,
        };
        node.roles = Some(Roles::new(config, node.stored, node.clock(self.now)));
        let life = node.incarnation();
        self.judge.began(n, self.now);
        let phase = self.chance.below(200_000);
        self.at(self.now + phase, Event::Beat(n, life));
        self.plan_tick(n);
    }

    /// It goes on with whatever the system lets it see first.
    fn resume(&mut self, n: usize) {
        if !self.nodes[n].paused {
            return;
        }
        self.judge.disturbed(self.now);
        self.judge.resumed(n, &self.nodes[n], self.now);
        let node = &mut self.nodes[n];
        node.paused = false;
        let mut waiting = std::mem::take(&mut node.waiting);
        if self.chance.one_in(2) {
            waiting.reverse();
        }
        while !waiting.is_empty() {
            let any = usize::try_from(self.chance.below(3)).unwrap_or(0).min(waiting.len() - 1);
            let event = waiting.remove(any);
            self.step(event);
            self.judge.look(&self.nodes, self.now);
        }
    }

    fn beat(&mut self, from: usize) {
        let node = &self.nodes[from];
        let now = node.clock(self.now);
        let Some(roles) = &node.roles else { return };
        let claims = roles.claims(now).encode();
        let life = node.life.clone();
        let records = node.book.to_send(self.plan.books);
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            // Some go twice.
            let copies = u64::from(self.chance.below(100) >= self.plan.loss)
                + u64::from(self.chance.one_in(20));
            for _ in 0..copies {
                let (low, high) = self.plan.delay;
                let after = self.chance.between(low * 1_000, high * 1_000);
                let (life, claims, records) = (life.clone(), claims.clone(), records.clone());
                self.at(self.now + after, Event::Deliver { from, to, life, claims, records });
            }
        }
        let next = self.now + u64::try_from(BEAT.as_micros()).unwrap_or(0);
        self.at(next, Event::Beat(from, life.incarnation));
        self.work(from);
    }

    fn deliver(
        &mut self,
        (from, to): (usize, usize),
        life: &ManagerLife,
        claims: &[u8],
        records: Option<Rc<Records>>,
    ) {
        let node = &mut self.nodes[to];
        let now = node.clock(self.now);
        let Some(roles) = &mut node.roles else { return };
        roles.hear(life, &Claims::decode(claims).expect("encoded by a peer"), now);
        if let Some(records) = records {
            node.book.receive(from, records, now);
        }
        if life.incarnation == self.nodes[from].incarnation() {
            self.judge.heard(from, to, self.now);
        }
        self.plan_tick(to);
    }

    fn tick(&mut self, n: usize) {
        let mut out = Vec::new();
        let node = &mut self.nodes[n];
        let now = node.clock(self.now);
        let Some(roles) = &mut node.roles else { return };
        if roles.next_deadline() <= now {
            roles.on_deadline(now, &mut out);
            self.judge.ticked(n, self.now);
        }
        for change in out {
            if let RoleChange::Store(epochs) = change {
                self.nodes[n].stored = epochs;
            }
            self.judge.changed(n, change, &self.nodes, self.now);
        }
        self.judge.fenced(n, &self.nodes[n], self.now);
        self.plan_tick(n);
    }

    fn plan_tick(&mut self, n: usize) {
        self.number += 1;
        let node = &mut self.nodes[n];
        node.deadline = self.number;
        let Some(roles) = &node.roles else { return };
        // Its clock runs faster than the true one, never slower: this is not too early by much.
        let wait = roles.next_deadline().since(node.clock(self.now));
        let late = Duration::from_micros(self.chance.below(15_000));
        let wait = u64::try_from((wait + late).as_micros()).unwrap_or(0);
        let deadline = node.deadline;
        self.at(self.now + wait, Event::Tick(n, deadline));
    }

    /// The work of the roles: records are gathered now, and written a little later.
    fn work(&mut self, n: usize) {
        if !self.plan.books {
            return;
        }
        let node = &mut self.nodes[n];
        let now = node.clock(self.now);
        let Some(roles) = &node.roles else { return };
        let epoch = roles.holds(Role::Ledger, now);
        if let Some(epoch) = roles.holds(Role::Janitor, now) {
            assert_eq!(roles.may(Role::Janitor, epoch, now), Ok(()));
            node.book.sweep(now);
        }
        let duty = if epoch.is_some() { Duty::Ledger } else { Duty::Standby };
        let due = node.book.due(duty, now);
        let life = node.incarnation();
        if !due.is_empty() {
            let after = self.chance.below(30_000);
            self.at(self.now + after, Event::Commit(n, life, epoch, due));
        }
    }

    fn commit(&mut self, n: usize, epoch: Option<Epoch>, records: &[UsageRecord]) {
        let node = &mut self.nodes[n];
        let now = node.clock(self.now);
        let Some(roles) = &node.roles else { return };
        let fenced = epoch.map(|epoch| roles.may(Role::Ledger, epoch, now));
        if fenced.is_none_or(|may| may.is_ok()) {
            node.book.write(records);
        }
    }
}
