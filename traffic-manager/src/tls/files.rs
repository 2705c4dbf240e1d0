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
/// link that is turned, as Kubernetes does with secrets, is followed. Rights that were given or taken change
/// it, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<Option<State>>);

/// Inode, length, and when contents and inode were changed.
type State = (u64, u64, Option<SystemTime>, (i64, i64));

impl Stamp {
    /// The present state of these files. One that is missing has a state, too.
    pub(crate) fn of<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Stamp {
        let state = |file: &PathBuf| {
            let meta = fs::metadata(file).ok()?;
            let (inode, changed) = inode(&meta);
            Some((inode, meta.len(), meta.modified().ok(), changed))
        };
        Stamp(files.into_iter().map(state).collect())
    }
}

/// What is read anew when it changes. What could not be read is tried again at every look, for a file's
/// state need not change when the reason passes: rights, the limit of open files, a disk.
pub(crate) struct Watched {
    /// The state that was read last.
    stamp: Stamp,
    /// What was wrong at the last look.
    told: Option<String>,
}

impl Watched {
    /// What was read; `stamp` was taken before.
    pub(crate) fn new(stamp: Stamp) -> Watched {
        Watched { stamp, told: None }
    }

    /// Reads if the files are in another state, `stamp`, than when they were read last; `None` where that
    /// brought nothing new.
    ///
    /// # Errors
    /// What `read` says, once as long as it says the same.
    pub(crate) fn renew<T>(
        &mut self,
        stamp: Stamp,
        read: impl FnOnce() -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        if self.stamp == stamp {
            self.told = None;
            return Ok(None);
        }
        match read() {
            Ok(new) => {
                *self = Watched::new(stamp);
                Ok(Some(new))
            }
            Err(error) if self.told.as_ref() == Some(&error) => Ok(None),
            Err(error) => {
                self.told = Some(error.clone());
                Err(error)
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_is_tried_again_though_the_file_stays_as_it_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = [file.path().to_owned()];
        let mut watched = Watched::new(Stamp::of(&path));
        assert_eq!(watched.renew(Stamp::of(&path), || Ok(1)), Ok(None), "it is as it was");
        fs::write(file.path(), "new").unwrap();
        let now = Stamp::of(&path);
        let busy = || Err::<i32, _>("too many open files".to_owned());
        assert!(watched.renew(now.clone(), busy).is_err());
        assert_eq!(watched.renew(now.clone(), busy), Ok(None), "told once");
        assert_eq!(watched.renew(now.clone(), || Ok(2)), Ok(Some(2)), "it can be read again");
        assert_eq!(watched.renew(now, || Ok(3)), Ok(None));
    }

    #[cfg(unix)]
    #[test]
    fn rights_that_change_are_noticed() {
        use std::os::unix::fs::PermissionsExt;

        let file = tempfile::NamedTempFile::new().unwrap();
        let path = [file.path().to_owned()];
        let before = Stamp::of(&path);
        // The file's clock has ticks: it may show the former time for a moment.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while Stamp::of(&path) == before {
            assert!(std::time::Instant::now() < end, "the change is not seen");
            fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        }
    }
}
