//! Limits of what is known after the response, and seldom: errors.
//!
//! Nobody holds credit: a limit of five errors must not keep all but five of the agents from trying.
//! Each agent that uses such a counter says so once, and every time that it has counted something; it
//! is told when there were too many, by whomever. Between the last error and that word requests pass:
//! those that are under way, and those within the round trip.

use std::time::Duration;

use weir_proto::{
    amount::MAX_AMOUNT,
    time::{Time, WindowStart},
};

use super::{Turn, millis};
use crate::{
    feed::Verdict,
    ledger::{Counter, CounterIx, LimitInfo, WindowState},
};

/// Agents that follow other managers report to this one, too, which wakes nobody: while there are any,
/// it looks.
const LOOK: Duration = Duration::from_millis(200);

/// Tells those who do not know it yet that there were too many, or no longer. Returns when to look
/// again.
pub(super) fn settle(
    ix: CounterIx,
    counter: &mut Counter,
    limit: &LimitInfo,
    start: WindowStart,
    turn: &mut Turn<'_>,
) -> Option<Time> {
    let Counter { key, windows, .. } = counter;
    let window = windows.iter_mut().find(|w| w.start == start)?;
    let spent = spent(limit, window, turn.now);
    let left = limit.amount.saturating_sub(spent);
    window.exhausted = left == 0;
    let until = window.next_release(limit, turn.now);
    let wait = millis(until, turn.now);
    let mut listening = false;
    for slot in &mut window.slots {
        let agent = turn.fleet.agent(slot.agent);
        let (true, Some(session)) = (agent.attached(), agent.session) else { continue };
        listening = true;
        let news = if left == 0 { !slot.denied } else { slot.denied || slot.want > 0 };
        if !news {
            continue;
        }
        let verdict = Verdict {
            window: if limit.rolling() { slot.birth } else { start },
            // Below what it used where there were more than enough: some may be taken back.
            ceiling: slot.used.saturating_add(limit.amount).saturating_sub(spent).min(MAX_AMOUNT),
            exhausted: left == 0,
            retry_after_ms: if left == 0 { wait } else { 0 },
        };
        slot.sent = (session, turn.feeds.decide(session, ix, key, verdict));
        slot.denied = left == 0;
        slot.want = 0;
        turn.tally.exhausted += u64::from(left == 0);
    }
    if left == 0 {
        return limit.rolling().then_some(until);
    }
    let elsewhere = || turn.fleet.agents().any(|(_, a)| a.gone.is_none() && !a.attached());
    (listening && elsewhere()).then_some(turn.now + LOOK)
}

/// How much was counted.
fn spent(limit: &LimitInfo, window: &mut WindowState, now: Time) -> u64 {
    if limit.rolling() { window.spent.at(limit, now) } else { window.used() }
}
