//! What checks must know of the owner's state, as one immutable snapshot.

use std::sync::Arc;

use weir_proto::{
    matcher::PolicySet,
    policy::OnDisconnect,
    share::ShareHistory,
    time::{Time, WindowStart},
};

use crate::table::Family;

/// What checks read: one of these is in force, and each thread keeps the newest it has seen.
#[derive(Debug)]
pub struct Snapshot {
    /// The owner's standing.
    pub standing: Standing,
    /// Policies in force.
    pub policies: Arc<PolicySet>,
    /// By [`CompiledLimit::index`](weir_proto::matcher::CompiledLimit::index): whose counters count
    /// in the limit.
    pub families: Arc<[Counted]>,
}

/// The counters of a limit.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Of the keys that requests have.
    pub own: Arc<Family>,
    /// Of the one key that stands for all that found no room.
    pub overflow: Arc<Family>,
}

/// The agent's standing in the fleet.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Changes with every change of what a window may open with.
    pub number: u64,
    /// Manager time minus local time, in microseconds.
    pub offset: i64,
    /// Manager time never shows less than this: it does not fall when the manager changes.
    pub not_before: Time,
    /// Which share of the limits it owns, by begin of window.
    pub history: ShareHistory,
    /// It has reached no manager for a while: `on_disconnect` applies.
    pub isolated: bool,
    /// When it last became isolated, in manager time.
    pub isolated_at: Time,
    /// Its share of windows begun by then was handed to a manager.
    pub pledged_until: Time,
    /// For policies that do not say.
    pub on_disconnect: OnDisconnect,
}

impl Standing {
    /// At start: no share, no manager.
    pub fn new(on_disconnect: OnDisconnect) -> Self {
        Standing {
            number: 0,
            offset: 0,
            not_before: Time::ZERO,
            history: ShareHistory::default(),
            isolated: false,
            isolated_at: Time::ZERO,
            pledged_until: Time::ZERO,
            on_disconnect,
        }
    }

    /// Manager time at local time `now`.
    #[inline]
    pub fn manager_time(&self, now: Time) -> Time {
        let micros = now.as_micros().saturating_add_signed(self.offset);
        Time::from_micros(micros).max(self.not_before)
    }

    /// Windows begun later belong to nobody but their agents, while this one is isolated. What others
    /// hold of a rolling window they may use until they know that they are alone.
    #[inline]
    pub fn alone_from(&self, rolling: bool) -> Time {
        if rolling { self.isolated_at.max(self.pledged_until) } else { self.pledged_until }
    }

    /// What may be admitted in a window begun at `start` without any word from a manager.
    #[inline]
    pub fn opening(&self, limit: u64, start: WindowStart, rolling: bool) -> u64 {
        let share = self.history.at(start);
        if self.isolated && start.time() > self.alone_from(rolling) {
            share.of(limit)
        } else {
            share.default_of(limit)
        }
    }
}
