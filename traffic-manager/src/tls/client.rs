//! Dialling another manager: TCP, TLS for `https://`, HTTP/2.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use axum::http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, client::Resumption, pki_types::ServerName, version::TLS13};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use super::{
    Certificate,
    files::{self, Stamp, Watched},
    provider,
};

/// How long name resolution, TCP and TLS may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A silent connection is asked for a sign of life after this, and closed after this much again.
const KEEPALIVE: Duration = Duration::from_millis(500);

/// The files of a client. Fields are named in errors as in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientFiles {
    /// Who signs the certificates of servers.
    pub(crate) ca: PathBuf,
    /// The own certificate and its key, for servers that want one.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

/// The client's side of handshakes, as the files are now: they are looked at for every connection. Cheap to
/// clone: all clones are one.
#[derive(Clone)]
pub(crate) struct TlsClient {
    files: ClientFiles,
    state: Arc<Mutex<(Watched, Arc<ClientConfig>)>>,
}

impl TlsClient {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be used, with the field that names it.
    pub(crate) fn load(files: ClientFiles) -> Result<TlsClient, String> {
        let watched = Watched::new(Stamp::of(paths(&files)));
        let state = Arc::new(Mutex::new((watched, Arc::new(read(&files)?))));
        Ok(TlsClient { files, state })
    }

    /// What the next handshake is made with. New files that cannot be used are told in the log, and
    /// the old ones stay in use.
    fn config(&self) -> Arc<ClientConfig> {
        let stamp = Stamp::of(paths(&self.files));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.0.renew(stamp, || read(&self.files)) {
            Ok(None) => {}
            Ok(Some(config)) => state.1 = Arc::new(config),
            Err(error) => tracing::error!(error, "new TLS files are not used; the old ones are"),
        }
        Arc::clone(&state.1)
    }
}

fn paths(files: &ClientFiles) -> impl Iterator<Item = &PathBuf> {
    std::iter::once(&files.ca).chain(files.identity.iter().flat_map(|(cert, key)| [cert, key]))
}

fn read(files: &ClientFiles) -> Result<ClientConfig, String> {
    let roots = files::authorities("tls.peer_ca", &files.ca)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| format!("tls: {error}"))?
        .with_root_certificates(roots);
    let mut config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key_file)) => {
            let chain = files::certificates("tls.cert", cert)?;
            let key = files::key("tls.key", key_file)?;
            let files = (cert, key_file);
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| files::not_together(files, &error))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// A new connection to the manager at `url` (`http://…` or `https://…`), and the certificate that it
/// showed. The name is resolved anew each time. `tls` is needed for `https`.
///
/// # Errors
/// In words, for the log.
pub(crate) async fn connect(
    url: &Uri,
    tls: Option<Arc<TlsClient>>,
) -> Result<(Channel, Option<Arc<Certificate>>), String> {
    let shown = Arc::new(OnceLock::new());
    let seen = Arc::clone(&shown);
    let endpoint = Endpoint::from(url.clone())
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    let dial = tower::service_fn(move |url: Uri| {
        let (tls, seen) = (tls.clone(), Arc::clone(&seen));
        async move {
            let (stream, certificate) = dial(&url, tls.as_deref()).await?;
            if let Some(certificate) = certificate {
                // Only one connection is made.
                let _ = seen.set(Arc::new(certificate));
            }
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    match timeout(CONNECT_TIMEOUT, endpoint.connect_with_connector(dial)).await {
        Ok(Ok(channel)) => Ok((channel, shown.get().cloned())),
        Ok(Err(error)) => Err(format!("cannot connect: {}", root_cause(&error))),
        Err(_) => Err("cannot connect: timed out".to_owned()),
    }
}

/// A byte stream to a manager.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A byte stream, and the certificate of its other end.
pub(super) async fn dial(
    url: &Uri,
    tls: Option<&TlsClient>,
) -> io::Result<(Box<dyn Wire>, Option<Certificate>)> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why.to_owned());
    let authority = url.authority().ok_or_else(|| invalid("the URL names no host"))?;
    // Brackets of an IPv6 address are for the URL alone.
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.port_u16().ok_or_else(|| invalid("the URL names no port"))?;
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    if url.scheme_str() != Some("https") {
        return Ok((Box::new(stream), None));
    }
    let tls = tls.ok_or_else(|| invalid("https needs an authority to trust (tls.peer_ca)"))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|e| invalid(&e.to_string()))?;
    // Files may be on a disk that hangs: that must not hold up a thread of the runtime.
    let tls = tls.clone();
    let config = tokio::task::spawn_blocking(move || tls.config()).await?;
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.and_then(Certificate::read);
    Ok((Box::new(stream), certificate))
}

/// The innermost reason: the outer ones only say that something failed.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
