//! The one canonical encoding of a counter's key.
//!
//! A key names one counter of the fleet: the policy, the limit inside it, and the parts that the
//! policy's `key` took from the request. Agents and managers compare keys as bytes, so that one key
//! must have exactly one encoding:
//!
//! ```text
//! 0x01  len policy  len limit  count  len part  len part …      (len and count: shortest LEB128)
//! ```
//!
//! Every field is length-prefixed, so no choice of parts can imitate other parts, and a reader
//! refuses what a writer would not have written.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

use triomphe::ThinArc;

use self::varint::{put_len, put_text};
use crate::request::MAX_VALUE_BYTES;

mod varint;

/// Version of the encoding, its first byte.
const VERSION: u8 = 1;
/// Longest encoded key, in bytes.
pub const MAX_KEY_BYTES: usize = 20_480;
/// Most parts of a key.
pub const MAX_KEY_PARTS: usize = 16;

/// The name of one counter: a policy, a limit in it, and the request's parts.
///
/// Cheap to clone; compares, orders and hashes as its canonical bytes, and can be looked up by them.
/// One pointer wide, with one count: managers keep millions of them.
#[derive(Clone)]
pub struct CounterKey(ThinArc<(), u8>);

/// Why bytes are not a counter key. The sender is at fault; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// More than [`MAX_KEY_BYTES`].
    #[error("the key has more than {MAX_KEY_BYTES} bytes")]
    TooLong,
    /// More than [`MAX_KEY_PARTS`].
    #[error("the key has more than {MAX_KEY_PARTS} parts")]
    TooManyParts,
    /// A part of more than [`MAX_VALUE_BYTES`], which no attribute of a request has.
    #[error("the key has a part of more than {MAX_VALUE_BYTES} bytes, so no request has it")]
    LongPart,
    /// Written by another version of Weir.
    #[error("the key's first byte is not {VERSION}, the encoding that this version reads")]
    Version,
    /// The bytes end inside a field.
    #[error("the key ends inside a field")]
    Truncated,
    /// Bytes after the last part.
    #[error("the key has bytes after its last part")]
    Trailing,
    /// A length that could be written shorter, or is beyond all bounds.
    #[error("the key has a length that is not in its shortest form")]
    Varint,
    /// Policy, limit and parts are text.
    #[error("the key holds bytes that are not UTF-8")]
    NotText,
    /// A counter belongs to a limit of a policy.
    #[error("the key names no policy or no limit")]
    Empty,
}

impl CounterKey {
    /// The key with these fields.
    ///
    /// # Errors
    /// [`KeyError::Empty`], [`KeyError::TooLong`], [`KeyError::TooManyParts`] or [`KeyError::LongPart`].
    pub fn new(policy: &str, limit: &str, parts: &[&str]) -> Result<CounterKey, KeyError> {
        let mut bytes = Vec::new();
        encode(policy, limit, parts, &mut bytes);
        Self::parse(&bytes)
    }

    /// Reads a key and refuses everything but its canonical encoding.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn parse(bytes: &[u8]) -> Result<CounterKey, KeyError> {
        if bytes.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong);
        }
        let mut reader = Reader { rest: bytes };
        if reader.byte()? != VERSION {
            return Err(KeyError::Version);
        }
        if reader.text()?.is_empty() || reader.text()?.is_empty() {
            return Err(KeyError::Empty);
        }
        let count = reader.len()?;
        if count > MAX_KEY_PARTS {
            return Err(KeyError::TooManyParts);
        }
        for _ in 0..count {
            if reader.text()?.len() > MAX_VALUE_BYTES {
                return Err(KeyError::LongPart);
            }
        }
        if !reader.rest.is_empty() {
            return Err(KeyError::Trailing);
        }
        Ok(CounterKey(ThinArc::from_header_and_slice((), bytes)))
    }

    /// The canonical bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// Its two halves: what all counters of one limit have in common, and the parts.
    pub fn halves(&self) -> (&[u8], &[u8]) {
        let mut reader = Reader { rest: self.as_bytes().get(1..).unwrap_or_default() };
        // The bytes were checked when the key was made.
        let read = reader.text().is_ok() && reader.text().is_ok() && reader.len().is_ok();
        debug_assert!(read, "a key has a policy, a limit and a count");
        let bytes = self.as_bytes();
        bytes.split_at(bytes.len() - reader.rest.len())
    }

    /// The policy's name.
    pub fn policy(&self) -> &str {
        self.fields().next().unwrap_or_default()
    }

    /// The limit's id inside the policy.
    pub fn limit(&self) -> &str {
        self.fields().nth(1).unwrap_or_default()
    }

    /// What the policy's `key` took from the request, in order.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.fields().skip(2)
    }

    /// Policy, limit, parts. The bytes were checked when the key was made, so that nothing is
    /// missing and nothing is cut short here.
    fn fields(&self) -> impl Iterator<Item = &str> {
        let mut reader = Reader { rest: self.as_bytes().get(1..).unwrap_or_default() };
        let mut index = 0;
        std::iter::from_fn(move || {
            if index == 2 {
                reader.len().ok()?;
            }
            index += 1;
            reader.text().ok()
        })
    }
}

impl Borrow<[u8]> for CounterKey {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for CounterKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for CounterKey {}

impl PartialOrd for CounterKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CounterKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for CounterKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for CounterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} [", self.policy(), self.limit())?;
        for (index, part) in self.parts().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(part)?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for CounterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} {:?}", self.policy(), self.limit(), self.parts().collect::<Vec<_>>())
    }
}

/// Appends a key's canonical bytes to `out`. Bounds are not checked here but in
/// [`CounterKey::parse`].
pub fn encode(policy: &str, limit: &str, parts: &[&str], out: &mut Vec<u8>) {
    encode_prefix(policy, limit, parts.len(), out);
    for part in parts {
        encode_part(part, out);
    }
}

/// Appends everything up to the parts; `count` parts must follow.
pub(crate) fn encode_prefix(policy: &str, limit: &str, count: usize, out: &mut Vec<u8>) {
    out.push(VERSION);
    put_text(policy, out);
    put_text(limit, out);
    put_len(count, out);
}

/// Appends one part.
pub(crate) fn encode_part(part: &str, out: &mut Vec<u8>) {
    put_text(part, out);
}

/// Takes fields off the front.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, KeyError> {
        let (first, rest) = self.rest.split_first().ok_or(KeyError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    fn len(&mut self) -> Result<usize, KeyError> {
        let (len, rest) = varint::take_len(self.rest)?;
        self.rest = rest;
        Ok(len)
    }

    fn text(&mut self) -> Result<&'a str, KeyError> {
        let len = self.len()?;
        let (text, rest) = self.rest.split_at_checked(len).ok_or(KeyError::Truncated)?;
        self.rest = rest;
        std::str::from_utf8(text).map_err(|_| KeyError::NotText)
    }
}

#[cfg(test)]
mod tests;
