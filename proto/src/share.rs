//! Fleet views, and the share of every limit that each member owns.
//!
//! A view says how many agents share the limits. A member owns `limit / fleet` of each window that
//! begins while the view holds; the remainder goes to the first ranks, so that the shares of a view
//! add up to the limit exactly. Shares are what an agent may spend when it can reach no manager, and
//! what it hands over to the manager that it follows.

use crate::{
    id::{AgentLife, ManagerLife},
    time::{Time, WindowStart},
};

/// An installed or proposed fleet view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Larger is newer; 0 means none.
    pub number: u64,
    /// Denominator of each member's share; at least the number of members.
    pub fleet: u32,
    /// Who takes part, in rank order.
    pub members: Vec<AgentLife>,
    /// Former members and when they were last known to live, oldest first. Whoever takes over must
    /// have heard what they used.
    pub lost: Vec<(AgentLife, Time)>,
    /// The manager that proposed it; `None` for the empty view.
    pub proposer: Option<ManagerLife>,
}

impl View {
    /// The share of `agent` in this view; nothing for strangers.
    pub fn share(&self, agent: &AgentLife) -> Share {
        self.rank(agent).map_or(Share::NONE, |rank| Share { fleet: self.fleet, rank })
    }

    /// The place of `agent` among the members.
    pub fn rank(&self, agent: &AgentLife) -> Option<u32> {
        self.members.iter().position(|m| m == agent).and_then(|i| u32::try_from(i).ok())
    }
}

/// `1/fleet` of every limit, with a rank to place the remainder. Fleet 0 owns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// Denominator; 0 = not a member.
    pub fleet: u32,
    /// Place in the view. A rank of `fleet` or above owns nothing, but may be granted ceilings.
    pub rank: u32,
}

/// The part of its share (1 ÷ this) that an agent may use before it has heard from a manager:
/// κ = 1/4 in ALGORITHM.md.
pub const DEFAULT_PART: u64 = 4;

/// `balanced`: what each agent may admit beyond its ceiling before it knows a window as exhausted.
/// Half of its share, at least 1, at most 10 or a fifth of the limit. The bound is then
/// `limit + fleet × floor`.
pub fn floor(limit: u64, fleet: u32) -> u64 {
    if limit == 0 || fleet <= 1 {
        return 0;
    }
    (limit / 2 / u64::from(fleet)).clamp(1, limit.div_ceil(5).min(10))
}

impl Share {
    /// Owns nothing.
    pub const NONE: Share = Share { fleet: 0, rank: 0 };

    /// No more than either of both, whatever the limit. A place beyond the fleet owns nothing in any
    /// fleet, also in a larger one.
    pub fn least(self, other: Share) -> Share {
        let owns = |s: Share| s.rank < s.fleet;
        if !owns(self) || !owns(other) {
            return Share::NONE;
        }
        Share { fleet: self.fleet.max(other.fleet), rank: self.rank.max(other.rank) }
    }

    /// What this member owns of a window with `limit`.
    pub fn of(self, limit: u64) -> u64 {
        if self.fleet == 0 || self.rank >= self.fleet {
            return 0;
        }
        let fleet = u64::from(self.fleet);
        limit / fleet + u64::from(u64::from(self.rank) < limit % fleet)
    }

    /// What it may use unasked while it follows a manager; the rest of [`Share::of`] is handed over.
    /// A fleet of one keeps everything: there is nobody to share with.
    pub fn default_of(self, limit: u64) -> u64 {
        match self.fleet {
            _ if self.rank >= self.fleet => 0,
            1 => limit,
            _ => limit / u64::from(self.fleet) / DEFAULT_PART,
        }
    }
}

/// Which share applies to windows begun from when on. Old eras are forgotten: windows older than
/// the history get no share, which is safe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShareHistory {
    eras: Vec<(Time, Share)>,
}

/// Eras kept.
const ERAS: usize = 8;

impl ShareHistory {
    /// From a list in time order; later entries win.
    pub fn from_eras(eras: impl IntoIterator<Item = (Time, Share)>) -> Self {
        let mut history = Self::default();
        for (since, share) in eras {
            history.push(since, share);
        }
        history
    }

    /// The share for windows begun at or after `since`. `since` never falls below the last era's.
    pub fn push(&mut self, since: Time, share: Share) {
        if let Some(last) = self.eras.last_mut() {
            if last.1 == share {
                return;
            }
            if since <= last.0 {
                last.1 = share;
                return;
            }
        }
        self.eras.push((since, share));
        if self.eras.len() > ERAS {
            self.eras.remove(0);
        }
    }

    /// The share in a window begun at `start`.
    pub fn at(&self, start: WindowStart) -> Share {
        let start = start.time();
        self.eras.iter().rev().find(|(since, _)| *since <= start).map_or(Share::NONE, |(_, s)| *s)
    }

    /// The newest share.
    pub fn current(&self) -> Share {
        self.eras.last().map_or(Share::NONE, |(_, s)| *s)
    }

    /// The eras, oldest first.
    pub fn eras(&self) -> &[(Time, Share)] {
        &self.eras
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_a_view_add_up_to_the_limit() {
        for limit in [0, 1, 2, 5, 10, 99, 100, 1_000_003] {
            for fleet in 1..40 {
                let sum: u64 = (0..fleet).map(|rank| Share { fleet, rank }.of(limit)).sum();
                assert_eq!(sum, limit, "limit {limit}, fleet {fleet}");
                for rank in 0..fleet {
                    let share = Share { fleet, rank };
                    assert!(share.default_of(limit) <= share.of(limit));
                }
            }
        }
    }

    #[test]
    fn the_least_of_two_shares_is_no_more_than_either() {
        let shares: Vec<Share> =
            (0..6).flat_map(|fleet| (0..7).map(move |rank| Share { fleet, rank })).collect();
        for (a, b) in shares.iter().flat_map(|a| shares.iter().map(move |b| (*a, *b))) {
            for limit in [0, 1, 2, 3, 7, 40, 101] {
                let least = a.least(b).of(limit);
                assert!(least <= a.of(limit) && least <= b.of(limit), "{a:?} {b:?} {limit}");
            }
        }
    }

    #[test]
    fn a_window_keeps_the_share_it_began_with() {
        let mut history = ShareHistory::default();
        history.push(Time::from_secs(10), Share { fleet: 2, rank: 0 });
        history.push(Time::from_secs(20), Share { fleet: 3, rank: 0 });
        assert_eq!(history.at(WindowStart(9)), Share::NONE);
        assert_eq!(history.at(WindowStart(10)).fleet, 2);
        assert_eq!(history.at(WindowStart(19)).fleet, 2);
        assert_eq!(history.at(WindowStart(20)).fleet, 3);
    }
}
