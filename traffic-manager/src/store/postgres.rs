//! PostgreSQL as the store: rows of one table, keyed by manager, table and key.
//!
//! An advisory lock, held by the connection, keeps every other manager of the same id out; when the
//! connection is lost, so is the lock, and it must be had again before the next commit. If somebody else
//! had it meanwhile and wrote, this store is over: what its manager has in memory is stale.

use std::time::Duration;

use tokio::{runtime::Runtime, time::timeout};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use self::place::PostgresPlace;
use self::rows::Rows;
use super::{Batch, Identity, Report, Snapshot, Store, StoreError, Visit, doubt::Doubt};

mod faults;
mod place;
mod rows;
mod snapshot;
mod tls;

/// How long to connect, and to become the holder of the rows.
const CONNECT: Duration = Duration::from_secs(6);
/// How long a commit may take before the connection is given up.
const COMMIT: Duration = Duration::from_secs(10);
/// How long reading or replacing everything may take.
const WHOLE: Duration = Duration::from_secs(600);

/// The rows of one manager in a PostgreSQL database.
pub struct PostgresStore {
    place: PostgresPlace,
    name: String,
    /// What the manager says; `identity` is what the rows say.
    me: Identity,
    identity: Identity,
    runtime: Runtime,
    /// `None` after a failure; the next call connects anew.
    client: Option<Client>,
    /// The number of the last commit; `None` until the rows were read first.
    sequence: Option<u64>,
    /// Whether it has made a commit.
    wrote: bool,
    /// Somebody else has written.
    over: bool,
    doubt: Option<Doubt>,
}

impl PostgresStore {
    /// Connects; makes what is not there yet. Blocks, and must not be called on an asynchronous
    /// thread.
    ///
    /// # Errors
    /// The database cannot be reached, another manager has the rows, or they are of a later version.
    pub fn open(place: &PostgresPlace, me: &Identity) -> Result<Self, StoreError> {
        let name = place.to_string();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| StoreError::from_io(&name, &error))?;
        let mut store = PostgresStore {
            place: place.clone(),
            name,
            me: me.clone(),
            identity: me.clone(),
            runtime,
            client: None,
            sequence: None,
            wrote: false,
            over: false,
            doubt: None,
        };
        store.ready()?;
        Ok(store)
    }

    /// Makes the manager's rows from the records of `source`; see [`super::restore`].
    pub(super) fn restore(
        place: &PostgresPlace,
        identity: &Identity,
        force: bool,
        batch: &Batch,
    ) -> Result<(), StoreError> {
        let mut store = Self::open(place, identity)?;
        let (rows, numbers) = (store.rows(), store.numbers());
        if !force && store.check()?.records.iter().any(|&records| records > 0) {
            let advice = "with --force the backup takes the place of this manager's rows, and \
                          what is in them now is lost";
            return Err(StoreError::Exists { place: store.name, advice });
        }
        let client = store.client.as_mut().ok_or(StoreError::Stopped)?;
        let replaced = async { timeout(WHOLE, rows.replace(client, batch, numbers)).await };
        match store.runtime.block_on(replaced) {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(faults::fenced(&store.name)),
            Ok(Err(error)) => Err(faults::meaning(&store.name, &error)),
            Err(_) => Err(faults::slow(&store.name, WHOLE)),
        }
    }

    fn rows(&self) -> Rows {
        Rows::new(self.place.schema(), self.me.manager.as_str())
    }

    /// The numbers of the last commit and of the next. The first commit skips one, so that nobody who
    /// had the rows before, and does not know how its last commit ended, takes it for its own.
    fn numbers(&self) -> (u64, u64) {
        let last = self.sequence.unwrap_or(0);
        (last, last + if self.wrote { 1 } else { 2 })
    }

    /// Connects if there is no connection.
    fn connect(&mut self) -> Result<(), StoreError> {
        if self.over {
            return Err(faults::overtaken(&self.name));
        }
        if self.client.as_ref().is_some_and(Client::is_closed) {
            self.client = None;
        }
        if self.client.is_none() {
            let rows = self.rows();
            let opened = async { timeout(CONNECT, open(&self.place, &rows, &self.me)).await };
            let opened = self.runtime.block_on(opened);
            let (client, meta) = opened.map_err(|_| faults::slow(&self.name, CONNECT))??;
            self.adopt(meta.sequence)?;
            self.identity.created = meta.created;
            self.client = Some(client);
        }
        Ok(())
    }

    /// Goes on from the rows as they are now, if they are as this store left them, but for a commit of its
    /// own whose end it does not know.
    fn adopt(&mut self, sequence: u64) -> Result<(), StoreError> {
        let (last, next) = self.numbers();
        let own = sequence == last || self.doubt.is_some() && sequence == next;
        if self.sequence.is_some() && !own {
            self.over = true;
            return Err(faults::overtaken(&self.name));
        }
        self.wrote |= self.sequence.is_some() && sequence == next;
        self.sequence = Some(sequence);
        Ok(())
    }

    /// Connects if there is no connection; no commit is in doubt then.
    fn ready(&mut self) -> Result<(), StoreError> {
        self.connect()?;
        let sequence = self.numbers().0;
        if let Some(doubt) = self.doubt.take_if(|doubt| doubt.took_place(sequence))
            && let Err((error, _)) = self.write(&doubt.undo)
        {
            self.doubt = Some(doubt);
            return Err(error);
        }
        self.doubt = None;
        Ok(())
    }

    /// Makes one commit over the present connection, and gives that up if it fails. An error comes
    /// with what takes the commit back, if it may have taken place.
    fn write(&mut self, batch: &Batch) -> Result<(), (StoreError, Option<Batch>)> {
        let (rows, numbers) = (self.rows(), self.numbers());
        let Some(client) = &mut self.client else { return Err((StoreError::Stopped, None)) };
        let mut undo = None;
        let written =
            async { timeout(COMMIT, rows.commit(client, batch, numbers, &mut undo)).await };
        let error = match self.runtime.block_on(written) {
            Ok(Ok(true)) => {
                (self.sequence, self.wrote) = (Some(numbers.1), true);
                return Ok(());
            }
            Ok(Ok(false)) => {
                self.over = true;
                faults::fenced(&self.name)
            }
            Ok(Err(error)) => faults::meaning(&self.name, &error),
            Err(_) => faults::slow(&self.name, COMMIT),
        };
        if matches!(error, StoreError::Full { .. } | StoreError::Failed { .. }) {
            // The server has spoken, and rolled back: the connection is sound, nothing in doubt.
            return Err((error, None));
        }
        self.client = None;
        Err((error, undo))
    }
}

impl Store for PostgresStore {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn load(&mut self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.ready()?;
        let rows = self.rows();
        let Some(client) = &self.client else { return Err(StoreError::Stopped) };
        let all = async { timeout(WHOLE, rows.load(client, visit)).await };
        match self.runtime.block_on(all) {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(refused))) => Err(refused),
            Ok(Err(error)) => {
                self.client = None;
                Err(faults::meaning(&self.name, &error))
            }
            Err(_) => {
                self.client = None;
                Err(faults::slow(&self.name, WHOLE))
            }
        }
    }

    /// It connects when it is read: no commit waits for that.
    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(snapshot::Moment::new(self.place.clone(), self.rows())))
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        batch.bounded()?;
        self.ready()?;
        let mut written = self.write(batch);
        if let Err((StoreError::Unavailable { .. }, None)) = &written {
            // That the connection was lost long ago shows only now; the server may be back.
            self.ready()?;
            written = self.write(batch);
        }
        let Err((error, undo)) = written else { return Ok(()) };
        let Some(undo) = undo else { return Err(error) };
        let sequence = self.numbers().1;
        self.doubt = Some(Doubt { sequence, undo });
        // The connection broke while the commit was under way: a new one tells how it ended. The
        // lock comes free only when the former session, and its transaction, have ended.
        match self.connect() {
            Ok(()) => {
                self.doubt = None;
                if self.sequence == Some(sequence) { Ok(()) } else { Err(error) }
            }
            Err(overtaken) if self.over => Err(overtaken),
            Err(_) => Err(error),
        }
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn check(&mut self) -> Result<Report, StoreError> {
        let mut report = Report::of(&self.identity);
        self.load(&mut |table, key, value| {
            report.count(table, key, value);
            Ok(())
        })?;
        Ok(report)
    }
}

/// A connection, which runs whenever the store's thread waits for an answer, and ends with the client.
async fn connect(
    config: &Config,
    tls: Option<MakeRustlsConnect>,
) -> Result<Client, tokio_postgres::Error> {
    match tls {
        None => {
            let (client, connection) = config.connect(NoTls).await?;
            drop(tokio::spawn(connection));
            Ok(client)
        }
        Some(tls) => {
            let (client, connection) = config.connect(tls).await?;
            drop(tokio::spawn(connection));
            Ok(client)
        }
    }
}

/// A connection that holds the manager's rows.
async fn open(
    place: &PostgresPlace,
    rows: &Rows,
    me: &Identity,
) -> Result<(Client, rows::Meta), StoreError> {
    let name = place.to_string();
    let fault = |error: tokio_postgres::Error| faults::meaning(&name, &error);
    let unusable = |detail| StoreError::Unavailable { place: name.clone(), detail };
    let mut client =
        connect(place.config(), place.connector().map_err(unusable)?).await.map_err(fault)?;
    if !rows.lock(&client).await.map_err(fault)? {
        let holder = format!("another manager with the id {}", me.manager);
        return Err(StoreError::Held { place: name.clone(), holder });
    }
    let meta = rows.prepare(&mut client, me).await.map_err(fault)?;
    if meta.format > super::FORMAT {
        let (found, known) = (meta.format, super::FORMAT);
        return Err(StoreError::Newer { place: name.clone(), found, known });
    }
    Ok((client, meta))
}
