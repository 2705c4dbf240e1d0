//! The one task that owns the core.
//!
//! Everything that changes the manager's state passes through one bounded queue: frames, ended
//! streams, and closures for queries and policy writes. The driver hands them in, performs what
//! comes out, and wakes for the core's deadlines.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tonic::Status;
use traffic_manager_core::{
    Config as CoreConfig, Input, Manager, Output, StreamId, accounts::Closed,
};
use weir_proto::{
    id::{Incarnation, ManagerId, ManagerLife, SAME_ID},
    time::Time,
};

use self::links::{Links, Sent};
pub(crate) use self::{
    handle::{Driver, Stopped},
    links::{End, SESSION_QUEUE, SessionLink, UsageLink},
};
use crate::{clock::Clock, config::Config, keeper::CANDIDATES, stop::Stop, telemetry::Telemetry};

mod handle;
mod links;

/// Commands that wait. Senders wait when it is full, which stops them reading from their streams:
/// the peers' flow control does the rest.
const COMMANDS: usize = 4_096;
/// Bytes of memory that the frames among them take: when they are used up, senders wait as well. Beside
/// this each stream holds one frame at most, the one that it waits with.
const FRAME_BYTES: u32 = 64 << 20;
/// Commands taken from the queue at once.
const BATCH: usize = 256;
/// Longest time between two looks at the deadlines, and one command more.
const TURN: Duration = Duration::from_millis(20);
/// Longest sleep, so that a correction of the clock or a missed deadline cannot last.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A query or a write, run where the core is.
pub(crate) type Job = Box<dyn FnOnce(&mut Manager, Time, &mut Vec<Output>) + Send>;

/// What the driver is asked to do.
#[expect(clippy::large_enum_variant, reason = "most commands are frames: a box for each is waste")]
pub(crate) enum Command {
    /// A usage stream begins.
    OpenUsage(StreamId, UsageLink),
    /// A decision session begins.
    OpenSession(StreamId, SessionLink),
    /// A frame for the core, and its part of [`FRAME_BYTES`].
    Frame(Input, OwnedSemaphorePermit),
    /// A usage stream ended; the peer is answered with this.
    CloseUsage(StreamId, End),
    /// A session ended; the peer is answered with this.
    CloseSession(StreamId, End),
    /// Run this.
    With(Job),
}

struct Task {
    manager: Manager,
    clock: Clock,
    links: Links,
    telemetry: Arc<Telemetry>,
    jumps: u64,
    /// Windows that closed and that the keeper has not taken yet.
    closed: Vec<Closed>,
    accounts: mpsc::Sender<Vec<Closed>>,
}

/// Starts the driver. When `shutdown` says so it ends all streams, and answers questions until `end` does;
/// the returned receiver then resolves. It fails if the task died of a panic.
pub(crate) fn start(
    config: &Config,
    life: &ManagerLife,
    clock: Clock,
    accounts: mpsc::Sender<Vec<Closed>>,
    telemetry: Arc<Telemetry>,
    (shutdown, end): (Stop, Stop),
) -> (Driver, oneshot::Receiver<()>) {
    let wall = clock.started();
    let core = CoreConfig {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        silent_hold: config.silent_hold,
        max_counters: config.max_counters,
        accounts: true,
        seed: RandomState::new().hash_one(wall),
        ..CoreConfig::new(life.clone())
    };
    let task = Task {
        manager: Manager::new(core, Time::from_micros(wall)),
        clock,
        links: Links::default(),
        telemetry,
        jumps: 0,
        closed: Vec::new(),
        accounts,
    };
    let (commands, queue) = mpsc::channel(COMMANDS);
    let (done, finished) = oneshot::channel();
    tokio::spawn(async move {
        task.run(queue, shutdown, end).await;
        // Nobody waits for us any more if this fails.
        let _ = done.send(());
    });
    (Driver::new(commands, life.clone(), Time::from_micros(wall)), finished)
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Command>, mut shutdown: Stop, mut end: Stop) {
        let mut leaving = false;
        let mut batch = Vec::with_capacity(BATCH);
        let mut outputs = Vec::new();
        loop {
            let now = self.now();
            self.keep_deadlines(now, &mut outputs);
            self.hand_over_closed();
            let sleep = self.sleep(now);
            tokio::select! {
                biased;
                () = end.requested() => break,
                () = shutdown.requested(), if !leaving => leaving = true,
                count = queue.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    let mut now = self.now();
                    for command in batch.drain(..) {
                        self.obey(command, now, &mut outputs);
                        now = self.catch_up(now, &mut outputs);
                    }
                    self.perform(&mut outputs, now);
                }
                () = tokio::time::sleep(sleep) => {}
            }
            if leaving {
                // Also those that began since.
                self.links.end_all(&Status::unavailable("the manager is shutting down"));
            }
        }
    }

    /// Does what is due.
    fn keep_deadlines(&mut self, now: Time, outputs: &mut Vec<Output>) {
        if self.manager.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.manager.on_deadline(now, outputs);
            self.perform(outputs, now);
        }
    }

    /// Ends a turn that took long within its batch; returns when the present turn began.
    fn catch_up(&mut self, began: Time, outputs: &mut Vec<Output>) -> Time {
        let now = self.now();
        if now.since(began) < TURN {
            return began;
        }
        self.perform(outputs, now);
        self.keep_deadlines(now, outputs);
        now
    }

    /// How long nothing is due.
    fn sleep(&self, now: Time) -> Duration {
        self.manager
            .next_deadline()
            .map_or(LONGEST_SLEEP, |deadline| deadline.since(now).min(LONGEST_SLEEP))
    }

    /// What the keeper has no room for stays here, and is offered again in the next turn: heartbeats see
    /// to it that there is one. Of too much, what closed first is given up.
    fn hand_over_closed(&mut self) {
        if self.closed.is_empty() {
            return;
        }
        let surplus = self.closed.len().saturating_sub(CANDIDATES);
        if surplus > 0 {
            self.closed.drain(..surplus);
            self.telemetry.usage_given_up.increment(surplus as u64);
        }
        if let Ok(room) = self.accounts.try_reserve() {
            room.send(std::mem::take(&mut self.closed));
        }
    }

    fn now(&mut self) -> Time {
        let now = self.clock.now();
        let jumps = self.clock.jumps();
        if jumps != self.jumps {
            tracing::warn!("the wall clock jumped; manager time approaches it by 0.1 %");
            self.telemetry.clock_jumps.increment(jumps - self.jumps);
            self.jumps = jumps;
        }
        now
    }

    fn obey(&mut self, command: Command, now: Time, outputs: &mut Vec<Output>) {
        match command {
            Command::OpenUsage(stream, link) => self.links.open_usage(stream, link),
            Command::OpenSession(stream, link) => self.links.open_session(stream, link),
            Command::Frame(input, _room) => self.manager.handle(input, now, outputs),
            Command::CloseUsage(stream, end) => {
                self.links.end_usage(stream, end);
                self.manager.handle(Input::UsageClosed(stream), now, outputs);
            }
            Command::CloseSession(stream, end) => {
                self.links.end_session(stream, end);
                self.manager.handle(Input::SessionClosed(stream), now, outputs);
            }
            Command::With(job) => job(&mut self.manager, now, outputs),
        }
    }

    /// Does what the core wants, in its order. Cutting a subscriber off is told to the core, which
    /// may want more; that ends, because every round closes a session.
    fn perform(&mut self, outputs: &mut Vec<Output>, now: Time) {
        while !outputs.is_empty() {
            let mut cut_off = Vec::new();
            for output in outputs.drain(..) {
                match output {
                    Output::Ack(stream, seq) => self.links.ack(stream, seq),
                    Output::Decide(stream, frame) => {
                        if self.links.decide(stream, frame.into()) == Sent::CutOff {
                            cut_off.push(stream);
                        }
                    }
                    Output::CloseUsage(stream, text) => {
                        log_end("usage stream", stream, &text);
                        self.links.end_usage(stream, End::because(refusal(text)));
                    }
                    Output::CloseSession(stream, text) => {
                        log_end("decision session", stream, &text);
                        self.links.end_session(stream, End::because(refusal(text)));
                    }
                    Output::WindowClosed { admitted, refused, limit, .. } => {
                        self.telemetry.window_closed(admitted, refused, limit);
                    }
                    Output::Closed(closed) => self.closed.extend(closed),
                }
            }
            for stream in cut_off {
                tracing::warn!(stream = stream.0, "subscriber too slow; cut off");
                self.telemetry.subscribers_cut_off.increment(1);
                self.manager.handle(Input::SessionClosed(stream), now, outputs);
            }
        }
    }
}

/// The core ends a stream because of what the peer sent, or because it is superseded.
fn refusal(text: String) -> Status {
    Status::failed_precondition(text)
}

/// Two agents with one id are the operator's concern; other ends mend themselves.
fn log_end(what: &str, stream: StreamId, text: &str) {
    if text.contains(SAME_ID) {
        tracing::warn!(stream = stream.0, "{what} refused: {text}");
    } else {
        tracing::info!(stream = stream.0, "{what} closed: {text}");
    }
}

#[cfg(test)]
mod tests;
