//! What PostgreSQL's errors mean to the operator.

use std::{error::Error as _, time::Duration};

use tokio_postgres::{Error, error::SqlState};

use super::super::StoreError;

/// An error of the connection or of the server.
pub(super) fn meaning(place: &str, error: &Error) -> StoreError {
    let place = place.to_owned();
    let Some(server) = error.as_db_error() else {
        // The cause says more than «error connecting to server».
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        return StoreError::Unavailable { place, detail: format!("{error}{cause}") };
    };
    let code = server.code();
    let detail = format!("{} [{}]", server.message(), code.code());
    let class = code.code().get(..2).unwrap_or_default();
    if *code == SqlState::DISK_FULL {
        return StoreError::Full { place, detail };
    }
    // Tables of our names with other columns.
    if class == "42" && *code != SqlState::INSUFFICIENT_PRIVILEGE {
        return StoreError::Foreign { place, detail };
    }
    // Starting, stopping, too many connections, read-only after a failover: it passes.
    let passing = class == "57"
        || class == "08"
        || class == "53"
        || *code == SqlState::READ_ONLY_SQL_TRANSACTION;
    if passing {
        return StoreError::Unavailable { place, detail };
    }
    StoreError::Failed { place, detail }
}

/// No answer in time.
pub(super) fn slow(place: &str, limit: Duration) -> StoreError {
    let detail = format!("no answer within {} s", limit.as_secs());
    StoreError::Unavailable { place: place.to_owned(), detail }
}

/// Somebody had the rows, and wrote, while we had no connection.
pub(super) fn overtaken(place: &str) -> StoreError {
    let holder = "another manager with this id, which has written since this one's connection broke (this one \
                  ends, and reads what is stored when it is started again)";
    StoreError::Held { place: place.to_owned(), holder: holder.to_owned() }
}

/// Somebody wrote to the rows that we hold: a proxy that shares connections loses the lock.
pub(super) fn fenced(place: &str) -> StoreError {
    let holder = "another writer of the same rows (connect without a proxy that shares sessions)";
    StoreError::Held { place: place.to_owned(), holder: holder.to_owned() }
}
