//! Values as proxies pass them on: the client chose them, and the proxy cannot be told that one is
//! too long. Refusing would let everybody pass whose gateway fails open, and dropping the value
//! would let a client escape its limit by sending a longer one.

use std::borrow::Cow;

use weir_proto::request::MAX_VALUE_BYTES;

/// Bytes kept at the end for the checksum and its mark.
const MARK: usize = 17;

/// The value, or its beginning and a checksum of all of it: prefixes still match, and different
/// values remain different counters, on every agent the same.
pub(crate) fn shortened(value: Cow<'_, str>) -> Cow<'_, str> {
    if value.len() <= MAX_VALUE_BYTES {
        return value;
    }
    let mut ends = (0..=MAX_VALUE_BYTES - MARK).rev();
    let start = ends.find_map(|end| value.get(..end)).unwrap_or_default();
    Cow::Owned(format!("{start}#{:016x}", fnv1a(value.as_bytes())))
}

/// FNV-1a, 64 bits: fixed for ever, unlike the standard library's hash. A client that makes two
/// values collide shares a counter with itself.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_keep_their_beginning_and_stay_different() {
        assert_eq!(shortened("short".into()), "short");
        let long = |last: char| format!("/a/{}{last}", "ü".repeat(2_000));
        let (a, b) = (shortened(long('a').into()), shortened(long('b').into()));
        assert!(a.len() <= MAX_VALUE_BYTES && a.starts_with("/a/ü"), "{a}");
        assert_ne!(a, b);
        assert_eq!(shortened("x".repeat(MAX_VALUE_BYTES).into()).len(), MAX_VALUE_BYTES);
    }

    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
