//! Refused calls of the admin API, written down beside what was done.

use std::time::Duration;

use tokio::{sync::mpsc, time::sleep};
use traffic_manager_core::replica::Record;
use weir_proto::peer::Audit;

use crate::{auth::Guard, keeper::Keeper, stop::Stop, tls::Port};

/// Refusals that wait to be written down; more are counted and logged, but not recorded: a stranger who
/// knocks all day must not push what was done out of the records.
const WAITING: usize = 16;
/// Between two times of writing down.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes refusals of the HTTP port down from now on.
pub(crate) fn witness(guard: &Guard, keeper: Keeper, mut stop: Stop) {
    let (told, mut refusals) = mpsc::channel(WAITING);
    guard.witnessed_by(move |refused| {
        if refused.port == Port::Http {
            let actor = refused.name.clone().unwrap_or_else(|| "unknown".to_owned());
            let address = refused.address.map(|address| format!(" from {address}"));
            let detail =
                format!("{}: {}{}", refused.what, refused.why, address.unwrap_or_default());
            // Full: see WAITING.
            let _ = told.try_send((actor, detail));
        }
    });
    tokio::spawn(async move {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                () = stop.requested() => return,
                count = refusals.recv_many(&mut batch, WAITING) => if count == 0 { return },
            }
            let refusals = std::mem::take(&mut batch);
            let written = keeper.write(move |replica, now| {
                let record = |(actor, detail)| {
                    Record::Audit(Audit {
                        at: now,
                        actor,
                        action: "denied".to_owned(),
                        policy: String::new(),
                        tag: String::new(),
                        detail,
                    })
                };
                let records = refusals.into_iter().map(record).collect();
                Ok::<_, std::convert::Infallible>((Some(replica.record(records, now)), ()))
            });
            // A store that is full says so in the log; the refusal itself is logged and counted.
            let _ = written.await;
            sleep(PAUSE).await;
        }
    });
}
