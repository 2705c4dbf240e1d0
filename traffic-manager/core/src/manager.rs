//! The composition: what each input touches, and in which order effects leave.

mod credit;
mod policies;
mod recall;
mod recovery;
mod reset;
mod timers;
mod trace;
mod unnamed;
mod usage;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use weir_proto::{
    decision::ManagerHello,
    id::ManagerLife,
    time::{Time, WindowStart},
};

use crate::{
    feed::Feeds,
    fleet::{Announcement, Fleet, FleetConfig},
    grants::{self, Tally, Turn},
    ledger::{CounterIx, Ledger},
    limits::Limits,
    message::{Input, Output, StreamId},
    policies::Policies,
};
pub use policies::PolicyChange;
pub use recall::Export;
pub(crate) use recall::MAX_PIECE;
pub use recovery::Missing;
use recovery::Recovery;
pub use reset::{ResetError, keep_resets, with_reset};
use timers::{Timer, Timers};
use usage::UsageStream;

/// Sessions hear from the manager at least this often.
const HEARTBEAT: Duration = Duration::from_millis(200);

/// A heartbeat late by this much means that the process was stopped or starved.
const STALL: Duration = Duration::from_millis(300);

/// How a manager behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name and incarnation; the incarnation must be larger after each restart.
    pub life: ManagerLife,
    /// Version of the build, told to agents.
    pub version: String,
    /// How long the share of a silent agent stays reserved. Longer = exact through longer
    /// partitions, but a crashed agent's share lies idle for as long. Default 30 s.
    pub silent_hold: Duration,
    /// How long a manager that knows of no fleet waits for members of one to show up before it
    /// founds one. Agents reconnect within half of this. Default 1 s.
    pub fence: Duration,
    /// Most live counters. At most twice as many are known by name, with 256 bytes of keys for each
    /// that may live (at least one key of any length) and 16 cells of 64 bytes for each (at least
    /// 1 Mi). What is beyond is refused and counted. Default 1 million.
    pub max_counters: usize,
    /// Whether windows that close are told, for records of usage: [`Output::Closed`]. Default false.
    pub accounts: bool,
    /// Hard to guess, as the keys of counters are chosen by clients: seeds the hash of the ledger.
    pub seed: u64,
}

impl Config {
    /// Defaults for this manager.
    pub fn new(life: ManagerLife) -> Self {
        Config {
            life,
            version: String::new(),
            silent_hold: Duration::from_secs(30),
            fence: Duration::from_secs(1),
            max_counters: 1_000_000,
            accounts: false,
            seed: 0,
        }
    }
}

/// Totals since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) usage_frames: u64,
    pub(crate) usage_entries: u64,
    pub(crate) refused_frames: u64,
    pub(crate) tally: Tally,
}

/// One traffic manager's brain.
#[derive(Debug, Clone)]
pub struct Manager {
    pub(crate) config: Config,
    pub(crate) fleet: Fleet,
    pub(crate) ledger: Ledger,
    pub(crate) policies: Policies,
    pub(crate) totals: Totals,
    limits: Limits,
    feeds: Feeds,
    usage: BTreeMap<StreamId, UsageStream>,
    credit: BTreeMap<StreamId, credit::Session>,
    dirty: BTreeSet<(CounterIx, WindowStart)>,
    timers: Timers,
    heartbeat_at: Time,
    recovery: Recovery,
}

impl Manager {
    /// A manager that knows nothing yet.
    pub fn new(config: Config, now: Time) -> Self {
        let fleet = FleetConfig {
            me: config.life.clone(),
            silent_hold: config.silent_hold,
            fence: config.fence,
        };
        let mut ledger = Ledger::new(config.max_counters, config.seed);
        if config.accounts {
            ledger.record_usage();
        }
        Manager {
            fleet: Fleet::new(fleet, now),
            ledger,
            policies: Policies::default(),
            totals: Totals::default(),
            limits: Limits::default(),
            feeds: Feeds::default(),
            usage: BTreeMap::new(),
            credit: BTreeMap::new(),
            dirty: BTreeSet::new(),
            timers: Timers::default(),
            heartbeat_at: now + HEARTBEAT,
            recovery: Recovery::default(),
            config,
        }
    }

    /// Takes one input; appends what must be done.
    pub fn handle(&mut self, input: Input, now: Time, out: &mut Vec<Output>) {
        self.notice_stall(now);
        self.end_recovery(now);
        match input {
            Input::Usage(stream, frame) => self.on_usage(stream, frame, now, out),
            Input::UsageClosed(stream) => self.on_usage_closed(stream, now),
            Input::Credit(session, frame) => self.on_credit(session, frame, now, out),
            Input::SessionClosed(session) => self.end_session(session, now),
        }
        self.finish(now, out);
    }

    /// When [`Manager::on_deadline`] must be called next.
    pub fn next_deadline(&self) -> Option<Time> {
        let fleet = self.fleet.next_deadline();
        let (minute, recovery) = (self.ledger.minute_ends(), self.recovery_deadline());
        [fleet, self.timers.next(), minute, recovery, Some(self.heartbeat_at)]
            .into_iter()
            .flatten()
            .min()
    }

    /// A heartbeat that is long overdue shows that the process stood still.
    fn notice_stall(&mut self, now: Time) {
        if self.heartbeat_at + STALL < now {
            self.fleet.stalled(now);
            self.heartbeat_at = now;
        }
    }

    /// Does what is due.
    pub fn on_deadline(&mut self, now: Time, out: &mut Vec<Output>) {
        self.notice_stall(now);
        self.end_recovery(now);
        if let Some(announcement) = self.fleet.on_deadline(now) {
            self.announce(&announcement, now);
        }
        for timer in self.timers.due(now) {
            match timer {
                Timer::Settle(ix, window) => {
                    self.dirty.insert((ix, window));
                }
                Timer::Expire(ix) => self.expire(ix, now, out),
            }
        }
        self.ledger.end_minute(now, timers::EXPIRE_AT_ONCE);
        if self.heartbeat_at <= now {
            self.feeds.heartbeat(now - HEARTBEAT + Duration::from_millis(1));
            self.heartbeat_at = now + HEARTBEAT;
        }
        if let Some(session) = self.feeds.overgrown() {
            self.close_session(session, "too many counters were named; subscribe again", now, out);
        }
        if let Some(session) = self.hoarder() {
            self.close_session(session, "many counters were named; subscribe again", now, out);
        }
        self.finish(now, out);
    }

    /// Settles what this turn touched and sends what it filled.
    fn finish(&mut self, now: Time, out: &mut Vec<Output>) {
        for (ix, window) in std::mem::take(&mut self.dirty) {
            let Some(counter) = self.ledger.get_mut(ix) else { continue };
            let mut turn = Turn {
                fleet: &self.fleet,
                feeds: &mut self.feeds,
                now,
                tally: &mut self.totals.tally,
            };
            let look = grants::settle(ix, counter, window, &mut turn);
            let state = counter.windows.iter_mut().find(|w| w.start == window);
            if let (Some(at), Some(state)) = (look, state)
                && state.look_at.is_none_or(|due| due <= now || at < due)
            {
                state.look_at = Some(at);
                self.timers.set(at, Timer::Settle(ix, window));
            }
        }
        self.feeds.flush(now, out);
        let closed = self.ledger.take_closed();
        if !closed.is_empty() {
            out.push(Output::Closed(closed));
        }
    }

    fn announce(&mut self, announcement: &Announcement, now: Time) {
        let sessions: Vec<StreamId> = self.fleet.sessions().map(|(s, _)| s).collect();
        for session in sessions {
            self.feeds.fill(session, |frame| match announcement {
                Announcement::Propose(view) => frame.propose = Some(view.clone()),
                Announcement::Install(view, from) => frame.install = Some((view.clone(), *from)),
            });
        }
        if matches!(announcement, Announcement::Install(..)) {
            self.settle_accounts(now);
            self.reconsider();
        }
    }

    /// Everybody is attached and every ceiling is known: what agents gave up elsewhere is history, as
    /// every other manager's budget is void. Windows that are not granted from keep their accounts.
    fn settle_accounts(&mut self, now: Time) {
        if !self.fleet.complete() {
            return;
        }
        let fleet = &self.fleet;
        let windows = self.ledger.iter_mut().flat_map(|(_, counter)| counter.windows.iter_mut());
        for window in windows.filter(|w| fleet.sovereign(w.start.time(), now)) {
            for slot in &mut window.slots {
                slot.lent = 0;
            }
        }
    }

    /// Looks again at every window in which somebody waits: the budget has changed.
    fn reconsider(&mut self) {
        for (ix, counter) in self.ledger.iter() {
            for window in &counter.windows {
                if window.exhausted || window.slots.iter().any(|s| s.want > 0 || s.denied) {
                    self.dirty.insert((ix, window.start));
                }
            }
        }
    }

    pub(crate) fn hello(&self) -> ManagerHello {
        ManagerHello {
            life: self.config.life.clone(),
            version: self.config.version.clone(),
            silent_hold_ms: u64::try_from(self.config.silent_hold.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
