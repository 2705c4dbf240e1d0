//! The rows as of one moment, over a connection of their own: commits go on over the other one.

use tokio::time::timeout;
use tokio_postgres::NoTls;

use super::{
    super::{Snapshot, StoreError, Visit},
    PostgresPlace, WHOLE, faults,
    rows::Rows,
};

/// What all statements of the transaction see is what was there at the first one.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The rows of one manager when somebody begins to read them.
pub(super) struct Moment {
    place: PostgresPlace,
    rows: Rows,
}

impl Moment {
    pub(super) fn new(place: PostgresPlace, rows: Rows) -> Self {
        Moment { place, rows }
    }

    async fn read(
        &self,
        visit: &mut Visit<'_>,
    ) -> Result<Result<(), StoreError>, tokio_postgres::Error> {
        let (client, connection) = self.place.config().connect(NoTls).await?;
        // It ends with the client, and the transaction with it.
        drop(tokio::spawn(connection));
        client.batch_execute(BEGIN).await?;
        self.rows.load(&client, visit).await
    }
}

impl Snapshot for Moment {
    fn load(&mut self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let name = self.place.to_string();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| StoreError::from_io(&name, &error))?;
        match runtime.block_on(async { timeout(WHOLE, self.read(visit)).await }) {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => Err(faults::meaning(&name, &error)),
            Err(_) => Err(faults::slow(&name, WHOLE)),
        }
    }

    fn size(&self) -> Option<u64> {
        None
    }
}
