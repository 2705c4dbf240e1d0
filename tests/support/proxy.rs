//! A TCP proxy that can swallow everything: what a cut cable, or a firewall that drops packets,
//! looks like to both ends. Nothing is closed, nothing arrives.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Whether anything passes.
#[derive(Default)]
struct Valve {
    shut: Mutex<bool>,
    changed: Condvar,
}

impl Valve {
    fn state(&self) -> MutexGuard<'_, bool> {
        self.shut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, shut: bool) {
        *self.state() = shut;
        self.changed.notify_all();
    }

    /// Returns once things pass.
    fn wait_open(&self) {
        let mut shut = self.state();
        while *shut {
            shut = self.changed.wait(shut).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A running proxy; it lives until the test process ends.
pub(crate) struct Proxy {
    port: u16,
    valve: Arc<Valve>,
    connections: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on a port of its own and forwards to `target` on loopback.
    pub(crate) fn start(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port for the proxy");
        let port = listener.local_addr().expect("its own address").port();
        let valve = Arc::new(Valve::default());
        let connections = Arc::new(AtomicU64::new(0));
        let (gate, counter) = (Arc::clone(&valve), Arc::clone(&connections));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let gate = Arc::clone(&gate);
                thread::spawn(move || serve(client, target, &gate));
            }
        });
        Self { port, valve, connections }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many connections were accepted, swallowed ones included.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// From now on nothing passes in either direction; connections stay, and new ones are accepted
    /// (as by a kernel whose program hangs) but lead nowhere.
    pub(crate) fn black_hole(&self) {
        self.valve.set(true);
    }

    /// Everything passes again: what was held back first, then the rest.
    pub(crate) fn heal(&self) {
        self.valve.set(false);
    }
}

fn serve(client: TcpStream, target: u16, valve: &Arc<Valve>) {
    valve.wait_open();
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else {
        return; // dropping the client's connection tells it
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let gate = Arc::clone(valve);
    thread::spawn(move || forward(from, to, &gate));
    forward(server, client, valve);
}

/// One direction, until its end.
fn forward(mut from: TcpStream, mut to: TcpStream, valve: &Valve) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer);
        // What was read while the valve was shut waits here; nothing more is read meanwhile.
        valve.wait_open();
        let Ok(count @ 1..) = read else { break };
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
