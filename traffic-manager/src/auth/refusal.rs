//! Why a caller is refused, and what it is told.

use std::{fmt, net::SocketAddr};

use crate::tls::Port;

/// The reason; the label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Neither a token nor a certificate.
    NoCredentials,
    /// A token that nobody has, or not a bearer token.
    UnknownToken,
    /// A token after its end.
    ExpiredToken,
    /// A certificate of our authority that has no role.
    UnknownCertificate,
    /// Known, but not allowed to do this.
    Role,
    /// It speaks for an agent or a manager that its credentials do not name.
    Identity,
    /// A handshake without the certificate that is asked for.
    NoCertificate,
    /// A handshake with a certificate of another authority.
    UntrustedCertificate,
    /// A handshake with a certificate before or after its time.
    ExpiredCertificate,
    /// No TLS, no common cipher, too slow, or the peer does not trust us.
    Handshake,
}

impl Why {
    /// Every reason, in the order of [`Why::index`].
    pub(crate) const ALL: [Why; 10] = [
        Why::NoCredentials,
        Why::UnknownToken,
        Why::ExpiredToken,
        Why::UnknownCertificate,
        Why::Role,
        Why::Identity,
        Why::NoCertificate,
        Why::UntrustedCertificate,
        Why::ExpiredCertificate,
        Why::Handshake,
    ];

    /// Its place in [`Why::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// The metric's label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Why::NoCredentials => "no_credentials",
            Why::UnknownToken => "unknown_token",
            Why::ExpiredToken => "expired_token",
            Why::UnknownCertificate => "unknown_certificate",
            Why::Role => "role",
            Why::Identity => "identity",
            Why::NoCertificate => "no_certificate",
            Why::UntrustedCertificate => "untrusted_certificate",
            Why::ExpiredCertificate => "expired_certificate",
            Why::Handshake => "handshake",
        }
    }

    /// What a TLS handshake failed of.
    pub(crate) fn of_handshake(error: &rustls::Error) -> Why {
        use rustls::CertificateError as Fault;
        match error {
            rustls::Error::NoCertificatesPresented => Why::NoCertificate,
            rustls::Error::InvalidCertificate(
                Fault::Expired
                | Fault::ExpiredContext { .. }
                | Fault::NotValidYet
                | Fault::NotValidYetContext { .. },
            ) => Why::ExpiredCertificate,
            rustls::Error::InvalidCertificate(_) => Why::UntrustedCertificate,
            _ => Why::Handshake,
        }
    }

    /// Whether other credentials would help (401) or the caller is known and may not (403).
    pub(crate) fn is_identity(self) -> bool {
        !matches!(self, Why::Role | Why::Identity | Why::UnknownCertificate)
    }

    /// What the caller is told. It says nothing that a stranger could use.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Why::NoCredentials => {
                "this needs a token (Authorization: Bearer …) or a client certificate"
            }
            Why::UnknownToken => "the token is not known here",
            Why::ExpiredToken => "the token has expired",
            Why::UnknownCertificate => "the certificate has no role here ([[auth.certificates]])",
            Why::Role => "your role does not allow this",
            Why::Identity => "the credentials are not for this id",
            Why::NoCertificate => "a client certificate is needed",
            Why::UntrustedCertificate => "the client certificate is not of our authority",
            Why::ExpiredCertificate => "the client certificate is not valid at this time",
            Why::Handshake => "the TLS handshake failed",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.advice())
    }
}

/// A call or a connection that was refused, for the log, the metric and the audit.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// Where.
    pub(crate) port: Port,
    /// Why.
    pub(crate) why: Why,
    /// Whose credentials they were, where that is known.
    pub(crate) name: Option<String>,
    /// From where.
    pub(crate) address: Option<SocketAddr>,
    /// What was asked for: method and path, or "connect".
    pub(crate) what: String,
}
