//! Who does what only one manager of the group should do.
//!
//! A role is held under a lease, by the clock of its holder, and under an epoch. The holder tells of it
//! in each heartbeat; when none has come for [`SILENCE`], the best of those that are ready takes over,
//! with the next epoch. Nobody votes: managers that cannot hear each other each find a holder, and when
//! they meet again one of them stays. So what a role writes must bear two writers: it does, as records
//! are merged. `ROLES.md` beside this crate states rules, bounds and assumptions.
//!
//! | module | holds |
//! |---|---|
//! | [`claims`] | what a heartbeat says, and its encoding |
//! | `epoch` | the number of a tenure, and what outlives a restart |
//! | `seat` | one role as this manager sees it: epoch, holder, own tenure |
//! | `peers` | who is there, and ready |

use std::{fmt, time::Duration};

use weir_proto::{
    id::{ManagerId, ManagerLife},
    time::Time,
};

pub mod claims;
mod epoch;
mod peers;
mod seat;
pub use claims::{Claims, ClaimsError, SeatClaim, Tenure};
pub use epoch::{Epoch, Epochs};
use peers::Peers;
use seat::Seat;
#[cfg(test)]
mod tests;

/// For so long after its last beat a holder may act, by its own clock.
pub const LEASE: Duration = Duration::from_secs(1);

/// [`Roles::on_deadline`] renews the lease this often; heartbeats leave as often.
pub const BEAT: Duration = Duration::from_millis(200);

/// A holder of which nothing was heard for so long is taken for dead: its lease, a beat that may lie
/// between its last heartbeat and its last renewal, and a bit for clocks that run apart.
pub const SILENCE: Duration = Duration::from_millis(1_300);

/// A manager says that it is ready for so long before it takes over for the first time: two that become
/// ready at once know of each other by then.
pub const ANNOUNCE: Duration = Duration::from_millis(600);

/// A pause between two calls beyond this counts, but for a beat, as time in which nothing could be heard.
const STALL: Duration = Duration::from_millis(300);

/// With `fail_back`: a manager of lower priority number must have been ready for so long.
pub const SETTLE: Duration = Duration::from_secs(3);

/// Roles of a group of managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Writes the records of usage.
    Ledger,
    /// Removes what has expired: records, tombstones, conflicts.
    Janitor,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 2] = [Role::Ledger, Role::Janitor];

    /// Its name: `ledger`, `janitor`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Ledger => "ledger",
            Role::Janitor => "janitor",
        }
    }

    const fn index(self) -> usize {
        match self {
            Role::Ledger => 0,
            Role::Janitor => 1,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a manager takes part.
#[derive(Debug, Clone)]
pub struct RolesConfig {
    /// This manager's name and incarnation; the incarnation must be larger after each restart.
    pub me: ManagerLife,
    /// Of those that are ready the lowest number takes over; then the name decides. Default 100.
    pub priority: u32,
    /// Whether this manager, as a holder, hands its roles to one of a lower number that has been ready for
    /// [`SETTLE`]. Each such move is a change nobody needed: off by default.
    pub fail_back: bool,
    /// Managers in the group, this one included. A manager that starts may take a vacant role
    /// [`ANNOUNCE`] after it heard all the others, and otherwise after [`SILENCE`]; one alone takes it at
    /// once.
    pub group: usize,
}

/// What changed, for the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleChange {
    /// Keep these in the store, and hand them to [`Roles::new`] after a restart. Comes before the
    /// [`RoleChange::Gained`] that it belongs to: store it before, or with, what the role writes.
    Store(Epochs),
    /// This manager does the role's work from now on.
    Gained(Role, Epoch),
    /// It does no more: its later writes under this epoch are refused.
    Lost(Role, Epoch),
}

/// Why a write of a role was refused; the caller drops the work, as another manager does it or will.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fenced {
    /// Another manager holds it, or nobody does.
    #[error("this manager does not hold the role {role}; nothing was written")]
    NotHeld {
        /// The role.
        role: Role,
    },
    /// The work was begun in a former tenure.
    #[error(
        "epoch {epoch} of the role {role} is over, {current} is the present one; nothing was written"
    )]
    Superseded {
        /// The role.
        role: Role,
        /// Under which the work was begun.
        epoch: Epoch,
        /// The present one.
        current: Epoch,
    },
    /// The manager stood still.
    #[error("this manager stood still beyond its lease of the role {role}; nothing was written")]
    Expired {
        /// The role.
        role: Role,
    },
}

/// The roles as one manager sees them.
#[derive(Debug, Clone)]
pub struct Roles {
    config: RolesConfig,
    peers: Peers,
    seats: [Seat; 2],
    /// The lease began then.
    beat: Time,
    /// The last call that could change something.
    awake: Time,
    /// Nothing is taken before, as the holder may not have been heard yet.
    wait_until: Time,
    /// It has not stood still yet: what was heard was said after this manager began.
    fresh: bool,
    able: bool,
    /// It has said since then that it is ready.
    ready_since: Option<Time>,
    told: [Option<Epoch>; 2],
    stored: Epochs,
}

impl Roles {
    /// A manager that holds nothing and has heard nobody. `stored` is what the last
    /// [`RoleChange::Store`] of an earlier life said.
    pub fn new(config: RolesConfig, stored: Epochs, now: Time) -> Self {
        Roles {
            seats: stored.0.map(Seat::new),
            peers: Peers::default(),
            beat: now,
            awake: now,
            wait_until: now + SILENCE,
            fresh: true,
            able: true,
            ready_since: None,
            told: [None; 2],
            stored,
            config,
        }
    }

    /// A peer's heartbeat. Old, doubled and reordered ones change nothing.
    pub fn hear(&mut self, life: &ManagerLife, claims: &Claims, now: Time) {
        self.wake(now);
        if life.id == self.config.me.id || !self.peers.hear(life, claims, now) {
            return;
        }
        let tenure = self.tenure();
        for (seat, claim) in self.seats.iter_mut().zip(&claims.seats) {
            let told = claim.tenure.as_ref();
            // A life that has ended holds nothing, whoever still believes it.
            let told = told.filter(|t| t.holder.id != self.config.me.id);
            let told = told.filter(|t| !self.peers.superseded(&t.holder));
            seat.learn(life, claim.epoch, told, &tenure, now);
        }
        self.make_ready(now);
    }

    /// The last link to that peer ended. It may be dead or cut off: its lease runs on, but nobody waits
    /// for it to take over.
    pub fn lost(&mut self, peer: &ManagerId, now: Time) {
        self.wake(now);
        self.peers.lost(peer);
    }

    /// Whether this manager can do the work of roles, as it can from the start. One that cannot write, or is about
    /// to stop, hands over what it holds, and takes nothing.
    pub fn set_able(&mut self, able: bool, now: Time) {
        self.wake(now);
        self.able = able;
        if !able {
            self.seats.iter_mut().for_each(Seat::release);
        }
        self.make_ready(now);
    }

    /// What the next heartbeat says.
    pub fn claims(&self, now: Time) -> Claims {
        let claim = |seat: &Seat| {
            let mine = seat.mine.filter(|_| self.within_lease(now));
            let mine = mine.map(|epoch| Tenure { epoch, beat: now.as_micros(), ..self.tenure() });
            SeatClaim { epoch: seat.seen, tenure: mine.or_else(|| seat.living(now).cloned()) }
        };
        Claims {
            sent: now.as_micros(),
            priority: self.config.priority,
            ready: self.ready_since.is_some() && self.within_lease(now),
            seats: [claim(&self.seats[0]), claim(&self.seats[1])],
        }
    }

    /// When [`Roles::on_deadline`] must be called next.
    pub fn next_deadline(&self) -> Time {
        if self.told != self.seats.each_ref().map(|s| s.mine) || self.stored != self.epochs() {
            return self.awake;
        }
        let silences = self.seats.iter().filter_map(|seat| seat.silent_at());
        let announced = self.ready_since.map(|since| since + ANNOUNCE);
        let waits = [self.wait_until - ANNOUNCE, self.wait_until];
        let later = silences.chain(announced).chain(waits).filter(|at| *at > self.beat);
        later.chain([self.beat + BEAT]).min().unwrap_or(self.beat)
    }

    /// Renews the lease, takes what is vacant, and tells what changed.
    pub fn on_deadline(&mut self, now: Time, out: &mut Vec<RoleChange>) {
        self.wake(now);
        self.beat = self.beat.max(now);
        self.make_ready(now);
        let hand_over = self.config.fail_back && self.peers.better(self.config.priority, now);
        let take = self.may_begin(now) && self.is_best(now);
        for seat in &mut self.seats {
            if hand_over {
                seat.release();
            } else if take && seat.vacant(now) {
                seat.take();
            }
        }
        self.tell(out);
    }

    /// Who holds the role, as far as this manager knew when it was called last.
    pub fn holder(&self, role: Role) -> Option<&ManagerId> {
        let seat = &self.seats[role.index()];
        match seat.mine {
            Some(_) => Some(&self.config.me.id),
            None => seat.living(self.awake).map(|tenure| &tenure.holder.id),
        }
    }

    /// The epoch under which this manager may do the role's work at `now`.
    pub fn holds(&self, role: Role, now: Time) -> Option<Epoch> {
        self.seats[role.index()].mine.filter(|_| self.within_lease(now))
    }

    /// Whether work begun under that epoch may be written at `now`.
    ///
    /// # Errors
    /// [`Fenced`]: it must not.
    pub fn may(&self, role: Role, epoch: Epoch, now: Time) -> Result<(), Fenced> {
        match self.seats[role.index()].mine {
            None => Err(Fenced::NotHeld { role }),
            Some(current) if current != epoch => Err(Fenced::Superseded { role, epoch, current }),
            Some(_) if !self.within_lease(now) => Err(Fenced::Expired { role }),
            Some(_) => Ok(()),
        }
    }

    /// The highest epochs seen.
    pub fn epochs(&self) -> Epochs {
        Epochs(self.seats.each_ref().map(|seat| seat.seen))
    }

    fn within_lease(&self, now: Time) -> bool {
        now.since(self.beat) < LEASE
    }

    /// A tenure of this manager, but for the epoch.
    fn tenure(&self) -> Tenure {
        Tenure {
            epoch: Epoch::default(),
            priority: self.config.priority,
            holder: self.config.me.clone(),
            beat: 0,
        }
    }

    /// Notices that it stood still: what it holds is another's by now, and what was not heard meanwhile
    /// proves nothing.
    fn wake(&mut self, now: Time) {
        let pause = now.since(self.awake);
        if pause > STALL {
            // Whoever is called a beat later hears as ever; only the rest of the pause is lost.
            let pause = pause - BEAT;
            self.peers.excuse(pause, now);
            self.seats.iter_mut().for_each(|seat| seat.excuse(pause, now));
        }
        if !self.within_lease(now) {
            self.seats.iter_mut().for_each(Seat::release);
            self.wait_until = now + SILENCE;
            self.fresh = false;
            self.ready_since = None;
            self.beat = now;
        }
        self.awake = self.awake.max(now);
    }

    /// Notices whether it is ready: it could take over now, or once it has said so for a while.
    fn make_ready(&mut self, now: Time) {
        let ready = self.waited(now + ANNOUNCE) || self.heard_all(now);
        self.ready_since = self.ready_since.or(Some(now)).filter(|_| ready && self.able);
    }

    /// Whether a holder would have been heard, and all know that this manager is ready.
    fn may_begin(&self, now: Time) -> bool {
        let alone = self.config.group <= 1;
        let announced = self.ready_since.is_some_and(|since| since + ANNOUNCE <= now || alone);
        announced && (self.waited(now) || self.heard_all(now))
    }

    /// Everybody is there, and told after this manager began who holds what.
    fn heard_all(&self, now: Time) -> bool {
        self.fresh && self.peers.present(now) + 1 >= self.config.group
    }

    fn waited(&self, now: Time) -> bool {
        self.wait_until <= now || self.config.group <= 1
    }

    /// Whether nobody better is there to take over. Whoever has not waited waits for those that are not
    /// ready, too: they may be about to be.
    fn is_best(&self, now: Time) -> bool {
        let me = (self.config.priority, &self.config.me.id);
        !self.peers.anyone_before(me, !self.waited(now), now)
    }

    fn tell(&mut self, out: &mut Vec<RoleChange>) {
        let epochs = self.epochs();
        if self.stored != epochs {
            self.stored = epochs;
            out.push(RoleChange::Store(epochs));
        }
        for role in Role::ALL {
            let mine = self.seats[role.index()].mine;
            let told = std::mem::replace(&mut self.told[role.index()], mine);
            if told != mine {
                out.extend(told.map(|epoch| RoleChange::Lost(role, epoch)));
                out.extend(mine.map(|epoch| RoleChange::Gained(role, epoch)));
            }
        }
    }
}
