//! What one manager knows of one life of an agent.

use std::time::Duration;

use weir_proto::{
    id::ManagerLife,
    share::{Share, ShareHistory},
    time::{Time, WindowStart},
    usage::{AgentIdentity, AgentStatus},
};

use crate::message::StreamId;

/// Agents say something every 100 ms; keep-alive takes longer than this to notice a dead link.
const ABRUPT: Duration = Duration::from_millis(500);
/// For so long, at most, a crashed agent's ceilings stay reserved in windows that go on. It may have
/// used of them what it had not sent yet: that of one flush interval, and 1/16 of its share at most.
pub const CRASH_HOLD: Duration = Duration::from_secs(5);
/// By how much managers' clocks may differ: an agent may have seen a window begin before this one did.
pub const SKEW: Duration = Duration::from_secs(1);
/// Intervals of pledges remembered per agent.
pub(super) const PLEDGES: usize = 16;

/// One life of an agent.
#[derive(Debug, Clone)]
pub struct AgentRecord {
    /// Name and version.
    pub identity: AgentIdentity,
    /// What it said last of itself.
    pub status: Option<AgentStatus>,
    /// On any stream.
    pub last_heard: Time,
    /// Its usage stream.
    pub usage: Option<StreamId>,
    /// Its decision session with this manager.
    pub session: Option<StreamId>,
    /// Everything it holds is known, in the present session.
    pub ready: bool,
    /// Since when its present session lasts.
    pub since: Time,
    /// Everything it held in windows begun by then is known here, whoever it was pledged to.
    pub known_at: Time,
    /// It followed another manager since this one installed its view.
    pub strayed: bool,
    /// When both its connections broke in the middle of its talking: a crash, unless it is heard again.
    pub ended: Option<Time>,
    /// When its last session with this manager ended, unless it lived on without.
    pub followed_until: Option<Time>,
    /// It left, was superseded by a later life, or was silent for too long.
    pub gone: Option<Time>,
    /// A complete view was installed since it went: whatever it gave others elsewhere is known by now.
    pub settled: bool,
    /// Member of the newest view known here.
    pub member: bool,
    /// It said goodbye: it admits nothing more.
    pub left: bool,
    /// A later life of the same agent is known.
    pub superseded: bool,
    /// When another agent that has its id was last refused.
    pub rival_at: Option<Time>,
    /// Known by other managers' word alone, and when that came last: nobody here has heard it.
    pub rumoured: Option<Time>,
    pub(super) history: ShareHistory,
    pub(super) pledged: Vec<(Time, Time)>,
}

impl AgentRecord {
    pub(super) fn new(identity: AgentIdentity, now: Time) -> Self {
        AgentRecord {
            identity,
            status: None,
            last_heard: now,
            usage: None,
            session: None,
            ready: false,
            since: now,
            known_at: Time::ZERO,
            strayed: false,
            ended: None,
            followed_until: None,
            gone: None,
            settled: false,
            member: false,
            left: false,
            superseded: false,
            rival_at: None,
            rumoured: None,
            history: ShareHistory::default(),
            pledged: Vec::new(),
        }
    }

    /// A connection closed. When none is left, and it was talking until then, it has probably crashed.
    pub fn note_end(&mut self, now: Time) {
        let talking = self.last_heard + ABRUPT > now;
        if self.session.is_none() && self.usage.is_none() && talking {
            self.ended = Some(now);
        }
    }

    /// When it went, if it is certain that it admits nothing more. A silent one may live on alone.
    pub fn dead(&self) -> Option<Time> {
        self.gone.filter(|_| self.superseded || self.ended.is_some())
    }

    /// Whether it can be taken for gone: it left, it crashed, or nothing was heard of it for `hold`.
    pub(super) fn over(&self, hold: Duration, now: Time) -> bool {
        let linked = self.session.is_some() || self.usage.is_some();
        let crashed = self.ended.is_some_and(|at| at + CRASH_HOLD <= now);
        !linked && (self.gone.is_some() || crashed || self.last_heard + hold <= now)
    }

    /// What it says of itself. When its session here is over, and it says so, it lives on: where it went,
    /// it may be given what nobody tells here.
    pub fn tell(&mut self, status: AgentStatus, me: &ManagerLife) {
        if self.session.is_none() && status.active_manager != me.id.as_str() {
            self.followed_until = None;
        }
        self.status = Some(status);
    }

    /// Whether it followed this manager when it ended: its ceilings are on the books here.
    pub fn known_to_the_end(&self) -> bool {
        let here = |end: Time| self.followed_until.is_some_and(|at| at + ABRUPT > end);
        self.left || self.ended.is_some_and(here)
    }

    /// Whether it was ever part of a fleet, by its own word: it may have used what nobody here granted.
    pub fn has_belonged(&self) -> bool {
        self.status.as_ref().is_some_and(|s| s.view_number > 0 || s.fleet > 0)
    }

    /// Manager time as it told it last in a session here: what it held then is known.
    pub(super) fn heard_until(&self) -> Time {
        self.pledged.last().map_or(Time::ZERO, |(_, to)| *to)
    }

    /// Whether its share of windows begun at `start` was handed to this manager.
    pub fn pledged(&self, start: WindowStart) -> bool {
        let start = start.time();
        self.pledged.iter().any(|(from, to)| *from < start && start <= *to)
    }

    /// Whether all it holds of windows begun at `start` is on the books here: it pledged them to this
    /// manager, or everything was known when a view was installed later.
    pub fn accounted(&self, start: WindowStart) -> bool {
        self.pledged(start) || start.time() <= self.known_at
    }

    /// Whether, now that it has ended, another manager may be giving others its share of windows begun
    /// at `start`. Nobody is once a complete view was installed, or if it followed this manager until
    /// the end and had pledged all earlier windows by then.
    pub fn share_at_large(&self, start: WindowStart) -> bool {
        let unpledged = self.known_to_the_end() && start.time() > self.heard_until();
        !(self.settled || unpledged || self.accounted(start))
    }

    /// Its share of windows begun at `start`, as it told at its last attachment.
    pub fn share(&self, start: WindowStart) -> Share {
        self.history.at(start)
    }

    /// Its present share.
    pub fn current_share(&self) -> Share {
        self.history.current()
    }

    /// Whether it may be granted ceilings: attached, and part of the view.
    pub fn eligible(&self) -> bool {
        self.attached() && self.member
    }

    /// Whether it follows this manager and is fully known.
    pub fn attached(&self) -> bool {
        self.session.is_some() && self.ready && self.gone.is_none()
    }
}
