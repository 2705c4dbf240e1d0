//! Proposing and installing views.
//!
//! 1. A manager that has every member of the newest known view attached (or gone) proposes the next
//!    view to all its agents. An incumbent may also extend its own view while members are silent.
//! 2. Each agent promises to own no more than in the proposed view, and remembers the promise
//!    wherever it attaches next.
//! 3. When all have promised in their unbroken sessions, the view is installed: nobody else can have
//!    done the same, because that needs every one of these agents.

use std::{collections::BTreeSet, time::Duration};

use weir_proto::{id::AgentLife, share::View, time::Time};

use super::{AgentRecord, Fleet, SKEW};
use crate::message::StreamId;

/// Joins and departures within this time lead to one view.
const SETTLE: Duration = Duration::from_millis(5);
/// A proposal that lacks promises for so long is made anew.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lost members listed in a view.
const LOST: usize = 64;

/// A view under way.
#[derive(Debug, Clone)]
pub struct Proposal {
    view: View,
    waiting: BTreeSet<StreamId>,
    latest: Time,
    complete: bool,
    unbroken: bool,
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
        let soon = now + SETTLE;
        self.review_at = Some(self.review_at.map_or(soon, |at| at.min(soon)));
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
            if candidate.number == 0
                || mine && self.incumbent
                || candidate.number <= self.view.number
            {
                continue;
            }
            self.view = candidate;
            self.incumbent = false;
            void = true;
        }
        if void {
            self.void_pledges();
            self.mark_members();
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
        let (mut view, complete) = self.desired(now)?;
        self.highest += 1;
        view.number = self.highest;
        self.proposal = Some(Proposal {
            view: view.clone(),
            waiting: self.sessions.keys().copied().collect(),
            latest: now,
            complete,
            unbroken: self.incumbent && self.witness(),
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
        let from = self.install(proposal, now);
        Some(Announcement::Install(self.view.clone(), from))
    }

    /// Puts the view in force; returns from when on.
    fn install(&mut self, proposal: Proposal, now: Time) -> Time {
        self.view = proposal.view;
        self.incumbent = true;
        self.complete = proposal.complete;
        if proposal.complete {
            // Whoever has governed all along, in the sight of a member, has every ceiling on its books.
            if !proposal.unbroken {
                self.murky_until = self.murky_until.max(self.murk());
            }
        }
        let earliest = proposal.latest.max(self.murky_until).max(self.begun_until(now));
        let from = Time::from_millis(earliest.as_millis() + 1);
        let view = self.view.clone();
        self.mark_members();
        for record in &mut self.agents {
            if record.attached() {
                record.history.push(from, view.share(&record.identity.life));
                if proposal.complete {
                    record.strayed = false;
                    // Not until now: where this manager stood still, the agent may be alone by now.
                    record.known_at = record.heard_until();
                }
            } else if proposal.complete {
                record.settled = record.gone.is_some();
            }
        }
        from
    }

    /// Until when somebody may have seen windows begin in which a former view's shares count: no new
    /// share is of these. Whoever is gone may have used something in them, as its time may be ahead of
    /// this manager's; and no agent's eras overlap.
    fn begun_until(&self, now: Time) -> Time {
        let gone = self.agents.iter().filter(|a| a.gone.is_some());
        let heard = gone.map(|a| a.heard_until().min(now + SKEW));
        let attached = self.agents.iter().filter(|a| a.attached());
        let eras = attached.filter_map(|a| a.history.eras().last()).map(|(since, _)| *since);
        heard.chain(eras).max().unwrap_or(now).max(self.murk()).max(now)
    }

    /// Notes who is a member of the newest view. Only members are granted anything: whoever takes over
    /// accounts for every member, and for nobody else.
    fn mark_members(&mut self) {
        for record in &mut self.agents {
            record.member = self.view.members.contains(&record.identity.life);
        }
    }

    /// Members silent for longer than the hold are gone; so is whoever was never heard of.
    fn expire_silent(&mut self, now: Time) {
        let hold = self.config.silent_hold;
        for record in self.agents.iter_mut().filter(|a| a.rumoured.is_none()) {
            if record.gone.is_none() && record.session.is_none() && record.last_heard + hold <= now
            {
                record.gone = Some(now);
            }
        }
    }

    /// Members of the view that are neither attached nor gone, and when the next of them will be.
    fn missing(&self, now: Time) -> (usize, Option<Time>) {
        let mut missing = 0;
        let mut next: Option<Time> = None;
        for life in &self.view.members {
            let until = match self.heard_of(life) {
                Some(record) => {
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

    /// Whether an agent that does not follow this manager knows a newer view; before founding a fleet,
    /// whether any such agent lives at all: it may be part of one.
    fn newer_view_elsewhere(&self, founding: bool, now: Time) -> bool {
        self.agents.iter().any(|a| {
            let lives = a.gone.is_none() && a.session.is_none() && a.rumoured.is_none();
            let newer = a.status.as_ref().is_some_and(|s| s.view_number > self.view.number);
            // One that was heard of and has not crashed may be founding with another manager.
            let may_found = a.ended.is_none() || a.last_heard + self.config.fence > now;
            lives && (newer || founding && may_found)
        })
    }

    /// The view that should be proposed now, and whether everybody is accounted for.
    fn desired(&mut self, now: Time) -> Option<(View, bool)> {
        let attached: BTreeSet<AgentLife> =
            self.agents.iter().filter(|a| a.attached()).map(|a| a.identity.life.clone()).collect();
        if attached.is_empty() || self.sessions.values().any(|ix| !self.agents[*ix as usize].ready)
        {
            return None;
        }
        let (missing, next) = self.missing(now);
        let witness = self.witness();
        let retry = next.map_or(now + PATIENCE, |n| n.min(now + PATIENCE));
        if !self.free_to_propose(missing, witness, now) {
            self.review_at = Some(retry);
            return None;
        }
        let newcomers: Vec<AgentLife> =
            attached.iter().filter(|l| !self.view.members.contains(l)).cloned().collect();
        let mut view = View { proposer: Some(self.config.me.clone()), ..self.view.clone() };
        if missing > 0 {
            // Extend: nobody's share changes, newcomers may only be granted ceilings.
            self.review_at = Some(retry);
            view.members.extend(newcomers.iter().cloned());
            return (!newcomers.is_empty()).then_some((view, false));
        }
        view.members.retain(|l| attached.contains(l));
        view.members.extend(newcomers);
        view.fleet = u32::try_from(view.members.len()).unwrap_or(u32::MAX);
        let strayed = self.agents.iter().any(|a| a.attached() && a.strayed);
        let unchanged = view.members == self.view.members && view.fleet == self.view.fleet;
        if self.incumbent && unchanged && !strayed {
            return None;
        }
        self.list_lost(&mut view, now);
        Some((view, true))
    }

    /// Whether a member of the newest view is attached here.
    fn witness(&self) -> bool {
        self.agents.iter().any(|a| a.attached() && a.member)
    }

    /// Whether nobody else can be governing the fleet.
    ///
    /// An attached member of the newest view is the witness: any other manager would have needed it.
    /// Without one this manager may only found a fleet, after it gave others time to show up.
    fn free_to_propose(&mut self, missing: usize, witness: bool, now: Time) -> bool {
        let governing =
            self.incumbent && missing == 0 && self.knows_the_lost() && self.heard_lately(now);
        let founding = !witness && !governing;
        if self.newer_view_elsewhere(founding, now) {
            return false;
        }
        if founding {
            let since = self.sessions.values().map(|ix| self.agents[*ix as usize].since).min();
            let since = since.filter(|_| self.view.number > 0).unwrap_or(self.started);
            return missing == 0 && since.max(self.started) + self.config.fence <= now;
        }
        missing == 0 || self.incumbent
    }

    /// Whether a member of the view lived so lately that nobody can have founded another fleet since.
    fn heard_lately(&self, now: Time) -> bool {
        let fence = self.config.fence;
        let heard = |record: &AgentRecord| record.last_heard + fence > now;
        let members = self.view.members.iter().filter_map(|life| self.by_life.get(life));
        members.into_iter().any(|ix| heard(&self.agents[*ix as usize]))
    }

    /// Whether every lost member of the view was followed here until its end, so that its ceilings
    /// are on the books.
    fn knows_the_lost(&self) -> bool {
        self.view.members.iter().all(|life| {
            self.by_life.get(life).is_some_and(|ix| {
                let record = &self.agents[*ix as usize];
                record.attached() || record.known_to_the_end()
            })
        })
    }

    /// Until when lost agents may have used more than is known here: those of the view, and any that
    /// was a member somewhere.
    fn murk(&self) -> Time {
        let known = |life: &AgentLife| {
            self.by_life.get(life).is_some_and(|ix| self.agents[*ix as usize].known_to_the_end())
        };
        let listed = self.view.lost.iter().filter(|(life, _)| !known(life)).map(|(_, at)| *at);
        let heard = self
            .agents
            .iter()
            .filter(|a| a.has_belonged() && !a.known_to_the_end())
            .filter_map(|a| a.gone);
        listed.chain(heard).max().map_or(Time::ZERO, |at| at + SKEW)
    }

    /// Adds members that are gone to the list of the lost.
    fn list_lost(&self, view: &mut View, now: Time) {
        for life in &self.view.members {
            if view.members.contains(life) {
                continue;
            }
            let gone = self.by_life.get(life).and_then(|ix| self.agents[*ix as usize].gone);
            view.lost.push((life.clone(), Time::from_millis(gone.unwrap_or(now).as_millis() + 1)));
        }
        let excess = view.lost.len().saturating_sub(LOST);
        view.lost.drain(..excess);
    }
}
