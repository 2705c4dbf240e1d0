//! Bytes that no honest client sends, and a gRPC codec that sends any.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    thread,
    time::Duration,
};

use bytes::{Buf, BufMut};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// An empty HTTP/2 settings frame: what a client says first.
pub(crate) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const PATIENCE: Duration = Duration::from_secs(15);

/// The head of an HTTP/1.1 request; `headers` are lines that end with `\r\n`.
pub(crate) fn http_request(method: &str, path: &str, headers: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         connection: close\r\n{headers}\r\n"
    )
}

/// How much of an answer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Its first bytes.
    Head,
    /// All of it.
    Final,
    /// None: everything is sent, and the connection is closed.
    Nothing,
}

/// What came back, and whether all was sent before the peer hung up.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) reset: bool,
}

impl Answer {
    /// The status of the last head in it.
    pub(crate) fn status(&self) -> Option<u16> {
        let at = self.text.rfind("HTTP/1.1 ")? + "HTTP/1.1 ".len();
        self.text.get(at..at + 3)?.parse().ok()
    }

    /// Refused in words, or by hanging up on a client that was still sending.
    pub(crate) fn is_refusal(&self) -> bool {
        match self.status() {
            Some(status) => (400..500).contains(&status),
            None => self.reset,
        }
    }
}

/// Sends the parts to a port on loopback, and reads at the same time.
///
/// # Panics
/// When the peer neither answers nor hangs up within 15 s.
#[track_caller]
pub(crate) fn talk(port: u16, parts: &[&[u8]], wanted: Reply) -> Answer {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    let mut from = stream.try_clone().expect("a second handle");
    let reader = thread::spawn(move || read(&mut from, wanted));
    let sent = parts.iter().try_for_each(|part| stream.write_all(part));
    if wanted == Reply::Nothing {
        let _ = stream.shutdown(Shutdown::Both);
    }
    let (bytes, end) = reader.join().expect("the reader does not panic");
    let timed_out = |e: &std::io::Error| {
        matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
    };
    let hung = end.as_ref().is_some_and(timed_out) || sent.as_ref().is_err_and(timed_out);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(!hung, "neither an answer nor an end within {PATIENCE:?}; got {text:?}");
    Answer { text, reset: sent.is_err() || end.is_some() }
}

fn read(from: &mut TcpStream, wanted: Reply) -> (Vec<u8>, Option<std::io::Error>) {
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match from.read(&mut part) {
            Ok(0) => return (all, None),
            Ok(count) => all.extend_from_slice(&part[..count]),
            Err(error) => return (all, Some(error)),
        }
        if wanted == Reply::Head {
            return (all, None);
        }
    }
}

/// Bytes without sense, the same in every run (xorshift).
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_le_bytes()[3]
        };
        std::iter::repeat_with(next).take(count).collect()
    }
}

/// Messages are bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RawCodec;

impl Codec for RawCodec {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = RawCodec;
    type Decoder = RawCodec;

    fn encoder(&mut self) -> RawCodec {
        RawCodec
    }

    fn decoder(&mut self) -> RawCodec {
        RawCodec
    }
}

impl Encoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}
