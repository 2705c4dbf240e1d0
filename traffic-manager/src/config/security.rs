//! `[tls]` and `[auth]`: what people write, and what becomes of it.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use super::Fault;
use crate::auth::{CertificateEntry, TokenEntry};

/// TLS for both ports, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The manager's certificate, with those between it and the authority (PEM).
    pub cert: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// Who signs the certificates of agents, managers and operators; `None`: no client has one.
    pub client_ca: Option<PathBuf>,
    /// Whether clients of the gRPC port must have one.
    pub require_client_cert: bool,
    /// Who signs the certificates of the managers in `peers`.
    pub peer_ca: Option<PathBuf>,
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Tokens that the configuration itself lists.
    pub tokens: Vec<TokenEntry>,
    /// A file with more of them, read anew when it changes.
    pub tokens_file: Option<PathBuf>,
    /// Roles of client certificates.
    pub certificates: Vec<CertificateEntry>,
    /// Whether `/metrics` needs no token.
    pub metrics_open: bool,
    /// The token that this manager shows to the others.
    pub peer_token_file: Option<PathBuf>,
}

/// The `[tls]` table.
#[derive(Debug, Clone, Default, Deserialize, Args)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// The manager's certificate and its chain, PEM; with it both ports speak TLS
    #[arg(long = "tls-cert", env = "WEIR_TLS_CERT", value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long = "tls-key", env = "WEIR_TLS_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Who signs the certificates of agents and managers, PEM
    #[arg(long = "tls-client-ca", env = "WEIR_TLS_CLIENT_CA", value_name = "FILE")]
    pub client_ca: Option<PathBuf>,
    /// Whether agents and managers must have a certificate [default: true if there is a client CA]
    #[arg(
        long = "tls-require-client-cert",
        env = "WEIR_TLS_REQUIRE_CLIENT_CERT",
        value_name = "BOOL"
    )]
    pub require_client_cert: Option<bool>,
    /// Who signs the certificates of the managers in peers, PEM [default: the client CA]
    #[arg(long = "tls-peer-ca", env = "WEIR_TLS_PEER_CA", value_name = "FILE")]
    pub peer_ca: Option<PathBuf>,
}

/// The `[auth]` table.
#[derive(Debug, Clone, Default, Deserialize, Args)]
#[serde(deny_unknown_fields, default)]
pub struct AuthSettings {
    /// The `[[auth.tokens]]` tables.
    #[arg(skip)]
    pub tokens: Option<Vec<TokenEntry>>,
    /// Tokens that are accepted, as `token new` prints them; read anew when it changes
    #[arg(long = "auth-tokens-file", env = "WEIR_AUTH_TOKENS_FILE", value_name = "FILE")]
    pub tokens_file: Option<PathBuf>,
    /// The `[[auth.certificates]]` tables.
    #[arg(skip)]
    pub certificates: Option<Vec<CertificateEntry>>,
    /// Whether /metrics needs no token [default: false]
    #[arg(long = "auth-metrics-open", env = "WEIR_AUTH_METRICS_OPEN", value_name = "BOOL")]
    pub metrics_open: Option<bool>,
    /// A file with the token that this manager shows to the others
    #[arg(long = "auth-peer-token-file", env = "WEIR_AUTH_PEER_TOKEN_FILE", value_name = "FILE")]
    pub peer_token_file: Option<PathBuf>,
}

impl TlsSettings {
    pub(super) fn overridden_by(self, over: TlsSettings) -> TlsSettings {
        TlsSettings {
            cert: over.cert.or(self.cert),
            key: over.key.or(self.key),
            client_ca: over.client_ca.or(self.client_ca),
            require_client_cert: over.require_client_cert.or(self.require_client_cert),
            peer_ca: over.peer_ca.or(self.peer_ca),
        }
    }

    /// Relative paths are looked for in the configuration file's folder.
    pub(super) fn beside(&mut self, folder: &Path) {
        let files = [&mut self.cert, &mut self.key, &mut self.client_ca, &mut self.peer_ca];
        files.into_iter().flatten().for_each(|file| *file = folder.join(&*file));
    }
}

impl AuthSettings {
    pub(super) fn overridden_by(self, over: AuthSettings) -> AuthSettings {
        AuthSettings {
            tokens: over.tokens.or(self.tokens),
            tokens_file: over.tokens_file.or(self.tokens_file),
            certificates: over.certificates.or(self.certificates),
            metrics_open: over.metrics_open.or(self.metrics_open),
            peer_token_file: over.peer_token_file.or(self.peer_token_file),
        }
    }

    /// Relative paths are looked for in the configuration file's folder.
    pub(super) fn beside(&mut self, folder: &Path) {
        let files = [&mut self.tokens_file, &mut self.peer_token_file];
        files.into_iter().flatten().for_each(|file| *file = folder.join(&*file));
    }
}

/// `None` without TLS.
pub(super) fn tls(settings: TlsSettings, faults: &mut Vec<Fault>) -> Option<Tls> {
    let mut refuse = |field, message: &str| faults.push(Fault { field, message: message.into() });
    let TlsSettings { cert, key, client_ca, require_client_cert, peer_ca } = settings;
    let (cert, key) = match (cert, key) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) => {
            if client_ca.is_some() || require_client_cert == Some(true) || peer_ca.is_some() {
                refuse("tls.cert", "is missing: the rest of [tls] needs it, and tls.key");
            }
            return None;
        }
        (Some(_), None) => {
            refuse("tls.key", "is missing: the certificate of tls.cert serves only with its key");
            return None;
        }
        (None, Some(_)) => {
            refuse("tls.cert", "is missing: the key of tls.key serves only with its certificate");
            return None;
        }
    };
    if require_client_cert == Some(true) && client_ca.is_none() {
        refuse("tls.require_client_cert", "= true needs tls.client_ca: who signs them");
    }
    Some(Tls {
        require_client_cert: require_client_cert.unwrap_or(client_ca.is_some()),
        peer_ca: peer_ca.or_else(|| client_ca.clone()),
        cert,
        key,
        client_ca,
    })
}

/// `None` when nobody is asked who they are.
pub(super) fn auth(
    settings: AuthSettings,
    tls: Option<&Tls>,
    faults: &mut Vec<Fault>,
) -> Option<Auth> {
    let auth = Auth {
        tokens: settings.tokens.unwrap_or_default(),
        tokens_file: settings.tokens_file,
        certificates: settings.certificates.unwrap_or_default(),
        metrics_open: settings.metrics_open.unwrap_or(false),
        peer_token_file: settings.peer_token_file,
    };
    if !auth.certificates.is_empty() && tls.is_none_or(|tls| tls.client_ca.is_none()) {
        faults.push(Fault {
            field: "auth.certificates",
            message: "need tls.client_ca: without it no client has a certificate".to_owned(),
        });
    }
    let asks =
        !auth.tokens.is_empty() || auth.tokens_file.is_some() || !auth.certificates.is_empty();
    if !asks && (auth.metrics_open || auth.peer_token_file.is_some()) {
        faults.push(Fault {
            field: "auth",
            message: "accepts nobody: give it tokens, a tokens_file or certificates".to_owned(),
        });
    }
    asks.then_some(auth)
}
