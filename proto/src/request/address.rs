//! A client's address and its text, without an allocation.

use std::{
    fmt::{self, Write},
    net::IpAddr,
};

/// Longest text of an address: eight groups of four digits.
const MAX_TEXT: usize = 39;

/// An address with its canonical text. Written once, because keys and equality tests want the text
/// again and again.
#[derive(Clone, Copy)]
pub(super) struct Address {
    ip: IpAddr,
    text: [u8; MAX_TEXT],
    len: u8,
}

impl Address {
    pub(super) fn new(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        let mut address = Address { ip, text: [0; MAX_TEXT], len: 0 };
        // Cannot fail: no canonical address is longer than MAX_TEXT.
        let written = write!(address, "{ip}");
        debug_assert!(written.is_ok());
        address
    }

    pub(super) fn ip(&self) -> IpAddr {
        self.ip
    }

    pub(super) fn as_str(&self) -> &str {
        let text = self.text.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl Write for Address {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let start = usize::from(self.len);
        let end = start + s.len();
        self.text.get_mut(start..end).ok_or(fmt::Error)?.copy_from_slice(s.as_bytes());
        self.len = u8::try_from(end).map_err(|_| fmt::Error)?;
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
