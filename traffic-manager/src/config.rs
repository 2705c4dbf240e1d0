//! The manager's configuration: one TOML file, overridden by `WEIR_…` variables, then by flags.
//!
//! [`Settings`] is what people write, all optional; [`Config`] is what the manager runs with. The
//! step between them happens once and reports every fault with the name of its field.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use serde::Deserialize;
use weir_proto::id::ManagerId;

use crate::store::Place;

pub(crate) use self::read::read_toml;
pub use self::{
    error::{ConfigError, Fault},
    log::{LogFormat, LogLevel},
    security::{Auth, AuthSettings, Tls, TlsSettings},
    store::StoreSettings,
};

mod error;
mod log;
mod read;
mod resolve;
mod security;
mod store;

/// The embedded store's name for "keep nothing".
pub const IN_MEMORY: &str = ":memory:";

/// A valid configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Unique among the managers; agents show it to operators.
    pub id: ManagerId,
    /// Where the store is: `data_dir`, or `store.url`.
    pub store: Place,
    /// The other managers' gRPC addresses.
    pub peers: Vec<String>,
    /// Policies to begin with; read once at start-up, never written.
    pub policies_file: Option<PathBuf>,
    /// Where gRPC is served: usage, decisions, health, reflection.
    pub grpc: SocketAddr,
    /// Where HTTP is served: admin API, status page, metrics.
    pub http: SocketAddr,
    /// Who takes a role first: the lowest of those that are there.
    pub priority: u32,
    /// Whether a role goes back to a manager of lower priority once that is there again.
    pub fail_back: bool,
    /// How long the share of a silent agent stays reserved for it. Longer keeps the limit exact
    /// through longer partitions; shorter lets the others use a dead agent's share sooner.
    pub silent_hold: Duration,
    /// Most counters kept; what comes beyond is refused and counted. About 200 bytes each.
    pub max_counters: usize,
    /// TLS for both ports; `None`: plain text.
    pub tls: Option<Tls>,
    /// Who may do what; `None`: everybody may do everything.
    pub auth: Option<Auth>,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_level: LogLevel,
}

/// What people write. Every field may be left out.
#[derive(Debug, Clone, Default, Deserialize, Args)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Unique name of this manager [default: the host name]
    #[arg(long, env = "WEIR_ID", value_name = "NAME")]
    pub id: Option<String>,
    /// Folder of the embedded store, or :memory: for none [default: :memory:]
    #[arg(long, env = "WEIR_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// A database in the place of the embedded store.
    #[command(flatten)]
    pub store: StoreSettings,
    /// The other managers, comma separated
    #[arg(long, env = "WEIR_PEERS", value_name = "URLS", value_delimiter = ',')]
    pub peers: Option<Vec<String>>,
    /// Policies to begin with; read once, never written
    #[arg(long, env = "WEIR_POLICIES_FILE", value_name = "FILE")]
    pub policies_file: Option<PathBuf>,
    /// Addresses.
    #[command(flatten)]
    pub listen: Listen,
    /// Listen on other than loopback addresses without TLS and authentication
    #[arg(
        long,
        env = "WEIR_INSECURE_LISTEN",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub insecure_listen: Option<bool>,
    /// Roles.
    #[command(flatten)]
    pub roles: RolesTable,
    /// How long a silent agent's share stays reserved, 1s to 1h [default: 30s]
    #[arg(long, env = "WEIR_SILENT_HOLD", value_name = "DURATION")]
    pub silent_hold: Option<String>,
    /// Most counters kept in memory [default: 1000000]
    #[arg(long, env = "WEIR_MAX_COUNTERS", value_name = "COUNT")]
    pub max_counters: Option<u64>,
    /// Certificates.
    #[command(flatten)]
    pub tls: TlsSettings,
    /// Tokens and roles.
    #[command(flatten)]
    pub auth: AuthSettings,
    /// The log.
    #[command(flatten)]
    pub log: Log,
}

/// The `[listen]` table.
#[derive(Debug, Clone, Default, Deserialize, Args)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// gRPC: usage, decisions, health, reflection [default: 127.0.0.1:9611]
    #[arg(long = "listen-grpc", env = "WEIR_LISTEN_GRPC", value_name = "ADDRESS")]
    pub grpc: Option<String>,
    /// HTTP: admin API, status page, metrics [default: 127.0.0.1:9610]
    #[arg(long = "listen-http", env = "WEIR_LISTEN_HTTP", value_name = "ADDRESS")]
    pub http: Option<String>,
}

/// The `[roles]` table: who keeps the usage records, and who clears away what is old.
#[derive(Debug, Clone, Default, Deserialize, Args)]
#[serde(deny_unknown_fields, default)]
pub struct RolesTable {
    /// Lower goes first when a role is free [default: 100]
    #[arg(long = "roles-priority", env = "WEIR_ROLES_PRIORITY", value_name = "NUMBER")]
    pub priority: Option<u32>,
    /// Take a role back from a manager of higher number [default: false]
    #[arg(
        long = "roles-fail-back",
        env = "WEIR_ROLES_FAIL_BACK",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub fail_back: Option<bool>,
}

/// The `[log]` table.
#[derive(Debug, Clone, Default, Deserialize, Args)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// text or json [default: text]
    #[arg(long = "log-format", env = "WEIR_LOG_FORMAT", value_name = "FORMAT")]
    pub format: Option<String>,
    /// error, warn, info, debug or trace [default: info]
    #[arg(long = "log-level", env = "WEIR_LOG_LEVEL", value_name = "LEVEL")]
    pub level: Option<String>,
}

impl Settings {
    /// Reads a file. Files that it names relatively are looked for beside it.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or has a field that nobody knows.
    pub fn read(file: &Path) -> Result<Settings, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError::Unreadable { file: file.to_owned(), error })?;
        let mut settings: Settings = read_toml(&text)
            .map_err(|message| ConfigError::Malformed { file: file.to_owned(), message })?;
        if let Some(folder) = file.parent() {
            let paths = [&mut settings.policies_file, &mut settings.store.password_file];
            for path in paths.into_iter().flatten() {
                *path = folder.join(&*path);
            }
            if let Some(data_dir) =
                settings.data_dir.as_mut().filter(|dir| !dir.is_empty() && *dir != IN_MEMORY)
            {
                *data_dir = folder.join(&*data_dir).to_string_lossy().into_owned();
            }
            settings.tls.beside(folder);
            settings.auth.beside(folder);
        }
        Ok(settings)
    }

    /// These settings, with those of `over` in their place where it has any.
    #[must_use]
    pub fn overridden_by(self, over: Settings) -> Settings {
        Settings {
            id: over.id.or(self.id),
            data_dir: over.data_dir.or(self.data_dir),
            store: self.store.overridden_by(over.store),
            peers: over.peers.or(self.peers),
            policies_file: over.policies_file.or(self.policies_file),
            listen: Listen {
                grpc: over.listen.grpc.or(self.listen.grpc),
                http: over.listen.http.or(self.listen.http),
            },
            insecure_listen: over.insecure_listen.or(self.insecure_listen),
            roles: RolesTable {
                priority: over.roles.priority.or(self.roles.priority),
                fail_back: over.roles.fail_back.or(self.roles.fail_back),
            },
            silent_hold: over.silent_hold.or(self.silent_hold),
            max_counters: over.max_counters.or(self.max_counters),
            tls: self.tls.overridden_by(over.tls),
            auth: self.auth.overridden_by(over.auth),
            log: Log {
                format: over.log.format.or(self.log.format),
                level: over.log.level.or(self.log.level),
            },
        }
    }
}

impl Config {
    /// Checks the settings and fills in what was left out.
    ///
    /// # Errors
    /// Every fault, each with its field.
    pub fn resolve(settings: Settings) -> Result<Config, ConfigError> {
        resolve::resolve(settings)
    }

    /// The configuration of `file` (if any), overridden by `over`.
    ///
    /// # Errors
    /// See [`Settings::read`] and [`Config::resolve`].
    pub fn load(file: Option<&Path>, over: Settings) -> Result<Config, ConfigError> {
        let written = file.map(Settings::read).transpose()?.unwrap_or_default();
        Config::resolve(written.overridden_by(over)).map_err(|error| error.in_file(file))
    }
}

#[cfg(test)]
mod tests;
