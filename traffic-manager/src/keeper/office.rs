//! The roles of this manager, and the work that comes with them: records of usage, and clearing away.

use std::{fmt, time::Duration};

use bytes::Bytes;
use traffic_manager_core::{
    accounts::{Accounts, Amounts, Closed, Duty, Part, UsageRecord},
    replica::{AuditFilter, Change, Record, Replica, TooOld},
    roles::{Claims, Epoch, Epochs, Fenced, Role, RoleChange, Roles},
};
use weir_proto::{
    id::{ManagerId, ManagerLife},
    peer::{Audit, Usage, UsageKey, UsagePart},
    time::Time,
};

use crate::store::StoreError;

/// Candidates for records of usage; of more, the oldest are given up and counted.
pub(crate) const CANDIDATES: usize = 100_000;
/// Candidates looked at in one turn.
const AT_ONCE: usize = 1_000;
/// How often the janitor looks whether something is too old.
const SWEEP: Duration = Duration::from_secs(60);
/// How long to wait with the epochs after the store refused them.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a store that refuses is tried.
const PROBE: Duration = Duration::from_secs(5);
/// The action of an audit record that says what the janitor cleared away.
const SWEPT: &str = "sweep";

/// What must be stored, one thing at a time.
#[derive(Debug)]
pub(super) enum Work {
    /// The highest epochs seen.
    Epochs(Epochs),
    /// Records of usage, under the epoch of the ledger or by a manager that waited in vain for it.
    Usage(Option<Epoch>, Change),
    /// What is too old leaves.
    Sweep(Change),
}

/// Work that is under way, and what it takes to begin it again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Undone {
    /// These epochs.
    Epochs(Epochs),
    /// The candidates are there until their records are.
    Usage,
    /// Everything that is too old then.
    Sweep,
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Undone::Epochs(_) => "the roles' epochs",
            Undone::Usage => "records of usage",
            Undone::Sweep => "a clean-up",
        })
    }
}

/// Roles and what they do.
pub(crate) struct Office {
    roles: Roles,
    accounts: Accounts,
    /// To be stored, and not before when.
    epochs: Option<(Time, Epochs)>,
    /// Why the store does not take what is written; `None` while it does.
    refused: Option<&'static str>,
    /// What was cleared away by then is gone here, too.
    swept: Time,
    sweep_at: Time,
    announced: Option<Bytes>,
}

impl Office {
    pub(super) fn new(roles: Roles, now: Time) -> Self {
        let accounts = Accounts::new(CANDIDATES);
        Office {
            roles,
            accounts,
            epochs: None,
            refused: None,
            swept: Time::ZERO,
            sweep_at: now,
            announced: None,
        }
    }

    /// A peer's heartbeat.
    pub(super) fn hear(&mut self, life: &ManagerLife, claims: &[u8], now: Time) {
        match Claims::decode(claims) {
            Ok(claims) => self.roles.hear(life, &claims, now),
            // One that says nothing yet.
            Err(_) if claims.is_empty() => {}
            Err(error) => tracing::debug!(peer = %life.id, "claims of roles are refused: {error}"),
        }
    }

    pub(super) fn lost(&mut self, peer: &ManagerId, now: Time) {
        self.roles.lost(peer, now);
    }

    /// Windows that closed.
    pub(super) fn note(&mut self, closed: &[Closed], now: Time) {
        for closed in closed {
            self.accounts.note(closed, now);
        }
    }

    pub(super) fn next_deadline(&self) -> Time {
        let account = self.accounts.next_deadline().unwrap_or(Time::MAX);
        let work = self.epochs.map_or(account.min(self.sweep_at), |(at, _)| at);
        self.roles.next_deadline().min(work)
    }

    /// When the leases must be renewed.
    pub(super) fn beat(&self) -> Time {
        self.roles.next_deadline()
    }

    /// Renews the leases; returns what heartbeats are to say, if that has changed.
    pub(super) fn on_deadline(&mut self, now: Time) -> Option<Bytes> {
        if now < self.roles.next_deadline() {
            return None;
        }
        let mut changes = Vec::new();
        self.roles.on_deadline(now, &mut changes);
        for change in changes {
            match change {
                RoleChange::Store(epochs) => self.epochs = Some((now, epochs)),
                RoleChange::Gained(role, epoch) => {
                    tracing::info!(%role, %epoch, "this manager has a role");
                }
                RoleChange::Lost(role, epoch) => {
                    tracing::info!(%role, %epoch, "this manager has a role no more");
                }
            }
        }
        let claims = Bytes::from(self.roles.claims(now).encode());
        (self.announced.as_ref() != Some(&claims)).then(|| {
            self.announced = Some(claims.clone());
            claims
        })
    }

    /// The next thing to store.
    pub(super) fn work(&mut self, replica: &Replica, now: Time) -> Option<Work> {
        if let Some((_, epochs)) = self.epochs.take_if(|(at, _)| *at <= now) {
            return Some(Work::Epochs(epochs));
        }
        if self.epochs.is_some() {
            return None; // a role writes nothing under an epoch that could be forgotten
        }
        self.usage(replica, now).or_else(|| self.sweep(replica, now))
    }

    /// The store took something.
    pub(super) fn written(&mut self, now: Time) {
        if self.refused.take().is_some() {
            self.roles.set_able(true, now);
        }
    }

    /// Why the store refuses what is written, in a few words; `None` while it takes it.
    pub(crate) fn refused(&self) -> Option<&'static str> {
        self.refused
    }

    /// The store refused something. A manager that cannot write hands its roles over, whatever the reason
    /// is, and tries now and then.
    pub(super) fn unwritten(&mut self, error: &StoreError, now: Time) {
        if matches!(error, StoreError::TooLarge { .. }) {
            return; // whoever sent it is at fault: others are taken
        }
        if self.refused.replace(error.brief()).is_none() {
            self.roles.set_able(false, now);
        }
        if self.epochs.is_none() {
            self.epochs = Some((now + PROBE, self.roles.epochs()));
        }
    }

    /// The store refused it: it is to be done later.
    pub(super) fn failed(&mut self, work: Undone, now: Time) {
        match work {
            // Those that came meanwhile are the higher ones.
            Undone::Epochs(epochs) => {
                self.epochs.get_or_insert((now + AGAIN, epochs));
            }
            Undone::Usage => {}
            Undone::Sweep => self.swept = Time::ZERO,
        }
    }

    fn usage(&mut self, replica: &Replica, now: Time) -> Option<Work> {
        if self.accounts.next_deadline().is_none_or(|at| at > now) {
            return None;
        }
        let epoch = self.roles.holds(Role::Ledger, now);
        let duty = if epoch.is_some() { Duty::Ledger } else { Duty::Standby };
        let records = self.accounts.due(duty, now, AT_ONCE, |record| known(replica, record));
        let records: Vec<Record> = records.into_iter().map(stored).collect();
        (!records.is_empty()).then(|| Work::Usage(epoch, replica.record(records, now)))
    }

    /// The janitor says what is to go, by an audit record; every manager does as the newest says, and clears away
    /// nothing that is not too old by its own clock.
    fn sweep(&mut self, replica: &Replica, now: Time) -> Option<Work> {
        if self.sweep_at > now {
            return None;
        }
        self.sweep_at = now + SWEEP;
        if self.roles.holds(Role::Janitor, now).is_some() {
            let change = replica.sweep(now);
            if change.is_empty() {
                return None;
            }
            self.swept = now;
            let audit = Audit {
                at: now,
                actor: "janitor".to_owned(),
                action: SWEPT.to_owned(),
                policy: String::new(),
                tag: String::new(),
                detail: format!("{} entries were too old", change.writes().count()),
            };
            return Some(Work::Sweep(change.and(replica.record(vec![Record::Audit(audit)], now))));
        }
        // What a clock that is ahead says of the future is heeded once its time has come.
        let filter = AuditFilter {
            action: Some(SWEPT.to_owned()),
            until: Some(now + Duration::from_micros(1)),
            ..AuditFilter::default()
        };
        let told = replica.audit(&filter).next().map(|(_, audit)| audit.at)?;
        if told <= self.swept {
            return None;
        }
        self.swept = told;
        let change = replica.sweep(told);
        (!change.is_empty()).then_some(Work::Sweep(change))
    }

    /// Whether work that was begun under this epoch may be written now.
    pub(super) fn may(&self, work: &Work, now: Time) -> Result<(), Fenced> {
        match work {
            Work::Usage(Some(epoch), _) => self.roles.may(Role::Ledger, *epoch, now),
            _ => Ok(()),
        }
    }

    /// The roles that this manager holds.
    pub(crate) fn held(&self, now: Time) -> Vec<Role> {
        Role::ALL.into_iter().filter(|role| self.roles.holds(*role, now).is_some()).collect()
    }

    /// Who holds a role, as far as is known.
    pub(crate) fn holder(&self, role: Role) -> Option<&ManagerId> {
        self.roles.holder(role)
    }

    /// Windows whose usage is in no record yet.
    pub(crate) fn unrecorded(&self) -> usize {
        self.accounts.len()
    }

    /// Hands over what this manager holds: it is about to end.
    pub(super) fn leave(&mut self, now: Time) {
        self.roles.set_able(false, now);
    }
}

fn name(record: &UsageRecord) -> UsageKey {
    UsageKey {
        policy: record.policy.clone(),
        limit: record.limit.clone(),
        key: record.key.clone(),
        start_secs: record.start,
        length_secs: record.secs,
    }
}

fn stored(record: UsageRecord) -> Record {
    let name = name(&record);
    let part = |part: &Part| UsagePart {
        // A period of parts is a minute.
        offset_secs: u32::try_from(part.start.saturating_sub(record.start)).unwrap_or(0),
        admitted: part.amounts.admitted,
        refused: part.amounts.refused,
    };
    let Amounts { admitted, refused } = record.amounts;
    Record::Usage(name, Usage { admitted, refused, parts: record.parts.iter().map(part).collect() })
}

fn known(replica: &Replica, record: &UsageRecord) -> Option<UsageRecord> {
    let usage = match replica.usage_of(&name(record)) {
        Ok(usage) => usage?,
        // It would leave as soon as it came: as good as written.
        Err(TooOld) => return Some(record.clone()),
    };
    let part = |part: &UsagePart| Part {
        start: record.start + u64::from(part.offset_secs),
        amounts: Amounts { admitted: part.admitted, refused: part.refused },
    };
    let amounts = Amounts { admitted: usage.admitted, refused: usage.refused };
    Some(UsageRecord { amounts, parts: usage.parts.iter().map(part).collect(), ..record.clone() })
}

#[cfg(test)]
mod tests;
