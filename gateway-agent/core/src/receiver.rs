//! The ordered failover list: which manager to follow.
//!
//! The first reachable one in the configured order; when it is lost the next; and home again once an
//! earlier one has been well for a while. A usage link that is being acknowledged shows that its
//! manager is well.

use std::time::Duration;

use weir_proto::time::Time;

use crate::message::{ConnectionId, ManagerIndex};

/// A followed manager that says nothing for so long is lost (it beats every 200 ms).
pub const SILENCE: Duration = Duration::from_millis(700);
/// A manager that does not accept a session within this time is passed over.
const CONNECT: Duration = Duration::from_millis(400);
/// Pause after the whole list failed; doubled up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));

/// A session in some state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attempt {
    manager: ManagerIndex,
    connection: ConnectionId,
    since: Time,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Open a session.
    Connect(ManagerIndex, ConnectionId),
    /// End a session, or give up the attempt.
    Disconnect(ConnectionId),
    /// This session is open: attach to the manager through it.
    Attach(ManagerIndex, ConnectionId),
    /// The manager that was followed is lost, and why.
    Lost(ManagerIndex, String),
}

/// Chooses the manager to follow.
#[derive(Debug, Clone)]
pub struct Receiver {
    managers: usize,
    fail_back: Option<Duration>,
    active: Option<Attempt>,
    heard: Time,
    connecting: Option<Attempt>,
    failed: Vec<bool>,
    lost_at: Vec<Time>,
    retry_at: Option<Time>,
    pause: Duration,
    next: u64,
    /// Changes of the manager that is followed, the first one not counted.
    pub failovers: u64,
    followed: Option<ManagerIndex>,
}

impl Receiver {
    /// For so many managers; `fail_back` after an earlier one has been well for so long.
    pub fn new(managers: usize, fail_back: Option<Duration>, now: Time) -> Self {
        Receiver {
            managers,
            fail_back,
            active: None,
            heard: now,
            connecting: None,
            failed: vec![false; managers],
            lost_at: vec![Time::ZERO; managers],
            retry_at: Some(now),
            pause: PAUSE.0,
            next: 1,
            failovers: 0,
            followed: None,
        }
    }

    /// From the start again; numbers are not used twice.
    #[must_use]
    pub fn anew(&self, now: Time) -> Self {
        let fresh = Self::new(self.managers, self.fail_back, now);
        Receiver { next: self.next, failovers: self.failovers, ..fresh }
    }

    /// The session that is followed.
    pub fn active(&self) -> Option<(ManagerIndex, ConnectionId)> {
        self.active.map(|a| (a.manager, a.connection))
    }

    /// When the followed manager was last heard of.
    pub fn heard(&self) -> Option<Time> {
        self.active.map(|_| self.heard)
    }

    /// When [`Receiver::advance`] must be called at the latest.
    pub fn next_deadline(&self) -> Option<Time> {
        let silence = self.active.map(|_| self.heard + SILENCE);
        let connect = self.connecting.map(|c| c.since + CONNECT);
        let retry = if self.connecting.is_none() { self.retry_at } else { None };
        [silence, connect, retry].into_iter().flatten().min()
    }

    /// A session was opened. False when it is not wanted any more.
    pub fn opened(&mut self, connection: ConnectionId, now: Time, steps: &mut Vec<Step>) -> bool {
        let Some(attempt) = self.connecting.filter(|c| c.connection == connection) else {
            return false;
        };
        self.connecting = None;
        if let Some(old) = self.active.take() {
            steps.push(Step::Disconnect(old.connection));
        }
        self.active = Some(Attempt { since: now, ..attempt });
        self.heard = now;
        self.retry_at = None;
        if self.followed.is_some_and(|former| former != attempt.manager) {
            self.failovers += 1;
        }
        self.followed = Some(attempt.manager);
        steps.push(Step::Attach(attempt.manager, connection));
        true
    }

    /// The followed manager said something: it works.
    pub fn hear(&mut self, connection: ConnectionId, now: Time) -> bool {
        let active = self.active.is_some_and(|a| a.connection == connection);
        if active {
            self.heard = now;
            self.failed.fill(false);
            self.pause = PAUSE.0;
        }
        active
    }

    /// A session could not be opened, or ended.
    pub fn closed(
        &mut self,
        connection: ConnectionId,
        why: &str,
        now: Time,
        steps: &mut Vec<Step>,
    ) {
        if self.connecting.is_some_and(|c| c.connection == connection) {
            self.give_up(now);
        } else if let Some(active) = self.active.filter(|a| a.connection == connection) {
            self.lose(active, why, now, steps);
        }
    }

    fn give_up(&mut self, now: Time) {
        if let Some(attempt) = self.connecting.take() {
            self.failed[attempt.manager] = true;
            if self.active.is_none() {
                self.retry_at = Some(now);
            }
        }
    }

    fn lose(&mut self, active: Attempt, why: &str, now: Time, steps: &mut Vec<Step>) {
        self.active = None;
        self.failed[active.manager] = true;
        self.lost_at[active.manager] = now;
        self.retry_at = Some(now);
        steps.push(Step::Lost(active.manager, why.to_owned()));
    }

    /// Does what is due. `well` tells since when a manager's usage link has been well.
    pub fn advance(
        &mut self,
        well: impl Fn(ManagerIndex) -> Option<Time>,
        now: Time,
        steps: &mut Vec<Step>,
    ) {
        if let Some(active) = self.active.filter(|_| self.heard + SILENCE <= now) {
            steps.push(Step::Disconnect(active.connection));
            self.lose(active, "it stopped answering", now, steps);
        }
        if let Some(attempt) = self.connecting.filter(|c| c.since + CONNECT <= now) {
            steps.push(Step::Disconnect(attempt.connection));
            self.give_up(now);
        }
        if self.connecting.is_some() {
            return;
        }
        match self.active {
            None if self.retry_at.is_some_and(|at| at <= now) => self.try_next(&well, now, steps),
            None => {}
            Some(active) => self.try_home(active, &well, now, steps),
        }
    }

    /// The first in the list that has not failed since one last worked, those that are known to be
    /// well before the others.
    fn try_next(
        &mut self,
        well: &impl Fn(ManagerIndex) -> Option<Time>,
        now: Time,
        steps: &mut Vec<Step>,
    ) {
        let open = |i: &usize| !self.failed[*i];
        let best = (0..self.managers).filter(open).min_by_key(|i| (well(*i).is_none(), *i));
        match best {
            Some(manager) => self.connect(manager, now, steps),
            None => {
                self.failed.fill(false);
                self.retry_at = Some(now + self.pause);
                self.pause = (self.pause * 2).min(PAUSE.1);
            }
        }
    }

    fn try_home(
        &mut self,
        active: Attempt,
        well: &impl Fn(ManagerIndex) -> Option<Time>,
        now: Time,
        steps: &mut Vec<Step>,
    ) {
        let Some(settle) = self.fail_back else { return };
        // Its link may have stayed open through a hang: what counts is how long it has been well since.
        let rested =
            |i: &usize| well(*i).is_some_and(|at| at.max(self.lost_at[*i]) + settle <= now);
        let earlier = (0..active.manager).find(|i| !self.failed[*i] && rested(i));
        if let Some(manager) = earlier {
            self.connect(manager, now, steps);
        }
    }

    fn connect(&mut self, manager: ManagerIndex, now: Time, steps: &mut Vec<Step>) {
        let connection = ConnectionId(self.next);
        self.next += 1;
        self.connecting = Some(Attempt { manager, connection, since: now });
        steps.push(Step::Connect(manager, connection));
    }
}

#[cfg(test)]
mod tests;
