//! Bearer tokens: 256 random bits that are shown once; what is kept is their SHA-256.

use std::fmt;

use aws_lc_rs::{constant_time, digest, rand};
use serde::Deserialize;

/// How a token begins, so that scanners of leaked secrets can know it.
const PREFIX: &str = "weir_";
/// Random bytes in a token.
const LENGTH: usize = 32;

/// The SHA-256 of a token. A token has 256 random bits, so that a plain hash cannot be turned back.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TokenHash([u8; LENGTH]);

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &[u8]) -> TokenHash {
        let mut bytes = [0; LENGTH];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
        TokenHash(bytes)
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(hex: &str) -> Option<TokenHash> {
        if hex.len() != 2 * LENGTH || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; LENGTH];
        for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(TokenHash(bytes))
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    pub(super) fn is(&self, other: &TokenHash) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(hex: String) -> Result<TokenHash, &'static str> {
        // What was written is not repeated: it may be the token itself.
        TokenHash::parse(&hex).ok_or(
            "sha256 is not a hash: write the 64 hexadecimal digits that `traffic-manager token \
             new` printed, never the token",
        )
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for TokenHash {
    /// The first digits: enough to find the line in a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", hex(&self.0[..4]))
    }
}

/// A secret that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a token as it is; white space around it, as files have it, is dropped.
    pub fn new(text: &str) -> Secret {
        Secret(text.trim().to_owned())
    }

    /// For the one who sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A new token.
///
/// # Errors
/// The system has no randomness to give.
pub fn generate() -> Result<Secret, String> {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes).map_err(|_| "the system gives no random bytes".to_owned())?;
    Ok(Secret(format!("{PREFIX}{}", hex(&bytes))))
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_hash_alone() {
        let token = generate().unwrap();
        assert!(token.expose().starts_with(PREFIX) && token.expose().len() == 69);
        assert_ne!(token, generate().unwrap());
        let hash = TokenHash::of(token.expose().as_bytes());
        assert_eq!(TokenHash::parse(&hash.to_string()), Some(hash));
        assert!(hash.is(&TokenHash::of(token.expose().as_bytes())));
        assert!(!hash.is(&TokenHash::of(b"weir_other")));
    }

    #[test]
    fn the_hash_is_sha_256() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(TokenHash::of(b"").to_string(), empty);
        for bad in ["", "e3", &"g".repeat(64), &"+0".repeat(32), &"ü".repeat(32)] {
            assert_eq!(TokenHash::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let text = format!("{:?}", Secret::new("weir_abc\n"));
        assert_eq!(text, "(secret)");
        assert_eq!(Secret::new("weir_abc\n").expose(), "weir_abc");
    }
}
