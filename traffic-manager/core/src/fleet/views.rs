//! Proposing and installing views.
//!
//! 1. A manager that has every member of the newest known view attached (or gone) proposes the next
//!    view to all its agents. An incumbent may also extend its own view while members are silent.
//! 2. Each agent promises to own no more than in the proposed view, and remembers the promise
//!    wherever it attaches next.
//! 3. When all have promised in their unbroken sessions, the view is installed: nobody else can have
//!    done the same, because that needs every one of these agents.

use std::{collections::BTreeSet, time::Duration};

use weir_proto::{
    id::AgentLife,
    share::View,
    time::Time,
};

use super::Fleet;
use crate::message::StreamId;

/// Joins and departures within this time lead to one view.
const SETTLE: Duration = Duration::from_millis(5);
/// A proposal that lacks promises for so long is made anew.
const PATIENCE: Duration = Duration::from_secs(1);

/// A view under way.
#[derive(Debug, Clone)]
pub struct Proposal {
    view: View,
    waiting: BTreeSet<StreamId>,
    latest: Time,
    complete: bool,
    since: Time,
}

/// To tell every session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// Ask for promises.
    Propose(View),
    /// In force for windows begun from the time on.
    Install(View, Time),
}

impl Fleet {
    /// When [`Fleet::on_deadline`] has something to do.
    pub fn next_deadline(&self) -> Option<Time> {
        let patience = self.proposal.as_ref().map(|p| p.since + PATIENCE);
        [self.review_at, patience].into_iter().flatten().min()
    }

    pub(super) fn review(&mut self, now: Time) {
        self.review_at.get_or_insert(now + SETTLE);
    }

    pub(super) fn abandon_proposal(&mut self) {
        self.proposal = None;
    }

    /// Takes in what an agent knows of views. True when budgets known here are void, because another
    /// manager has had the whole fleet meanwhile, or may have.
    pub(super) fn learn(&mut self, view: View, promised: Option<View>) -> bool {
        let mut void = false;
        for candidate in [Some(view), promised].into_iter().flatten() {
            self.highest = self.highest.max(candidate.number);
            let mine = candidate.proposer.as_ref() == Some(&self.config.me);
            if candidate.number == 0 || mine && self.incumbent || candidate.number <= self.view.number
            {
                continue;
            }
            self.view = candidate;
            self.incumbent = false;
            void = true;
        }
        if void {
            self.void_pledges();
        }
        void
    }

    /// Looks whether a new view is due. Returns what to tell every session.
    pub fn on_deadline(&mut self, now: Time) -> Option<Announcement> {
        if self.proposal.as_ref().is_some_and(|p| p.since + PATIENCE <= now) {
            self.proposal = None;
            self.review(now);
        }
        if self.review_at.is_none_or(|at| at > now) {
            return None;
        }
        self.review_at = None;
        if self.proposal.is_some() {
            return None;
        }
        self.expire_silent(now);
        let (members, fleet, complete) = self.desired(now)?;
        self.highest += 1;
        let view = View {
            number: self.highest,
            fleet,
            members,
            proposer: Some(self.config.me.clone()),
        };
        self.proposal = Some(Proposal {
            view: view.clone(),
            waiting: self.sessions.keys().copied().collect(),
            latest: now,
            complete,
            since: now,
        });
        Some(Announcement::Propose(view))
    }

    /// A promise arrived; `time` is the agent's idea of manager time when it promised.
    pub fn promised(
        &mut self,
        session: StreamId,
        number: u64,
        time: Time,
        now: Time,
    ) -> Option<Announcement> {
        let proposal = self.proposal.as_mut()?;
        if proposal.view.number != number || !proposal.waiting.remove(&session) {
            return None;
        }
        proposal.latest = proposal.latest.max(time);
        if !proposal.waiting.is_empty() {
            return None;
        }
        let proposal = self.proposal.take()?;
        let from = Time::from_millis(proposal.latest.max(now).as_millis() + 1);
        self.install(proposal, from, now);
        Some(Announcement::Install(self.view.clone(), from))
    }

    fn install(&mut self, proposal: Proposal, from: Time, now: Time) {
        self.view = proposal.view;
        self.incumbent = true;
        if proposal.complete {
            self.minted = now;
        }
        let view = self.view.clone();
        for record in &mut self.agents {
            if record.attached() {
                record.history.push(from, view.share(&record.identity.life));
                if proposal.complete {
                    record.strayed = false;
                }
            }
        }
    }

    /// Members silent for longer than the hold are gone; so is whoever was never heard of.
    fn expire_silent(&mut self, now: Time) {
        let hold = self.config.silent_hold;
        for record in &mut self.agents {
            if record.gone.is_none() && record.session.is_none() && record.last_heard + hold <= now {
                record.gone = Some(now);
            }
        }
    }

    /// Members of the view that are neither attached nor gone, and when the next of them will be.
    fn missing(&self, now: Time) -> (usize, Option<Time>) {
        let mut missing = 0;
        let mut next: Option<Time> = None;
        for life in &self.view.members {
            let until = match self.by_life.get(life) {
                Some(ix) => {
                    let record = &self.agents[*ix as usize];
                    if record.attached() || record.gone.is_some() {
                        continue;
                    }
                    record.last_heard.max(self.started) + self.config.silent_hold
                }
                None if self.superseded(life) => continue,
                None => self.started + self.config.silent_hold,
            };
            if until <= now {
                continue;
            }
            missing += 1;
            next = Some(next.map_or(until, |n| n.min(until)));
        }
        (missing, next)
    }

    fn superseded(&self, life: &AgentLife) -> bool {
        self.latest.get(life.id.as_str()).is_some_and(|ix| {
            self.agents[*ix as usize].identity.life.incarnation > life.incarnation
        })
    }

    /// Whether an agent that follows another manager reports a newer view than any known here.
    fn newer_view_elsewhere(&self) -> bool {
        self.agents.iter().any(|a| {
            a.gone.is_none()
                && a.session.is_none()
                && a.status.as_ref().is_some_and(|s| s.view_number > self.view.number)
        })
    }

    /// The view that should be proposed now: members, fleet, whether everybody is accounted for.
    fn desired(&mut self, now: Time) -> Option<(Vec<AgentLife>, u32, bool)> {
        let attached: BTreeSet<&AgentLife> =
            self.agents.iter().filter(|a| a.attached()).map(|a| &a.identity.life).collect();
        if attached.is_empty() || self.sessions.values().any(|ix| !self.agents[*ix as usize].ready) {
            return None;
        }
        let (missing, next) = self.missing(now);
        let unknown = self.newer_view_elsewhere();
        let fenced = self.view.number == 0 && now < self.started + self.config.fence;
        if unknown || fenced || (missing > 0 && !self.incumbent) {
            let again = if fenced { self.started + self.config.fence } else { now + PATIENCE };
            self.review_at = Some(next.map_or(again, |n| n.min(again)));
            return None;
        }
        let mut members: Vec<AgentLife> = self.view.members.clone();
        if missing > 0 {
            // Extend: nobody's share changes, newcomers may only be granted ceilings.
            self.review_at = next;
            let newcomers: Vec<_> =
                attached.iter().filter(|l| !members.contains(l)).map(|l| (*l).clone()).collect();
            if newcomers.is_empty() {
                return None;
            }
            members.extend(newcomers);
            return Some((members, self.view.fleet, false));
        }
        members.retain(|l| attached.contains(l));
        members.extend(attached.iter().filter(|l| !self.view.members.contains(l)).map(|l| (*l).clone()));
        let fleet = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let strayed = self.agents.iter().any(|a| a.attached() && a.strayed);
        let unchanged = members == self.view.members && fleet == self.view.fleet;
        if self.incumbent && unchanged && !strayed {
            return None;
        }
        Some((members, fleet, true))
    }
}
