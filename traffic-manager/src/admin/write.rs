//! How handlers write: through the keeper, on somebody's behalf, and with `?wait=` until peers have it.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, StatusCode, request::Parts},
    response::Response,
};
use traffic_manager_core::replica::{Change, Record, Replica, WriteError};
use weir_proto::{peer::Audit, time::Time};

use super::{Admin, problem::Problem};
use crate::{
    auth::Actor,
    keeper::{Keeper, WriteFault},
};

/// How long a write may wait for the writes before it and for the store.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long `?wait=` waits for peers.
const PEERS: Duration = Duration::from_secs(5);
/// How often it is looked whether peers have everything.
const LOOK: Duration = Duration::from_millis(20);
/// Tells how many peers had the write durably when it was answered.
const REPLICAS: HeaderName = HeaderName::from_static("weir-replicas");

/// For how many peers an answer waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Wait {
    /// For none: it is durable here.
    #[default]
    Here,
    /// For so many.
    Peers(usize),
    /// For all that are configured.
    All,
}

/// On whose behalf a write is made, and how long its answer waits.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    /// Who, as authenticated.
    pub(super) actor: String,
    wait: Wait,
}

impl Writer {
    /// The same, for a write whose answer waits for no peer.
    pub(super) fn at_once(&self) -> Writer {
        Writer { wait: Wait::Here, ..self.clone() }
    }

    /// An audit record of a change that this writer makes.
    pub(super) fn audit(
        &self,
        action: &str,
        policy: &str,
        change: &Change,
        detail: String,
        now: Time,
    ) -> Record {
        Record::Audit(Audit {
            at: now,
            actor: self.actor.clone(),
            action: action.to_owned(),
            policy: policy.to_owned(),
            tag: change.tag(policy).unwrap_or_default(),
            detail,
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Writer, Problem> {
        let mut wait = Wait::Here;
        for pair in parts.uri.query().unwrap_or_default().split('&') {
            if let Some(text) = pair.strip_prefix("wait=") {
                wait = match text {
                    "all" => Wait::All,
                    _ => Wait::Peers(text.parse().map_err(|_| {
                        let why = "is neither all nor a number of managers";
                        Problem::bad_request(format!("wait={text} {why}"))
                    })?),
                };
            }
        }
        let actor = parts.extensions.get::<Actor>().map(|actor| actor.name.to_string());
        Ok(Writer { actor: actor.unwrap_or_else(|| "anonymous".to_owned()), wait })
    }
}

/// A write that is durable here.
pub(super) struct Done<R> {
    pub(super) result: R,
    /// Peers that have it, too, if the request asked.
    replicas: Option<usize>,
}

impl<R> Done<R> {
    /// Adds what the request asked about peers.
    pub(super) fn tell(&self, mut response: Response) -> Response {
        if let Some(count) = self.replicas {
            response.headers_mut().insert(REPLICAS, HeaderValue::from(count));
        }
        response
    }
}

impl Admin {
    /// Writes what `prepare` makes of the replica, and waits as the writer wishes.
    pub(super) fn write<R, F>(
        &self,
        writer: &Writer,
        prepare: F,
    ) -> impl Future<Output = Result<Done<R>, Problem>> + Send + 'static
    where
        R: Send + 'static,
        F: FnOnce(&Replica, Time) -> Result<(Option<Change>, R), Problem> + Send + 'static,
    {
        let (keeper, peers, wait) = (self.keeper.clone(), self.wanted(writer), writer.wait);
        async move {
            let (peers, began) = (peers?, Instant::now());
            let written = tokio::time::timeout(PATIENCE, keeper.write(prepare)).await;
            let written = written.map_err(|_| {
                Problem::unavailable(
                    "the store did not answer in time; the write may still happen, so read before \
                     you try again",
                )
            })?;
            let written = written.map_err(refused)?;
            if wait == Wait::Here {
                return Ok(Done { result: written.result, replicas: None });
            }
            let count = match written.id {
                Some(id) => keeper.replicated(id, peers, PEERS).await,
                // Equal already: the peers may lack the write that made it so.
                None => caught_up(&keeper, peers).await,
            };
            if count < peers {
                return Err(late(count, peers, began.elapsed()));
            }
            Ok(Done { result: written.result, replicas: Some(count) })
        }
    }

    /// For how many peers the writer waits.
    pub(super) fn wanted(&self, writer: &Writer) -> Result<usize, Problem> {
        let all = self.directory.addresses().len();
        match writer.wait {
            Wait::Here => Ok(0),
            Wait::All => Ok(all),
            Wait::Peers(count) if count <= all => Ok(count),
            Wait::Peers(count) => {
                let detail = format!("wait={count}, but this manager has {all} peers");
                Err(Problem::bad_request(detail))
            }
        }
    }

    /// After several writes that did not wait: waits as the writer wishes until peers have all that is
    /// here.
    pub(super) async fn settled(&self, writer: &Writer) -> Result<Done<()>, Problem> {
        let (peers, began) = (self.wanted(writer)?, Instant::now());
        if writer.wait == Wait::Here {
            return Ok(Done { result: (), replicas: None });
        }
        let count = caught_up(&self.keeper, peers).await;
        if count < peers {
            return Err(late(count, peers, began.elapsed()));
        }
        Ok(Done { result: (), replicas: Some(count) })
    }
}

/// Waits, though not for ever, until so many peers have all that is here now; tells how many have.
async fn caught_up(keeper: &Keeper, peers: usize) -> usize {
    let began = Instant::now();
    let Ok(revision) = keeper.ask(|replica, _| replica.revision()).await else { return 0 };
    loop {
        let count = keeper.ask(move |replica, now| {
            replica.peers(now).iter().filter(|peer| peer.acked >= revision).count()
        });
        let count = count.await.unwrap_or(0);
        if count >= peers || began.elapsed() >= PEERS {
            return count;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn late(count: usize, wanted: usize, took: Duration) -> Problem {
    let detail = format!(
        "the write is durable on this manager and on {count} of the {wanted} peers that wait= asked \
         for, after {:.1} s; it reaches the others as soon as they can be reached",
        took.as_secs_f64()
    );
    Problem::new(StatusCode::GATEWAY_TIMEOUT, detail)
}

fn refused(fault: WriteFault<Problem>) -> Problem {
    match fault {
        WriteFault::Refused(problem) => problem,
        WriteFault::Stopped(stopped) => Problem::unavailable(&stopped.to_string()),
        WriteFault::Store(error) => {
            let full = matches!(*error, crate::store::StoreError::Full { .. });
            let status = if full {
                StatusCode::INSUFFICIENT_STORAGE
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            Problem::new(status, error.to_string())
        }
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Problem {
        let status = match &error {
            WriteError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            WriteError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            WriteError::NoConflict => StatusCode::NOT_FOUND,
            WriteError::Deletion => StatusCode::CONFLICT,
        };
        Problem::new(status, error.to_string())
    }
}
