//! Lets callers through or refuses them; refusals are counted, logged, and told to the audit.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{Actor, Book, Credentials, Need, Refused, Role, Why, book::Known};
use crate::{
    telemetry::Telemetry,
    tls::{Certificate, Port},
};

/// Refusals of a port and a reason that are logged in [`LOG_SPAN`]; what is beyond is only counted,
/// so that a stranger cannot fill the disk.
const LOGGED: u32 = 5;
const LOG_SPAN: Duration = Duration::from_secs(10);
/// How long a check of open streams may sleep, so that a clock that was set is noticed.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The newest book; `None` where nothing is asked.
pub(crate) type Posted = watch::Receiver<Option<Arc<Book>>>;

/// Told of every refusal.
type Witness = Box<dyn Fn(&Refused) + Send + Sync>;

/// See the module's documentation. Cheap to clone: all clones are one.
#[derive(Clone)]
pub(crate) struct Guard {
    book: Posted,
    desk: Arc<Desk>,
}

/// Where refusals go.
struct Desk {
    telemetry: Arc<Telemetry>,
    witness: OnceLock<Witness>,
    logged: Mutex<[[Logged; Why::ALL.len()]; 2]>,
}

/// How much was logged since when.
#[derive(Clone, Copy)]
struct Logged {
    since: Instant,
    lines: u32,
    silent: u64,
}

impl Guard {
    /// Judges by the newest book.
    pub(crate) fn new(book: Posted, telemetry: Arc<Telemetry>) -> Guard {
        let logged = Logged { since: Instant::now(), lines: 0, silent: 0 };
        let logged = Mutex::new([[logged; Why::ALL.len()]; 2]);
        Guard { book, desk: Arc::new(Desk { telemetry, witness: OnceLock::new(), logged }) }
    }

    /// Lets everybody through.
    #[cfg(test)]
    pub(crate) fn open(telemetry: Arc<Telemetry>) -> Guard {
        Guard::new(watch::channel(None).1, telemetry)
    }

    /// Has `witness` told of every refusal from now on; only the first one is kept. It must not
    /// wait.
    pub(crate) fn witnessed_by(&self, witness: impl Fn(&Refused) + Send + Sync + 'static) {
        let _ = self.desk.witness.set(Box::new(witness));
    }

    /// Who makes this call, if it may be made. `what` names it for the log.
    ///
    /// # Errors
    /// It may not; that is counted and logged already.
    pub(crate) fn admit(
        &self,
        port: Port,
        address: Option<SocketAddr>,
        credentials: &Credentials,
        need: Need,
        what: impl FnOnce() -> String,
    ) -> Result<Actor, Why> {
        if need == Need::Nothing {
            return Ok(Actor::anonymous(address));
        }
        match self.judge(credentials, need, Timestamp::now()) {
            Ok(None) => Ok(Actor::anonymous(address)),
            Ok(Some(known)) => Ok(Actor::known(known, address)),
            Err((why, name)) => {
                self.refuse(&Refused { port, why, name, address, what: what() });
                Err(why)
            }
        }
    }

    /// Who that is; `None` where nothing is asked.
    fn judge(
        &self,
        credentials: &Credentials,
        need: Need,
        now: Timestamp,
    ) -> Result<Option<Known>, super::book::Stranger> {
        let book = self.book.borrow().clone();
        let Some(book) = book else { return Ok(None) };
        let known = book.identify(credentials, now)?;
        if need.met_by(known.role) {
            Ok(Some(known))
        } else {
            Err((Why::Role, Some(known.name.to_string())))
        }
    }

    /// Who a manager that was dialled is, by the certificate that it showed: it may speak for whom the
    /// rules of the configuration say; for anybody if none is about it, as its name was checked by TLS.
    pub(crate) fn recognise(&self, certificate: Option<Arc<Certificate>>) -> Actor {
        let credentials = Credentials::new(None, certificate);
        let known = self.judge(&credentials, Need::Role(Role::Peer), Timestamp::now());
        match known {
            Ok(Some(known)) => Actor::known(known, None),
            _ => Actor::anonymous(None),
        }
    }

    /// Resolves when these credentials are not enough any more: they have ended, were taken out of the
    /// book, or are for other ids now.
    pub(crate) async fn withdrawn(self, credentials: Credentials, need: Need) {
        let mut book = self.book.clone();
        let (mut scope, mut posted) = (None, true);
        loop {
            book.borrow_and_update();
            let now = Timestamp::now();
            let Ok(known) = self.judge(&credentials, need, now) else { return };
            let present = known.as_ref().map(|known| known.scope.clone());
            if *scope.get_or_insert_with(|| present.clone()) != present {
                return;
            }
            let end = known.and_then(|known| known.until);
            let left =
                end.map(|end| Duration::try_from(end.duration_since(now)).unwrap_or_default());
            tokio::select! {
                // When nobody posts books any more, credentials still end.
                changed = book.changed(), if posted => posted = changed.is_ok(),
                () = tokio::time::sleep(left.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)) => {}
            }
        }
    }

    /// Counts, logs and tells a refusal.
    pub(crate) fn refuse(&self, refused: &Refused) {
        self.desk.telemetry.denied(refused.port, refused.why).increment(1);
        if let Some(witness) = self.desk.witness.get() {
            witness(refused);
        }
        let Some(silent) = self.desk.may_log(refused) else { return };
        if silent > 0 {
            let reason = refused.why.label();
            tracing::warn!(reason, "{silent} more refusals were not logged, but counted");
        }
        tracing::warn!(
            reason = refused.why.label(),
            address = refused.address.map(tracing::field::display),
            name = refused.name,
            call = refused.what,
            "refused: {}",
            refused.why
        );
    }
}

impl Desk {
    /// Whether one more line fits; with the number of those that did not.
    fn may_log(&self, refused: &Refused) -> Option<u64> {
        let port = match refused.port {
            Port::Grpc => 0,
            Port::Http => 1,
        };
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let logged = &mut logged[port][refused.why.index()];
        if logged.since.elapsed() >= LOG_SPAN {
            logged.since = Instant::now();
            logged.lines = 0;
        }
        if logged.lines >= LOGGED {
            logged.silent += 1;
            return None;
        }
        logged.lines += 1;
        Some(std::mem::take(&mut logged.silent))
    }
}
