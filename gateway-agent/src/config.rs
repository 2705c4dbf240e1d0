//! What an embedded agent must be told, valid by construction.

use std::{collections::BTreeSet, fmt, net::IpAddr, path::PathBuf};

use tonic::transport::Uri;
use weir_proto::{
    id::{AgentId, NameError},
    policy::OnDisconnect,
};

use crate::access::{AccessFiles, TokenSource};

/// Most managers in the list.
pub const MAX_MANAGERS: usize = 16;
/// Counters that an agent keeps unless told otherwise: about 200 MB when full.
pub const DEFAULT_MAX_COUNTERS: usize = 1_000_000;
/// Longest `gateway_group`, in bytes.
const MAX_GROUP: usize = 128;

/// Why a configuration was refused. Nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The agent's name breaks a rule.
    #[error("id {0}")]
    Id(NameError),
    /// An agent without managers would never learn a policy.
    #[error("managers is empty; list at least one, like \"http://tm1:9611\"")]
    NoManagers,
    /// A list that long is a mistake.
    #[error("managers has {0} entries; at most {MAX_MANAGERS} are allowed")]
    TooManyManagers(usize),
    /// Not of the form `http://HOST:PORT` or `https://HOST:PORT`.
    #[error("managers: {url:?} {why}; write it like \"http://tm1:9611\"")]
    Manager {
        /// As given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The same manager twice would count every request twice.
    #[error("managers lists {0} more than once")]
    Repeated(String),
    /// The label travels in every stream's first frame.
    #[error("gateway_group has {0} bytes; at most {MAX_GROUP} are allowed")]
    Group(usize),
    /// No counter, no limit.
    #[error("max_counters is 0; give at least 1")]
    NoCounters,
}

/// Where a manager serves gRPC: `http://HOST:PORT`, or `https://HOST:PORT` with TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct ManagerUrl(Uri);

impl ManagerUrl {
    /// Reads `http://HOST:PORT` or `https://HOST:PORT`.
    ///
    /// # Errors
    /// Other schemes, a missing host or port, user information, a path or a query.
    pub fn parse(text: &str) -> Result<ManagerUrl, ConfigError> {
        let refuse = |why| Err(ConfigError::Manager { url: text.chars().take(200).collect(), why });
        let Ok(uri) = text.parse::<Uri>() else {
            return refuse("is not a URL");
        };
        match uri.scheme_str() {
            Some("http" | "https") => {}
            _ => return refuse("does not begin with http:// or https://"),
        }
        let Some(authority) = uri.authority() else {
            return refuse("names no host");
        };
        if authority.as_str().contains('@') {
            return refuse("contains user information");
        }
        if authority.host().is_empty() {
            return refuse("names no host");
        }
        if authority.port_u16().is_none_or(|port| port == 0) {
            return refuse("names no port");
        }
        if uri.path() != "/" || uri.query().is_some() {
            return refuse("has a path or a query");
        }
        Ok(ManagerUrl(uri))
    }

    /// As a URI.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether the link is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// `host:port`, in lower case, as host names compare.
    pub fn address(&self) -> String {
        self.0.authority().map(|a| a.as_str().to_ascii_lowercase()).unwrap_or_default()
    }
}

impl fmt::Display for ManagerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme_str().unwrap_or("http"), self.address())
    }
}

impl fmt::Debug for ManagerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An agent's configuration. Made by [`Config::new`], changed with the chained setters.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) id: AgentId,
    pub(crate) managers: Vec<ManagerUrl>,
    pub(crate) gateway_group: String,
    pub(crate) fail_back: bool,
    pub(crate) on_disconnect: OnDisconnect,
    pub(crate) max_counters: usize,
    pub(crate) access: AccessFiles,
}

impl Config {
    /// An agent named `id`, unique in the fleet. Usage goes to *all* managers; decisions come from
    /// the first reachable one, in this order.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new<I>(id: &str, managers: I) -> Result<Config, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let id = AgentId::new(id).map_err(ConfigError::Id)?;
        let managers: Vec<ManagerUrl> = managers
            .into_iter()
            .map(|url| ManagerUrl::parse(url.as_ref()))
            .collect::<Result<_, _>>()?;
        if managers.is_empty() {
            return Err(ConfigError::NoManagers);
        }
        if managers.len() > MAX_MANAGERS {
            return Err(ConfigError::TooManyManagers(managers.len()));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = managers.iter().find(|manager| !seen.insert(manager.address())) {
            return Err(ConfigError::Repeated(twice.to_string()));
        }
        Ok(Config {
            id,
            managers,
            gateway_group: String::new(),
            fail_back: true,
            on_disconnect: OnDisconnect::Local,
            max_counters: DEFAULT_MAX_COUNTERS,
            access: AccessFiles::default(),
        })
    }

    /// A label for operators; empty unless set.
    ///
    /// # Errors
    /// [`ConfigError::Group`].
    pub fn gateway_group(mut self, group: impl Into<String>) -> Result<Config, ConfigError> {
        self.gateway_group = group.into();
        match self.gateway_group.len() {
            len if len > MAX_GROUP => Err(ConfigError::Group(len)),
            _ => Ok(self),
        }
    }

    /// Whether to return to an earlier manager of the list once it is healthy again. The default;
    /// without it an agent stays where it is until that manager fails.
    #[must_use]
    pub fn fail_back(mut self, fail_back: bool) -> Config {
        self.fail_back = fail_back;
        self
    }

    /// What to do while no manager is reachable, for policies that do not say it themselves. The
    /// default, `local`, spends what was granted and then this agent's share of each limit.
    #[must_use]
    pub fn on_disconnect(mut self, choice: OnDisconnect) -> Config {
        self.on_disconnect = choice;
        self
    }

    /// How many counters to keep; [`DEFAULT_MAX_COUNTERS`] unless set. Keys beyond share one
    /// counter per limit, so that invented keys cannot exhaust the memory.
    ///
    /// # Errors
    /// [`ConfigError::NoCounters`].
    pub fn max_counters(mut self, most: usize) -> Result<Config, ConfigError> {
        if most == 0 {
            return Err(ConfigError::NoCounters);
        }
        self.max_counters = most;
        Ok(self)
    }

    /// A file with the authorities (PEM) that sign the managers' certificates; needed for `https`
    /// managers. Files are read again when they change.
    #[must_use]
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Config {
        self.access.ca = Some(file.into());
        self
    }

    /// The agent's certificate, with its chain, and the key to it (PEM): for managers that ask for
    /// one.
    #[must_use]
    pub fn certificate(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Config {
        self.access.identity = Some((cert.into(), key.into()));
        self
    }

    /// The token with which the agent introduces itself. It is never printed.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Config {
        self.access.token = Some(TokenSource::Text(token.into()));
        self
    }

    /// A file that holds the token alone; read anew for every connection.
    #[must_use]
    pub fn token_file(mut self, file: impl Into<PathBuf>) -> Config {
        self.access.token = Some(TokenSource::File(file.into()));
        self
    }

    /// Whether a token would travel in plain text to another machine.
    pub(crate) fn exposes_token(&self) -> bool {
        let is_local = |url: &ManagerUrl| {
            let host = url.0.host().unwrap_or_default().trim_matches(['[', ']']);
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        };
        self.access.token.is_some()
            && self.managers.iter().any(|url| !url.is_https() && !is_local(url))
    }

    /// The agent's name.
    pub fn id(&self) -> &AgentId {
        &self.id
    }

    /// The managers, in order of preference.
    pub fn managers(&self) -> &[ManagerUrl] {
        &self.managers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers_are_urls_with_a_port() {
        for good in ["http://tm1:9611", "http://127.0.0.1:9611/", "https://[::1]:9611"] {
            assert!(ManagerUrl::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("tm1:9611", "http://"),
            ("ftp://tm1:9611", "https://"),
            ("http://tm1", "no port"),
            ("http://tm1:0", "no port"),
            ("http://a@tm1:9611", "user information"),
            ("http://tm1:9611/x", "path"),
            ("http://tm1:9611?x", "path"),
            ("http://:9611", "no host"),
            ("", "URL"),
        ] {
            let message = ManagerUrl::parse(bad).unwrap_err().to_string();
            assert!(message.contains(why), "{bad}: {message}");
        }
    }

    #[test]
    fn a_configuration_is_checked_as_a_whole() {
        let none: [&str; 0] = [];
        assert_eq!(Config::new("gw", none).unwrap_err(), ConfigError::NoManagers);
        let twice = Config::new("gw", ["http://a:1", "http://b:1", "http://A:1"]).unwrap_err();
        assert_eq!(twice.to_string(), "managers lists http://a:1 more than once");
        let many = (0..17).map(|n| format!("http://a:{}", n + 1));
        assert_eq!(Config::new("gw", many).unwrap_err(), ConfigError::TooManyManagers(17));
        assert!(matches!(Config::new("g w", ["http://a:1"]), Err(ConfigError::Id(_))));

        let good = Config::new("gw", ["http://a:1", "http://b:1"]).unwrap();
        assert_eq!(good.clone().max_counters(0).unwrap_err(), ConfigError::NoCounters);
        assert!(good.gateway_group("x".repeat(129)).is_err());
    }
}
