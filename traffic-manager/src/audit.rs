//! Refused calls of the admin API, written down beside what was done.

use std::{collections::BTreeMap, time::Duration};

use tokio::{sync::mpsc, time::sleep};
use traffic_manager_core::replica::Record;
use weir_proto::{peer::Audit, time::Time};

use crate::{auth::Guard, keeper::Keeper, stop::Stop, tls::Port};

/// Whose refusals are written down at a time, each with how often; all of them are counted and logged. A
/// stranger who knocks all day must not push what was done out of the records, so that only callers who
/// are known are recorded, and seldom.
const KNOWN: usize = 8;
/// Refusals that wait to be added up; more are not recorded.
const WAITING: usize = 64;
/// Between two times of writing down.
const PAUSE: Duration = Duration::from_secs(60);

/// Who was refused what.
type Refusal = (String, String);

/// Writes refusals of the HTTP port down from now on.
pub(crate) fn witness(guard: &Guard, keeper: Keeper, mut stop: Stop) {
    let (told, mut refusals) = mpsc::channel::<Refusal>(WAITING);
    guard.witnessed_by(move |refused| {
        let (Port::Http, Some(actor)) = (refused.port, &refused.name) else { return };
        let address = refused.address.map(|address| format!(" from {}", address.ip()));
        let detail = format!("{}: {}{}", refused.what, refused.why, address.unwrap_or_default());
        // Full: see WAITING.
        let _ = told.try_send((actor.clone(), detail));
    });
    tokio::spawn(async move {
        loop {
            let mut counts: BTreeMap<Refusal, u64> = BTreeMap::new();
            tokio::select! {
                () = stop.requested() => return,
                first = refusals.recv() => match first {
                    Some(first) => counts.insert(first, 1),
                    None => return,
                },
            };
            while let Ok(refusal) = refusals.try_recv() {
                if counts.len() < KNOWN || counts.contains_key(&refusal) {
                    *counts.entry(refusal).or_default() += 1;
                }
            }
            // A store that is full says so in the log; the refusal itself is logged and counted.
            let written = keeper.write(move |replica, now| {
                let records = counts.into_iter().map(|refusal| record(refusal, now)).collect();
                Ok::<_, std::convert::Infallible>((Some(replica.record(records, now)), ()))
            });
            let _ = written.await;
            tokio::select! {
                () = stop.requested() => return,
                () = sleep(PAUSE) => {}
            }
        }
    });
}

fn record(((actor, detail), count): (Refusal, u64), now: Time) -> Record {
    let times = if count > 1 { format!(" ({count} times)") } else { String::new() };
    Record::Audit(Audit {
        at: now,
        actor,
        action: "denied".to_owned(),
        policy: String::new(),
        tag: String::new(),
        detail: detail + &times,
    })
}
