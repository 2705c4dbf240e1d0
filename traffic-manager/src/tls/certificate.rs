//! What a certificate says of its owner: its names and its end.

use rustls::pki_types::CertificateDer;
use x509_cert::{
    Certificate as X509,
    der::{Decode, asn1::ObjectIdentifier, oid::AssociatedOid},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// `commonName` (X.520).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// Names that are looked at; more are no honest certificate's.
const MAX_NAMES: usize = 32;

/// A certificate whose signature was checked by the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// The common name, then the DNS names and URIs among the alternative names.
    pub(crate) names: Vec<String>,
    /// The last second in which it is valid, since the Unix epoch.
    pub(crate) not_after: u64,
}

impl Certificate {
    /// Reads a certificate; `None` if it is not one that we can read.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Option<Certificate> {
        let parsed = X509::from_der(der).ok()?;
        let tbs = parsed.tbs_certificate();
        let mut names = common_names(tbs.subject());
        for extension in tbs.extensions().into_iter().flatten() {
            if extension.extn_id == SubjectAltName::OID {
                let alternatives =
                    SubjectAltName::from_der(extension.extn_value.as_bytes()).ok()?;
                names.extend(alternatives.0.iter().filter_map(alternative));
            }
        }
        names.truncate(MAX_NAMES);
        Some(Certificate {
            names,
            not_after: tbs.validity().not_after.to_unix_duration().as_secs(),
        })
    }
}

fn common_names(subject: &x509_cert::name::Name) -> Vec<String> {
    let parts = subject.iter().filter(|part| part.oid == COMMON_NAME);
    parts.filter_map(|part| String::from_utf8(part.value.value().to_vec()).ok()).collect()
}

fn alternative(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        _ => None,
    }
}
