//! A program under test: started, watched, stopped, frozen, killed; never left behind.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::wait::wait_for;

const TAIL_LINES: usize = 30;
/// How a Rust program's panic begins in its log: `thread 'main' panicked at …`.
const PANIC: &str = "panicked at";

/// A running program. Dropping it kills it, prints the end of its log if the test is failing, and
/// fails the test if the program ever panicked.
pub(crate) struct Process {
    name: String,
    child: Mutex<Child>,
    folder: TempDir,
}

impl Process {
    /// Starts `program`, its output going to a log.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub(crate) fn start(name: &str, program: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args);
        Self::start_command(name, command)
    }

    /// Starts a program with an environment or a folder of its own.
    #[track_caller]
    pub(crate) fn start_command(name: &str, mut command: Command) -> Self {
        let folder = tempfile::Builder::new().prefix("weir-test-").tempdir().expect("a folder");
        let log = File::create(folder.path().join("log")).expect("a log file");
        let errors = log.try_clone().expect("a second handle of the log");
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{name}: cannot start {:?}: {e}", command.get_program()));
        Self { name: name.to_owned(), child: Mutex::new(child), folder }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child().id()
    }

    /// A folder for its files (configuration, store), which goes when the guard goes.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How it ended, if it did.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        self.child().try_wait().expect("a child of ours")
    }

    pub(crate) fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// As a crash or `kill -9` does: no clean-up. Returns when it is gone.
    pub(crate) fn kill(&self) {
        let mut child = self.child();
        child.kill().expect("a child of ours can be killed");
        child.wait().expect("a killed child ends");
    }

    /// Freezes it: connections stay open, nothing answers (half-open TCP).
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends the freeze.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to end in good order, and waits for that.
    ///
    /// # Panics
    /// When it is still running after `within`.
    #[track_caller]
    pub(crate) fn terminate(&self, within: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        let what = format!("{} ends after SIGTERM", self.name);
        wait_for(&what, within, &[self], || self.exit_status())
    }

    /// As [`Process::terminate`], the way Ctrl-C does it.
    #[track_caller]
    pub(crate) fn interrupt(&self, within: Duration) -> ExitStatus {
        self.signal(Signal::INT);
        let what = format!("{} ends after SIGINT", self.name);
        wait_for(&what, within, &[self], || self.exit_status())
    }

    /// As [`Process::terminate`], by SIGQUIT: `PostgreSQL` then cuts its sessions.
    #[track_caller]
    pub(crate) fn terminate_at_once(&self, within: Duration) -> ExitStatus {
        self.signal(Signal::QUIT);
        let what = format!("{} ends after SIGQUIT", self.name);
        wait_for(&what, within, &[self], || self.exit_status())
    }

    /// All that it wrote.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.folder.path().join("log")).expect("the log file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines that it wrote, under its name.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        let state = self.exit_status().map_or("running".to_owned(), |status| status.to_string());
        format!("--- {} ({state}) ---\n{tail}\n", self.name)
    }

    /// A no-op when the program has ended and its status was taken.
    fn signal(&self, signal: Signal) {
        let mut child = self.child();
        if child.try_wait().expect("a child of ours").is_none() {
            kill_process(Pid::from_child(&child), signal).expect("a running child takes signals");
        }
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
        let mut child = self.child();
        // It may have ended by itself; there is nothing to do about any other error.
        let _ = child.kill();
        let _ = child.wait();
        drop(child);
        let log = self.log();
        if let Some(at) = log.find(PANIC)
            && !thread::panicking()
        {
            let report: Vec<&str> = log[at..].lines().take(TAIL_LINES).collect();
            panic!("{} panicked:\n{}", self.name, report.join("\n"));
        }
    }
}

/// A program of this workspace, as built by the profile of the running test.
pub(crate) fn weir_binary(name: &str) -> Result<PathBuf, String> {
    let test = env::current_exe().map_err(|e| format!("cannot find the running test: {e}"))?;
    let folder = test.parent().and_then(Path::parent).ok_or("a test stands in deps/")?;
    let binary = folder.join(name);
    if binary.is_file() {
        return Ok(binary);
    }
    Err(format!("{name} is not built: run tests/run, or cargo build --workspace --bins"))
}
