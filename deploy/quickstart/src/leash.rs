//! Ends a program whose parent is gone, however the parent went.

use std::io::Read;

use rustix::process::{Signal, getpid, kill_process};

/// Holds this process to its parent. The parent keeps the other end of our standard input open for
/// as long as it lives; the end of input is the end of the parent. Where the system can do so, it
/// kills us by itself, which works on a stopped process, too.
pub(crate) fn hold() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        crate::screen::complain(&format!("cannot tie this process to its parent: {error}"));
    }
    std::thread::spawn(|| {
        let mut byte = [0];
        while std::io::stdin().read(&mut byte).is_ok_and(|n| n > 0) {}
        // A process that cannot signal itself is ending already.
        let _ = kill_process(getpid(), Signal::TERM);
    });
}
