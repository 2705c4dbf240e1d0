//! A backup of the store while its manager runs.

use std::{fs::File, io::Read, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Admin, body::Nothing, problem::Problem, query::Params};
use crate::{
    auth::Actor,
    store::{Copied, Place, StoreError, StoreHandle},
};

/// What is read of the copy at a time; one more piece waits for the connection.
const PIECE: usize = 64 << 10;
/// A client that takes nothing for so long has gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// The store, and the one copy of it that there is at a time.
#[derive(Clone)]
pub(crate) struct Backups {
    store: StoreHandle,
    /// Where the copy is.
    folder: Arc<PathBuf>,
    /// Held until the client has the copy.
    turn: Arc<Semaphore>,
}

impl Backups {
    /// Backups of the manager's store, which is at `place`: the copy lies beside an embedded store, or in
    /// the system's folder of temporary files.
    pub(crate) fn new(store: StoreHandle, place: &Place) -> Backups {
        let folder = match place {
            Place::Folder(folder) => folder.clone(),
            _ => std::env::temp_dir(),
        };
        Backups { store, folder: Arc::new(folder), turn: Arc::new(Semaphore::new(1)) }
    }
}

/// Copy the store while the manager goes on.
///
/// The body is a file for `traffic-manager store restore`: everything that was acknowledged before the
/// call, as of one moment. Commits go on; the manager's disk needs twice the room of the store
/// meanwhile, and has nothing of it afterwards. One at a time.
#[utoipa::path(
    post, path = "/api/v1/store:backup", tag = "store", operation_id = "backupStore",
    responses(
        (status = 200, description = "The copy", body = [u8], content_type = "application/octet-stream"),
        (status = 503, description = "Another backup is under way, or the store cannot be read", body = Problem),
        (status = 507, description = "There is no room for a copy", body = Problem),
    ),
)]
pub(super) async fn backup(
    State(admin): State<Admin>,
    actor: Option<Extension<Actor>>,
    _: Params<()>,
    _: Nothing,
) -> Result<Response, Problem> {
    let Backups { store, folder, turn } = admin.backups;
    let turn = turn.try_acquire_owned().map_err(|_| {
        Problem::unavailable("another backup of this manager is under way; try again when it ends")
    })?;
    let copied = store.copy(&folder).await.map_err(refused)?;
    let size = copied.size;
    let actor = actor.as_ref().map_or("anonymous", |Extension(actor)| &actor.name);
    tracing::info!(actor, bytes = size, "somebody takes a backup of the store");
    let name = format!("attachment; filename=\"{}.backup\"", admin.driver.id());
    let mut response = Response::new(stream(copied, turn));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// The copy as a body, however slowly it is taken.
fn stream(copied: Copied, turn: OwnedSemaphorePermit) -> Body {
    let (pieces, body) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut file = copied.file;
        loop {
            let read = tokio::task::spawn_blocking(move || piece(file)).await;
            let Ok((rest, piece)) = read else { return };
            if matches!(&piece, Ok(piece) if piece.is_empty()) {
                break;
            }
            let failed = piece.is_err();
            match tokio::time::timeout(PATIENCE, pieces.send(piece)).await {
                Ok(Ok(())) if !failed => file = rest,
                _ => break,
            }
        }
        drop(turn);
    });
    Body::from_stream(futures_util::stream::unfold(body, |mut body| async move {
        body.recv().await.map(|piece| (piece, body))
    }))
}

/// The next bytes of a file, none at its end; and the file.
fn piece(mut file: File) -> (File, std::io::Result<Bytes>) {
    let mut bytes = Vec::with_capacity(PIECE);
    let read = (&mut file).take(PIECE as u64).read_to_end(&mut bytes);
    (file, read.map(|_| Bytes::from(bytes)))
}

fn refused(error: StoreError) -> Problem {
    let status = match error {
        StoreError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, format!("no backup was made: {error}"))
}
