//! Credit and decision frames.

use super::{MAX_AMOUNT, MAX_TIME_MS, WireError, bounded, key_defs, key_defs_out, manager_life};
use crate::{
    decision::{
        Attach, CreditEntry, CreditFrame, Decision, DecisionFrame, ManagerHello, PolicyUpdate,
    },
    share::{Share, View},
    time::{Time, WindowStart},
    wire::weir::v1 as wire,
};

/// Most eras in one attach.
const MAX_HISTORY: u64 = 64;

fn time(field: &'static str, ms: u64) -> Result<Time, WireError> {
    bounded(field, ms, MAX_TIME_MS).map(Time::from_millis)
}

fn window(secs: u64) -> Result<WindowStart, WireError> {
    bounded("window", secs, MAX_TIME_MS / 1_000).map(WindowStart)
}

impl TryFrom<wire::Attach> for Attach {
    type Error = WireError;
    fn try_from(w: wire::Attach) -> Result<Self, WireError> {
        bounded("attach.share_eras", w.share_eras.len() as u64, MAX_HISTORY)?;
        let era = |e: wire::ShareEra| -> Result<_, WireError> {
            let since = time("attach.share_eras[].since_ms", e.since_ms)?;
            Ok((since, Share { fleet: e.fleet, rank: e.rank }))
        };
        let former_manager = match w.former_manager.as_str() {
            "" => None,
            id => Some(manager_life("attach.former_manager", id, w.former_incarnation)?),
        };
        Ok(Attach {
            identity: w.identity.ok_or(WireError::Missing("attach.identity"))?.try_into()?,
            view: w.view.unwrap_or_default().try_into()?,
            promised: w.promised.map(TryInto::try_into).transpose()?,
            eras: w.share_eras.into_iter().map(era).collect::<Result<_, _>>()?,
            pledged_until: time("attach.pledged_until_ms", w.pledged_until_ms)?,
            former_manager,
        })
    }
}

impl From<Attach> for wire::Attach {
    fn from(a: Attach) -> Self {
        wire::Attach {
            identity: Some(a.identity.into()),
            view: Some(a.view.into()),
            promised: a.promised.map(Into::into),
            share_eras: a
                .eras
                .into_iter()
                .map(|(since, share)| wire::ShareEra {
                    since_ms: since.as_millis(),
                    fleet: share.fleet,
                    rank: share.rank,
                })
                .collect(),
            pledged_until_ms: a.pledged_until.as_millis(),
            former_incarnation: a.former_manager.as_ref().map_or(0, |m| m.incarnation),
            former_manager: a.former_manager.map(|m| m.id.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<wire::CreditEntry> for CreditEntry {
    type Error = WireError;
    fn try_from(w: wire::CreditEntry) -> Result<Self, WireError> {
        Ok(CreditEntry {
            key: w.key,
            window: window(w.window)?,
            used: bounded("entries[].used", w.used, MAX_AMOUNT)?,
            ceiling: bounded("entries[].ceiling", w.ceiling, MAX_AMOUNT)?,
            want: bounded("entries[].want", w.want, MAX_AMOUNT)?,
            recent: bounded("entries[].recent", w.recent, MAX_AMOUNT)?,
            rejected: bounded("entries[].rejected", w.rejected, MAX_AMOUNT)?,
        })
    }
}

impl From<CreditEntry> for wire::CreditEntry {
    fn from(e: CreditEntry) -> Self {
        wire::CreditEntry {
            key: e.key,
            window: e.window.0,
            used: e.used,
            ceiling: e.ceiling,
            want: e.want,
            recent: e.recent,
            rejected: e.rejected,
        }
    }
}

impl TryFrom<wire::CreditFrame> for CreditFrame {
    type Error = WireError;
    fn try_from(w: wire::CreditFrame) -> Result<Self, WireError> {
        Ok(CreditFrame {
            seq: w.seq,
            now: time("now_ms", w.now_ms)?,
            applied: w.applied,
            attach: w.attach.map(TryInto::try_into).transpose()?,
            keys: key_defs(w.keys)?,
            entries: w.entries.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            holdings_complete: w.holdings_complete,
            promised_view: w.promised_view,
            leaving: w.leaving,
            stamp: w.stamp,
        })
    }
}

impl From<CreditFrame> for wire::CreditFrame {
    fn from(f: CreditFrame) -> Self {
        wire::CreditFrame {
            seq: f.seq,
            now_ms: f.now.as_millis(),
            applied: f.applied,
            attach: f.attach.map(Into::into),
            keys: key_defs_out(f.keys),
            entries: f.entries.into_iter().map(Into::into).collect(),
            holdings_complete: f.holdings_complete,
            promised_view: f.promised_view,
            leaving: f.leaving,
            stamp: f.stamp,
        }
    }
}

impl TryFrom<wire::DecisionFrame> for DecisionFrame {
    type Error = WireError;
    fn try_from(w: wire::DecisionFrame) -> Result<Self, WireError> {
        let hello = |h: wire::ManagerHello| -> Result<_, WireError> {
            Ok(ManagerHello {
                life: manager_life("hello.id", &h.id, h.incarnation)?,
                version: h.version,
                silent_hold_ms: bounded("hello.silent_hold_ms", h.silent_hold_ms, MAX_TIME_MS)?,
            })
        };
        let decision = |d: wire::Decision| -> Result<_, WireError> {
            Ok(Decision {
                key: d.key,
                window: window(d.window)?,
                ceiling: bounded("decisions[].ceiling", d.ceiling, MAX_AMOUNT)?,
                exhausted: d.exhausted,
                retry_after_ms: bounded(
                    "decisions[].retry_after_ms",
                    d.retry_after_ms,
                    MAX_TIME_MS,
                )?,
            })
        };
        let install = match w.install {
            Some(view) => {
                Some((View::try_from(view)?, time("install_from_ms", w.install_from_ms)?))
            }
            None => None,
        };
        Ok(DecisionFrame {
            revision: w.revision,
            manager_time: time("manager_ms", w.manager_ms)?,
            processed: w.processed,
            hello: w.hello.map(hello).transpose()?,
            policies: w.policies.map(Into::into),
            keys: key_defs(w.keys)?,
            decisions: w.decisions.into_iter().map(decision).collect::<Result<_, _>>()?,
            snapshot_complete: w.snapshot_complete,
            propose: w.propose.map(TryInto::try_into).transpose()?,
            install,
        })
    }
}

impl From<DecisionFrame> for wire::DecisionFrame {
    fn from(f: DecisionFrame) -> Self {
        let (install, from) = match f.install {
            Some((view, from)) => (Some(view.into()), from.as_millis()),
            None => (None, 0),
        };
        wire::DecisionFrame {
            revision: f.revision,
            manager_ms: f.manager_time.as_millis(),
            processed: f.processed,
            hello: f.hello.map(|h| wire::ManagerHello {
                id: h.life.id.to_string(),
                incarnation: h.life.incarnation,
                version: h.version,
                silent_hold_ms: h.silent_hold_ms,
            }),
            policies: f.policies.map(Into::into),
            keys: key_defs_out(f.keys),
            decisions: f
                .decisions
                .into_iter()
                .map(|d| wire::Decision {
                    key: d.key,
                    window: d.window.0,
                    ceiling: d.ceiling,
                    exhausted: d.exhausted,
                    retry_after_ms: d.retry_after_ms,
                })
                .collect(),
            snapshot_complete: f.snapshot_complete,
            propose: f.propose.map(Into::into),
            install,
            install_from_ms: from,
        }
    }
}

impl From<wire::PolicyUpdate> for PolicyUpdate {
    fn from(w: wire::PolicyUpdate) -> Self {
        PolicyUpdate {
            revision: w.revision,
            full: w.full,
            put: w.put,
            deleted: w.deleted,
            last: w.last,
        }
    }
}

impl From<PolicyUpdate> for wire::PolicyUpdate {
    fn from(p: PolicyUpdate) -> Self {
        wire::PolicyUpdate {
            revision: p.revision,
            full: p.full,
            put: p.put,
            deleted: p.deleted,
            last: p.last,
        }
    }
}
