//! How much of a window nobody holds.

use std::time::Duration;

use weir_proto::time::{Time, WindowStart};

use crate::{
    fleet::{AgentIx, AgentRecord, CRASH_HOLD, Fleet, SKEW},
    ledger::{LimitInfo, Slot, WindowState},
    limits::Meter,
};

/// The highest ceiling that the agent of `slot` may have in force, by the books.
pub(super) fn ceiling(slot: &Slot, limit: &LimitInfo, fleet: &Fleet, start: WindowStart) -> u64 {
    slot.book.unwrap_or_else(|| {
        let agent = fleet.agent(slot.agent);
        let begun = if limit.rolling() { basis(slot.birth, limit) } else { start };
        agent.share(begun).default_of(limit.amount)
    })
}

/// What this manager may still hand out: at most what no agent holds and no other manager may grant.
/// Negative after a limit was lowered, or when agents were allowed to exceed it.
pub fn free(limit: &LimitInfo, window: &mut WindowState, fleet: &Fleet, now: Time) -> i64 {
    let total = if limit.rolling() {
        if !fleet.sovereign(now - limit.horizon, now) {
            // Between views, rolling counters live on what their agents hold.
            return 0;
        }
        let spent = match limit.meter {
            Meter::Gauge => {
                let over = |a: &AgentRecord| a.gone.is_some() || a.left || a.rumoured.is_some();
                let gone = |ix| over(fleet.agent(ix));
                window.in_flight(gone, limit.horizon, now)
            }
            Meter::Bucket { refill } => {
                window.spent.beside(limit, &refilled_elsewhere(refill, fleet, now), now)
            }
            _ => window.spent.at(limit, now),
        };
        signed(limit.amount) - signed(spent) - sum(limit, window, fleet, now, claim)
    } else if fleet.sovereign(window.start.time(), now) {
        signed(limit.amount) - sum(limit, window, fleet, now, held)
    } else {
        sum(limit, window, fleet, now, brought)
    };
    total.min(signed(limit.amount))
}

/// Whether a dead agent's ceiling is nobody's any more: a length has passed, with the ring's oldest part.
fn released(agent: &AgentRecord, limit: &LimitInfo, now: Time) -> bool {
    let length = limit.horizon + limit.horizon / 8;
    over(agent, now) && agent.dead().is_some_and(|at| at + length <= now)
}

/// Whether the agent may soon pace itself at its share, or may have used something that was not heard.
fn alone(agent: &AgentRecord, now: Time) -> bool {
    match agent.gone {
        None => agent.last_heard + SILENCE < now || !agent.attached(),
        // It ended out of sight: what it used at last was not heard here.
        Some(at) => agent.ended.is_none() && at + CRASH_HOLD > now,
    }
}

/// Since when agents that are alone may use a bucket's refill, and how much of it per window. What they
/// used is charged when they tell it, so that only those matter who are alone now.
fn refilled_elsewhere(refill: u64, fleet: &Fleet, now: Time) -> Vec<(Time, u64)> {
    let all = fleet.may_hold(now).map(|(_, agent)| agent);
    let alone = all.filter(|agent| !agent.left && alone(agent, now));
    alone.map(|agent| (agent.last_heard, agent.current_share().of(refill))).collect()
}

/// The agent admits nothing more, and everything that it told was heard.
fn over(agent: &AgentRecord, now: Time) -> bool {
    agent.left || agent.dead().is_some_and(|at| at + CRASH_HOLD <= now)
}

/// An agent that follows this manager says something every 100 ms. One that does not may soon pace
/// itself at its share.
const SILENCE: Duration = Duration::from_millis(700);

/// A rolling counter opens with the share that its agent had owned for a whole length.
fn basis(birth: WindowStart, limit: &LimitInfo) -> WindowStart {
    WindowStart(birth.0.saturating_sub(limit.horizon.as_secs()))
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// One agent's part in the sum.
struct Part<'a> {
    agent: &'a AgentRecord,
    slot: Option<&'a Slot>,
    limit: &'a LimitInfo,
    start: WindowStart,
    now: Time,
}

/// Adds up `part` over all agents that have a slot or may hold a default.
fn sum(
    limit: &LimitInfo,
    window: &WindowState,
    fleet: &Fleet,
    now: Time,
    part: impl Fn(&Part<'_>) -> i64,
) -> i64 {
    let mut slots = window.slots.iter().peekable();
    let mut total: i64 = 0;
    let mut add = |ix: AgentIx, slot: Option<&Slot>| {
        let agent = fleet.agent(ix);
        total += part(&Part { agent, slot, limit, start: window.start, now });
    };
    for (ix, _) in fleet.may_hold(now) {
        while let Some(slot) = slots.next_if(|s| s.agent < ix) {
            add(slot.agent, Some(slot));
        }
        let own = slots.next_if(|s| s.agent == ix);
        add(ix, own);
    }
    for slot in slots {
        add(slot.agent, Some(slot));
    }
    total
}

/// Incumbent, fixed window: the most that the agent may have admitted when the window ends.
fn held(part: &Part<'_>) -> i64 {
    let Part { agent, slot, limit, start, now } = *part;
    let used = slot.map_or(0, |s| s.used);
    // What it gave up elsewhere was given to others there.
    let lent = slot.map_or(0, |s| s.lent);
    let book = slot.and_then(|s| s.book);
    let share = agent.share(start);
    if over(agent, now) {
        // It admits nothing more, but others may.
        return match book {
            None if agent.share_at_large(start) => signed(share.of(limit.amount).max(used)),
            _ => signed(used) + signed(lent),
        };
    }
    if agent.gone.is_some_and(|at| start.time() > at + SKEW) {
        return signed(used.max(book.unwrap_or(0)));
    }
    let known = agent.accounted(start);
    let most = match book {
        Some(book) => book,
        None if known => share.default_of(limit.amount),
        None => share.of(limit.amount),
    };
    signed(most.max(used)) + signed(lent)
}

/// What an agent handed to another manager of a window of which it still holds the default here.
/// Becomes `lent` when its ceiling becomes explicit.
pub fn pledged_elsewhere(slot: &Slot, limit: &LimitInfo, fleet: &Fleet, start: WindowStart) -> u64 {
    let agent = fleet.agent(slot.agent);
    let known = agent.accounted(start);
    if slot.book.is_some() || known || limit.rolling() {
        return slot.lent;
    }
    let share = agent.share(start);
    share.of(limit.amount).saturating_sub(share.default_of(limit.amount))
}

/// What the books reserve for the agent of `slot` in a fixed window.
pub fn reserved(
    slot: Option<&Slot>,
    agent: AgentIx,
    limit: &LimitInfo,
    start: WindowStart,
    fleet: &Fleet,
    now: Time,
) -> u64 {
    let part = Part { agent: fleet.agent(agent), slot, limit, start, now };
    u64::try_from(held(&part)).unwrap_or(0)
}

/// Not incumbent, fixed window: what the agent handed over or brought along, less what it holds.
fn brought(part: &Part<'_>) -> i64 {
    let Part { agent, slot, limit, start, .. } = *part;
    let share = agent.share(start);
    let pledged = agent.pledged(start);
    let base = if pledged { signed(share.of(limit.amount)) } else { 0 };
    let carry = slot.map_or(0, |s| s.carry);
    let default = if pledged { share.default_of(limit.amount) } else { 0 };
    match slot.map(|s| (s.book, s.used)) {
        Some((Some(book), used)) => base + carry - signed(book.max(used)),
        Some((None, used)) if pledged => base + carry - signed(default.max(used)),
        Some((None, _)) => 0,
        None => base - signed(default),
    }
}

/// What is reserved for the agent of an idle `slot` beyond its ceiling, as it may open its counter anew:
/// it may as well have it now. Its claim stays what it is.
pub(super) fn reserve(slot: &Slot, limit: &LimitInfo, fleet: &Fleet, now: Time) -> u64 {
    let agent = fleet.agent(slot.agent);
    if !limit.rolling() || limit.meter == Meter::Gauge || agent.left || released(agent, limit, now)
    {
        return 0;
    }
    let idle = slot.presumed() || slot.active_at + limit.horizon <= now;
    let left = slot.book.map_or(u64::MAX, |book| book.saturating_sub(slot.used));
    if idle { opening(agent, limit, now).saturating_sub(left) } else { 0 }
}

/// What a counter opens with now, at most: it goes by the smaller of the shares of now and of one length
/// ago.
fn opening(agent: &AgentRecord, limit: &LimitInfo, now: Time) -> u64 {
    let before = agent.share(basis(WindowStart(now.as_secs()), limit));
    agent.current_share().default_of(limit.amount).max(before.default_of(limit.amount))
}

/// Incumbent, rolling window: what the agent may admit from now on without being granted more.
fn claim(part: &Part<'_>) -> i64 {
    let Part { agent, slot, limit, now, .. } = *part;
    if agent.left {
        return 0;
    }
    let fresh = agent.current_share();
    let default = opening(agent, limit, now);
    let own = match slot {
        // It admits nothing more on what it held, and what it used without a word counts no longer.
        _ if released(agent, limit, now) => 0,
        Some(s) => {
            let born = agent.share(basis(s.birth, limit)).default_of(limit.amount);
            let left = s.book.unwrap_or(born).saturating_sub(s.used);
            // Where the agent has said nothing yet, it may open its counter at any time.
            let idle = s.presumed() || s.active_at + limit.horizon <= now;
            match limit.meter {
                _ if !idle => left,
                Meter::Gauge => left.max(default.saturating_sub(s.used)),
                _ => left.max(default),
            }
        }
        None if agent.gone.is_some() => 0,
        None => default,
    };
    let alone = alone(agent, now);
    // What it told on coming into sight, but not how much of it lately, and then it was gone.
    let since = agent.gone.or(agent.rumoured);
    let ended_lately = since.is_some_and(|at| at + limit.horizon > now);
    let gauge = limit.meter == Meter::Gauge;
    let untold = slot.filter(|s| ended_lately && !s.charged && !gauge);
    let untold = untold.map_or(0, |s| s.used.min(limit.amount));
    signed(own + untold + if alone { fresh.of(limit.amount) } else { 0 })
}
