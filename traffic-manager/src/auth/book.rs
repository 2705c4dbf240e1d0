//! Who is known: tokens by their hash, certificates by their names.

use std::{path::Path, sync::Arc};

use axum::http::HeaderValue;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{
    Role, Scope, Why,
    scope::{self, fits},
    token::TokenHash,
};
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
    /// For the role agent: ids of the agents that it may speak for; any if absent. One `*` in each stands
    /// for any text, `{name}` for the token's name.
    #[serde(default)]
    pub agents: Option<Vec<String>>,
    /// The same for the role peer, and managers.
    #[serde(default)]
    pub managers: Option<Vec<String>>,
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
    /// As for tokens; `{name}` is the name that fits `subject`.
    #[serde(default)]
    pub agents: Option<Vec<String>>,
    /// As for tokens.
    #[serde(default)]
    pub managers: Option<Vec<String>>,
}

impl CertificateEntry {
    /// The first name of the certificate that fits.
    fn name_in<'a>(&self, certificate: &'a Certificate) -> Option<&'a str> {
        let names = certificate.names.iter().map(String::as_str);
        names.into_iter().find(|name| fits(&self.subject, name))
    }

    /// Whom the owner of that name may speak for.
    fn scope(&self, name: &str) -> Scope {
        Scope::of(self.agents.as_ref().or(self.managers.as_ref()), name)
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
    /// Which agents or managers it may speak for.
    pub(crate) scope: Scope,
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
        let scope = Scope::of(token.agents.as_ref().or(token.managers.as_ref()), &token.name);
        let name = token.name.as_str().into();
        Ok(Known { name, role: token.role, scope, until: token.expires })
    }

    fn by_certificate(&self, own: &Certificate, now: Timestamp) -> Result<Known, Stranger> {
        let first = || own.names.first().cloned();
        let end = i64::try_from(own.not_after).ok().and_then(|s| Timestamp::from_second(s).ok());
        if end.is_some_and(|end| end < now) {
            return Err((Why::ExpiredCertificate, first()));
        }
        let found = self.certificates.iter().find_map(|entry| Some((entry.name_in(own)?, entry)));
        let (name, entry) = found.ok_or_else(|| (Why::UnknownCertificate, first()))?;
        Ok(Known { name: name.into(), role: entry.role, scope: entry.scope(name), until: end })
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
    let of_token = |t: &TokenEntry| {
        let whose = format!("auth: the token {:?}", t.name);
        check_scope(whose, t.role, [&t.agents, &t.managers])
    };
    tokens.iter().try_for_each(of_token)?;
    let of_rule = |rule: &CertificateEntry| {
        let whose = format!("auth.certificates: the rule for {:?}", rule.subject);
        check_scope(whose, rule.role, [&rule.agents, &rule.managers])
    };
    certificates.iter().try_for_each(of_rule)?;
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

/// What an entry says of ids must fit its role.
fn check_scope(
    whose: String,
    role: Role,
    [agents, managers]: [&Option<Vec<String>>; 2],
) -> Result<(), String> {
    for (field, patterns, needed) in
        [("agents", agents, Role::Agent), ("managers", managers, Role::Peer)]
    {
        let Some(patterns) = patterns else { continue };
        if role != needed {
            return Err(format!(
                "{whose} has {field}, which go with the role {needed}, not {role}"
            ));
        }
        if let Some(fault) = scope::fault(patterns) {
            return Err(format!("{whose}: {field} {fault}"));
        }
    }
    Ok(())
}
