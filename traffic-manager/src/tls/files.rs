//! Certificates and keys from PEM files, and how a change of a file is noticed.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Largest file; a bundle of every public authority is smaller.
const MAX_FILE: u64 = 4 << 20;

/// What tells one state of a file from another: a new file under the name is another inode, and a
/// link that is turned, as Kubernetes does with secrets, is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<Option<(u64, u64, Option<SystemTime>)>>);

impl Stamp {
    /// The present state of these files. One that is missing has a state, too.
    pub(crate) fn of<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Stamp {
        let state = |file: &PathBuf| {
            let meta = fs::metadata(file).ok()?;
            Some((inode(&meta), meta.len(), meta.modified().ok()))
        };
        Stamp(files.into_iter().map(state).collect())
    }
}

#[cfg(unix)]
fn inode(meta: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}

/// A small text file; the error names `field` and the file, never what is in it.
pub(crate) fn read(field: &str, file: &Path) -> Result<Vec<u8>, String> {
    let fail = |why: String| format!("{field}: cannot read {}: {why}", file.display());
    let size = fs::metadata(file).map_err(|error| fail(error.to_string()))?.len();
    if size > MAX_FILE {
        return Err(fail(format!("it has {size} bytes, at most {MAX_FILE} are read")));
    }
    fs::read(file).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => fail("this user may not read it".to_owned()),
        _ => fail(error.to_string()),
    })
}

/// The certificates of a file, in its order; at least one.
pub(crate) fn certificates(
    field: &str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(field, file)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(format!("{field}: {} holds no certificate in PEM form", file.display())),
        Err(error) => Err(format!("{field}: {} is not PEM: {error}", file.display())),
    }
}

/// The private key of a file.
pub(crate) fn key(field: &str, file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = read(field, file)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        format!(
            "{field}: {} holds no private key in PEM form (PKCS#8, PKCS#1 or SEC1, not encrypted)",
            file.display()
        )
    })
}

/// Why a certificate and a key are of no use to each other.
pub(crate) fn not_together((cert, key): (&PathBuf, &PathBuf), error: &rustls::Error) -> String {
    let why = match error {
        rustls::Error::InconsistentKeys(_) => "the key is not that of the certificate".to_owned(),
        error => error.to_string(),
    };
    format!(
        "tls.cert and tls.key: {} and {} do not serve together: {why}",
        cert.display(),
        key.display()
    )
}

/// The authorities of a file.
pub(crate) fn authorities(field: &str, file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(field, file)? {
        roots.add(certificate).map_err(|error| format!("{field}: {}: {error}", file.display()))?;
    }
    Ok(roots)
}
