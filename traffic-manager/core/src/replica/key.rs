//! Keys and values as the store has them. A value begins with the version of its encoding.

use bytes::{BufMut, Bytes, BytesMut};
use weir_proto::{
    id::MAX_NAME,
    peer::{Entry, EntryKey, MAX_PARTS, MAX_TEXT, size::MAX_ENTRY_BYTES},
    policy::MAX_POLICY_NAME,
};

use super::LoadError;

/// First byte of every value.
const VALUE_VERSION: u8 = 1;
/// The key of what this manager alone keeps: the highest number of a register that it swept.
pub(super) const FLOOR: &[u8] = b"\0floor";

/// Longest key of an entry, in bytes: a store must take it.
pub const MAX_STORED_KEY: usize = {
    let policy = 1 + MAX_POLICY_NAME;
    let audit = 1 + (4 + MAX_NAME) + 2 * 8;
    let usage = 1 + 2 * 8 + (2 + MAX_PARTS) * (4 + MAX_TEXT);
    let records = if audit > usage { audit } else { usage };
    if policy > records { policy } else { records }
};
/// Longest value of an entry, in bytes: a store must take it.
pub const MAX_STORED_VALUE: usize = 1 + MAX_ENTRY_BYTES;

const POLICY: u8 = 1;
const AUDIT: u8 = 2;
const USAGE: u8 = 3;

/// One key, one encoding, on all managers.
pub(super) fn encode(key: &EntryKey) -> Bytes {
    let mut out = BytesMut::new();
    match key {
        EntryKey::Policy(name) => {
            out.put_u8(POLICY);
            out.put_slice(name.as_str().as_bytes());
        }
        EntryKey::Audit(key) => {
            out.put_u8(AUDIT);
            text(&mut out, key.origin.id.as_str());
            out.put_u64(key.origin.incarnation);
            out.put_u64(key.seq);
        }
        EntryKey::Usage(key) => {
            out.put_u8(USAGE);
            text(&mut out, &key.policy);
            text(&mut out, &key.limit);
            out.put_u64(key.start_secs);
            out.put_u64(key.length_secs);
            key.key.iter().for_each(|part| text(&mut out, part));
        }
    }
    out.freeze()
}

fn text(out: &mut BytesMut, text: &str) {
    out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.put_slice(text.as_bytes());
}

/// An entry's value.
pub(super) fn value(entry: &Entry) -> Bytes {
    let body = entry.encode();
    let mut out = BytesMut::with_capacity(body.len() + 1);
    out.put_u8(VALUE_VERSION);
    out.put_slice(&body);
    out.freeze()
}

/// Reads what [`encode`] and [`value`] wrote.
pub(super) fn read(key: &[u8], value: &[u8]) -> Result<Entry, LoadError> {
    let fault = |problem: String| LoadError { key: readable(key), problem };
    let body = match value.split_first() {
        Some((&VALUE_VERSION, body)) => body,
        Some((version, _)) => {
            return Err(fault(format!(
                "its encoding is version {version}, this build reads version {VALUE_VERSION}"
            )));
        }
        None => return Err(fault("it is empty".to_owned())),
    };
    let entry = Entry::decode(body).map_err(|error| fault(error.to_string()))?;
    if encode(&entry.key()) != key {
        return Err(fault("it holds another entry than its key says".to_owned()));
    }
    Ok(entry)
}

/// The highest swept number.
pub(super) fn floor(floor: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(9);
    out.put_u8(VALUE_VERSION);
    out.put_u64(floor);
    out.freeze()
}

/// Reads what [`floor`] wrote.
pub(super) fn read_floor(value: &[u8]) -> Result<u64, LoadError> {
    let number = match value.split_first() {
        Some((&VALUE_VERSION, rest)) => rest.try_into().ok().map(u64::from_be_bytes),
        _ => None,
    };
    let problem = || "it is not a number of this version".to_owned();
    number.ok_or_else(|| LoadError { key: readable(FLOOR), problem: problem() })
}

/// A key for people: what is no text is escaped.
pub(super) fn readable(key: &[u8]) -> String {
    let kind = match key.first() {
        Some(&POLICY) => "policy",
        Some(&AUDIT) => "audit",
        Some(&USAGE) => "usage",
        _ => "local",
    };
    let rest = key.get(1..).unwrap_or_default();
    format!("{kind} \"{}\"", rest.escape_ascii())
}
