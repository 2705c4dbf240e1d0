//! The sidecar's configuration: a TOML file, overridden by the environment, overridden by flags.

use std::{
    fmt, fs,
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread::available_parallelism,
};

use clap::Args;
use serde::Deserialize;

use self::read::read_toml;
use super::workers::MAX_WORKERS;
use crate::{Config, ConfigError, DEFAULT_MAX_COUNTERS, HeaderStyle, OnDisconnect};

mod read;

/// Where the sidecar listens unless told otherwise.
const DEFAULT_GRPC: SocketAddr = SocketAddr::new(LOOPBACK, 8081);
const DEFAULT_HTTP: SocketAddr = SocketAddr::new(LOOPBACK, 8080);
const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// Largest configuration file; more is certainly another file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A valid configuration of the program.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The agent's part.
    pub agent: Config,
    /// Where Envoy's rate limit service listens.
    pub grpc: SocketAddr,
    /// Where the HTTP API listens.
    pub http: SocketAddr,
    /// Threads that answer requests, 1 to 256; the cores unless configured.
    pub workers: NonZeroUsize,
    /// Which headers clients get.
    pub headers: HeaderStyle,
    /// Whether requests may bring limits along, for policies that allow it too.
    pub request_limits: bool,
}

/// Why the program does not start. The operator's configuration is at fault.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No such file, no right to read it, or too large.
    #[error("cannot read {file}: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why not.
        reason: String,
    },
    /// Not TOML, an unknown field, or a wrong type.
    #[error("{file}: {reason}")]
    Malformed {
        /// The file.
        file: String,
        /// Line, column and what is wrong there; without the text that is there, which may be a secret.
        reason: String,
    },
    /// A value breaks a rule.
    #[error("{sources}: {error}")]
    Invalid {
        /// Where the value may come from.
        sources: String,
        /// The rule.
        error: ConfigError,
    },
    /// `on_disconnect` has three values.
    #[error("{sources}: on_disconnect is {value:?}; it may be open, closed or local")]
    OnDisconnect {
        /// Where the value may come from.
        sources: String,
        /// As given.
        value: String,
    },
    /// `headers` has four values.
    #[error("{sources}: headers is {value:?}; it may be ietf, x-ratelimit, both or none")]
    Headers {
        /// Where the value may come from.
        sources: String,
        /// As given.
        value: String,
    },
    /// Listening beyond loopback lets everybody there spend limits.
    #[error(
        "{sources}: listen.{field} is {address}, which others than this machine can reach. The \
         sidecar's ports have no authentication yet: whoever reaches them spends the limits of \
         everybody. If your network keeps strangers out, set insecure_listen = true"
    )]
    Exposed {
        /// Where the value may come from.
        sources: String,
        /// `grpc` or `http`.
        field: &'static str,
        /// As given.
        address: SocketAddr,
    },
    /// Too many or too few threads.
    #[error("{sources}: listen.workers is {value}; it may be 1 to {MAX_WORKERS}, best the cores")]
    WorkerCount {
        /// Where the value may come from.
        sources: String,
        /// As given.
        value: usize,
    },
    /// A certificate without its key, or a key without its certificate.
    #[error("{sources}: tls.cert and tls.key belong together; give both or none")]
    HalfIdentity {
        /// Where the values may come from.
        sources: String,
    },
    /// The two servers cannot share a port.
    #[error("{sources}: listen.grpc and listen.http are both {address}")]
    SamePort {
        /// Where the value may come from.
        sources: String,
        /// As given.
        address: SocketAddr,
    },
}

/// The file, as written. Every field may be absent; unknown ones are errors.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: Option<String>,
    gateway_group: Option<String>,
    managers: Option<Vec<String>>,
    fail_back: Option<bool>,
    on_disconnect: Option<String>,
    max_counters: Option<usize>,
    headers: Option<String>,
    request_limits: Option<bool>,
    insecure_listen: Option<bool>,
    token_file: Option<PathBuf>,
    #[serde(default)]
    tls: Tls,
    #[serde(default)]
    listen: Listen,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl File {
    /// Relative paths are looked for in the file's folder.
    fn beside(mut self, folder: &Path) -> File {
        let Tls { ca, cert, key } = &mut self.tls;
        let files = [ca, cert, key, &mut self.token_file];
        files.into_iter().flatten().for_each(|file| *file = folder.join(&*file));
        self
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listen {
    grpc: Option<SocketAddr>,
    http: Option<SocketAddr>,
    workers: Option<usize>,
}

/// What overrides the file. Each flag has an environment variable, and the flag wins.
#[derive(Debug, Clone, Default, Args)]
pub struct Overrides {
    /// Unique name of this agent [file: id; default: the host name]
    #[arg(long, env = "WEIR_ID")]
    pub id: Option<String>,
    /// Label for operators [file: gateway_group]
    #[arg(long, env = "WEIR_GATEWAY_GROUP")]
    pub gateway_group: Option<String>,
    /// Managers in order of preference, like http://tm1:9611 [file: managers]
    #[arg(long, env = "WEIR_MANAGERS", value_delimiter = ',')]
    pub managers: Option<Vec<String>>,
    /// Return to an earlier manager once it is healthy again [file: fail_back; default: true]
    #[arg(long, env = "WEIR_FAIL_BACK")]
    pub fail_back: Option<bool>,
    /// While no manager is reachable: open, closed or local [file: on_disconnect; default: local]
    #[arg(long, env = "WEIR_ON_DISCONNECT")]
    pub on_disconnect: Option<String>,
    /// Counters to keep at most [file: max_counters]
    #[arg(long, env = "WEIR_MAX_COUNTERS")]
    pub max_counters: Option<usize>,
    /// What clients are told: ietf, x-ratelimit, both or none [file: headers; default: ietf]
    #[arg(long, env = "WEIR_HEADERS")]
    pub headers: Option<String>,
    /// Who signs the managers' certificates, PEM; needed for https managers [file: tls.ca]
    #[arg(long, env = "WEIR_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// This agent's certificate and its chain, PEM [file: tls.cert]
    #[arg(long, env = "WEIR_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM [file: tls.key]
    #[arg(long, env = "WEIR_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// A file with this agent's token; read anew for every connection [file: token_file]
    #[arg(long, env = "WEIR_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// This agent's token itself; other users of the machine can read the flag, not the variable
    #[arg(long, env = "WEIR_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<Secret>,
    /// Let requests bring limits along, for policies that allow it too [file: request_limits; default: false]
    #[arg(long, env = "WEIR_REQUEST_LIMITS", num_args = 0..=1, default_missing_value = "true")]
    pub request_limits: Option<bool>,
    /// Allow to listen beyond loopback without authentication [file: insecure_listen]
    #[arg(long, env = "WEIR_INSECURE_LISTEN", num_args = 0..=1, default_missing_value = "true")]
    pub insecure_listen: Option<bool>,
    /// Address of Envoy's rate limit service [file: listen.grpc; default: 127.0.0.1:8081]
    #[arg(long, env = "WEIR_LISTEN_GRPC")]
    pub listen_grpc: Option<SocketAddr>,
    /// Address of the HTTP API [file: listen.http; default: 127.0.0.1:8080]
    #[arg(long, env = "WEIR_LISTEN_HTTP")]
    pub listen_http: Option<SocketAddr>,
    /// Threads that answer requests [file: listen.workers; default: the cores]
    #[arg(long, env = "WEIR_LISTEN_WORKERS")]
    pub listen_workers: Option<usize>,
}

/// A secret that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Settings {
    /// Reads the file, if one is given, and applies the overrides.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn load(file: Option<&Path>, overrides: Overrides) -> Result<Settings, SettingsError> {
        let Some(path) = file else {
            return merge(File::default(), overrides, "flags and environment");
        };
        let name = path.display().to_string();
        let unreadable = |reason: String| SettingsError::Unreadable { file: name.clone(), reason };
        let size = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if size > MAX_FILE_BYTES {
            return Err(unreadable(format!(
                "it has {size} bytes; at most {MAX_FILE_BYTES} are read"
            )));
        }
        let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        let file: File = read_toml(&text)
            .map_err(|reason| SettingsError::Malformed { file: name.clone(), reason })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        merge(file.beside(folder), overrides, &name)
    }
}

/// Certificates and the token.
fn secure(
    mut agent: Config,
    (tls, token_file): (Tls, Option<PathBuf>),
    flags: &Overrides,
    sources: &str,
) -> Result<Config, SettingsError> {
    if let Some(ca) = flags.tls_ca.clone().or(tls.ca) {
        agent = agent.ca(ca);
    }
    match (flags.tls_cert.clone().or(tls.cert), flags.tls_key.clone().or(tls.key)) {
        (Some(cert), Some(key)) => agent = agent.certificate(cert, key),
        (None, None) => {}
        _ => return Err(SettingsError::HalfIdentity { sources: sources.to_owned() }),
    }
    Ok(match (&flags.token, flags.token_file.clone().or(token_file)) {
        (Some(Secret(token)), _) => agent.token(token),
        (None, Some(file)) => agent.token_file(file),
        (None, None) => agent,
    })
}

fn merge(mut file: File, flags: Overrides, sources: &str) -> Result<Settings, SettingsError> {
    let sources = sources.to_owned();
    let invalid = |error| SettingsError::Invalid { sources: sources.clone(), error };
    let secrets = (std::mem::take(&mut file.tls), file.token_file.take());
    let id = flags.id.clone().or(file.id).unwrap_or_else(host_name);
    let managers = flags.managers.clone().or(file.managers).unwrap_or_default();
    let group = flags.gateway_group.clone().or(file.gateway_group).unwrap_or_default();
    let most = flags.max_counters.or(file.max_counters).unwrap_or(DEFAULT_MAX_COUNTERS);
    let mut agent = Config::new(&id, managers)
        .and_then(|config| config.gateway_group(group))
        .and_then(|config| config.max_counters(most))
        .map_err(invalid)?
        .fail_back(flags.fail_back.or(file.fail_back).unwrap_or(true));
    agent = secure(agent, secrets, &flags, &sources)?;
    if let Some(value) = flags.on_disconnect.or(file.on_disconnect) {
        let Some(choice) = OnDisconnect::parse(&value) else {
            return Err(SettingsError::OnDisconnect { sources, value });
        };
        agent = agent.on_disconnect(choice);
    }
    let workers = match flags.listen_workers.or(file.listen.workers) {
        None => available_parallelism().unwrap_or(NonZeroUsize::MIN).min(MAX_WORKERS),
        Some(value) => NonZeroUsize::new(value)
            .filter(|workers| *workers <= MAX_WORKERS)
            .ok_or_else(|| SettingsError::WorkerCount { sources: sources.clone(), value })?,
    };
    let headers = match flags.headers.or(file.headers) {
        None => HeaderStyle::default(),
        Some(value) => HeaderStyle::parse(&value)
            .ok_or_else(|| SettingsError::Headers { sources: sources.clone(), value })?,
    };
    let settings = Settings {
        agent,
        workers,
        headers,
        request_limits: flags.request_limits.or(file.request_limits).unwrap_or(false),
        grpc: flags.listen_grpc.or(file.listen.grpc).unwrap_or(DEFAULT_GRPC),
        http: flags.listen_http.or(file.listen.http).unwrap_or(DEFAULT_HTTP),
    };
    let exposed = flags.insecure_listen.or(file.insecure_listen).unwrap_or(false);
    check_listeners(&settings, exposed, sources)?;
    Ok(settings)
}

fn check_listeners(
    settings: &Settings,
    may_be_exposed: bool,
    sources: String,
) -> Result<(), SettingsError> {
    let Settings { grpc, http, .. } = *settings;
    if grpc == http && grpc.port() != 0 {
        return Err(SettingsError::SamePort { sources, address: grpc });
    }
    let listeners = [("grpc", grpc), ("http", http)];
    let exposed = listeners.into_iter().find(|(_, address)| !address.ip().is_loopback());
    match exposed {
        Some((field, address)) if !may_be_exposed => {
            Err(SettingsError::Exposed { sources, field, address })
        }
        _ => Ok(()),
    }
}

/// The machine's name; empty, which is refused with a hint, where it has none.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
