//! TLS to the database, as the `sslmode` of its URL says.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::tls::{files, provider};

const MODES: &str = "write disable, require (encrypted, whoever answers) or verify-full (encrypted, and the \
                     server's certificate is checked against sslrootcert)";

/// What protects the connection.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Protection {
    /// Nothing.
    None,
    /// It is encrypted; anybody may be the server.
    Encrypted,
    /// It is encrypted, and the server has a certificate of these authorities for its name.
    Verified(PathBuf),
}

impl Protection {
    /// Takes `sslmode` and `sslrootcert` out of a URL, which keeps its other options.
    ///
    /// # Errors
    /// What is wrong with them, phrased to follow the name of the field.
    pub(super) fn taken_from(url: &str) -> Result<(Protection, String), String> {
        let Some((base, options)) = url.split_once('?') else {
            return Ok((Protection::None, url.to_owned()));
        };
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        for option in options.split('&') {
            match option.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => roots = Some(value),
                Some((name @ ("sslcert" | "sslkey" | "sslpassword" | "sslcrl"), _)) => {
                    return Err(format!("has {name}, which is not supported; use a password"));
                }
                _ => rest.push(option),
            }
        }
        let protection = match (mode, roots) {
            (None | Some("disable"), None) => Protection::None,
            (Some("require"), None) => Protection::Encrypted,
            (Some("verify-full"), Some(file)) => Protection::Verified(authorities(file)?),
            (Some("verify-full"), None) => {
                return Err("has sslmode=verify-full, which needs sslrootcert: a file with the authorities \
                            (PEM) that sign the server's certificate"
                    .to_owned());
            }
            (_, Some(_)) => {
                return Err("has sslrootcert, which only sslmode=verify-full looks at".to_owned());
            }
            (Some(mode), None) => {
                return Err(format!("has sslmode={mode}, which is not supported; {MODES}"));
            }
        };
        let url =
            if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        Ok((protection, url))
    }

    /// How to connect; `None` in plain text. Files are read anew.
    ///
    /// # Errors
    /// The authorities cannot be used, in words.
    pub(super) fn connector(&self) -> Result<Option<MakeRustlsConnect>, String> {
        let builder = || {
            let builder = ClientConfig::builder_with_provider(provider());
            builder.with_protocol_versions(&[&TLS13]).map_err(|error| error.to_string())
        };
        let mut config = match self {
            Protection::None => return Ok(None),
            Protection::Encrypted => {
                let anybody = Arc::new(Anybody(provider()));
                builder()?
                    .dangerous()
                    .with_custom_certificate_verifier(anybody)
                    .with_no_client_auth()
            }
            Protection::Verified(file) => builder()?
                .with_root_certificates(files::authorities("sslrootcert", file)?)
                .with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(Some(MakeRustlsConnect::new(config)))
    }
}

/// The file of `sslrootcert`, which can be used now.
fn authorities(text: &str) -> Result<PathBuf, String> {
    let file = Path::new(text);
    if !file.is_absolute() || text.contains('%') {
        return Err(format!(
            "has sslrootcert={text}; write the whole path, beginning with / and without %"
        ));
    }
    match files::authorities("sslrootcert", file) {
        Ok(_) => Ok(file.to_owned()),
        Err(why) => Err(format!("cannot be used: {why}")),
    }
}

/// Takes any certificate for good, as `sslmode=require` says; its owner must still have the key to it.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(options: &str) -> Result<(Protection, String), String> {
        Protection::taken_from(&format!("postgres://weir@db/limits{options}"))
    }

    #[test]
    fn modes_are_taken_out_of_the_url_and_the_rest_stays() {
        for (options, encrypted, rest) in [
            ("", false, ""),
            ("?sslmode=disable", false, ""),
            ("?sslmode=require", true, ""),
            ("?connect_timeout=3&sslmode=require", true, "?connect_timeout=3"),
        ] {
            let (protection, url) = taken(options).unwrap();
            assert_eq!(protection == Protection::Encrypted, encrypted, "{options}");
            assert_eq!(url, format!("postgres://weir@db/limits{rest}"));
        }
    }

    #[test]
    fn what_would_not_protect_as_it_says_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let empty = format!("?sslmode=verify-full&sslrootcert={}", file.path().display());
        for (options, part) in [
            ("?sslmode=prefer", "sslmode=prefer"),
            ("?sslmode=allow", "verify-full"),
            ("?sslmode=verify-ca", "not supported"),
            ("?sslmode=verify-full", "sslrootcert"),
            ("?sslmode=require&sslrootcert=/ca.pem", "only sslmode=verify-full"),
            ("?sslmode=verify-full&sslrootcert=ca.pem", "whole path"),
            ("?sslmode=verify-full&sslrootcert=/no/such/file", "/no/such/file"),
            ("?sslcert=/a.pem", "sslcert"),
            (&empty, "no certificate"),
        ] {
            let Err(error) = taken(options) else { panic!("{options}") };
            assert!(error.contains(part), "{options}: {error}");
        }
    }
}
