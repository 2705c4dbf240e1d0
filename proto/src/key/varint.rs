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
#[inline]
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    let (text, from) = (text.as_bytes(), out.len());
    match u8::try_from(text.len()) {
        // Most parts of keys: two moves of fixed length instead of a call.
        Ok(len @ 8..=32) => {
            out.extend_from_slice(&[0; 33]);
            if let Some([first, room @ ..]) = out.get_mut(from..) {
                *first = len;
                copy(text, room);
            }
            out.truncate(from + 1 + text.len());
        }
        _ => {
            put_len(text.len(), out);
            out.extend_from_slice(text);
        }
    }
}

/// Copies 8 to 32 bytes: the first and the last half, which may overlap.
#[inline]
fn copy(text: &[u8], room: &mut [u8]) {
    let Some(room) = room.get_mut(..text.len()) else { return };
    if let (Some(a), Some(b)) = (text.first_chunk::<16>(), text.last_chunk::<16>()) {
        if let Some(to) = room.first_chunk_mut::<16>() {
            *to = *a;
        }
        if let Some(to) = room.last_chunk_mut::<16>() {
            *to = *b;
        }
    } else if let (Some(a), Some(b)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        if let Some(to) = room.first_chunk_mut::<8>() {
            *to = *a;
        }
        if let Some(to) = room.last_chunk_mut::<8>() {
            *to = *b;
        }
    }
}

/// A length and the bytes after it. Three bytes reach past every bound on keys.
pub(super) fn take_len(bytes: &[u8]) -> Result<(usize, &[u8]), KeyError> {
    match bytes {
        [low, rest @ ..] if *low < 0x80 => Ok((usize::from(*low), rest)),
        // A zero high byte would be a longer spelling of a one-byte length.
        [low, high @ 1..0x80, rest @ ..] => {
            Ok((usize::from(*low & 0x7f) | usize::from(*high) << 7, rest))
        }
        [low, mid @ 0x80..=0xff, high @ 1..0x80, rest @ ..] => {
            let low = usize::from(*low & 0x7f) | usize::from(*mid & 0x7f) << 7;
            Ok((low | usize::from(*high) << 14, rest))
        }
        [_, 0x80..=0xff] | [] | [_] => Err(KeyError::Truncated),
        _ => Err(KeyError::Varint),
    }
}
