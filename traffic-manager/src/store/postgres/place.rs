//! Which database, and which schema of it.

use std::{fmt, time::Duration};

use tokio_postgres::config::{Config, Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::Protection;

/// A database and a schema. What it prints never has the password in it.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresPlace {
    config: Config,
    protection: Protection,
    schema: String,
}

impl PostgresPlace {
    /// The schema if none is named.
    pub const SCHEMA: &str = "weir";

    /// Reads a URL, `postgres://user@host:port/database?option=value`. Without `sslmode` nothing is
    /// encrypted.
    ///
    /// # Errors
    /// What is wrong with it, phrased to follow the name of the field; without the URL itself, which
    /// may hold a password.
    pub fn new(url: &str, password: Option<&str>, schema: String) -> Result<Self, String> {
        const LIKE: &str = "write postgres://USER@HOST/DATABASE";
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(format!("does not begin with postgres://; {LIKE}"));
        }
        let (protection, url) = Protection::taken_from(url)?;
        let mut config: Config =
            url.parse().map_err(|_| format!("is not the URL of a database; {LIKE}"))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(format!("names no host; {LIKE}"));
        }
        if config.get_user().is_none() {
            return Err(format!("names no user; {LIKE}"));
        }
        if let Some(password) = password {
            config.password(password);
        }
        let plain = protection == Protection::None;
        let mode = if plain { SslMode::Disable } else { SslMode::Require };
        config.application_name("weir traffic-manager").ssl_mode(mode);
        // A server that vanished is noticed, on its side too: else it would keep the rows locked.
        config.tcp_user_timeout(Duration::from_secs(10)).keepalives_idle(Duration::from_secs(10));
        Ok(PostgresPlace { config, protection, schema })
    }

    /// Whether a schema may have this name; it needs no quotes then.
    #[must_use]
    pub fn is_schema(name: &str) -> bool {
        name.len() <= 63
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// How to connect with TLS; `None` in plain text.
    pub(super) fn connector(&self) -> Result<Option<MakeRustlsConnect>, String> {
        self.protection.connector()
    }

    pub(super) fn schema(&self) -> &str {
        &self.schema
    }
}

impl fmt::Display for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => {
                self.config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default()
            }
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let user = self.config.get_user().unwrap_or_default();
        let database = self.config.get_dbname().unwrap_or(user);
        write!(f, "postgres://{user}@{host}:{port}/{database} (schema {})", self.schema)
    }
}

impl fmt::Debug for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Result<PostgresPlace, String> {
        PostgresPlace::new(url, Some("from-file"), PostgresPlace::SCHEMA.to_owned())
    }

    #[test]
    fn a_password_is_never_shown() {
        let place = place("postgres://weir:sesame@db.example:5433/limits").unwrap();
        let shown = format!("{place} {place:?}");
        assert!(shown.contains("postgres://weir@db.example:5433/limits"), "{shown}");
        assert!(!shown.contains("sesame") && !shown.contains("from-file"), "{shown}");
    }

    #[test]
    fn a_url_that_cannot_work_is_refused_without_repeating_it() {
        for url in [
            "mysql://weir:sesame@db/limits",
            "postgres://weir:sesame@db:port/limits",
            "postgres://weir:sesame@/limits",
            "postgres://db/limits",
            "postgres://weir:sesame@db/limits?sslmode=verify-full",
            "postgres://weir:sesame@db/limits?sslmode=prefer",
            "postgres://weir:sesame@db/limits?no_such_option=1",
        ] {
            let error = place(url).unwrap_err();
            assert!(!error.contains("sesame"), "{error}");
        }
    }

    #[test]
    fn a_schema_needs_no_quotes() {
        for good in ["weir", "w2_x"] {
            assert!(PostgresPlace::is_schema(good), "{good}");
        }
        for bad in ["", "Weir", "2x", "a b", "a\"b", "a;b", &"x".repeat(64)] {
            assert!(!PostgresPlace::is_schema(bad), "{bad}");
        }
    }
}
