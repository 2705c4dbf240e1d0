//! The attributes of a request, as policies see them.
//!
//! A request borrows what it can and holds only what was set. A missing attribute is absent, never
//! empty: an expression that meets one does not match. The maps (`headers`, `query`, `claims`,
//! `rules`) and the list of descriptors are always there, but may be empty.

use std::{borrow::Cow, net::IpAddr};

pub(crate) use self::attribute::{COLLECTIONS, known_attributes};
use self::{address::Address, map::Map};
pub use self::{
    attribute::{Attribute, AttributeError, Field},
    body::Attributes,
    limit::RequestLimit,
};

mod address;
mod attribute;
mod body;
mod limit;
mod map;

/// Longest value of an attribute, in bytes.
pub const MAX_VALUE_BYTES: usize = 1_024;
/// Most entries of each of the maps, and of each descriptor.
pub const MAX_ENTRIES: usize = 64;
/// Most descriptors.
pub const MAX_DESCRIPTORS: usize = 16;

/// Why an attribute was not set. The caller is at fault; the request is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such attribute.
    #[error(transparent)]
    Unknown(#[from] AttributeError),
    /// Longer than [`MAX_VALUE_BYTES`].
    #[error("request.{field} has {bytes} bytes; at most {MAX_VALUE_BYTES} are allowed")]
    TooLong {
        /// The attribute, `headers.x-a`.
        field: String,
        /// The length of its value, or of its name.
        bytes: usize,
    },
    /// More than [`MAX_ENTRIES`] in a map or [`MAX_DESCRIPTORS`] descriptors.
    #[error("request.{field} has more than {most} entries")]
    TooMany {
        /// The map, `headers`.
        field: String,
        /// Its bound.
        most: usize,
    },
    /// `ip` holds an address.
    #[error("request.ip is {0:?}, which is neither an IPv4 nor an IPv6 address")]
    NotAnAddress(String),
}

/// One request. Built with chained setters; setting an attribute again replaces its value.
///
/// The setters cannot fail, so that they chain: what breaks a bound is left out, and
/// [`Request::check`] then says so.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// What was lent, by [`Field`]; `ip` lives in `address`. Kept lean, because a request is made for
    /// every check.
    fields: [Option<&'a str>; Field::ALL.len()],
    address: Option<Address>,
    more: Option<Box<More<'a>>>,
}

/// What most requests do not have.
#[derive(Debug, Clone, Default)]
struct More<'a> {
    /// Fields whose text the request owns. A field is here or among the lent ones, never in both.
    owned: Vec<(Field, String)>,
    headers: Map<'a>,
    query: Map<'a>,
    claims: Map<'a>,
    rules: Map<'a>,
    descriptors: Vec<Map<'a>>,
    limit: Option<RequestLimit>,
    broken: Option<RequestError>,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident => $field:ident;)*) => {$(
        $(#[$doc])*
        #[must_use]
        #[inline(always)]
        pub fn $name(self, value: impl Into<Cow<'a, str>>) -> Self {
            self.field(Field::$field, value.into())
        }
    )*};
}

impl<'a> Request<'a> {
    /// A request without attributes.
    #[inline]
    pub fn new() -> Self {
        Request { fields: [None; Field::ALL.len()], address: None, more: None }
    }

    setters! {
        /// The name of the called API.
        api => Api;
        /// The version of the called API.
        api_version => ApiVersion;
        /// The resource (route template) inside the API.
        resource => Resource;
        /// The HTTP method, or the RPC's.
        method => Method;
        /// The path, without the query.
        path => Path;
        /// The host that was asked for.
        host => Host;
        /// The calling application.
        application => Application;
        /// The subscription under which it calls.
        subscription => Subscription;
        /// The tier of the subscription.
        subscription_tier => SubscriptionTier;
        /// The tier of the application.
        application_tier => ApplicationTier;
        /// The tier of the API.
        api_tier => ApiTier;
        /// The end user.
        user => User;
        /// The tenant.
        tenant => Tenant;
        /// The Envoy rate limit domain.
        domain => Domain;
        /// The most specific rule that the rate limit descriptor meets: [`Rules::find`](crate::rule::Rules::find).
        rule => Rule;
    }

    /// The client's address. An IPv4 address in IPv6 clothes (`::ffff:10.1.2.3`) counts as IPv4,
    /// so that one client has one spelling.
    #[must_use]
    pub fn ip(mut self, ip: IpAddr) -> Self {
        self.address = Some(Address::new(ip));
        self
    }

    /// A header. Names compare in lower case.
    #[must_use]
    pub fn header(self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) -> Self {
        let mut name = name.into();
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            name.to_mut().make_ascii_lowercase();
        }
        self.entry("headers", |more| &mut more.headers, name, value.into())
    }

    /// A query parameter.
    #[must_use]
    pub fn query(self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) -> Self {
        self.entry("query", |more| &mut more.query, name.into(), value.into())
    }

    /// A claim of the caller's token.
    #[must_use]
    pub fn claim(self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) -> Self {
        self.entry("claims", |more| &mut more.claims, name.into(), value.into())
    }

    /// A rule that any descriptor of the same rate limit call meets, this one's included.
    #[must_use]
    pub fn call_rule(self, rule: impl Into<Cow<'a, str>>) -> Self {
        self.entry("rules", |more| &mut more.rules, rule.into(), "".into())
    }

    /// Appends an Envoy rate limit descriptor: `request.descriptors[0].key` for the first.
    #[must_use]
    pub fn descriptor(mut self, entries: &[(&'a str, &'a str)]) -> Self {
        let most = MAX_DESCRIPTORS;
        let present = self.more().descriptors.len();
        if present == most {
            self.refuse(RequestError::TooMany { field: "descriptors".into(), most });
            return self;
        }
        let field = format!("descriptors[{present}]");
        let mut map = Map::default();
        for (key, value) in entries {
            if let Err(error) = map.set(&field, (*key).into(), (*value).into()) {
                self.refuse(error);
                return self;
            }
        }
        self.more().descriptors.push(map);
        self
    }

    /// The limit that counts in policies with `request_limits`, in the place of theirs. For callers that are
    /// trusted to choose it.
    #[must_use]
    pub fn limit(mut self, limit: RequestLimit) -> Self {
        self.more().limit = Some(limit);
        self
    }

    /// The limit that the request brings along.
    #[inline]
    pub fn own_limit(&self) -> Option<RequestLimit> {
        self.more.as_ref()?.limit
    }

    /// Sets the attribute of that name: `api`, `headers.x-a`, `claims["sub"]`, with or without
    /// `request.` in front. For callers that read names from outside.
    ///
    /// # Errors
    /// Unknown names, values beyond the bounds, an `ip` that is none. The request is unchanged.
    pub fn set(&mut self, name: &str, value: impl Into<Cow<'a, str>>) -> Result<(), RequestError> {
        let value = value.into();
        match Attribute::parse(name)? {
            Attribute::Field(Field::Ip) => {
                let ip = value
                    .parse()
                    .map_err(|_| RequestError::NotAnAddress(value.chars().take(64).collect()))?;
                self.address = Some(Address::new(ip));
                Ok(())
            }
            Attribute::Field(field) => {
                map::check_length(&field, &value)?;
                self.put(field, value);
                Ok(())
            }
            Attribute::Header(key) => self.more().headers.set("headers", owned(&key), value),
            Attribute::Query(key) => self.more().query.set("query", owned(&key), value),
            Attribute::Claim(key) => self.more().claims.set("claims", owned(&key), value),
            Attribute::Rule(key) => self.more().rules.set("rules", owned(&key), value),
            Attribute::Descriptor(index, key) => self.set_descriptor(index, owned(&key), value),
        }
    }

    /// Whether every setter kept the bounds; the first that did not, otherwise.
    ///
    /// # Errors
    /// The first refused attribute, which is absent from the request.
    pub fn check(&self) -> Result<(), &RequestError> {
        self.more.as_ref().and_then(|more| more.broken.as_ref()).map_or(Ok(()), Err)
    }

    /// The attribute's value; `None` if it is absent. An address is in its canonical spelling.
    #[inline]
    pub fn get(&self, attribute: &Attribute) -> Option<&str> {
        if let Attribute::Field(field) = attribute
            && let Some(Some(value)) = self.fields.get(*field as usize)
        {
            return Some(value);
        }
        self.get_other(attribute)
    }

    fn get_other(&self, attribute: &Attribute) -> Option<&str> {
        if *attribute == Attribute::Field(Field::Ip) {
            return self.address.as_ref().map(Address::as_str);
        }
        let more = self.more.as_ref()?;
        match attribute {
            Attribute::Field(field) => {
                more.owned.iter().find(|(owned, _)| owned == field).map(|(_, value)| &**value)
            }
            Attribute::Header(key) => more.headers.get(key),
            Attribute::Query(key) => more.query.get(key),
            Attribute::Claim(key) => more.claims.get(key),
            Attribute::Rule(key) => more.rules.get(key),
            Attribute::Descriptor(index, key) => more.descriptors.get(*index)?.get(key),
        }
    }

    /// The client's address, an IPv4 address in IPv6 clothes as IPv4.
    #[inline]
    pub fn address(&self) -> Option<IpAddr> {
        self.address.as_ref().map(Address::ip)
    }

    /// All attributes that are present, in the order of [`Field::ALL`], then the maps' entries in
    /// the order in which they were set.
    pub fn iter(&self) -> impl Iterator<Item = (Attribute, &str)> {
        let fields = Field::ALL.into_iter().map(Attribute::Field);
        let fields = fields.filter_map(|a| Some((a.clone(), self.get(&a)?)));
        let maps = self.more.iter().flat_map(|more| {
            let descriptors = more.descriptors.iter().enumerate().flat_map(|(index, map)| {
                map.iter().map(move |(k, v)| (Attribute::Descriptor(index, k.into()), v))
            });
            (more.headers.iter().map(|(k, v)| (Attribute::Header(k.into()), v)))
                .chain(more.query.iter().map(|(k, v)| (Attribute::Query(k.into()), v)))
                .chain(more.claims.iter().map(|(k, v)| (Attribute::Claim(k.into()), v)))
                .chain(more.rules.iter().map(|(k, v)| (Attribute::Rule(k.into()), v)))
                .chain(descriptors)
        });
        fields.chain(maps)
    }

    /// The request must not be lent to anything here, or every setter moves it once more.
    #[inline(always)]
    fn field(mut self, field: Field, value: Cow<'a, str>) -> Self {
        let Some(slot) = self.fields.get_mut(field as usize) else { return self };
        match value {
            Cow::Borrowed(value) if value.len() <= MAX_VALUE_BYTES && self.more.is_none() => {
                *slot = Some(value);
            }
            value => (*slot, self.more) = with_care(*slot, self.more.take(), field, value),
        }
        self
    }

    fn put(&mut self, field: Field, value: Cow<'a, str>) {
        if let Some(slot) = self.fields.get_mut(field as usize) {
            (*slot, self.more) = with_care(*slot, self.more.take(), field, value);
        }
    }

    fn more(&mut self) -> &mut More<'a> {
        self.more.get_or_insert_default()
    }

    fn entry(
        mut self,
        field: &str,
        map: impl for<'m> Fn(&'m mut More<'a>) -> &'m mut Map<'a>,
        key: Cow<'a, str>,
        value: Cow<'a, str>,
    ) -> Self {
        if let Err(error) = map(self.more()).set(field, key, value) {
            self.refuse(error);
        }
        self
    }

    fn set_descriptor(
        &mut self,
        index: usize,
        key: Cow<'a, str>,
        value: Cow<'a, str>,
    ) -> Result<(), RequestError> {
        let most = MAX_DESCRIPTORS;
        if index >= most {
            return Err(RequestError::TooMany { field: "descriptors".into(), most });
        }
        let field = format!("descriptors[{index}]");
        // Set first, so that a refused entry leaves no empty descriptors behind.
        let descriptors = &mut self.more().descriptors;
        let mut map = descriptors.get(index).cloned().unwrap_or_default();
        map.set(&field, key, value)?;
        if descriptors.len() <= index {
            descriptors.resize_with(index + 1, Map::default);
        }
        if let Some(slot) = descriptors.get_mut(index) {
            *slot = map;
        }
        Ok(())
    }

    /// Remembers the first refusal.
    fn refuse(&mut self, error: RequestError) {
        self.more().broken.get_or_insert(error);
    }
}

/// Sets a field; its former value is kept if the new one breaks a bound.
#[inline(never)]
fn with_care<'a>(
    lent: Option<&'a str>,
    more: Option<Box<More<'a>>>,
    field: Field,
    value: Cow<'a, str>,
) -> (Option<&'a str>, Option<Box<More<'a>>>) {
    let mut more = more.unwrap_or_default();
    if let Err(error) = map::check_length(&field, &value) {
        more.broken.get_or_insert(error);
        return (lent, Some(more));
    }
    more.owned.retain(|(owned, _)| *owned != field);
    match value {
        Cow::Borrowed(value) => (Some(value), Some(more)),
        Cow::Owned(value) => {
            more.owned.push((field, value));
            (None, Some(more))
        }
    }
}

fn owned<'a>(key: &str) -> Cow<'a, str> {
    Cow::Owned(key.to_owned())
}

#[cfg(test)]
mod tests;
