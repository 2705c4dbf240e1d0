//! The body of a check: attributes and amounts, refused with the path of what is wrong.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use weir_proto::{
    amount::MAX_AMOUNT,
    request::{Attributes, Request, RequestLimit},
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
    /// Counts in the place of what policies say that allow it.
    #[serde(default)]
    pub(super) limit: Option<OwnLimit>,
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
    /// What the check had.
    #[serde(default)]
    pub(super) limit: Option<OwnLimit>,
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
    /// The request that the body describes.
    pub(super) fn request(&self, rules: Option<&Rules>) -> Result<Request<'_>, String> {
        request(&self.attributes, self.limit.as_ref(), rules)
    }
}

impl Report<'_> {
    /// The request that the body describes.
    pub(super) fn request(&self, rules: Option<&Rules>) -> Result<Request<'_>, String> {
        request(&self.attributes, self.limit.as_ref(), rules)
    }
}

fn request<'a>(
    attributes: &'a Attributes<'_>,
    limit: Option<&OwnLimit>,
    rules: Option<&Rules>,
) -> Result<Request<'a>, String> {
    let request = attributes.request(rules).map_err(|error| error.to_string())?;
    match limit {
        Some(limit) => Ok(request.limit(limit.read()?)),
        None => Ok(request),
    }
}

/// A limit that the request brings along.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnLimit {
    requests: u64,
    window: String,
}

impl OwnLimit {
    fn read(&self) -> Result<RequestLimit, String> {
        let OwnLimit { requests, window } = self;
        let short: String = window.chars().take(64).collect();
        let window = window.parse().map_err(|error| format!("limit.window: {short:?} {error}"))?;
        RequestLimit::new(*requests, window)
            .ok_or_else(|| format!("limit.requests: {requests} is not 0 to {MAX_AMOUNT}"))
    }
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

#[cfg(test)]
mod tests;
