//! What models must not suffer from that the schemes themselves would not.

use std::{rc::Rc, sync::Arc, time::Duration};

use super::{Fleet, Limiter, Ruling, Sight, Strategy, Tally, Word};
use crate::{
    judge::{self, Hit},
    limiter::Query,
    plan::Fault,
    rivals::StaticShare,
    scenario::{Incident, Scenario},
};

/// Managers say once, and for ever, that everything is to be refused.
struct Closed;

impl Strategy for Closed {
    fn admits(&self, sight: &Sight) -> bool {
        sight.word.is_none()
    }

    fn word(&self, _: &Tally, _: bool) -> Option<Word> {
        Some(Word { window: 0, refuse: 1.0 })
    }
}

struct Run<S> {
    fleet: Fleet<S>,
    query: Rc<Query>,
    asked: u64,
}

impl<S: Strategy> Run<S> {
    fn new(strategy: S, clocks: &str) -> Self {
        let text = format!(
            r#"
            title = "One gateway, two managers"
            duration = "20s"
            [agents]
            count = 1
            [clocks]
            managers = [{clocks}]
            [[policies]]
            name = "p"
            level = "application"
            key = ["application"]
            limits = [{{ requests = 10, window = "10s" }}]
            [[traffic]]
            rate = "1x"
            "#
        );
        let scenario = Scenario::parse(&text, |name| Err(name.to_owned())).expect("a scenario");
        assert_eq!((scenario.plan.agents, scenario.plan.managers), (1, 2));
        let facts: Arc<[_]> = judge::facts(&scenario.policies).into();
        let query = Query {
            attributes: Arc::new([]),
            hits: vec![Hit { limit: 0, counter: 0 }],
            denied: false,
        };
        let fleet = Fleet::new(strategy, &scenario, facts, 1);
        Run { fleet, query: Rc::new(query), asked: 0 }
    }

    /// How many of so many requests are admitted at this time.
    fn admitted(&mut self, at_ms: u64, requests: u64) -> usize {
        self.fleet.advance(Duration::from_millis(at_ms));
        for _ in 0..requests {
            self.asked += 1;
            self.fleet.ask(0, self.asked, &self.query);
        }
        let answers = self.fleet.answers();
        answers.iter().filter(|answered| answered.ruling == Some(Ruling::Pass)).count()
    }
}

#[test]
fn a_word_that_was_lost_at_a_cut_is_said_again() {
    let mut run = Run::new(Closed, "\"0s\", \"0s\"");
    for manager in 0..2 {
        run.fleet.incident(Incident::CutDecisions(0, manager));
    }
    assert_eq!(run.admitted(100, 5), 5, "usage passes; what managers say does not");
    assert_eq!(run.admitted(4_000, 5), 5);
    for manager in 0..2 {
        run.fleet.incident(Incident::HealDecisions(0, manager));
    }
    assert_eq!(run.admitted(9_000, 5), 0, "it follows again, and hears what it missed");
}

#[test]
fn a_share_is_spent_once_though_the_next_manager_is_behind() {
    let mut run = Run::new(StaticShare, "\"500ms\", \"-500ms\"");
    assert_eq!(run.admitted(9_600, 20), 10, "the second window has begun");
    run.fleet.incident(Incident::Fault(Fault::Cut(0, 0)));
    assert_eq!(run.admitted(10_400, 20), 0, "the second manager is in the first window");
    assert_eq!(run.admitted(11_000, 20), 0);
    assert_eq!(run.admitted(20_600, 20), 10);
}
