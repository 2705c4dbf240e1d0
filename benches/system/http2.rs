//! A load generator: unary gRPC calls over a hand-written, blocking HTTP/2 client, a thread for each
//! connection. Requests are encoded beforehand, and headers are indexed after a connection's first
//! call, as by real clients; so the load is cheap beside what it measures.

use std::{
    fmt,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const FRAME_HEAD: usize = 9;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a server may send on a connection before it is given more room.
const WINDOW: u32 = 16 << 20;
/// What it has by the standard.
const DEFAULT_WINDOW: u32 = 65_535;
/// A server that is silent for so long is broken.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections and calls open at a time on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) streams: usize,
}

impl Shape {
    /// `2x50`.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Shape> {
        let (connections, streams) = text.split_once('x').context("a shape is like 2x50")?;
        let shape = Shape { connections: connections.parse()?, streams: streams.parse()? };
        ensure!((1..=64).contains(&shape.connections), "{text}: 1 to 64 connections");
        ensure!((1..=512).contains(&shape.streams), "{text}: 1 to 512 streams");
        Ok(shape)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.connections, self.streams)
    }
}

/// What is called, and with what.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) port: u16,
    pub(crate) path: &'static str,
    /// Messages, each with gRPC's prefix; taken at random.
    pub(crate) bodies: Vec<Vec<u8>>,
}

/// Makes calls for so long; tells how many were answered, and in which time.
pub(crate) fn drive(
    call: &Call,
    shape: Shape,
    length: Duration,
) -> anyhow::Result<(u64, Duration)> {
    let began = Instant::now();
    let answered = thread::scope(|scope| {
        let threads: Vec<_> = (0..shape.connections)
            .map(|seed| {
                scope.spawn(move || {
                    let mut connection = Connection::open(call, seed as u64 + 1)?;
                    connection.run(shape.streams, began + length)
                })
            })
            .collect();
        let mut sum = 0;
        for thread in threads {
            sum += thread.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        }
        anyhow::Ok(sum)
    })?;
    Ok((answered, began.elapsed()))
}

struct Connection<'a> {
    call: &'a Call,
    stream: TcpStream,
    out: Vec<u8>,
    /// Bytes not yet understood.
    inbox: Vec<u8>,
    next_stream: u32,
    /// What may still be sent.
    send_window: i64,
    received: u32,
    random: u64,
    /// Calls with a message in the answer, and no end yet.
    messages: u64,
}

impl<'a> Connection<'a> {
    fn open(call: &'a Call, seed: u64) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", call.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut out = PREFACE.to_vec();
        frame(&mut out, SETTINGS, 0, 0, &[]);
        frame(&mut out, WINDOW_UPDATE, 0, 0, &(WINDOW - DEFAULT_WINDOW).to_be_bytes());
        Ok(Self {
            call,
            stream,
            out,
            inbox: Vec::with_capacity(1 << 17),
            next_stream: 1,
            send_window: i64::from(DEFAULT_WINDOW),
            received: 0,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            messages: 0,
        })
    }

    fn run(&mut self, streams: usize, end: Instant) -> anyhow::Result<u64> {
        let (mut open, mut answered) = (0, 0);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let over = Instant::now() >= end;
            while open < streams && !over && self.ask() {
                open += 1;
            }
            if over && open == 0 {
                return Ok(answered);
            }
            self.stream.write_all(&self.out)?;
            self.out.clear();
            let read = self.stream.read(&mut buffer).context("the server does not answer")?;
            ensure!(read > 0, "the server closed the connection");
            self.inbox.extend_from_slice(buffer.get(..read).unwrap_or_default());
            let done = self.take_in()?;
            answered += done;
            open -= usize::try_from(done)?;
        }
    }

    /// One more call; `false` when the server has no room for it yet.
    fn ask(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let place = usize::try_from(self.random >> 33).unwrap_or_default() % self.call.bodies.len();
        let Some(body) = self.call.bodies.get(place) else { return false };
        if self.send_window < body.len() as i64 {
            return false;
        }
        self.send_window -= body.len() as i64;
        let block = if self.next_stream == 1 { self.first_headers() } else { INDEXED.to_vec() };
        frame(&mut self.out, HEADERS, END_HEADERS, self.next_stream, &block);
        frame(&mut self.out, DATA, END_STREAM, self.next_stream, body);
        self.next_stream += 2;
        true
    }

    /// All headers in letters, to be indexed from then on (RFC 7541, 6.2.1).
    fn first_headers(&self) -> Vec<u8> {
        // `:method: POST` and `:scheme: http` are in the static table.
        let mut block = vec![0x83, 0x86];
        let authority = format!("127.0.0.1:{}", self.call.port);
        for (name, value) in [
            (":path", self.call.path),
            (":authority", &authority),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", "weir-bench"),
        ] {
            block.push(0x40);
            for text in [name, value] {
                // Below 127, so that the length is one byte.
                block.push(u8::try_from(text.len()).unwrap_or_default());
                block.extend_from_slice(text.as_bytes());
            }
        }
        block
    }

    /// Understands what has come; tells how many calls are answered.
    fn take_in(&mut self) -> anyhow::Result<u64> {
        let mut answered = 0;
        let mut at = 0;
        while let Some(head) = self.inbox.get(at..at + FRAME_HEAD) {
            let [a, b, c, kind, flags, ..] = *head else { break };
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            let start = at + FRAME_HEAD;
            let Some(payload) = self.inbox.get(start..start + length) else { break };
            let on_stream = head.get(5..) != Some(&[0; 4]);
            match kind {
                DATA => {
                    self.received += u32::try_from(length)?;
                    self.messages += 1;
                    ensure!(flags & END_STREAM == 0, "an answer without grpc-status");
                }
                HEADERS if flags & END_STREAM != 0 => {
                    ensure!(self.messages > 0, "an error instead of an answer: {payload:?}");
                    self.messages -= 1;
                    answered += 1;
                }
                HEADERS => {}
                SETTINGS if flags & ACK == 0 => frame(&mut self.out, SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => {
                    let echo = payload.to_vec();
                    frame(&mut self.out, PING, ACK, 0, &echo);
                }
                WINDOW_UPDATE if !on_stream => {
                    let bytes: [u8; 4] = payload.try_into()?;
                    self.send_window += i64::from(u32::from_be_bytes(bytes));
                }
                RST_STREAM | GOAWAY => bail!("the server gave up: frame {kind}, {payload:?}"),
                _ => {}
            }
            at = start + length;
        }
        self.inbox.drain(..at);
        if self.received > WINDOW / 2 {
            let room = self.received.to_be_bytes();
            frame(&mut self.out, WINDOW_UPDATE, 0, 0, &room);
            self.received = 0;
        }
        Ok(answered)
    }
}

/// The same headers by their places in the tables: the newest entry is 62.
const INDEXED: &[u8] = &[0x83, 0x86, 0x80 | 66, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62];

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    out.extend_from_slice(length.get(1..).unwrap_or_default());
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}
