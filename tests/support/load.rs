//! Checks in the background, as gateways send them, and a book of how each was answered.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    http::{Response, Session},
    wait::Pace,
};

/// Where checks go: an agent's name and its HTTP port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) agent: String,
    pub(crate) http: u16,
}

impl Target {
    /// Checks one request of an application.
    pub(crate) fn check(
        &self,
        client: &Session,
        api: &str,
        application: &str,
    ) -> Result<Response, String> {
        let url = format!("http://127.0.0.1:{}/v1/check", self.http);
        let body = json!({ "attributes": { "api": api, "application": application } });
        client.post_json(&url, &body)
    }
}

/// What was answered for one application at one agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) allowed: u64,
    pub(crate) refused: u64,
}

/// What became of all checks.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// By agent and application.
    pub(crate) answers: BTreeMap<(String, String), Answers>,
    /// Answers that were neither 200 nor 429, and checks without an answer.
    pub(crate) failures: Vec<String>,
    pub(crate) slowest: Duration,
}

impl Book {
    /// Checks once and writes down the answer; true if it was allowed.
    pub(crate) fn check(
        &mut self,
        target: &Target,
        client: &Session,
        api: &str,
        application: &str,
    ) -> bool {
        let began = Instant::now();
        let answer = target.check(client, api, application);
        let took = began.elapsed();
        self.slowest = self.slowest.max(took);
        let place = (target.agent.clone(), application.to_owned());
        let answers = self.answers.entry(place).or_default();
        match answer {
            Ok(response) if response.status == 200 => {
                answers.allowed += 1;
                return true;
            }
            Ok(response) if response.status == 429 => answers.refused += 1,
            Ok(response) => {
                let what =
                    format!("{target:?} {application}: {} {}", response.status, response.body);
                self.failures.push(what);
            }
            Err(error) => {
                self.failures.push(format!("{target:?} {application} after {took:?}: {error}"))
            }
        }
        false
    }

    /// Adds what another book says.
    pub(crate) fn merge(&mut self, other: Book) {
        for (place, answers) in other.answers {
            let mine = self.answers.entry(place).or_default();
            mine.allowed += answers.allowed;
            mine.refused += answers.refused;
        }
        self.failures.extend(other.failures);
        self.slowest = self.slowest.max(other.slowest);
    }

    /// Admitted for each application, at all agents.
    pub(crate) fn allowed(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for ((_, application), answers) in &self.answers {
            *sums.entry(application.clone()).or_default() += answers.allowed;
        }
        sums
    }

    /// All checks that were answered.
    pub(crate) fn total(&self) -> u64 {
        self.answers.values().map(|a| a.allowed + a.refused).sum()
    }
}

/// A running load: each agent is asked for each application in turn.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Book>>,
}

impl Load {
    /// One thread per agent, with `per_second` checks each.
    pub(crate) fn start(
        targets: &[Target],
        api: &str,
        applications: &[&str],
        per_second: u32,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = targets.iter().cloned().map(|target| {
            let stop = Arc::clone(&stop);
            let api = api.to_owned();
            let applications: Vec<String> = applications.iter().map(|a| (*a).to_owned()).collect();
            thread::spawn(move || {
                let (client, mut book) = (Session::new(), Book::default());
                let mut pace = Pace::new(Duration::from_secs(1) / per_second);
                for application in applications.iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    pace.beat();
                    book.check(&target, &client, &api, application);
                }
                book
            })
        });
        Self { threads: threads.collect(), stop }
    }

    /// Ends the load.
    pub(crate) fn finish(self) -> Book {
        self.stop.store(true, Ordering::Relaxed);
        let mut book = Book::default();
        for thread in self.threads {
            book.merge(thread.join().expect("the load does not panic"));
        }
        book
    }
}
