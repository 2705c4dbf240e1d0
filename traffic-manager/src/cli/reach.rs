//! Why a manager does not answer, in words that say what to do.

use std::{io, time::Duration};

use rustls::{AlertDescription as Alert, CertificateError as Bad, Error as Tls};
use ureq::{Agent, tls::TlsConfig};

use crate::tls;

/// How long the other scheme is tried, once the named one has failed.
const PROBE: Duration = Duration::from_secs(3);
const RUNNING: &str = "is the manager running? (--server or WEIR_SERVER names another)";

/// What to tell of an error of the connection to `server`; `within` is how long was waited.
pub(super) fn why(server: &str, error: &ureq::Error, within: Duration) -> String {
    if let Some(fault) = tls_fault(error)
        && let Some(told) = refused_certificate(server, fault)
    {
        return told;
    }
    let reason = match error {
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return format!("cannot reach {server}: connection refused; {RUNNING}");
        }
        ureq::Error::Timeout(_) => {
            return format!(
                "cannot reach {server}: no answer within {} s; {RUNNING}",
                within.as_secs()
            );
        }
        ureq::Error::HostNotFound => {
            return format!(
                "cannot reach {server}: no such host (--server or WEIR_SERVER names another)"
            );
        }
        ureq::Error::ConnectionFailed => "connection failed".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    match other_scheme(server) {
        Some(other) if other.starts_with("https") => {
            format!("the manager at {server} speaks TLS; use {other}, and --ca FILE")
        }
        Some(other) => format!("the manager at {server} speaks no TLS; use {other}"),
        None => format!("cannot reach {server}: {reason}; {RUNNING}"),
    }
}

/// What TLS says is wrong.
fn tls_fault(error: &ureq::Error) -> Option<&Tls> {
    match error {
        ureq::Error::Rustls(fault) => Some(fault),
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// One side does not accept the other's certificate.
fn refused_certificate(server: &str, fault: &Tls) -> Option<String> {
    Some(match fault {
        Tls::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => format!(
            "the certificate of {server} is not signed by an authority in the file of --ca (WEIR_CA); name \
             the authority of the managers"
        ),
        Tls::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            format!(
                "the certificate of {server} is for another host; use a name that is in it, or a certificate \
             with this one: {fault}"
            )
        }
        Tls::InvalidCertificate(
            Bad::Expired
            | Bad::ExpiredContext { .. }
            | Bad::NotValidYet
            | Bad::NotValidYetContext { .. },
        ) => format!("the certificate of {server} is not valid at this time; renew it ({fault})"),
        Tls::InvalidCertificate(_) => format!("the certificate of {server} is refused: {fault}"),
        Tls::AlertReceived(Alert::CertificateRequired) => format!(
            "{server} wants a client certificate; show one with --client-cert and --client-key"
        ),
        Tls::AlertReceived(
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::CertificateExpired
            | Alert::DecryptError
            | Alert::AccessDenied,
        ) => format!("{server} does not accept the certificate of --client-cert ({fault})"),
        _ => return None,
    })
}

/// The same address with the other scheme, if something there answers to that. Nothing is shown to it: no
/// token, no certificate.
fn other_scheme(server: &str) -> Option<String> {
    let (other, encrypted) = match server.split_once("://")? {
        ("http", rest) => (format!("https://{rest}"), true),
        ("https", rest) => (format!("http://{rest}"), false),
        _ => return None,
    };
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(tls::provider())
        // It is only asked whether it speaks TLS.
        .disable_verification(true)
        .build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(PROBE))
        .proxy(None)
        .tls_config(tls)
        .build();
    let answers = match Agent::new_with_config(config).get(format!("{other}/healthz")).call() {
        Ok(_) => true,
        // It speaks TLS to say no.
        Err(error) => encrypted && matches!(tls_fault(&error), Some(Tls::AlertReceived(_))),
    };
    answers.then_some(other)
}
