//! One role as this manager sees it: the highest epoch, who holds it, and its own tenure.
//!
//! Tenures are ranked by epoch, then priority, then name. What ranks lower than the best known is void,
//! whoever still believes in it. Life of a holder is shown by its own clock's count alone, so that
//! managers that repeat what they heard cannot keep a dead one alive.

use std::{cmp::Reverse, time::Duration};

use weir_proto::{
    id::{Incarnation, ManagerId, ManagerLife},
    time::Time,
};

use super::{Epoch, SILENCE, claims::Tenure};

/// One role.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    /// The highest epoch seen.
    pub(super) seen: Epoch,
    /// Held by this manager, under this epoch.
    pub(super) mine: Option<Epoch>,
    /// The best tenure of another manager that was told of.
    other: Option<Other>,
}

#[derive(Debug, Clone)]
struct Other {
    tenure: Tenure,
    /// When it last showed life, by this manager's clock.
    heard: Time,
    /// Its holder said so, or is a former life.
    over: bool,
}

type Rank<'a> = (Epoch, Reverse<u32>, Reverse<&'a ManagerId>, Incarnation);

fn rank(tenure: &Tenure) -> Rank<'_> {
    let Tenure { epoch, priority, holder, .. } = tenure;
    (*epoch, Reverse(*priority), Reverse(&holder.id), holder.incarnation)
}

impl Seat {
    pub(super) fn new(seen: Epoch) -> Self {
        Seat { seen, mine: None, other: None }
    }

    /// What `from` says: the highest epoch that it saw, and the tenure that it knows, its own or another's.
    /// `me` is this manager's tenure, but for the epoch.
    pub(super) fn learn(
        &mut self,
        from: &ManagerLife,
        seen: Epoch,
        told: Option<&Tenure>,
        me: &Tenure,
        now: Time,
    ) {
        if let Some(other) = &mut self.other
            && other.tenure.holder.id == from.id
            && told.is_none_or(|t| t.holder.id != from.id || t.epoch != other.tenure.epoch)
        {
            other.over = true; // the holder itself, or a later life of it, does not claim it
        }
        self.seen = self.seen.max(seen).max(told.map_or(Epoch::default(), |t| t.epoch));
        if let Some(told) = told.filter(|t| t.epoch == self.seen) {
            self.compare(told, me, now);
        }
        if self.mine.is_some_and(|epoch| epoch < self.seen) {
            self.mine = None;
        }
    }

    /// Takes a tenure of the highest epoch in, if it is the best one.
    fn compare(&mut self, told: &Tenure, me: &Tenure, now: Time) {
        if let Some(epoch) = self.mine {
            let mine = Tenure { epoch, ..me.clone() };
            if rank(told) < rank(&mine) {
                return;
            }
            self.mine = None;
        }
        match &mut self.other {
            Some(other) if rank(&other.tenure) > rank(told) => {}
            Some(other) if rank(&other.tenure) == rank(told) => {
                if told.beat > other.tenure.beat {
                    (other.tenure.beat, other.heard) = (told.beat, now);
                }
            }
            _ => self.other = Some(Other { tenure: told.clone(), heard: now, over: false }),
        }
    }

    /// The tenure of another manager, if it is in force.
    pub(super) fn living(&self, now: Time) -> Option<&Tenure> {
        let other = self.other.as_ref()?;
        let lives = !other.over && other.tenure.epoch == self.seen;
        (lives && now.since(other.heard) < SILENCE).then_some(&other.tenure)
    }

    /// When the other holder will have been silent for too long.
    pub(super) fn silent_at(&self) -> Option<Time> {
        self.other.as_ref().filter(|other| !other.over).map(|other| other.heard + SILENCE)
    }

    /// Nobody holds it.
    pub(super) fn vacant(&self, now: Time) -> bool {
        self.mine.is_none() && self.living(now).is_none()
    }

    /// This manager holds it from now on.
    pub(super) fn take(&mut self) {
        self.seen = self.seen.next();
        self.mine = Some(self.seen);
        self.other = None;
    }

    /// This manager holds it no more.
    pub(super) fn release(&mut self) {
        self.mine = None;
    }

    /// For so long nothing could be heard.
    pub(super) fn excuse(&mut self, pause: Duration, now: Time) {
        if let Some(other) = &mut self.other {
            other.heard = now.min(other.heard + pause);
        }
    }
}
