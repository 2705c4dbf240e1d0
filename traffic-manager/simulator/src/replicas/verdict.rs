//! What is judged when all is over.

use std::{collections::BTreeMap, time::Duration};

use traffic_manager_core::replica::{AuditFilter, Replica, UsageFilter};

use super::{node::Node, oracle, world::World};

impl World {
    pub(super) fn equal(&self) -> bool {
        let mut roots = self.nodes.iter().map(|node| node.replica.as_ref().map(Replica::root));
        let first = roots.next().flatten();
        first.is_some() && roots.all(|root| root == first)
    }

    /// All have the same, and it is right.
    pub(super) fn judge(&mut self) {
        let mut views = Vec::new();
        let mut failures = Vec::new();
        for node in &self.nodes {
            let Some(replica) = &node.replica else { continue };
            let name = node.life.id.as_str();
            self.oracle.judge(name, replica);
            let now = node.clock(self.age);
            if replica.peers(now).iter().any(|peer| !peer.equal || peer.outstanding > 0) {
                failures.push(format!("{name} believes that peers lack something"));
            }
            if !node.synced {
                failures.push(format!("{name} has not told that it is in sync"));
            }
            if node.loaded(now).map(|disk| disk.root()) != Ok(replica.root()) {
                failures.push(format!("{name} has other entries on disk than in memory"));
            }
            let held = replica.winners().map(|w| (w.policy.name.to_string(), w.tag.clone()));
            let held: BTreeMap<String, String> = held.collect();
            if held != node.serving {
                failures.push(format!("{name} was told to serve {:?}, not {held:?}", node.serving));
            }
            let unsettled = replica.winners().filter(|w| !w.settled).count();
            if unsettled > 0 {
                failures.push(format!("{name}: {unsettled} winners are not settled"));
            }
            failures.extend(self.wrong_winners(name, replica));
            let log: Vec<_> = replica.conflicts().collect();
            let audit = replica.audit(&AuditFilter::default()).count();
            let usage = replica.usage(&UsageFilter::default()).count();
            views.push(format!("{held:?} {log:?} {audit} {usage}"));
        }
        if views.windows(2).any(|pair| pair[0] != pair[1]) {
            failures.push("equal digests, and different views".to_owned());
        }
        failures.into_iter().for_each(|failure| self.fail(failure));
    }

    /// What is left to do once all is well: a write spreads, and its author knows.
    pub(super) fn last_write(&mut self) {
        let i = usize::try_from(self.chance.below(self.nodes.len() as u64)).unwrap_or(0);
        let name = "last".to_owned();
        let Some(write) = self.put(i, &name) else {
            self.fail("the last write is refused".to_owned());
            return;
        };
        self.play_for(Duration::from_secs(3));
        let all = self.nodes.len() - 1;
        let held = |node: &Node| node.replica.as_ref().is_some_and(|r| r.winner(&name).is_some());
        if !self.nodes.iter().all(held) {
            self.fail("the last write does not spread".to_owned());
        }
        let holders = self.nodes[i].replica.as_ref().map_or(0, |r| r.holders(write));
        if holders != all {
            self.fail(format!("{holders} of {all} hold the last write, as its author believes"));
        }
    }

    /// Winners that are not what the rules say.
    fn wrong_winners(&self, name: &str, replica: &Replica) -> Vec<String> {
        let mut wrong = Vec::new();
        for policy in self.policies() {
            let register = replica.register(&policy);
            let expected = register.as_ref().and_then(oracle::winner);
            let live = expected.filter(|(_, version)| version.body.is_some());
            let holds = replica.winner(&policy);
            let same = match (live, holds) {
                (None, None) => true,
                (Some((hash, version)), Some(held)) => {
                    let hash = hash.to_string();
                    held.ref_number == version.ref_number
                        && held.tag.split_once('-').is_some_and(|(_, h)| hash.starts_with(h))
                }
                _ => false,
            };
            if !same {
                wrong.push(format!("{name} holds another version of {policy} than the rules say"));
            }
        }
        wrong
    }
}
