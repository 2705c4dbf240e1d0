//! The names of attributes.

use std::{fmt, sync::Arc};

use super::{MAX_DESCRIPTORS, MAX_VALUE_BYTES};

/// An attribute that is one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `request.api`
    Api,
    /// `request.api_version`
    ApiVersion,
    /// `request.resource`
    Resource,
    /// `request.method`
    Method,
    /// `request.path`
    Path,
    /// `request.host`
    Host,
    /// `request.application`
    Application,
    /// `request.subscription`
    Subscription,
    /// `request.subscription_tier`
    SubscriptionTier,
    /// `request.application_tier`
    ApplicationTier,
    /// `request.api_tier`
    ApiTier,
    /// `request.user`
    User,
    /// `request.tenant`
    Tenant,
    /// `request.ip`
    Ip,
    /// `request.domain`
    Domain,
    /// `request.rule`
    Rule,
}

impl Field {
    /// Every field, in the contract's order.
    pub const ALL: [Field; 16] = [
        Field::Api,
        Field::ApiVersion,
        Field::Resource,
        Field::Method,
        Field::Path,
        Field::Host,
        Field::Application,
        Field::Subscription,
        Field::SubscriptionTier,
        Field::ApplicationTier,
        Field::ApiTier,
        Field::User,
        Field::Tenant,
        Field::Ip,
        Field::Domain,
        Field::Rule,
    ];

    /// The name after `request.`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Field::Api => "api",
            Field::ApiVersion => "api_version",
            Field::Resource => "resource",
            Field::Method => "method",
            Field::Path => "path",
            Field::Host => "host",
            Field::Application => "application",
            Field::Subscription => "subscription",
            Field::SubscriptionTier => "subscription_tier",
            Field::ApplicationTier => "application_tier",
            Field::ApiTier => "api_tier",
            Field::User => "user",
            Field::Tenant => "tenant",
            Field::Ip => "ip",
            Field::Domain => "domain",
            Field::Rule => "rule",
        }
    }

    /// The field of that name.
    pub fn parse(name: &str) -> Option<Field> {
        Self::ALL.into_iter().find(|field| field.as_str() == name)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The attributes that hold entries rather than one text.
pub(crate) const COLLECTIONS: [&str; 5] = ["headers", "query", "claims", "rules", "descriptors"];

/// One attribute of a request: a field, an entry of a map, or an entry of a descriptor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// `request.api` and its like.
    Field(Field),
    /// `request.headers["x-a"]`; the name is in lower case.
    Header(Arc<str>),
    /// `request.query["page"]`
    Query(Arc<str>),
    /// `request.claims["sub"]`
    Claim(Arc<str>),
    /// `request.rules["domain|key=value"]`: empty, and there if a descriptor of the call meets the rule.
    Rule(Arc<str>),
    /// `request.descriptors[0]["remote_address"]`
    Descriptor(usize, Arc<str>),
}

/// A name that no attribute has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown attribute {name:?}; known are {}", known_attributes())]
pub struct AttributeError {
    /// The name as given, cut to 64 characters.
    pub name: String,
}

/// All names, for error messages: `api, …, headers.NAME, …`.
pub(crate) fn known_attributes() -> String {
    let fields = Field::ALL.map(Field::as_str).join(", ");
    format!(
        "{fields}, headers[\"NAME\"], query[\"NAME\"], claims[\"NAME\"], rules[\"RULE\"], \
         descriptors[N][\"KEY\"]"
    )
}

impl Attribute {
    /// Reads `application`, `headers.x-a`, `claims["sub"]` or `descriptors[0].key`, each with or
    /// without `request.` in front.
    ///
    /// # Errors
    /// [`AttributeError`] lists the known names.
    pub fn parse(text: &str) -> Result<Attribute, AttributeError> {
        let path = text.strip_prefix("request.").unwrap_or(text);
        Self::parse_path(path)
            .ok_or_else(|| AttributeError { name: text.chars().take(64).collect() })
    }

    fn parse_path(path: &str) -> Option<Attribute> {
        if let Some(field) = Field::parse(path) {
            return Some(Attribute::Field(field));
        }
        let (root, rest) = path.split_at(path.find(['.', '['])?);
        if root != "descriptors" {
            return Self::entry(root, parse_key(rest)?);
        }
        let (index, rest) = rest.strip_prefix('[')?.split_once(']')?;
        if index.len() > 1 && index.starts_with('0') || !index.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Self::descriptor(index.parse().ok()?, parse_key(rest)?)
    }

    /// The entry `key` of the map `root`; `None` if there is no such map.
    pub(crate) fn entry(root: &str, key: &str) -> Option<Attribute> {
        if key.len() > MAX_VALUE_BYTES {
            return None;
        }
        match root {
            "headers" => Some(Attribute::Header(key.to_ascii_lowercase().into())),
            "query" => Some(Attribute::Query(key.into())),
            "claims" => Some(Attribute::Claim(key.into())),
            "rules" => Some(Attribute::Rule(key.into())),
            _ => None,
        }
    }

    /// The entry `key` of the descriptor at `index`; `None` beyond the bounds.
    pub(crate) fn descriptor(index: usize, key: &str) -> Option<Attribute> {
        let fits = index < MAX_DESCRIPTORS && key.len() <= MAX_VALUE_BYTES;
        fits.then(|| Attribute::Descriptor(index, key.into()))
    }
}

/// The key in `.x-a` or `["x-a"]`; between quotes anything but quotes and escapes.
fn parse_key(rest: &str) -> Option<&str> {
    if let Some(key) = rest.strip_prefix('.') {
        return is_plain(key).then_some(key);
    }
    let inner = rest.strip_prefix('[')?.strip_suffix(']')?;
    let quoted = |quote| inner.strip_prefix(quote)?.strip_suffix(quote);
    let key: &str = quoted('"').or_else(|| quoted('\''))?;
    (!key.contains(['"', '\'', '\\'])).then_some(key)
}

/// Whether a key needs no quotes.
fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match self {
            Attribute::Field(field) => return write!(f, "{field}"),
            Attribute::Header(key) => {
                f.write_str("headers")?;
                key
            }
            Attribute::Query(key) => {
                f.write_str("query")?;
                key
            }
            Attribute::Claim(key) => {
                f.write_str("claims")?;
                key
            }
            Attribute::Rule(key) => {
                f.write_str("rules")?;
                key
            }
            Attribute::Descriptor(index, key) => {
                write!(f, "descriptors[{index}]")?;
                key
            }
        };
        if is_plain(key) { write!(f, ".{key}") } else { write!(f, "[\"{key}\"]") }
    }
}
