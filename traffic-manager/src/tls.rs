//! TLS 1.3 on both ports and on the links that this manager dials.
//!
//! One crypto backend (aws-lc-rs), one version of the protocol, no resumed sessions: every connection
//! proves anew that its certificate is valid. Files are read again when they change, without a
//! restart; a bad new file keeps what was there.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

pub(crate) use self::{
    certificate::Certificate,
    client::{ClientFiles, TlsClient, connect},
    files::{Stamp, Watched},
    server::TlsServer,
};

mod certificate;
mod client;
pub(crate) mod files;
mod server;

/// What handshakes are made with.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// What handshakes are made with, for other TLS libraries of the process.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// Which of the manager's ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// Agents and managers.
    Grpc,
    /// The admin API, pages, metrics.
    Http,
}

#[cfg(test)]
mod tests;
