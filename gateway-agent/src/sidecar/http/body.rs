//! The body of a check: attributes and amounts, refused with the path of what is wrong.

use std::{borrow::Cow, fmt, marker::PhantomData, mem};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use weir_proto::{
    request::{Attribute, Field, Request},
    rule::Rules,
};

use super::amounts::{Given, Reported};

/// A parsed check.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check<'a> {
    #[serde(borrow, default)]
    attributes: Attributes<'a>,
    #[serde(default)]
    pub(super) amounts: Given,
    /// Count nothing.
    #[serde(default)]
    pub(super) peek: bool,
}

/// A parsed report.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report<'a> {
    #[serde(borrow, default)]
    attributes: Attributes<'a>,
    #[serde(default)]
    pub(super) amounts: Reported,
    /// What the check's answer gave.
    #[serde(default)]
    pub(super) lease: Option<String>,
}

/// Reads a body. The error names the field and, for unknown ones, what is known.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let Object::<T>(parsed) = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        match error.path().to_string() {
            path if path == "." => format!("The body is refused: {}", error.inner()),
            path => format!("{path}: {}", error.inner()),
        }
    })?;
    reader.end().map_err(|error| format!("The body is refused: {error}"))?;
    Ok(parsed)
}

impl Check<'_> {
    /// The request that the body describes. Its `rule`, unless that is given, is the one that its
    /// first descriptor meets, as in a call of Envoy's service.
    pub(super) fn request(&self, rules: Option<&Rules>) -> Result<Request<'_>, String> {
        self.attributes.request(rules)
    }
}

impl Report<'_> {
    /// The request that the body describes. Its `rule`, unless that is given, is the one that its
    /// first descriptor meets, as in a call of Envoy's service.
    pub(super) fn request(&self, rules: Option<&Rules>) -> Result<Request<'_>, String> {
        self.attributes.request(rules)
    }
}

impl Attributes<'_> {
    fn request(&self, rules: Option<&Rules>) -> Result<Request<'_>, String> {
        let mut request = self.request.clone();
        for (index, descriptor) in self.descriptors.iter().enumerate() {
            let entries: Vec<(&str, &str)> =
                descriptor.iter().map(|Object(entry)| (&*entry.key.0, &*entry.value.0)).collect();
            request = request.descriptor(&entries);
            if let (0, Some(rules)) = (index, rules) {
                request = with_rule(request, rules, &entries);
            }
        }
        request.check().map_err(ToString::to_string)?;
        Ok(request)
    }
}

/// The attributes, under the names of the policy language.
#[derive(Default)]
struct Attributes<'a> {
    request: Request<'a>,
    /// Apart, for a request borrows the entries of its descriptors.
    descriptors: Vec<Vec<Object<Entry<'a>>>>,
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
            _ => Err(A::Error::custom(unknown("attribute", name, &known()))),
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

/// What may stand in `attributes`.
fn known() -> String {
    let fields = Field::ALL.map(Field::as_str).join(", ");
    format!("{fields}, headers, query, claims, descriptors")
}

fn unknown(what: &str, name: &str, known: &str) -> String {
    let name: String = name.chars().take(64).collect();
    format!("unknown {what} {name:?}; known are {known}")
}

/// A struct that may only be written as an object, not as an array of its fields.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        from.deserialize_map(Reader(PhantomData))
    }
}

/// One entry of a descriptor.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    #[serde(borrow)]
    key: Text<'a>,
    #[serde(borrow)]
    value: Text<'a>,
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

#[cfg(test)]
mod tests;
