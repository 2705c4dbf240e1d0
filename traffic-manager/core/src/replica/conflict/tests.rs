//! The laws of joining, and the cases in which the rules that these grew from lost updates or split
//! for ever.

mod flaws;
mod laws;

use std::collections::BTreeSet;

use super::*;

/// Managers that hold the same policy, each with the history of its own votes.
struct Group {
    lives: Vec<ManagerLife>,
    held: Vec<Rivals>,
    clock: u64,
    /// (voter, incarnation, number) -> what it voted for.
    ballots: BTreeMap<(ManagerId, u64, u64), VersionHash>,
    /// A version's true ancestors: it was written on top of them, as winner or as settled loser.
    ancestors: BTreeMap<VersionHash, BTreeSet<VersionHash>>,
}

impl Group {
    fn new(n: usize) -> Group {
        let life = |i: usize| ManagerLife {
            id: ManagerId::new(&format!("tm-{i}")).expect("a name"),
            incarnation: 1,
        };
        let lives: Vec<ManagerLife> = (0..n).map(life).collect();
        let (ballots, ancestors) = (BTreeMap::new(), BTreeMap::new());
        Group { held: vec![Rivals::default(); n], lives, clock: 1_000, ballots, ancestors }
    }

    /// A write at that time, which need not be later than another manager's.
    fn write_at(&mut self, i: usize, at: u64, body: Option<&str>, also: Option<VersionHash>) {
        let latest = self.held[i].versions().map(|v| v.stamp.0).max().unwrap_or(0);
        let body = body.map(|text| Bytes::copy_from_slice(text.as_bytes()));
        let stamp = Stamp(at.max(latest + 1));
        let draft = Draft { me: &self.lives[i], stamp, author: "anna", body };
        let before: BTreeSet<VersionHash> = self.held[i].hashes().copied().collect();
        let base = self.held[i].winner().map(|(hash, _)| hash);
        self.held[i].write(draft, also, 0);
        self.check_ballot(i);
        let new: Vec<VersionHash> =
            self.held[i].hashes().filter(|hash| !before.contains(hash)).copied().collect();
        assert_eq!(new.len(), 1, "one version");
        let parents: BTreeSet<VersionHash> = base.into_iter().chain(also).collect();
        let former = parents.iter().filter_map(|parent| self.ancestors.get(parent)).flatten();
        let all = former.chain(&parents).copied().collect();
        self.ancestors.insert(new[0], all);
    }

    fn put(&mut self, i: usize, body: &str) {
        self.clock += 1;
        self.write_at(i, self.clock, Some(body), None);
    }

    fn delete(&mut self, i: usize) {
        self.clock += 1;
        self.write_at(i, self.clock, None, None);
    }

    /// `to` hears everything that `from` has.
    fn tell(&mut self, from: usize, to: usize) {
        let news = self.held[from].clone();
        self.hear(to, news);
    }

    fn hear(&mut self, to: usize, news: Rivals) {
        assert_eq!(self.held[to].join(news), 0, "there is room");
        self.held[to].vote(&self.lives[to]);
        self.check_ballot(to);
    }

    /// Votes never change.
    fn check_ballot(&mut self, i: usize) {
        for (voter, vote) in self.held[i].votes() {
            let ballot = (voter.clone(), vote.incarnation, self.held[i].top());
            let cast = self.ballots.entry(ballot).or_insert(vote.hash);
            assert_eq!(*cast, vote.hash, "{voter} changed its vote");
        }
    }

    /// Everybody hears everybody, some of them repeatedly, until nothing is new.
    fn meet(&mut self) {
        loop {
            let before = self.held.clone();
            for from in 0..self.held.len() {
                for to in 0..self.held.len() {
                    self.tell(from, to);
                }
            }
            if self.held == before {
                return;
            }
        }
    }

    fn body(&self, i: usize) -> Option<String> {
        let (_, version) = self.held[i].winner()?;
        version.body.as_ref().map(|body| String::from_utf8_lossy(body).into_owned())
    }

    fn log(&self, i: usize) -> Vec<String> {
        let text = |body: &Option<Bytes>| {
            body.as_ref().map_or("deleted".to_owned(), |b| String::from_utf8_lossy(b).into_owned())
        };
        let mut log: Vec<String> =
            self.held[i].losers().map(|(_, version)| text(&version.body)).collect();
        log.sort();
        log
    }

    /// After all have met: one state, one winner, settled, and the log.
    fn agree(&mut self) -> (Option<String>, Vec<String>) {
        self.meet();
        let (body, log) = (self.body(0), self.log(0));
        for i in 0..self.held.len() {
            assert_eq!(self.held[i], self.held[0]);
            assert_eq!((self.body(i), self.log(i)), (body.clone(), log.clone()));
            assert!(self.held[i].settled(self.held.len()));
        }
        (body, log)
    }
}
