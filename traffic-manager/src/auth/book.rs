//! Who is known: tokens by their hash, certificates by their names.

use std::{path::Path, sync::Arc};

use axum::http::HeaderValue;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{Role, Why, token::TokenHash};
use crate::{
    config::{Auth, read_toml},
    tls::Certificate,
};

/// Most tokens: each call compares with all of them.
const MAX_TOKENS: usize = 1_000;
/// Most certificate rules.
const MAX_CERTIFICATES: usize = 1_000;
/// Longest name, in bytes.
const MAX_NAME: usize = 128;
/// Largest tokens file.
const MAX_FILE: u64 = 1 << 20;

/// A token that is accepted. The token itself is nowhere here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEntry {
    /// Who has it; shown in the log and the audit.
    pub name: String,
    /// What the owner may do.
    pub role: Role,
    /// The SHA-256 of the token.
    pub sha256: TokenHash,
    /// When it ends (RFC 3339); never if absent.
    #[serde(default, deserialize_with = "timestamp")]
    pub expires: Option<Timestamp>,
}

/// Which client certificates have which role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateEntry {
    /// A common name, DNS name or URI of the certificate; one `*` stands for any text.
    pub subject: String,
    /// What the owner may do.
    pub role: Role,
}

impl CertificateEntry {
    /// The first name of the certificate that fits.
    fn name_in<'a>(&self, certificate: &'a Certificate) -> Option<&'a str> {
        let fits = |name: &&String| match self.subject.split_once('*') {
            None => **name == self.subject,
            Some((head, tail)) => {
                name.len() >= head.len() + tail.len()
                    && name.starts_with(head)
                    && name.ends_with(tail)
            }
        };
        certificate.names.iter().find(fits).map(String::as_str)
    }
}

fn timestamp<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(reader)?;
    let read = text.parse::<Timestamp>();
    // What was written is not repeated: it may be in the wrong place.
    read.map(Some).map_err(|_| D::Error::custom("expires is no time; write 2027-01-31T00:00:00Z"))
}

/// The tokens file. Read anew when it changes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    tokens: Vec<TokenEntry>,
}

/// What a caller shows. The token is kept as its hash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    token: Token,
    certificate: Option<Arc<Certificate>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Token {
    #[default]
    None,
    /// An `Authorization` header that is not `Bearer TOKEN`.
    Malformed,
    Hash(TokenHash),
}

impl Credentials {
    /// What a call brings: its `Authorization` header and its connection's certificate.
    pub(crate) fn new(
        authorization: Option<&HeaderValue>,
        certificate: Option<Arc<Certificate>>,
    ) -> Credentials {
        let token = match authorization {
            None => Token::None,
            Some(value) => match bearer(value.as_bytes()) {
                Some(token) => Token::Hash(TokenHash::of(token)),
                None => Token::Malformed,
            },
        };
        Credentials { token, certificate }
    }
}

/// The token of `Bearer TOKEN`; the scheme's case does not matter (RFC 9110).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked("bearer ".len())?;
    let token = rest.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

/// Somebody who is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    /// When the credentials end.
    pub(crate) until: Option<Timestamp>,
}

/// Why somebody is not; with a name where the credentials were once good.
pub(crate) type Stranger = (Why, Option<String>);

/// Everybody who is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Book {
    tokens: Vec<TokenEntry>,
    certificates: Vec<CertificateEntry>,
}

impl Book {
    /// Those of the configuration and of the tokens file.
    ///
    /// # Errors
    /// The file cannot be used, or an entry is not valid: in words, without secrets.
    pub(crate) fn load(auth: &Auth) -> Result<Book, String> {
        let mut tokens = auth.tokens.clone();
        if let Some(file) = &auth.tokens_file {
            tokens.extend(read(file)?);
        }
        check(&tokens, &auth.certificates)?;
        Ok(Book { tokens, certificates: auth.certificates.clone() })
    }

    /// Whether anybody has that role.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.tokens.iter().any(|token| token.role == role)
            || self.certificates.iter().any(|entry| entry.role == role)
    }

    /// Whose credentials these are. A token goes before a certificate, and one that is wrong is not
    /// excused by a certificate that is right.
    pub(crate) fn identify(
        &self,
        credentials: &Credentials,
        now: Timestamp,
    ) -> Result<Known, Stranger> {
        match credentials.token {
            Token::Malformed => Err((Why::UnknownToken, None)),
            Token::Hash(hash) => self.by_token(&hash, now),
            Token::None => match &credentials.certificate {
                Some(certificate) => self.by_certificate(certificate, now),
                None => Err((Why::NoCredentials, None)),
            },
        }
    }

    fn by_token(&self, hash: &TokenHash, now: Timestamp) -> Result<Known, Stranger> {
        // All are compared, whether one was found or not.
        let mut found = None;
        for token in &self.tokens {
            if token.sha256.is(hash) {
                found = Some(token);
            }
        }
        let token = found.ok_or((Why::UnknownToken, None))?;
        if token.expires.is_some_and(|end| end <= now) {
            return Err((Why::ExpiredToken, Some(token.name.clone())));
        }
        Ok(Known { name: token.name.as_str().into(), role: token.role, until: token.expires })
    }

    fn by_certificate(&self, own: &Certificate, now: Timestamp) -> Result<Known, Stranger> {
        let first = || own.names.first().cloned();
        let end = i64::try_from(own.not_after).ok().and_then(|s| Timestamp::from_second(s).ok());
        if end.is_some_and(|end| end < now) {
            return Err((Why::ExpiredCertificate, first()));
        }
        let found = self.certificates.iter().find_map(|e| Some((e.name_in(own)?, e.role)));
        let (name, role) = found.ok_or_else(|| (Why::UnknownCertificate, first()))?;
        Ok(Known { name: name.into(), role, until: end })
    }
}

fn read(file: &Path) -> Result<Vec<TokenEntry>, String> {
    let name = file.display();
    let fail = |why: String| format!("auth.tokens_file: {name}: {why}");
    let size = std::fs::metadata(file).map_err(|error| fail(error.to_string()))?.len();
    if size > MAX_FILE {
        return Err(fail(format!("it has {size} bytes, at most {MAX_FILE} are read")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| fail(error.to_string()))?;
    let file: File = read_toml(&text).map_err(fail)?;
    Ok(file.tokens)
}

fn check(tokens: &[TokenEntry], certificates: &[CertificateEntry]) -> Result<(), String> {
    if tokens.len() > MAX_TOKENS {
        return Err(format!("auth has {} tokens; at most {MAX_TOKENS}", tokens.len()));
    }
    if certificates.len() > MAX_CERTIFICATES {
        let count = certificates.len();
        return Err(format!("auth.certificates has {count} entries; at most {MAX_CERTIFICATES}"));
    }
    let names = tokens.iter().map(|token| &token.name);
    for name in names.chain(certificates.iter().map(|entry| &entry.subject)) {
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(format!(
                "auth: {name:?} is no name; write 1 to {MAX_NAME} bytes without control characters"
            ));
        }
    }
    for (index, token) in tokens.iter().enumerate() {
        if let Some(other) = tokens[..index].iter().find(|other| other.sha256 == token.sha256) {
            return Err(format!(
                "auth: the tokens {:?} and {:?} have the same hash; make one for each",
                other.name, token.name
            ));
        }
    }
    Ok(())
}
