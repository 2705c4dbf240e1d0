//! A relay between an agent and a manager that counts the agent's bytes, and its own CPU time.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::process::cpu_of_thread;

#[derive(Default)]
struct Seen {
    bytes: AtomicU64,
    nanos: AtomicU64,
}

/// A relay; its threads end with their connections.
pub(crate) struct Counting {
    pub(crate) port: u16,
    seen: Arc<Seen>,
}

impl Counting {
    /// A relay to a port on loopback.
    pub(crate) fn start(to: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Seen::default());
        let counter = Arc::clone(&seen);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else { return };
                let up = (client.try_clone(), server.try_clone());
                if let (Ok(client), Ok(server)) = up {
                    let counter = Arc::clone(&counter);
                    thread::spawn(move || copy(client, server, &counter, true));
                }
                let counter = Arc::clone(&counter);
                thread::spawn(move || copy(server, client, &counter, false));
            }
        });
        Ok(Counting { port, seen })
    }

    /// Bytes that the agent has sent, HTTP/2 and gRPC framing included.
    pub(crate) fn bytes(&self) -> u64 {
        self.seen.bytes.load(Ordering::Relaxed)
    }

    /// CPU time of the relay.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.seen.nanos.load(Ordering::Relaxed))
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, seen: &Seen, upwards: bool) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 1 << 16];
    let mut before = Duration::ZERO;
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        if upwards {
            seen.bytes.fetch_add(count as u64, Ordering::Relaxed);
        }
        let now = cpu_of_thread();
        let spent = u64::try_from((now - before).as_nanos()).unwrap_or(0);
        seen.nanos.fetch_add(spent, Ordering::Relaxed);
        before = now;
    }
    let _ = to.shutdown(Shutdown::Both);
}
