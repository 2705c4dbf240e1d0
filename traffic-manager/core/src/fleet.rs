//! Agents, their sessions, and fleet views: who may grant what.
//!
//! A manager is *incumbent* when it installed the newest view: every member had attached to it (or
//! was known to be gone), so that it knew every ceiling in force and every other manager's budget was
//! void. The incumbent may grant the whole limit; any other manager only what its own agents brought
//! along. See `ALGORITHM.md`, "Views".

mod agent;
mod rumour;
mod views;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use foldhash::fast::FixedState;
use weir_proto::{
    decision::Attach,
    id::{AgentLife, ManagerLife, RIVAL_ENDED, SAME_ID},
    share::{ShareHistory, View},
    time::Time,
    usage::AgentIdentity,
};

use crate::message::StreamId;
use agent::PLEDGES;
pub use agent::{AgentRecord, CRASH_HOLD, SKEW};
pub use views::{Announcement, Proposal};

/// An agent life's place in the table; never reused.
pub type AgentIx = u32;

/// Agents not heard of for this long after they went are forgotten, with what they may hold.
const FORGET: Duration = Duration::from_secs(25 * 3600);
/// Lives of agents remembered since the start, the dead included. More are refused: they are invented,
/// or the manager has run for very long.
const MAX_LIVES: usize = 50_000;
/// After standing still a manager needs about this long to read what had queued up.
const CATCH_UP: Duration = Duration::from_millis(300);
/// How the fleet is governed.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// This manager.
    pub me: ManagerLife,
    /// How long the share of a silent agent stays reserved.
    pub silent_hold: Duration,
    /// How long a manager without any knowledge waits for members to show up.
    pub fence: Duration,
}

/// What an attachment changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Attached {
    /// Go on.
    Welcome {
        /// An older session of the same agent, to close.
        replaced: Option<StreamId>,
        /// Another manager took over since: budgets known here are void.
        void: bool,
    },
    /// Refused, with the reason for the peer.
    Refused(String),
}

/// Why an agent is refused for the sake of the `latest` one with its id. One that has ended is nobody's
/// rival any more; the other cannot go on with a life that was taken for over, but begin a new one.
fn refuse(latest: &mut AgentRecord, life: &AgentLife, hold: Duration, now: Time) -> String {
    let over = latest.over(hold, now);
    if !over {
        latest.rival_at = Some(now);
    }
    let advice = if over { RIVAL_ENDED } else { SAME_ID };
    format!(
        "another agent with id {:?} started later (incarnation {} > {}); {advice}",
        life.id.as_str(),
        latest.identity.life.incarnation,
        life.incarnation
    )
}

/// The fleet as one manager sees it.
#[derive(Debug, Clone)]
pub struct Fleet {
    config: FleetConfig,
    started: Time,
    agents: Vec<AgentRecord>,
    by_life: HashMap<AgentLife, AgentIx, FixedState>,
    latest: HashMap<String, AgentIx, FixedState>,
    sessions: BTreeMap<StreamId, AgentIx>,
    view: View,
    highest: u64,
    incumbent: bool,
    complete: bool,
    /// Windows begun by then may hold use that nobody alive has told: they are not granted from.
    murky_until: Time,
    deaf_until: Time,
    /// Other managers have yet to tell what they know: no whole limit is granted meanwhile.
    recovering: bool,
    proposal: Option<Proposal>,
    review_at: Option<Time>,
}

impl Fleet {
    /// Nobody is known yet.
    pub fn new(config: FleetConfig, now: Time) -> Self {
        Fleet {
            config,
            started: now,
            agents: Vec::new(),
            by_life: HashMap::default(),
            latest: HashMap::default(),
            sessions: BTreeMap::new(),
            view: View::default(),
            highest: 0,
            incumbent: false,
            complete: false,
            murky_until: Time::ZERO,
            deaf_until: Time::ZERO,
            recovering: false,
            proposal: None,
            review_at: None,
        }
    }

    /// The agent in this place.
    pub fn agent(&self, ix: AgentIx) -> &AgentRecord {
        &self.agents[ix as usize]
    }

    /// The agent in this place, to change.
    pub fn agent_mut(&mut self, ix: AgentIx) -> &mut AgentRecord {
        &mut self.agents[ix as usize]
    }

    /// Every life remembered, oldest first.
    pub fn agents(&self) -> impl Iterator<Item = (AgentIx, &AgentRecord)> {
        (0..).zip(self.agents.iter())
    }

    /// Whose session this is.
    pub fn session_agent(&self, session: StreamId) -> Option<AgentIx> {
        self.sessions.get(&session).copied()
    }

    /// Open sessions.
    pub fn sessions(&self) -> impl Iterator<Item = (StreamId, AgentIx)> + '_ {
        self.sessions.iter().map(|(s, a)| (*s, *a))
    }

    /// Whether this manager may grant whole limits.
    pub fn incumbent(&self) -> bool {
        self.incumbent
    }

    /// Whether everybody was accounted for when the last view was installed.
    pub fn complete(&self) -> bool {
        self.complete
    }

    /// Whether this manager may grant the whole limit in windows begun at `start`. Windows in which
    /// an agent was lost unseen are granted from again after [`CRASH_HOLD`].
    pub fn sovereign(&self, start: Time, now: Time) -> bool {
        let clear = start > self.murky_until || self.murky_until + CRASH_HOLD <= now;
        self.incumbent && !self.recovering && clear
    }

    /// Other managers have yet to tell what they know, or have told it.
    pub fn set_recovering(&mut self, recovering: bool) {
        self.recovering = recovering;
    }

    /// The newest view installed by or told to this manager.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Whether `life` is a member of the newest view.
    pub fn is_member(&self, life: &AgentLife) -> bool {
        self.view.members.contains(life)
    }

    /// The record of this life, made if it is new. A later life makes the former one gone.
    /// `Err` names the later life that is already known.
    pub fn meet(&mut self, identity: &AgentIdentity, now: Time) -> Result<AgentIx, String> {
        let life = &identity.life;
        if let Some(latest) = self.latest.get(life.id.as_str()) {
            let latest = &mut self.agents[*latest as usize];
            let known = latest.identity.life.incarnation;
            if known > life.incarnation {
                return Err(refuse(latest, life, self.config.silent_hold, now));
            }
        }
        let ix = match self.by_life.get(life).copied() {
            Some(ix) if self.agent(ix).rumoured.is_some() => self.introduce(ix, identity, now),
            Some(ix) => ix,
            None if self.agents.len() >= MAX_LIVES => {
                return Err(format!(
                    "this manager has met {MAX_LIVES} agents since it started, the most that it remembers; restart it"
                ));
            }
            None => self.admit(identity, now),
        };
        let record = &mut self.agents[ix as usize];
        if now >= self.deaf_until {
            record.last_heard = record.last_heard.max(now);
        }
        record.ended = None;
        if record.gone.is_some() && !record.left {
            // It was only silent. Its former ceilings may still be in force: they stay on the books.
            (record.gone, record.settled) = (None, false);
            self.review(now);
        }
        Ok(ix)
    }

    /// A life that a later one has replaced long ago still speaks: no restart, but two agents with one id.
    /// Why it is not listened to.
    pub fn rivals(&mut self, ix: AgentIx, now: Time) -> Option<String> {
        let record = &self.agents[ix as usize];
        let replaced = record.gone.filter(|_| record.superseded && !record.left)?;
        if replaced + CRASH_HOLD > now {
            return None;
        }
        let life = record.identity.life.clone();
        let latest = *self.latest.get(life.id.as_str())?;
        let latest = &mut self.agents[latest as usize];
        Some(refuse(latest, &life, self.config.silent_hold, now))
    }

    fn admit(&mut self, identity: &AgentIdentity, now: Time) -> AgentIx {
        let ix = AgentIx::try_from(self.agents.len()).unwrap_or(AgentIx::MAX);
        let mut record = AgentRecord::new(identity.clone(), now);
        record.member = self.is_member(&identity.life);
        self.agents.push(record);
        self.by_life.insert(identity.life.clone(), ix);
        self.supersede(identity, ix, now);
        ix
    }

    /// The agent's former life, if one was heard of, is over.
    fn supersede(&mut self, identity: &AgentIdentity, ix: AgentIx, now: Time) {
        if let Some(former) = self.latest.insert(identity.life.id.to_string(), ix) {
            let former = &mut self.agents[former as usize];
            former.superseded = true;
            former.gone.get_or_insert(former.ended.unwrap_or(now));
            self.review(now);
        }
    }

    /// A session begins.
    pub fn attach(&mut self, session: StreamId, attach: Attach, now: Time) -> Attached {
        let ix = match self.meet(&attach.identity, now) {
            Ok(ix) => ix,
            Err(reason) => return Attached::Refused(reason),
        };
        let me = self.config.me.clone();
        let record = &mut self.agents[ix as usize];
        let replaced = record.session.replace(session);
        record.identity = attach.identity;
        record.ready = false;
        record.since = now;
        record.history = ShareHistory::from_eras(attach.eras);
        if attach.former_manager.is_some_and(|former| former != me) {
            record.strayed = true;
        }
        // An empty interval that the first frame's time will stretch.
        if record.pledged.last().is_none_or(|(_, to)| *to != attach.pledged_until) {
            record.pledged.push((attach.pledged_until, attach.pledged_until));
            if record.pledged.len() > PLEDGES {
                record.pledged.remove(0);
            }
        }
        if let Some(old) = replaced {
            self.sessions.remove(&old);
        }
        self.sessions.insert(session, ix);
        self.abandon_proposal();
        let void = self.learn(attach.view, attach.promised);
        self.review(now);
        Attached::Welcome { replaced, void }
    }

    /// A sign of life.
    pub fn hear(&mut self, ix: AgentIx, now: Time) {
        if now >= self.deaf_until {
            self.agents[ix as usize].last_heard = now;
        }
    }

    /// This manager stood still until now: what it reads next is old and proves nothing about who
    /// lives.
    pub fn stalled(&mut self, now: Time) {
        self.deaf_until = now + CATCH_UP;
    }

    /// The agent says that it is `time` by manager time: windows begun by then are pledged here.
    pub fn pledge(&mut self, ix: AgentIx, time: Time, now: Time) {
        self.hear(ix, now);
        let record = &mut self.agents[ix as usize];
        if let Some((_, to)) = record.pledged.last_mut() {
            *to = (*to).max(time);
        }
    }

    /// All it holds is known.
    pub fn ready(&mut self, ix: AgentIx, now: Time) {
        self.agents[ix as usize].ready = true;
        self.review(now);
    }

    /// A session ended.
    pub fn detach(&mut self, session: StreamId, now: Time) {
        if let Some(ix) = self.sessions.remove(&session) {
            let record = &mut self.agents[ix as usize];
            if record.session == Some(session) {
                record.session = None;
                record.followed_until = record.ready.then_some(now);
                record.ready = false;
                record.note_end(now);
            }
            self.abandon_proposal();
            self.review(now);
        }
    }

    /// The agent said goodbye in this session.
    pub fn leave(&mut self, session: StreamId, now: Time) {
        if let Some(ix) = self.sessions.get(&session).copied() {
            let record = &mut self.agents[ix as usize];
            record.left = true;
            record.gone = Some(now);
        }
        self.detach(session, now);
    }

    /// Forgets budgets learnt from pledges: another manager took over.
    fn void_pledges(&mut self) {
        for record in &mut self.agents {
            if let Some((_, to)) = record.pledged.pop() {
                record.pledged.clear();
                record.pledged.push((to, to));
            }
        }
    }

    /// Members of the view or not: lives whose untouched default may still be used.
    pub fn may_hold(&self, now: Time) -> impl Iterator<Item = (AgentIx, &AgentRecord)> {
        let heard = self.agents().filter(|(_, a)| a.rumoured.is_none());
        heard.filter(move |(_, a)| a.gone.is_none_or(|at| at + FORGET > now))
    }
}
