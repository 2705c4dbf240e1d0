//! The body of a check: attributes and amounts, refused with the path of what is wrong.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use weir_proto::{
    amount::{MAX_AMOUNT, Unit},
    request::{Attributes, Request},
};

/// A parsed check.
pub(super) struct Check<'a> {
    attributes: Attributes<'a>,
    pub(super) hits: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow, default)]
    attributes: Attributes<'a>,
    #[serde(default)]
    amounts: Amounts,
}

impl<'a> Check<'a> {
    /// Reads a body. The error names the field and, for unknown ones, what is known.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, String> {
        let mut reader = serde_json::Deserializer::from_slice(body);
        let Object::<Body<'a>>(parsed) =
            serde_path_to_error::deserialize(&mut reader).map_err(|error| {
                match error.path().to_string() {
                    path if path == "." => format!("The body is refused: {}", error.inner()),
                    path => format!("{path}: {}", error.inner()),
                }
            })?;
        reader.end().map_err(|error| format!("The body is refused: {error}"))?;
        Ok(Self { attributes: parsed.attributes, hits: parsed.amounts.0 })
    }

    /// The request that the body describes.
    pub(super) fn request(&self) -> Result<Request<'_>, String> {
        self.attributes.request().map_err(|error| error.to_string())
    }
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

/// What the request counts as.
struct Amounts(u64);

impl Default for Amounts {
    fn default() -> Self {
        Self(1)
    }
}

impl<'de> Deserialize<'de> for Amounts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Amounts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of amounts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut amounts = Amounts::default();
                while let Some(name) = map.next_key::<String>()? {
                    if Unit::parse(&name).is_none() {
                        let known = Unit::ALL.map(Unit::as_str).join(", ");
                        return Err(A::Error::custom(unknown("amount", &name, &known)));
                    }
                    amounts.0 = map.next_value()?;
                    if !(1..=MAX_AMOUNT).contains(&amounts.0) {
                        let value = amounts.0;
                        let message = format_args!("{name} is {value}, not 1 to {MAX_AMOUNT}");
                        return Err(A::Error::custom(message));
                    }
                }
                Ok(amounts)
            }
        }
        from.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests;
