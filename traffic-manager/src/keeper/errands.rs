//! What the keeper has to ask of the driver.
//!
//! The driver may be busy for seconds with frames of a large fleet. The keeper does not wait for it: it
//! goes on to send heartbeats, on which its roles and links depend, and is told when the driver has
//! answered.

use std::{collections::VecDeque, future::Future, pin::Pin};

use tokio::sync::oneshot;
use traffic_manager_core::{
    manager::{Export, PolicyChange},
    replica::WriteId,
};
use weir_proto::{
    counters::{Counters, CountersAsk},
    id::ManagerId,
    time::Time,
};

use crate::driver::Driver;

/// Policies that wait to be put in force. With more, the keeper writes nothing: whoever changes policies
/// waits.
const POLICIES: usize = 4_096;
/// Pieces of counters that wait to be taken. What comes beyond is dropped, and asked for again.
const PIECES: usize = 16;

/// What is told once policies are in force.
#[derive(Debug)]
pub(super) enum Then {
    /// Whoever wrote them.
    Written(oneshot::Sender<Written>, Option<WriteId>),
    /// That what peers know is known here, too.
    Synced(oneshot::Sender<()>),
}

/// How a caller's write ended.
pub(super) type Written = Result<Option<WriteId>, std::sync::Arc<crate::store::StoreError>>;

impl Then {
    fn tell(self) {
        // Fails if the one who waits has gone.
        match self {
            Then::Written(done, write) => drop(done.send(Ok(write))),
            Then::Synced(done) => drop(done.send(())),
        }
    }
}

/// One thing to ask.
enum Errand {
    Install(Vec<PolicyChange>, Vec<Then>),
    Tell(ManagerId, CountersAsk, Time),
    Take(Counters, Option<String>),
}

/// What came of one. A driver that is gone takes the manager with it, so that nothing more is said.
#[derive(Debug)]
pub(super) enum Done {
    /// Nothing is left to be done.
    Nothing,
    /// A peer gets this piece.
    Told { peer: ManagerId, piece: Counters, asked_at: Time },
}

type Running = Pin<Box<dyn Future<Output = Done> + Send>>;

/// Errands, run one after the other.
pub(super) struct Errands {
    driver: Driver,
    queue: VecDeque<Errand>,
    running: Option<Running>,
    /// Policies in the queue.
    policies: usize,
    /// Pieces in the queue.
    pieces: usize,
    /// A peer's question is in the queue, or being answered.
    tells: bool,
}

impl Errands {
    pub(super) fn new(driver: Driver) -> Self {
        Errands {
            driver,
            queue: VecDeque::new(),
            running: None,
            policies: 0,
            pieces: 0,
            tells: false,
        }
    }

    /// Nothing more should be written until the driver has caught up.
    pub(super) fn full(&self) -> bool {
        self.policies >= POLICIES
    }

    /// Puts policies in force.
    pub(super) fn install(&mut self, policies: Vec<PolicyChange>) {
        if policies.is_empty() {
            return;
        }
        self.policies += policies.len();
        match self.queue.back_mut() {
            Some(Errand::Install(waiting, _)) => waiting.extend(policies),
            _ => self.queue.push_back(Errand::Install(policies, Vec::new())),
        }
    }

    /// Tells this once all policies so far are in force.
    pub(super) fn then(&mut self, then: Then) {
        let waiting = self.queue.iter_mut().rev().find_map(|errand| match errand {
            Errand::Install(_, all) => Some(all),
            _ => None,
        });
        match waiting {
            Some(all) => all.push(then),
            None if self.running.is_none() => then.tell(),
            // What runs now may be the last of them.
            None => self.queue.push_back(Errand::Install(Vec::new(), vec![then])),
        }
    }

    /// Whether a peer's question is on its way; one at a time is.
    pub(super) fn tells(&self) -> bool {
        self.tells
    }

    /// Answers a peer that asks for counters.
    pub(super) fn tell_counters(&mut self, peer: ManagerId, question: CountersAsk, now: Time) {
        self.tells = true;
        self.queue.push_back(Errand::Tell(peer, question, now));
    }

    /// Whether there is room for another piece.
    pub(super) fn takes_counters(&self) -> bool {
        self.pieces < PIECES
    }

    /// Takes over what a peer told; `told`: the address of a peer that has told all.
    pub(super) fn take_counters(&mut self, piece: Counters, told: Option<String>) {
        self.pieces += 1;
        self.queue.push_back(Errand::Take(piece, told));
    }

    /// Resolves when the driver has answered; never while there is nothing to ask. Nothing is lost if it
    /// is dropped before.
    pub(super) async fn next(&mut self) -> Done {
        if self.running.is_none() {
            self.running = self.queue.pop_front().map(|errand| self.run(errand));
        }
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let done = running.await;
        self.running = None;
        self.tells &= !matches!(done, Done::Told { .. });
        done
    }

    /// Resolves when nothing is left: at the end, when nobody asks for more.
    pub(super) async fn finish(&mut self) {
        while self.running.is_some() || !self.queue.is_empty() {
            self.next().await;
        }
    }

    fn run(&mut self, errand: Errand) -> Running {
        let driver = self.driver.clone();
        match errand {
            Errand::Install(policies, then) => {
                self.policies -= policies.len();
                Box::pin(async move {
                    if !policies.is_empty() {
                        let told = driver.with(move |manager, now, outputs| {
                            manager.install_policies(policies, now, outputs);
                        });
                        let _ = told.await;
                    }
                    then.into_iter().for_each(Then::tell);
                    Done::Nothing
                })
            }
            Errand::Tell(peer, CountersAsk { min_window: longer_than, cursor }, asked_at) => {
                Box::pin(async move {
                    let piece = driver.with(move |manager, now, _| {
                        let export = Export { longer_than, cursor, ..Export::all() };
                        manager.export_counters(&export, now)
                    });
                    piece.await.map_or(Done::Nothing, |piece| Done::Told { peer, piece, asked_at })
                })
            }
            Errand::Take(piece, told) => {
                self.pieces -= 1;
                Box::pin(async move {
                    let taken = driver.with(move |manager, now, _| {
                        manager.import_counters(&piece, now);
                        if let Some(address) = told {
                            manager.peer_told(&address);
                        }
                    });
                    let _ = taken.await;
                    Done::Nothing
                })
            }
        }
    }
}
