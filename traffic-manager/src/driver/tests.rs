//! The driver at its deadlines.

use weir_proto::id::ManagerId;

use super::*;
use crate::{config::Settings, stop::stop};

#[tokio::test]
async fn a_long_job_does_not_hold_up_the_deadlines_of_its_batch() {
    /// Longer than a heartbeat takes to be due.
    const LONG: Duration = Duration::from_millis(250);
    let config = Config::resolve(Settings { id: Some("tm-1".into()), ..Settings::default() });
    let life = ManagerLife { id: ManagerId::new("tm-1").unwrap(), incarnation: 1 };
    let (accounts, _closed) = mpsc::channel(1);
    let ((_stopper, stop), (_ender, end)) = (stop(), stop());
    let telemetry = Telemetry::new().unwrap();
    let (driver, _done) =
        start(&config.unwrap(), &life, Clock::start(), accounts, telemetry, (stop, end));
    let (_hold, nothing) = std::sync::mpsc::sync_channel::<()>(1);
    // On one thread the driver takes both at once.
    let first = driver.with(move |manager, now, _| {
        let _ = nothing.recv_timeout(LONG);
        (now, manager.next_deadline())
    });
    let second = driver.with(|manager, now, _| (now, manager.next_deadline()));
    let (first, second) = tokio::join!(first, second);
    let ((began, due), (now, next)) = (first.unwrap(), second.unwrap());
    assert!(due.is_some_and(|due| due < began + LONG), "a heartbeat was due meanwhile: {due:?}");
    assert!(now.since(began) >= LONG, "the time is looked at again: {now:?}");
    assert!(next.is_some_and(|next| next > now), "nothing is overdue: {next:?} at {now:?}");
}
