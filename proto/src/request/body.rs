//! Attributes as programs send them: an object under the names of the policy language.
//!
//! ```json
//! { "application": "shop", "ip": "192.0.2.1", "headers": { "x-tier": "gold" },
//!   "query": {}, "claims": { "sub": "u1" }, "descriptors": [[{ "key": "k", "value": "v" }]] }
//! ```

use std::{borrow::Cow, fmt, mem};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{Attribute, Field, Request, RequestError};
use crate::rule::Rules;

/// The attributes of a request; [`Attributes::request`] makes one of them. Unknown names, and values
/// beyond the bounds of [`Request`], are refused while they are read.
#[derive(Debug, Default)]
pub struct Attributes<'a> {
    request: Request<'a>,
    /// Apart, for a request borrows the entries of its descriptors.
    descriptors: Vec<Vec<Entry<'a>>>,
}

fn with_rule<'a>(request: Request<'a>, rules: &Rules, entries: &[(&str, &str)]) -> Request<'a> {
    if request.get(&Attribute::Field(Field::Rule)).is_some() {
        return request;
    }
    let domain = request.get(&Attribute::Field(Field::Domain));
    let rule = domain.and_then(|domain| rules.find(domain, entries.iter().copied()));
    match rule.map(str::to_owned) {
        Some(rule) => request.rule(rule.clone()).call_rule(rule),
        None => request,
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Attributes<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Attributes<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of attributes")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut attributes = Attributes::default();
                while let Some(name) = map.next_key::<String>()? {
                    attributes.read(&name, &mut map)?;
                    attributes.request.check().map_err(A::Error::custom)?;
                }
                Ok(attributes)
            }
        }
        from.deserialize_map(Reader)
    }
}

impl<'a> Attributes<'a> {
    /// The request that they describe. Its `rule`, unless that is given, is the one of `rules` that its
    /// first descriptor meets, as in a call of Envoy's service.
    ///
    /// # Errors
    /// More descriptors, or entries of one, than a request has.
    pub fn request(&self, rules: Option<&Rules>) -> Result<Request<'_>, RequestError> {
        let mut request = self.request.clone();
        for (index, descriptor) in self.descriptors.iter().enumerate() {
            let entries: Vec<(&str, &str)> =
                descriptor.iter().map(|Entry(key, value)| (&**key, &**value)).collect();
            request = request.descriptor(&entries);
            if let (0, Some(rules)) = (index, rules) {
                request = with_rule(request, rules, &entries);
            }
        }
        request.check().map_err(Clone::clone)?;
        Ok(request)
    }

    fn read<A: MapAccess<'a>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "headers" => self.read_map(map, Request::header),
            "query" => self.read_map(map, Request::query),
            "claims" => self.read_map(map, Request::claim),
            "descriptors" => {
                self.descriptors = map.next_value()?;
                Ok(())
            }
            // Only plain names: `headers.x-a` has its place in `headers`.
            _ if Field::parse(name).is_some() => {
                self.request.set(name, map.next_value::<Text<'a>>()?.0).map_err(A::Error::custom)
            }
            _ => Err(A::Error::custom(unknown(name))),
        }
    }

    fn read_map<A: MapAccess<'a>>(
        &mut self,
        map: &mut A,
        set: impl Fn(Request<'a>, Cow<'a, str>, Cow<'a, str>) -> Request<'a>,
    ) -> Result<(), A::Error> {
        for (name, value) in map.next_value::<Entries<'a>>()?.0 {
            self.request = set(mem::take(&mut self.request), name, value);
        }
        Ok(())
    }
}

fn unknown(name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    let fields = Field::ALL.map(Field::as_str).join(", ");
    format!("unknown attribute {name:?}; known are {fields}, headers, query, claims, descriptors")
}

/// One entry of a descriptor: `key` and `value` of an object, not of an array.
#[derive(Debug)]
struct Entry<'a>(Cow<'a, str>, Cow<'a, str>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryFields<'a> {
    #[serde(borrow)]
    key: Text<'a>,
    #[serde(borrow)]
    value: Text<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Entry<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Entry<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let fields = EntryFields::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Entry(fields.key.0, fields.value.0))
            }
        }
        from.deserialize_map(Reader)
    }
}

/// A text, borrowed from the body unless it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Reader)
    }
}

/// A map of texts; numbers and booleans, as tokens have them in claims, become texts.
struct Entries<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<(Cow<'de, str>, Cow<'de, str>)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((Text(name), Scalar(value))) = map.next_entry()? {
                    entries.push((name, value));
                }
                Ok(entries)
            }
        }
        from.deserialize_map(Reader).map(Entries)
    }
}

/// A string, a number or a boolean.
struct Scalar<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Scalar<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number or a boolean")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar(Cow::Owned(text.to_owned())))
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Scalar(Cow::Borrowed(if value { "true" } else { "false" })))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Scalar(Cow::Owned(value.to_string())))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Scalar(Cow::Owned(value.to_string())))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Scalar(Cow::Owned(value.to_string())))
            }
        }
        from.deserialize_any(Reader)
    }
}
