//! One program of the town: its arguments, its process, its log.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};

/// Lines of a log that are shown when its program fails to start.
const TAIL: usize = 8;

/// A program, running or not.
#[derive(Debug)]
pub(crate) struct Part {
    /// `tm-1`, as it calls itself.
    pub(crate) name: &'static str,
    arguments: Vec<String>,
    log: PathBuf,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    pid: u32,
    /// Closed when we end, which ends the program: see `leash`.
    _leash: Option<ChildStdin>,
}

impl Part {
    /// A program that this one becomes by these arguments; it logs into `folder`.
    pub(crate) fn new(name: &'static str, folder: &Path, arguments: Vec<String>) -> Self {
        Self { name, arguments, log: folder.join(format!("{name}.log")), running: None }
    }

    /// Starts it. Whoever gets the child waits for it, and then says [`Part::ended`].
    pub(crate) fn start(&mut self) -> anyhow::Result<Child> {
        let failed = || format!("cannot start {}", self.name);
        let program = std::env::current_exe().with_context(failed)?;
        let log = File::options().create(true).append(true).open(&self.log).with_context(failed)?;
        let mut child = Command::new(program)
            .args(&self.arguments)
            // Variables that configure programs for real must not reach these.
            .env_clear()
            .env("NO_COLOR", "1")
            // Ctrl-C is for the parent, which ends the programs in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().with_context(failed)?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(failed)?;
        let pid = child.id().with_context(failed)?;
        self.running = Some(Running { pid, _leash: child.stdin.take() });
        Ok(child)
    }

    /// Its process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.pid)
    }

    /// The process was waited for: its number may belong to another one from now on.
    pub(crate) fn ended(&mut self) {
        self.running = None;
    }

    /// Sends a signal, if it runs.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended in this moment.
            let _ = kill_process(pid, signal);
        }
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(TAIL);
        lines.get(from..).unwrap_or_default().join("\n")
    }
}

/// How a process ended, in words.
pub(crate) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(9), _) => "was killed (signal 9)".to_owned(),
        (Some(signal), _) => format!("was ended by signal {signal}"),
        (None, Some(0)) => "ended by itself".to_owned(),
        (None, code) => format!("failed with exit code {}", code.unwrap_or_default()),
    }
}
