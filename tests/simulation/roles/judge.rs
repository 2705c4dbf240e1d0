//! The rules that hold at every step, whatever the schedule does.

use traffic_manager_core::roles::{Epoch, Role, RoleChange};

use super::{plan::Plan, world::Node};

/// A link on which nothing came for so long is not one (microseconds; heartbeats come each 200 ms).
const GAP: u64 = 450_000;
/// Managers that hear each other for so long have met.
const MET: u64 = 600_000;
/// A death, or anything else, is got over within this.
const TAKEOVER: u64 = 2_000_000;
/// By the true clock, which a manager's is never behind.
const LEASE: u64 = 1_000_000;
/// A holder must have been out of hearing for so long.
const UNHEARD: u64 = 1_000_000;

/// What was heard on one link, one way.
#[derive(Debug, Clone, Copy, Default)]
struct Link {
    last: Option<u64>,
    since: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tenure {
    role: Role,
    epoch: Epoch,
    node: usize,
    at: u64,
}

pub(crate) struct Judge {
    /// By sender, then receiver.
    links: Vec<Vec<Link>>,
    disturbed: u64,
    /// When the one heard the other last.
    said: Vec<Vec<u64>>,
    /// When each began its life.
    began: Vec<u64>,
    resumed: Vec<u64>,
    ticked: Vec<u64>,
    tenures: Vec<Tenure>,
    /// The highest epoch that each gained or lost on its disk.
    own: Vec<[Epoch; 2]>,
    fail_back: bool,
    lossless: bool,
    /// Heartbeats come within 50 ms, and all of them.
    prompt: bool,
}

impl Judge {
    pub(crate) fn new(count: usize, plan: &Plan) -> Judge {
        let lossless = plan.loss == 0;
        Judge {
            links: vec![vec![Link::default(); count]; count],
            disturbed: 0,
            said: vec![vec![0; count]; count],
            began: vec![0; count],
            resumed: vec![0; count],
            ticked: vec![0; count],
            tenures: Vec::new(),
            own: vec![[Epoch(0); 2]; count],
            fail_back: plan.fail_back,
            lossless,
            prompt: lossless && plan.delay.1 <= 50,
        }
    }

    pub(crate) fn disturbed(&mut self, now: u64) {
        self.disturbed = now;
    }

    /// Nothing that it heard or said counts any more.
    pub(crate) fn broke(&mut self, node: usize) {
        for other in 0..self.links.len() {
            self.links[node][other] = Link::default();
            self.links[other][node] = Link::default();
        }
    }

    pub(crate) fn began(&mut self, node: usize, now: u64) {
        self.broke(node);
        self.began[node] = now;
        self.disturbed = now;
    }

    pub(crate) fn forgot(&mut self, node: usize) {
        self.own[node] = [Epoch(0); 2];
    }

    pub(crate) fn heard(&mut self, from: usize, to: usize, now: u64) {
        let link = &mut self.links[from][to];
        if link.last.is_none_or(|last| last + GAP < now) {
            link.since = now;
        }
        link.last = Some(now);
        self.said[from][to] = now;
    }

    /// Before its first act after standing still: whatever it held may be another's.
    pub(crate) fn resumed(&mut self, n: usize, node: &Node, now: u64) {
        self.broke(n);
        self.resumed[n] = now;
        let Some(roles) = &node.roles else { return };
        let clock = node.clock(now);
        for tenure in self.tenures.iter().filter(|t| t.node == n) {
            // It stood still for less than its lease, or it is fenced off.
            let holds = roles.holds(tenure.role, clock) == Some(tenure.epoch);
            let may = roles.may(tenure.role, tenure.epoch, clock).is_ok();
            assert_eq!(may, holds, "at {now}: {n} writes after its lease");
            let beat = self.ticked[n] + LEASE;
            assert!(!may || now < beat, "at {now}: {n} stood still beyond its lease, and writes");
        }
    }

    /// It was awake.
    pub(crate) fn ticked(&mut self, n: usize, now: u64) {
        self.ticked[n] = now;
    }

    fn joined(&self, a: usize, b: usize, length: u64, now: u64) -> bool {
        let good = |link: &Link| {
            link.last.is_some_and(|last| last + GAP >= now) && link.since + length <= now
        };
        good(&self.links[a][b]) && good(&self.links[b][a])
    }

    /// Who may write for the role now.
    pub(crate) fn writers(&self, nodes: &[Node], role: Role, now: u64) -> Vec<(usize, Epoch)> {
        let epoch = |node: &Node| node.running()?.holds(role, node.clock(now));
        nodes.iter().enumerate().filter_map(|(n, node)| Some((n, epoch(node)?))).collect()
    }

    /// When it gained the role last.
    fn since(&self, role: Role, n: usize) -> u64 {
        let own = self.tenures.iter().rev().find(|t| t.role == role && t.node == n);
        own.map_or(0, |t| t.at)
    }

    /// At each step at most one of those that hear each other writes, and soon after a death one does.
    pub(crate) fn look(&self, nodes: &[Node], now: u64) {
        for role in Role::ALL {
            let writers = self.writers(nodes, role, now);
            for (i, (a, _)) in writers.iter().enumerate() {
                for (b, _) in &writers[i + 1..] {
                    // Where heartbeats come late or not at all, two may take a vacant role at once.
                    let since = self.since(role, *a).max(self.since(role, *b));
                    let known = self.prompt || since + MET <= now;
                    assert!(
                        !known || !self.joined(*a, *b, MET, now),
                        "at {now} {a} and {b} both write as {role}: {:?}",
                        self.tenures
                    );
                }
            }
            // On its way home a role is nobody's for a moment.
            let vacant = writers.is_empty() && !self.fail_back && self.quiet(nodes, now);
            assert!(!vacant, "at {now} nobody has {role}: {:?}", self.tenures);
        }
    }

    /// All who run have heard each other for long, and nothing happened.
    fn quiet(&self, nodes: &[Node], now: u64) -> bool {
        let up: Vec<usize> = (0..nodes.len()).filter(|n| nodes[*n].running().is_some()).collect();
        let joined = |a: &usize, b: &usize| a == b || self.joined(*a, *b, TAKEOVER, now);
        !up.is_empty()
            && self.disturbed + TAKEOVER <= now
            && up.iter().all(|a| up.iter().all(|b| joined(a, b)))
    }

    /// Its former tenures are fenced off.
    pub(crate) fn fenced(&self, n: usize, node: &Node, now: u64) {
        let Some(roles) = node.running() else { return };
        for tenure in self.tenures.iter().rev().filter(|t| t.node == n).take(4) {
            let may = roles.may(tenure.role, tenure.epoch, node.clock(now)).is_ok();
            let holds = roles.holds(tenure.role, node.clock(now)) == Some(tenure.epoch);
            assert_eq!(may, holds, "{n} writes under epoch {} of {}", tenure.epoch, tenure.role);
        }
    }

    pub(crate) fn changed(&mut self, n: usize, change: RoleChange, nodes: &[Node], now: u64) {
        match change {
            RoleChange::Store(_) => {}
            RoleChange::Gained(role, epoch) => self.check_gain(n, role, epoch, nodes, now),
            RoleChange::Lost(role, epoch) => {
                let others = self.tenures.iter().filter(|t| t.role == role && t.node != n);
                let cause = others.map(|t| t.epoch).max() >= Some(epoch);
                let stalled = self.resumed[n] > 0 && now < self.resumed[n] + 1_500_000;
                assert!(
                    cause || stalled || self.fail_back,
                    "at {now}: {n} gave {role} up without a cause"
                );
            }
        }
        let calm = self.lossless && !self.fail_back && self.disturbed + 4_000_000 <= now;
        assert!(!calm, "at {now}: {change:?} at {n}, though nothing happened");
    }

    fn check_gain(&mut self, n: usize, role: Role, epoch: Epoch, nodes: &[Node], now: u64) {
        let index = usize::from(role == Role::Janitor);
        assert!(self.own[n][index] < epoch, "at {now}: {n} had epoch {epoch} of {role} before");
        self.own[n][index] = epoch;
        for (holder, held) in self.writers(nodes, role, now) {
            if holder == n || held.0 + 1 != epoch.0 {
                continue; // it, or a manager that has missed a later tenure
            }
            let unheard = self.said[holder][n].max(self.began[n]) + UNHEARD <= now;
            assert!(unheard, "at {now}: {n} takes {role} from {holder}, of whom it hears");
        }
        self.tenures.push(Tenure { role, epoch, node: n, at: now });
    }

    /// All are there, and have been for long.
    pub(crate) fn settled(&self, nodes: &[Node], now: u64, fail_back: bool) {
        for role in Role::ALL {
            let writers = self.writers(nodes, role, now);
            assert_eq!(writers.len(), 1, "{role} at the end");
            for node in nodes.iter().filter_map(Node::running) {
                assert_eq!(
                    node.holder(role),
                    nodes[writers[0].0].running().and_then(|r| r.holder(role))
                );
            }
            if fail_back && self.lossless {
                let best = nodes.iter().map(Node::priority).min();
                assert_eq!(Some(nodes[writers[0].0].priority()), best, "{role} did not go home");
            }
        }
    }

    pub(crate) fn gained(&self, role: Role) -> Vec<(u64, usize)> {
        let of = self.tenures.iter().filter(|t| t.role == role);
        of.map(|t| (t.at / 1_000, t.node)).collect()
    }
}
