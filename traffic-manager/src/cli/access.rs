//! What the client shows to a manager, and whom it trusts.

use std::fs;

use ureq::{
    http::{HeaderValue, Uri},
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
};

use super::Credentials;
use crate::{auth::token::Secret, tls};

/// The `Authorization` header, if there is a token.
///
/// # Errors
/// The token cannot be used, in words that do not tell it.
pub(super) fn authorization(credentials: &Credentials) -> Result<Option<HeaderValue>, String> {
    let token = match (&credentials.token, &credentials.token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(file)) => {
            let text = fs::read_to_string(file)
                .map_err(|error| format!("--token-file {}: {error}", file.display()))?;
            Secret::new(&text)
        }
        (None, None) => return Ok(None),
    };
    let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
    let mut value = value.map_err(|_| "the token has characters that no token has".to_owned())?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// How TLS is spoken with `server`.
///
/// # Errors
/// A file cannot be used, or an `https` server has no authority to be judged by.
pub(super) fn tls(credentials: &Credentials, server: &str) -> Result<TlsConfig, String> {
    let roots = match &credentials.ca {
        Some(file) => tls::files::certificates("--ca", file)?,
        None if server.starts_with("https://") => {
            return Err(format!(
                "{server} needs --ca FILE (or WEIR_CA): who signs the managers' certificates"
            ));
        }
        None => Vec::new(),
    };
    let roots: Vec<_> = roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let own = match (&credentials.client_cert, &credentials.client_key) {
        (Some(cert), Some(key)) => {
            let chain = tls::files::certificates("--client-cert", cert)?;
            let chain: Vec<_> =
                chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
            let pem = tls::files::read("--client-key", key)?;
            let key = PrivateKey::from_pem(&pem).map_err(|_| {
                format!("--client-key: {} holds no private key in PEM form", key.display())
            })?;
            Some(ClientCert::new_with_certs(&chain, key))
        }
        _ => None,
    };
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(tls::provider())
        .root_certs(RootCerts::new_with_certs(&roots))
        .client_cert(own)
        .build())
}

/// A token over plain text is everybody's on the way, unless there is no way.
#[expect(clippy::print_stderr, reason = "a command answers on the terminal")]
pub(super) fn warn_of_plain_text(server: &str) {
    let Ok(uri) = server.parse::<Uri>() else { return };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let local = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if uri.scheme_str() == Some("http") && !local {
        eprintln!("traffic-manager: warning: the token goes to {server} in plain text");
    }
}
