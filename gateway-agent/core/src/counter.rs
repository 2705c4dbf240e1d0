//! One counter: its window, what was used, and up to where the agent may admit.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use weir_proto::{
    amount::MAX_AMOUNT,
    key::CounterKey,
    matcher::CompiledLimit,
    policy::{Accuracy, OnDisconnect, Policy},
    time::{Time, WindowStart},
    usage::KeyId,
    window::{Algorithm, Window},
};

use crate::standing::Standing;

mod copy;
mod local;
pub use local::Pace;

/// An agent does not repeat a question within this time.
const PATIENCE: Duration = Duration::from_millis(20);

/// What a check asks of a counter.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The limit, as it is now.
    pub limit: &'a CompiledLimit,
    /// Its policy.
    pub policy: &'a Policy,
    /// The agent's standing.
    pub standing: &'a Standing,
    /// Amount.
    pub cost: u64,
    /// Number of the newest standing: a check that holds an older one must load it anew.
    pub newest: &'a AtomicU64,
    /// Local time.
    pub now: Time,
    /// Admit in any case, but count (`on_limit: allow`).
    pub force: bool,
    /// A refusal is final: count it.
    pub last: bool,
}

/// What a counter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Whether the amount was counted.
    pub admitted: bool,
    /// Refused for now, though more may be granted within milliseconds.
    pub uncertain: bool,
    /// Refused because no manager is reachable and the policy says `closed`.
    pub disconnected: bool,
    /// Still admissible here in this window.
    pub remaining: u64,
    /// The window that it was counted in.
    pub window: WindowStart,
    /// Until the window ends; the whole length for rolling windows.
    pub reset: Duration,
    /// When asking again makes sense, after a refusal.
    pub retry: Duration,
    /// The owner should ask the manager for more.
    pub wake: bool,
    /// The counter has left the table, or the standing has changed: load both again.
    pub again: bool,
}

/// A finished or present window's amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amounts {
    /// The window.
    pub window: WindowStart,
    /// Admitted.
    pub used: u64,
    /// Refused.
    pub rejected: u64,
}

/// The changing part.
#[derive(Debug, Default)]
pub struct State {
    /// Start of the fixed window, or birth of the rolling counter.
    pub window: WindowStart,
    /// Admitted in it.
    pub used: u64,
    /// Refused in it.
    pub rejected: u64,
    /// As set by a manager; `None` = the opening default.
    pub ceiling: Option<u64>,
    /// Until then (local time) nothing more will come.
    pub exhausted_until: Option<Time>,
    /// Requested since the last word to the manager, admitted or not.
    pub offered: u64,
    /// The last question to the manager, if none was answered since.
    pub asked_at: Option<Time>,
    /// Windows that ended and were not reported yet.
    pub closed: Vec<Amounts>,
    last_use: Time,
    granted_use: Time,
    mark: Option<u64>,
    base_at: Time,
    base: u64,
    before: u64,
    pace: Option<Box<Pace>>,
    /// Admitted beyond ceilings in this window, and when last.
    beyond: u64,
    beyond_at: Time,
    /// The isolation for which what it holds was capped.
    capped_at: Time,
    dead: bool,
}

/// One counter.
#[derive(Debug)]
pub struct Counter {
    /// Its number in this agent's life.
    pub id: KeyId,
    /// Its name.
    pub key: CounterKey,
    /// Window length.
    pub window: Window,
    /// Whether windows have no fixed start.
    pub rolling: bool,
    /// Changed since the last batch, and queued.
    pub dirty: AtomicBool,
    /// Near its ceiling, and queued.
    pub hot: AtomicBool,
    state: Mutex<State>,
}

impl Counter {
    /// A counter without use. `start` names its first window.
    pub fn new(id: KeyId, key: CounterKey, limit: &CompiledLimit, start: WindowStart) -> Self {
        Counter {
            id,
            key,
            window: limit.limit.window,
            rolling: limit.limit.algorithm != Algorithm::FixedWindow,
            dirty: AtomicBool::new(false),
            hot: AtomicBool::new(false),
            state: Mutex::new(State { window: start, ..State::default() }),
        }
    }

    /// The window whose share applies: a rolling counter opens with a share that has been its own for
    /// a whole length, as what the share's former owner used may still count.
    pub fn basis(&self, window: WindowStart) -> WindowStart {
        if self.rolling { WindowStart(window.0.saturating_sub(self.window.secs())) } else { window }
    }

    /// The state, for the owner.
    pub fn lock(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    /// True for whoever marks it dirty first.
    pub fn mark_dirty(&self) -> bool {
        !self.dirty.load(Ordering::Relaxed) && !self.dirty.swap(true, Ordering::AcqRel)
    }

    /// True for whoever marks it hot first.
    pub fn mark_hot(&self) -> bool {
        !self.hot.load(Ordering::Relaxed) && !self.hot.swap(true, Ordering::AcqRel)
    }

    /// Asks to admit.
    pub fn ask(&self, ask: &Ask<'_>) -> Answer {
        let time = ask.standing.manager_time(ask.now);
        let mut state = self.state.lock();
        let again = state.dead || ask.standing.number < ask.newest.load(Ordering::SeqCst);
        if !again {
            self.turn(&mut state, ask, time);
        }
        let reset = if self.rolling {
            self.window.duration()
        } else {
            self.window.end(state.window).since(time)
        };
        let mut answer = Answer {
            admitted: false,
            uncertain: false,
            disconnected: false,
            remaining: 0,
            window: state.window,
            reset,
            retry: reset,
            wake: false,
            again,
        };
        if again {
            return answer;
        }
        state.decide(self, ask, &mut answer);
        answer
    }

    /// Takes back an admission of the same request in that window.
    pub fn refund(&self, cost: u64, window: WindowStart) {
        let mut state = self.state.lock();
        if state.window == window {
            state.used = state.used.saturating_sub(cost);
        } else if let Some(closed) = state.closed.iter_mut().find(|c| c.window == window) {
            closed.used = closed.used.saturating_sub(cost);
        }
    }

    /// Moves to the window that holds `time`; forgets what a long idle rolling counter was granted.
    fn turn(&self, state: &mut State, ask: &Ask<'_>, time: Time) {
        if !self.rolling {
            state.roll(self.window.start_at(time));
            return;
        }
        let length = self.window.duration();
        let idle = ask.now.since(state.last_use);
        if state.last_use == Time::ZERO || idle <= length {
            return;
        }
        // One length after its last use it keeps at most the default; after two it is opened anew,
        // with the default again. The manager assumes the default one length after the last report.
        if idle > length * 2 {
            state.roll(WindowStart(time.as_secs()));
            return;
        }
        let default = ask.standing.opening(ask.limit.limit.amount, self.basis(state.window), true);
        let ceiling = state.ceiling.unwrap_or(default);
        state.ceiling = Some(ceiling.min(state.used + default));
    }
}

impl State {
    /// Whether the owner took it out of the table.
    pub fn dead(&self) -> bool {
        self.dead
    }

    /// Begins the window `start`, unless this one is as new.
    pub fn roll(&mut self, start: WindowStart) {
        if start <= self.window {
            return;
        }
        if self.used > 0 || self.rejected > 0 {
            let (window, used, rejected) = (self.window, self.used, self.rejected);
            self.closed.push(Amounts { window, used, rejected });
        }
        self.window = start;
        self.used = 0;
        self.rejected = 0;
        self.ceiling = None;
        self.exhausted_until = None;
        self.offered = 0;
        self.asked_at = None;
        self.mark = None;
        self.base = 0;
        self.before = 0;
        self.beyond = 0;
    }

    /// Up to where it may admit now.
    pub fn ceiling(&self, limit: u64, counter: &Counter, standing: &Standing) -> u64 {
        let (rolling, basis) = (counter.rolling, counter.basis(self.window));
        // While a share changes, a rolling counter opens with the smaller one.
        let opening = standing.opening(limit, basis, rolling).min(standing.opening(
            limit,
            self.window,
            rolling,
        ));
        match self.ceiling {
            // Alone in a window that nobody was given: its own share, whatever it held.
            Some(set) if standing.isolated && basis.time() > standing.alone_from(rolling) => {
                set.max(opening)
            }
            Some(set) => set,
            None => opening,
        }
    }

    fn decide(&mut self, counter: &Counter, ask: &Ask<'_>, answer: &mut Answer) {
        let limit = ask.limit.limit.amount;
        let standing = ask.standing;
        let how = ask.policy.on_disconnect.unwrap_or(standing.on_disconnect);
        self.cap(limit, counter, standing);
        let ceiling = self.ceiling(limit, counter, standing);
        self.offered = self.offered.saturating_add(ask.cost);
        answer.disconnected = standing.isolated && how == OnDisconnect::Closed;
        let open = standing.isolated && how == OnDisconnect::Open;
        let within = self.used.saturating_add(ask.cost) <= ceiling;
        let fits = !answer.disconnected && (within || self.exceed(ceiling, limit, counter, ask));
        let paced = !fits && !answer.disconnected && self.paced(counter, ask, how);
        if fits {
            self.granted_use = ask.now;
        }
        if fits || open || ask.force || paced {
            self.admit(ask, ceiling, answer);
            return;
        }
        answer.remaining = ceiling.saturating_sub(self.used);
        if ask.last {
            self.rejected = (self.rejected + 1).min(MAX_AMOUNT);
        }
        let waiting = self.exhausted_until.filter(|until| *until > ask.now);
        if let Some(until) = waiting {
            answer.retry = until.since(ask.now).min(answer.reset);
        } else {
            self.exhausted_until = None;
            // More than the limit itself will never come.
            answer.uncertain = !standing.isolated && ask.cost <= limit;
            answer.wake = answer.uncertain && self.may_ask(ask.now);
        }
    }

    /// Not `strict`: goes beyond the ceiling if the floor has room for it. Once per window, however
    /// often the ceiling is raised to what was used: the bound holds one floor per agent.
    fn exceed(&mut self, ceiling: u64, limit: u64, counter: &Counter, ask: &Ask<'_>) -> bool {
        if ask.policy.accuracy == Accuracy::Strict || self.exhausted_until.is_some() {
            return false;
        }
        if counter.rolling && self.beyond_at + counter.window.duration() < ask.now {
            self.beyond = 0;
        }
        let fleet = ask.standing.history.at(self.window).fleet;
        let room = ask.policy.floor(limit, fleet).saturating_sub(self.beyond);
        let beyond = self.used.saturating_add(ask.cost).saturating_sub(ceiling.max(self.used));
        if beyond > room {
            return false;
        }
        self.beyond += beyond;
        self.beyond_at = ask.now;
        true
    }

    /// Alone for a whole window length: a rolling counter is paced at its share.
    fn paced(&mut self, counter: &Counter, ask: &Ask<'_>, how: OnDisconnect) -> bool {
        let standing = ask.standing;
        if !counter.rolling || !standing.isolated || how != OnDisconnect::Local {
            return false;
        }
        let time = standing.manager_time(ask.now);
        let length = counter.window.duration();
        // What was used on ceilings counts for one length.
        let recent = self.granted_use != Time::ZERO && self.granted_use + length > ask.now;
        if recent || time <= standing.alone_from(true) + length {
            return false;
        }
        let share = standing.history.current().of(ask.limit.limit.amount);
        let pace =
            self.pace.get_or_insert_with(|| Box::new(Pace::new(share, counter.window.duration())));
        pace.admit(ask.cost, ask.now)
    }

    fn admit(&mut self, ask: &Ask<'_>, ceiling: u64, answer: &mut Answer) {
        // More than can be reported is not counted either; no limit is that large.
        self.used = self.used.saturating_add(ask.cost).min(MAX_AMOUNT);
        self.last_use = ask.now;
        answer.admitted = true;
        answer.remaining = ceiling.saturating_sub(self.used);
        // Half of what was held is used: time to ask for more, before it runs out.
        let mark = *self.mark.get_or_insert(ceiling / 2);
        let whole = ceiling >= ask.limit.limit.amount && ask.standing.history.current().fleet <= 1;
        answer.wake = self.used >= mark
            && self.exhausted_until.is_none()
            && !ask.standing.isolated
            && !(whole && self.used < ceiling)
            && self.may_ask(ask.now);
    }

    fn may_ask(&self, now: Time) -> bool {
        self.asked_at.is_none_or(|at| at + PATIENCE <= now)
    }

    /// Takes a manager's decision. True when the agent must confirm it.
    pub fn apply(&mut self, window: WindowStart, ceiling: u64, exhausted: Option<Time>) -> bool {
        if window != self.window {
            return true;
        }
        let lowered = self.ceiling.is_none_or(|now| ceiling < now);
        self.ceiling = Some(ceiling);
        self.exhausted_until = exhausted;
        self.asked_at = None;
        self.mark = Some(self.used + ceiling.saturating_sub(self.used) / 2);
        lowered
    }

    /// A rolling counter under another name: no more on what it has.
    pub fn freeze(&mut self) {
        self.ceiling = Some(self.used);
    }

    /// At most this much was admitted within one window length (rolling): what was used since a
    /// snapshot at least that old. Called at every report.
    pub fn recent(&mut self, length: Duration, now: Time) -> u64 {
        if now.since(self.base_at) >= length {
            self.base_at = now;
            self.before = self.base;
            self.base = self.used;
        }
        self.used.saturating_sub(self.before)
    }

    /// Takes the counter out of use when it is idle: a fixed window is over, or a rolling one was not
    /// used for two lengths.
    pub fn retire(&mut self, counter: &Counter, time: Time, now: Time) -> bool {
        if !self.closed.is_empty() || counter.dirty.load(Ordering::Acquire) {
            return false;
        }
        let over = if counter.rolling && self.last_use == Time::ZERO {
            // Never used, but a manager may count on what it was told.
            time.since(self.window.time()) > counter.window.duration() * 2
        } else if counter.rolling {
            now.since(self.last_use) > counter.window.duration() * 2
        } else {
            counter.window.end(self.window) <= time
        };
        self.dead |= over;
        over
    }
}
