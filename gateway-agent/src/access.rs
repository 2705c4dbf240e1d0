//! How an agent shows managers who it is, and whom it trusts: certificates and a token.
//!
//! Files are looked at again for every connection, so that a renewed certificate or token needs no
//! restart. A new certificate that cannot be used leaves the old one in use.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::SystemTime,
};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::TLS13,
};
use tonic::metadata::{Ascii, MetadataValue};

/// Largest file that is read.
const MAX_FILE: u64 = 4 << 20;

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// What was configured; nothing by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccessFiles {
    /// Who signs the certificates of managers; needed for `https`.
    pub(crate) ca: Option<PathBuf>,
    /// The agent's certificate and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) token: Option<TokenSource>,
}

/// Where the token comes from.
#[derive(Clone)]
pub(crate) enum TokenSource {
    /// Itself.
    Text(String),
    /// A file with nothing else in it.
    File(PathBuf),
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenSource::Text(_) => f.write_str("(secret)"),
            TokenSource::File(file) => file.fmt(f),
        }
    }
}

/// The agent's credentials, as its files are now.
#[derive(Debug)]
pub(crate) struct Access {
    files: AccessFiles,
    tls: Option<Mutex<Tls>>,
}

/// What handshakes are made with, and what it was read from.
#[derive(Debug)]
struct Tls {
    config: Arc<ClientConfig>,
    /// The state of the files that were read last.
    stamp: Stamp,
    /// What was wrong with them at the last look.
    told: Option<String>,
}

impl Access {
    /// Reads everything once, so that mistakes are seen at the start.
    ///
    /// # Errors
    /// What cannot be used, in words, with the field that names it.
    pub(crate) fn load(files: AccessFiles) -> Result<Access, String> {
        let tls = match &files.ca {
            Some(ca) => {
                let stamp = Stamp::of(&files);
                let config = Arc::new(read_tls(ca, &files)?);
                Some(Mutex::new(Tls { config, stamp, told: None }))
            }
            None if files.identity.is_some() => {
                return Err("tls.ca is missing: it says which managers to trust".to_owned());
            }
            None => None,
        };
        let access = Access { files, tls };
        access.authorization()?;
        Ok(access)
    }

    /// Whether `https` can be spoken.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// What the next handshake is made with. Files that cannot be read are tried again each time: their
    /// state need not change when the reason passes (rights, the limit of open files, a disk).
    pub(crate) fn tls(&self) -> Option<Arc<ClientConfig>> {
        let (state, ca) = (self.tls.as_ref()?, self.files.ca.as_ref()?);
        let stamp = Stamp::of(&self.files);
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.stamp == stamp {
            state.told = None;
        } else {
            match read_tls(ca, &self.files) {
                Ok(config) => *state = Tls { config: Arc::new(config), stamp, told: None },
                Err(error) if state.told.as_ref() == Some(&error) => {}
                Err(error) => {
                    tracing::error!(error, "the new TLS files are not used; the old ones are");
                    state.told = Some(error);
                }
            }
        }
        Some(Arc::clone(&state.config))
    }

    /// The `authorization` of a call, if there is a token.
    ///
    /// # Errors
    /// The token cannot be used, in words that do not tell it.
    pub(crate) fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>, String> {
        let text = match &self.files.token {
            None => return Ok(None),
            Some(TokenSource::Text(text)) => text.clone(),
            Some(TokenSource::File(file)) => {
                let bytes = read("token_file", file)?;
                String::from_utf8(bytes).map_err(|_| "token_file: not a text".to_owned())?
            }
        };
        let token = text.trim();
        if token.is_empty() || token.chars().any(char::is_whitespace) {
            return Err("the token is empty, or has white space in it".to_owned());
        }
        let value = MetadataValue::try_from(format!("Bearer {token}"));
        let mut value = value.map_err(|_| "the token has characters no token has".to_owned())?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// Tells one state of the files from another.
#[derive(Debug, PartialEq, Eq)]
struct Stamp(Vec<Option<State>>);

/// Inode, length, and when contents and inode were changed.
type State = (u64, u64, Option<SystemTime>, (i64, i64));

impl Stamp {
    fn of(files: &AccessFiles) -> Stamp {
        let identity = files.identity.iter().flat_map(|(cert, key)| [cert, key]);
        let state = |file: &PathBuf| {
            let meta = fs::metadata(file).ok()?;
            let (inode, changed) = inode(&meta);
            Some((inode, meta.len(), meta.modified().ok(), changed))
        };
        Stamp(files.ca.iter().chain(identity).map(state).collect())
    }
}

#[cfg(unix)]
fn inode(meta: &fs::Metadata) -> (u64, (i64, i64)) {
    use std::os::unix::fs::MetadataExt;
    (meta.ino(), (meta.ctime(), meta.ctime_nsec()))
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> (u64, (i64, i64)) {
    (0, (0, 0))
}

fn read(field: &str, file: &Path) -> Result<Vec<u8>, String> {
    let fail = |why: String| format!("{field}: cannot read {}: {why}", file.display());
    let size = fs::metadata(file).map_err(|error| fail(error.to_string()))?.len();
    if size > MAX_FILE {
        return Err(fail(format!("it has {size} bytes, at most {MAX_FILE} are read")));
    }
    fs::read(file).map_err(|error| fail(error.to_string()))
}

fn certificates(field: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(field, file)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(format!("{field}: {} holds no certificate in PEM form", file.display())),
    }
}

fn read_tls(ca: &Path, files: &AccessFiles) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls.ca", ca)? {
        roots.add(certificate).map_err(|error| format!("tls.ca: {}: {error}", ca.display()))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| format!("tls: {error}"))?
        .with_root_certificates(roots);
    let mut config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = certificates("tls.cert", cert)?;
            let key_name = key.display();
            let key = PrivateKeyDer::from_pem_slice(&read("tls.key", key)?)
                .map_err(|_| format!("tls.key: {key_name} holds no private key in PEM form"))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                let why = match error {
                    rustls::Error::InconsistentKeys(_) => {
                        "the key is not that of the certificate".to_owned()
                    }
                    error => error.to_string(),
                };
                format!("tls.cert and tls.key: {} and {key_name}: {why}", cert.display())
            })?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    // The files may change: every connection shows what is in them now.
    config.resumption = Resumption::disabled();
    Ok(config)
}

#[cfg(feature = "sidecar")]
mod validity;

#[cfg(test)]
mod tests;
