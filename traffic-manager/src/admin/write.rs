//! How handlers write: through the keeper, on somebody's behalf, and with `?wait=` until peers have it.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use traffic_manager_core::replica::{Change, Record, Replica, WriteError, WriteId};
use weir_proto::{peer::Audit, policy::PolicyErrors, time::Time};

use super::{
    Admin,
    problem::Problem,
    query::{Parameters, Params, Query},
};
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
    /// A write of this caller.
    pub(super) fn new(actor: Option<&Actor>, wait: Wait) -> Writer {
        let actor = actor.map_or_else(|| "anonymous".to_owned(), |actor| actor.name.to_string());
        Writer { actor, wait }
    }

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

impl Parameters for Wait {
    const NAMES: &'static [&'static str] = &["wait"];

    fn read(query: &mut Query) -> Self {
        let parse = |text: &str| match text {
            "all" => Some(Wait::All),
            _ => text.parse().ok().map(Wait::Peers),
        };
        query.parsed("wait", parse, "is neither all nor a number of managers").unwrap_or_default()
    }
}

impl<S: Sync> FromRequestParts<S> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Writer, Problem> {
        let Params(wait) = Params::<Wait>::from_request_parts(parts, state).await?;
        Ok(Writer::new(parts.extensions.get::<Actor>(), wait))
    }
}

/// A write that is durable here.
pub(super) struct Done<R> {
    pub(super) result: R,
    peers: Option<Peers>,
}

/// Who has a write, where the request asked to wait for so many.
struct Peers {
    wanted: usize,
    have: Have,
    waited: Duration,
}

/// Peers that have a write.
enum Have {
    /// As many as were waited for, or more.
    Enough(usize),
    /// Only these.
    These(Vec<String>),
}

impl Peers {
    fn now(wanted: usize, have: Have, began: Instant) -> Peers {
        Peers { wanted, have, waited: began.elapsed() }
    }
}

impl Have {
    fn of(names: Vec<String>, wanted: usize) -> Have {
        if names.len() >= wanted { Have::Enough(names.len()) } else { Have::These(names) }
    }
}

impl<R> Done<R> {
    /// Adds what the request asked about peers. If too few have the write, the answer is a problem, which
    /// tells no less: the version's tag and place, too.
    pub(super) fn tell(self, mut response: Response) -> Response {
        let Some(Peers { wanted, have, waited }) = self.peers else { return response };
        let count = match have {
            Have::Enough(count) => count,
            Have::These(names) => {
                let count = names.len();
                let mut problem = late(names, wanted, waited).into_response();
                for name in [header::ETAG, header::LOCATION] {
                    if let Some(value) = response.headers_mut().remove(&name) {
                        problem.headers_mut().insert(name, value);
                    }
                }
                response = problem;
                count
            }
        };
        response.headers_mut().insert(REPLICAS, HeaderValue::from(count));
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
            let wanted = peers?;
            let written = tokio::time::timeout(PATIENCE, keeper.write(prepare)).await;
            let written = written.map_err(|_| {
                Problem::unavailable(
                    "the store did not answer in time; the write may still happen, so read before \
                     you try again",
                )
            })?;
            let written = written.map_err(refused)?;
            let peers = match (wait, written.id) {
                (Wait::Here, _) => None,
                (_, Some(id)) => Some(replicated(&keeper, id, wanted).await),
                // Equal already: the peers may lack the write that made it so.
                (_, None) => Some(caught_up(&keeper, wanted).await),
            };
            Ok(Done { result: written.result, peers })
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
                let message = format!("is more than the {all} peers that this manager has");
                let mut errors = PolicyErrors::default();
                errors.refuse("wait", &count.to_string().into(), message);
                Err(Problem::faulty(StatusCode::BAD_REQUEST, "the query is not valid", errors))
            }
        }
    }

    /// After several writes that did not wait: waits as the writer wishes until peers have all that is
    /// here.
    pub(super) async fn settled(&self, writer: &Writer) -> Result<Done<()>, Problem> {
        let wanted = self.wanted(writer)?;
        let peers = match writer.wait {
            Wait::Here => None,
            _ => Some(caught_up(&self.keeper, wanted).await),
        };
        Ok(Done { result: (), peers })
    }
}

/// Waits, though not for ever, until so many peers have the write.
async fn replicated(keeper: &Keeper, id: WriteId, wanted: usize) -> Peers {
    let began = Instant::now();
    let count = keeper.replicated(id, wanted, PEERS).await;
    if count >= wanted {
        return Peers::now(wanted, Have::Enough(count), began);
    }
    let names = keeper
        .ask(move |replica, _| replica.holding(id).map(ToString::to_string).collect::<Vec<_>>());
    let names = names.await.unwrap_or_default();
    Peers::now(wanted, Have::of(names, wanted), began)
}

/// Waits, though not for ever, until so many peers have all that is here now.
async fn caught_up(keeper: &Keeper, wanted: usize) -> Peers {
    let began = Instant::now();
    let mut names = Vec::new();
    if let Ok(revision) = keeper.ask(|replica, _| replica.revision()).await {
        loop {
            let have = keeper.ask(move |replica, now| {
                let peers = replica.peers(now).into_iter();
                peers
                    .filter(|peer| peer.acked >= Some(revision))
                    .map(|peer| peer.id.to_string())
                    .collect()
            });
            names = have.await.unwrap_or_default();
            if names.len() >= wanted || began.elapsed() >= PEERS {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Peers::now(wanted, Have::of(names, wanted), began)
}

fn late(names: Vec<String>, wanted: usize, waited: Duration) -> Problem {
    let named = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    let detail = format!(
        "the write is durable on this manager and on {} of the {wanted} peers that were waited for{named}, \
         after {:.1} s; it reaches the others as soon as they can be reached",
        names.len(),
        waited.as_secs_f64()
    );
    Problem::late(detail, names)
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
