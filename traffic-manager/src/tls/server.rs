//! The manager's side of handshakes, as the files are now.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use rustls::{
    RootCertStore, ServerConfig,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    version::TLS13,
};
use tokio_rustls::TlsAcceptor;

use super::{
    Certificate, Port,
    files::{self, Stamp, Watched},
    provider,
};
use crate::config::Tls;

/// Accepts TLS connections for both ports.
pub(crate) struct TlsServer {
    files: Tls,
    current: RwLock<Arc<Loaded>>,
    watched: Mutex<Watched>,
}

struct Loaded {
    grpc: TlsAcceptor,
    http: TlsAcceptor,
    not_after: Option<u64>,
}

impl TlsServer {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be used, with the field that names it.
    pub(crate) fn load(files: Tls) -> Result<TlsServer, String> {
        let stamp = Stamp::of(paths(&files));
        let loaded = RwLock::new(Arc::new(Loaded::read(&files)?));
        Ok(TlsServer { files, current: loaded, watched: Mutex::new(Watched::new(stamp)) })
    }

    /// What the next handshake of that port is made with.
    pub(crate) fn acceptor(&self, port: Port) -> TlsAcceptor {
        let current = self.current();
        match port {
            Port::Grpc => current.grpc.clone(),
            Port::Http => current.http.clone(),
        }
    }

    /// The end of the manager's own certificate, in seconds since the Unix epoch.
    pub(crate) fn not_after(&self) -> Option<u64> {
        self.current().not_after
    }

    /// Reads the files again if they changed; tells whether they did.
    ///
    /// # Errors
    /// The new files cannot be used: the old ones stay in use. They are tried again each time, and the same
    /// error is told once.
    pub(crate) fn refresh(&self) -> Result<bool, String> {
        let stamp = Stamp::of(paths(&self.files));
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(loaded) = watched.renew(stamp, || Loaded::read(&self.files))? else {
            return Ok(false);
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        Ok(true)
    }

    fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn paths(files: &Tls) -> impl Iterator<Item = &PathBuf> {
    [&files.cert, &files.key].into_iter().chain(&files.client_ca)
}

impl Loaded {
    fn read(files: &Tls) -> Result<Loaded, String> {
        let roots = match &files.client_ca {
            Some(file) => Some(Arc::new(files::authorities("tls.client_ca", file)?)),
            None => None,
        };
        let grpc = config(files, roots.clone(), files.require_client_cert, b"h2")?;
        // A browser or Prometheus may come with a token instead.
        let http = config(files, roots, false, b"http/1.1")?;
        let chain = files::certificates("tls.cert", &files.cert)?;
        let not_after = chain.first().and_then(Certificate::read).map(|own| own.not_after);
        let acceptor = |config: ServerConfig| TlsAcceptor::from(Arc::new(config));
        Ok(Loaded { grpc: acceptor(grpc), http: acceptor(http), not_after })
    }
}

fn config(
    files: &Tls,
    roots: Option<Arc<RootCertStore>>,
    client_must: bool,
    protocol: &[u8],
) -> Result<ServerConfig, String> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| format!("tls: {error}"))?;
    let builder = match roots {
        Some(roots) => builder.with_client_cert_verifier(verifier(roots, client_must)?),
        None => builder.with_no_client_auth(),
    };
    let chain = files::certificates("tls.cert", &files.cert)?;
    let key = files::key("tls.key", &files.key)?;
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| files::not_together((&files.cert, &files.key), &error))?;
    config.alpn_protocols = vec![protocol.to_vec()];
    // A resumed session would skip the check of a certificate that has expired since.
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn verifier(
    roots: Arc<RootCertStore>,
    client_must: bool,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = if client_must { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| format!("tls.client_ca: {error}"))
}
