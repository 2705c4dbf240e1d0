//! What a store says of itself: format, owner, age, and the number of its last commit. As text, so
//! that every version of the future can at least read that it is not its own.

use std::path::Path;

use ::redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};
use weir_proto::{id::ManagerId, time::Time};

use super::{
    super::{FORMAT, Identity, StoreError},
    faults,
};

const META: TableDefinition<'static, &str, &str> = TableDefinition::new("weir");
const FORMAT_KEY: &str = "format";
const MANAGER: &str = "manager";
const CREATED: &str = "created_us";
const SEQUENCE: &str = "sequence";

/// What a store says of itself.
pub(super) struct Meta {
    pub(super) format: u32,
    pub(super) identity: Identity,
    pub(super) sequence: u64,
}

impl Meta {
    /// Reads it, and refuses a store that this version cannot use.
    pub(super) fn read(database: &Database, file: &Path) -> Result<Meta, StoreError> {
        let fault = |error: ::redb::Error| faults::opening(file, error);
        let place = faults::place(file);
        let foreign = |detail: String| StoreError::Foreign { place: place.clone(), detail };
        let transaction = database.begin_read().map_err(|e| fault(e.into()))?;
        let table = match transaction.open_table(META) {
            Ok(table) => table,
            Err(::redb::TableError::Storage(error)) => return Err(fault(error.into())),
            Err(error) => return Err(foreign(format!("a redb file of another program: {error}"))),
        };
        let text = |key: &str| -> Result<String, StoreError> {
            let value = table.get(key).map_err(|e| fault(e.into()))?;
            let value = value.ok_or_else(|| foreign(format!("its record {key:?} is missing")))?;
            Ok(value.value().to_owned())
        };
        let number = |key: &str| -> Result<u64, StoreError> {
            let text = text(key)?;
            text.parse().map_err(|_| foreign(format!("its record {key:?} is {text:?}")))
        };
        let format = u32::try_from(number(FORMAT_KEY)?).unwrap_or(u32::MAX);
        if format > FORMAT {
            return Err(StoreError::Newer { place, found: format, known: FORMAT });
        }
        let manager = ManagerId::new(&text(MANAGER)?)
            .map_err(|error| foreign(format!("its manager's id {error}")))?;
        let created = Time::from_micros(number(CREATED)?);
        let sequence = number(SEQUENCE)?;
        Ok(Meta { format, identity: Identity { manager, created }, sequence })
    }
}

/// Writes it into a new store.
pub(super) fn write(
    transaction: &WriteTransaction,
    identity: &Identity,
) -> Result<(), ::redb::Error> {
    let mut table = transaction.open_table(META)?;
    table.insert(FORMAT_KEY, FORMAT.to_string().as_str())?;
    table.insert(MANAGER, identity.manager.as_str())?;
    table.insert(CREATED, identity.created.as_micros().to_string().as_str())?;
    table.insert(SEQUENCE, "0")?;
    Ok(())
}

/// Numbers the commit that `transaction` becomes.
pub(super) fn number(transaction: &WriteTransaction, sequence: u64) -> Result<(), ::redb::Error> {
    let mut table = transaction.open_table(META)?;
    table.insert(SEQUENCE, sequence.to_string().as_str())?;
    Ok(())
}
