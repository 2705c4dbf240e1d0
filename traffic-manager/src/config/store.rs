//! `data_dir` and `[store]`: where a manager keeps what must outlive it.

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Deserialize;

use super::{Fault, IN_MEMORY};
use crate::store::Place;

/// The `[store]` table.
#[derive(Clone, Default, Deserialize, Args)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// `PostgreSQL` in the place of the embedded store: postgres://USER@HOST/DATABASE
    #[arg(
        long = "store-url",
        env = "WEIR_STORE_URL",
        value_name = "URL",
        hide_env_values = true,
        conflicts_with = "data_dir"
    )]
    pub url: Option<String>,
    /// File whose first line is the database's password, if it is not in the URL
    #[arg(long = "store-password-file", env = "WEIR_STORE_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Schema of the database's tables; made if it is not there [default: weir]
    #[arg(long = "store-schema", env = "WEIR_STORE_SCHEMA", value_name = "NAME")]
    pub schema: Option<String>,
}

/// The URL may hold a password.
impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSettings")
            .field("url", &self.url.as_ref().map(|_| "…"))
            .field("password_file", &self.password_file)
            .field("schema", &self.schema)
            .finish()
    }
}

impl StoreSettings {
    pub(super) fn overridden_by(self, over: StoreSettings) -> StoreSettings {
        StoreSettings {
            url: over.url.or(self.url),
            password_file: over.password_file.or(self.password_file),
            schema: over.schema.or(self.schema),
        }
    }
}

/// The place that the settings name.
pub(super) fn place(data_dir: Option<String>, store: StoreSettings) -> Result<Place, Fault> {
    let refuse = |field, message: String| Err(Fault { field, message });
    let Some(url) = store.url else {
        if store.password_file.is_some() {
            return refuse("store.password_file", "needs store.url, which is not set".to_owned());
        }
        if store.schema.is_some() {
            return refuse("store.schema", "needs store.url, which is not set".to_owned());
        }
        return match data_dir.as_deref() {
            None | Some(IN_MEMORY) => Ok(Place::Memory),
            Some("") => {
                refuse("data_dir", "is empty; name a folder, or write \":memory:\"".to_owned())
            }
            Some(folder) => Ok(Place::Folder(PathBuf::from(folder))),
        };
    };
    if let Some(folder) = data_dir {
        return refuse(
            "data_dir",
            format!("= {folder:?} and store.url name two stores; keep one of the two"),
        );
    }
    database(&url, store.password_file, store.schema)
}

#[cfg(feature = "postgres")]
fn database(
    url: &str,
    password_file: Option<PathBuf>,
    schema: Option<String>,
) -> Result<Place, Fault> {
    use crate::store::PostgresPlace;

    let refuse = |field, message: String| Fault { field, message };
    let mut password = None;
    if let Some(file) = password_file {
        let name = file.display();
        let text = std::fs::read_to_string(&file).map_err(|error| {
            refuse("store.password_file", format!("= {name} cannot be read: {error}"))
        })?;
        let line = text.lines().next().unwrap_or_default().to_owned();
        if line.is_empty() {
            let message = format!("= {name} has an empty first line; the password goes there");
            return Err(refuse("store.password_file", message));
        }
        password = Some(line);
    }
    let schema = schema.unwrap_or_else(|| PostgresPlace::SCHEMA.to_owned());
    if !PostgresPlace::is_schema(&schema) {
        let message = format!(
            "= {schema:?} is no name of a schema; write at most 63 letters a-z, digits and _, \
             beginning with a letter"
        );
        return Err(refuse("store.schema", message));
    }
    PostgresPlace::new(url, password.as_deref(), schema)
        .map(|place| Place::Postgres(Box::new(place)))
        .map_err(|message| refuse("store.url", message))
}

#[cfg(not(feature = "postgres"))]
fn database(_: &str, _: Option<PathBuf>, _: Option<String>) -> Result<Place, Fault> {
    let message = "needs a build with the feature postgres, which this one lacks; use data_dir";
    Err(Fault { field: "store.url", message: message.to_owned() })
}
