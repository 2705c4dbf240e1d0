//! Free TCP ports for programs that a test starts, distinct even between test processes.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    process,
    sync::Mutex,
};

use rustix::fs::{FlockOperation, flock};

/// Below the range from which systems take ports for outgoing connections: a program that is killed
/// and restarted finds its port still free.
const RANGE: Range<u16> = 12_000..32_000;

/// Locks on the ports that this process has handed out; the system drops them when it ends.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port on loopback that nobody listens on and no other test gets while this process lives.
///
/// # Panics
/// When none is left.
pub(crate) fn free_port() -> u16 {
    let user = rustix::process::getuid().as_raw();
    let folder = std::env::temp_dir().join(format!("weir-test-ports-{user}"));
    fs::create_dir_all(&folder).expect("a folder for port locks");
    let mut taken = TAKEN.lock().expect("nobody panics while taking a port");
    let first = process::id().wrapping_mul(61) % u32::try_from(RANGE.len()).expect("it fits");
    for port in RANGE.cycle_from(first) {
        let Ok(lock) = File::create(folder.join(port.to_string())) else {
            continue;
        };
        let ours = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        if ours && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.push(lock);
            return port;
        }
    }
    panic!("no free port in {RANGE:?}");
}

/// `N` distinct free ports.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    std::array::from_fn(|_| free_port())
}

trait CycleFrom {
    /// The whole range once, beginning `offset` after its start.
    fn cycle_from(&self, offset: u32) -> impl Iterator<Item = u16>;
}

impl CycleFrom for Range<u16> {
    fn cycle_from(&self, offset: u32) -> impl Iterator<Item = u16> {
        self.clone().cycle().skip(offset as usize).take(self.len())
    }
}
