//! Lengths as LEB128, in their shortest form only.

use super::KeyError;

/// Appends `len`, seven bits a byte, the lowest first.
pub(super) fn put_len(mut len: usize, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = len.to_le_bytes();
        len >>= 7;
        if len == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends `text` after its length.
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    put_len(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

/// A length and the bytes after it. Two bytes reach past every bound on keys.
pub(super) fn take_len(bytes: &[u8]) -> Result<(usize, &[u8]), KeyError> {
    match bytes {
        [low, rest @ ..] if *low < 0x80 => Ok((usize::from(*low), rest)),
        // A zero high byte would be a longer spelling of a one-byte length.
        [low, high @ 1..0x80, rest @ ..] => {
            Ok((usize::from(*low & 0x7f) | usize::from(*high) << 7, rest))
        }
        [_, _, ..] => Err(KeyError::Varint),
        _ => Err(KeyError::Truncated),
    }
}
