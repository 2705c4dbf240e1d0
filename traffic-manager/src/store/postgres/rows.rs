//! The statements: how a manager's records lie in the database.
//!
//! `weir_stores` has a row for each manager: format, age, number of the last commit. `weir_entries`
//! has its records. A key may be longer than an index takes, so the primary key has its SHA-256.

use std::pin::pin;

use futures_util::TryStreamExt;
use tokio_postgres::{Client, Error, Transaction, error::SqlState, types::ToSql};
use weir_proto::time::Time;

use super::super::{Batch, FORMAT, Identity, StoreError, Table, Visit};

/// How long another holder may take to go, in milliseconds.
const LOCK_MS: u64 = 3_000;

/// The rows of one manager in one schema.
pub(super) struct Rows {
    schema: String,
    manager: String,
}

/// What the manager's row says.
pub(super) struct Meta {
    pub(super) format: u32,
    pub(super) created: Time,
    pub(super) sequence: u64,
}

impl Rows {
    /// `schema` needs no quotes (see `PostgresPlace::is_schema`).
    pub(super) fn new(schema: &str, manager: &str) -> Self {
        Rows { schema: schema.to_owned(), manager: manager.to_owned() }
    }

    /// Becomes the one holder of the rows, until the connection ends. Waits a little for another
    /// holder to go: after a broken connection that may be ourselves. False if it stays.
    pub(super) async fn lock(&self, client: &Client) -> Result<bool, Error> {
        let name = format!("weir/{}/{}", self.schema, self.manager);
        client.batch_execute(&format!("SET lock_timeout = '{LOCK_MS}ms'")).await?;
        let sql = "SELECT pg_advisory_lock(hashtextextended($1, 0))::text";
        match client.query_one(sql, &[&name]).await {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => return Ok(false),
            result => drop(result?),
        }
        client.batch_execute("SET lock_timeout = 0").await?;
        Ok(true)
    }

    /// Makes what is not there yet, and reads the manager's row.
    pub(super) async fn prepare(&self, client: &mut Client, me: &Identity) -> Result<Meta, Error> {
        let schema = &self.schema;
        client.batch_execute("SET synchronous_commit = on").await?;
        if !self.exists(client).await? {
            // Two managers that begin at once would collide: one of them at a time.
            let transaction = client.transaction().await?;
            transaction
                .batch_execute(&format!(
                    "SELECT pg_advisory_xact_lock(hashtextextended('weir/{schema}', 0));
                     CREATE SCHEMA IF NOT EXISTS {schema};
                     CREATE TABLE IF NOT EXISTS {schema}.weir_stores (
                         manager text PRIMARY KEY, format bigint NOT NULL,
                         created_us bigint NOT NULL, sequence bigint NOT NULL);
                     CREATE TABLE IF NOT EXISTS {schema}.weir_entries (
                         manager text NOT NULL, kind text NOT NULL, key bytea NOT NULL,
                         value bytea NOT NULL,
                         digest bytea GENERATED ALWAYS AS (sha256(key)) STORED,
                         PRIMARY KEY (manager, kind, digest));"
                ))
                .await?;
            transaction.commit().await?;
        }
        let insert = format!(
            "INSERT INTO {schema}.weir_stores VALUES ($1, $2, $3, 0) ON CONFLICT (manager) DO NOTHING"
        );
        let created = i64::try_from(me.created.as_micros()).unwrap_or(i64::MAX);
        client.execute(&insert, &[&self.manager, &i64::from(FORMAT), &created]).await?;
        let select = format!(
            "SELECT format, created_us, sequence FROM {schema}.weir_stores WHERE manager = $1"
        );
        let row = client.query_one(&select, &[&self.manager]).await?;
        Ok(Meta {
            format: u32::try_from(row.try_get::<_, i64>(0)?).unwrap_or(u32::MAX),
            created: Time::from_micros(unsigned(row.try_get(1)?)),
            sequence: unsigned(row.try_get(2)?),
        })
    }

    /// Whether both tables are there. A role may then lack the right to make them.
    async fn exists(&self, client: &Client) -> Result<bool, Error> {
        let names = ["weir_stores", "weir_entries"].map(|table| format!("{}.{table}", self.schema));
        let sql = "SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL";
        client.query_one(sql, &[&names[0], &names[1]]).await?.try_get(0)
    }

    /// Shows every record; the inner error is `visit`'s.
    pub(super) async fn load(
        &self,
        client: &Client,
        visit: &mut Visit<'_>,
    ) -> Result<Result<(), StoreError>, Error> {
        let sql = format!(
            "SELECT key, value FROM {}.weir_entries WHERE manager = $1 AND kind = $2 ORDER BY key",
            self.schema
        );
        for table in Table::ALL {
            let kind = table.name();
            let parameters: [&(dyn ToSql + Sync); 2] = [&self.manager, &kind];
            let mut rows = pin!(client.query_raw(&sql, parameters).await?);
            while let Some(row) = rows.try_next().await? {
                if let Err(error) = visit(table, row.try_get(0)?, row.try_get(1)?) {
                    return Ok(Err(error));
                }
            }
        }
        Ok(Ok(()))
    }

    /// Makes a batch's changes in one transaction. `undo` gets what takes them back as soon as they
    /// may have taken place. False, and no change, if somebody else has written meanwhile.
    pub(super) async fn commit(
        &self,
        client: &mut Client,
        batch: &Batch,
        numbers: (u64, u64),
        undo: &mut Option<Batch>,
    ) -> Result<bool, Error> {
        let transaction = client.transaction().await?;
        let last = last_of_each(batch);
        let former = self.former(&transaction, &last).await?;
        self.apply(&transaction, &last).await?;
        if !self.number(&transaction, numbers).await? {
            transaction.rollback().await?;
            return Ok(false);
        }
        *undo = Some(former);
        transaction.commit().await.map(|()| true)
    }

    /// Puts a batch in the place of all records. False as in [`Rows::commit`].
    pub(super) async fn replace(
        &self,
        client: &mut Client,
        batch: &Batch,
        numbers: (u64, u64),
    ) -> Result<bool, Error> {
        let transaction = client.transaction().await?;
        let delete = format!("DELETE FROM {}.weir_entries WHERE manager = $1", self.schema);
        transaction.execute(&delete, &[&self.manager]).await?;
        self.apply(&transaction, &last_of_each(batch)).await?;
        let ours = self.number(&transaction, numbers).await?;
        if ours {
            transaction.commit().await?;
        }
        Ok(ours)
    }

    /// What takes these changes back.
    async fn former(
        &self,
        transaction: &Transaction<'_>,
        changes: &Changes<'_>,
    ) -> Result<Batch, Error> {
        let sql = format!(
            "SELECT kind, e.key, e.value FROM {}.weir_entries e
             JOIN unnest($2::text[], $3::bytea[]) AS c(kind, key) USING (kind)
             WHERE e.manager = $1 AND e.digest = sha256(c.key)",
            self.schema
        );
        let mut undo = Batch::new();
        for &(table, key) in changes.keys() {
            undo.remove(table, key);
        }
        let (kinds, keys): (Vec<&str>, Vec<&[u8]>) =
            changes.keys().map(|(table, key)| (table.name(), *key)).unzip();
        for row in transaction.query(&sql, &[&self.manager, &kinds, &keys]).await? {
            let kind: &str = row.try_get(0)?;
            if let Some(table) = Table::ALL.into_iter().find(|table| table.name() == kind) {
                undo.put(table, row.try_get::<_, &[u8]>(1)?, row.try_get::<_, &[u8]>(2)?);
            }
        }
        Ok(undo)
    }

    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        changes: &Changes<'_>,
    ) -> Result<(), Error> {
        let (mut gone, mut gone_keys) = (Vec::new(), Vec::new());
        let (mut kinds, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (&(table, key), value) in changes {
            if let Some(value) = value {
                kinds.push(table.name());
                keys.push(key);
                values.push(*value);
            } else {
                gone.push(table.name());
                gone_keys.push(key);
            }
        }
        let schema = &self.schema;
        if !gone.is_empty() {
            let delete = format!(
                "DELETE FROM {schema}.weir_entries e
                 USING unnest($2::text[], $3::bytea[]) AS c(kind, key)
                 WHERE e.manager = $1 AND e.kind = c.kind AND e.digest = sha256(c.key)"
            );
            transaction.execute(&delete, &[&self.manager, &gone, &gone_keys]).await?;
        }
        if !kinds.is_empty() {
            let upsert = format!(
                "INSERT INTO {schema}.weir_entries (manager, kind, key, value)
                 SELECT $1, c.kind, c.key, c.value
                 FROM unnest($2::text[], $3::bytea[], $4::bytea[]) AS c(kind, key, value)
                 ON CONFLICT (manager, kind, digest) DO UPDATE SET value = excluded.value"
            );
            transaction.execute(&upsert, &[&self.manager, &kinds, &keys, &values]).await?;
        }
        Ok(())
    }

    /// Gives the commit its number, if the one before has the number that is expected of it.
    async fn number(
        &self,
        transaction: &Transaction<'_>,
        (last, next): (u64, u64),
    ) -> Result<bool, Error> {
        let sql = format!(
            "UPDATE {}.weir_stores SET sequence = $3
             WHERE manager = $1 AND sequence = $2",
            self.schema
        );
        let [last, next] = [last, next].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        Ok(transaction.execute(&sql, &[&self.manager, &last, &next]).await? == 1)
    }
}

/// What becomes of each key.
type Changes<'a> = std::collections::BTreeMap<(Table, &'a [u8]), Option<&'a [u8]>>;

/// One statement may change a row only once, so of two changes of a key the later is made.
fn last_of_each(batch: &Batch) -> Changes<'_> {
    batch.iter().map(|(table, key, value)| ((table, key), value)).collect()
}

/// A number that was written as not negative.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
