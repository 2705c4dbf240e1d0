//! Processes under measurement: found or built, pinned, watched, ended.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::{
    param::clock_ticks_per_second,
    thread::{CpuSet, sched_setaffinity},
};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);

/// Who runs where, on machines with two cores or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Core {
    /// What is measured.
    Server = 0,
    /// The load, and helpers such as the manager.
    Load = 1,
}

/// Ties this thread, and what it starts, to a core; says nothing where that is not possible.
pub(crate) fn pin(core: Core) {
    let mut cores = CpuSet::new();
    cores.set(core as usize);
    let _ = sched_setaffinity(None, &cores);
}

/// A running server; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    child: Child,
}

impl Server {
    /// Starts a program, and waits until something listens on `port`.
    pub(crate) fn start(core: Core, command: &mut Command, port: u16) -> anyhow::Result<Server> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        pin(core);
        let child = command.spawn().with_context(|| format!("cannot start {name}"));
        pin(Core::Load);
        let mut server = Server { name, child: child? };
        let end = Instant::now() + START;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{} ended at once: {status}", server.name);
            }
            ensure!(Instant::now() < end, "{} does not listen on {port}", server.name);
            pause();
        }
        Ok(server)
    }

    /// CPU time of all its threads so far, by the kernel's account.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(&path).with_context(|| format!("{path}: Linux only"))?;
        // The name before may hold anything but the last parenthesis.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: Vec<u64> =
            fields.split_whitespace().skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
        ensure!(ticks.len() == 2, "{path} is strange: {stat}");
        let per_second = clock_ticks_per_second() as f64;
        Ok(Duration::from_secs_f64(ticks.iter().sum::<u64>() as f64 / per_second))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a look succeeds.
pub(crate) fn until(what: &str, mut look: impl FnMut() -> bool) -> anyhow::Result<()> {
    let end = Instant::now() + START;
    while !look() {
        ensure!(Instant::now() < end, "waited in vain until {what}");
        pause();
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a condition")]
fn pause() {
    thread::sleep(Duration::from_millis(20));
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The folder that holds this program and the others of the workspace.
fn bin_folder() -> anyhow::Result<PathBuf> {
    let me = env::current_exe()?;
    Ok(me.parent().context("a program is in a folder")?.to_owned())
}

/// The folder of Weir's programs, release builds, made now if `build` says so.
pub(crate) fn weir(build: bool) -> anyhow::Result<PathBuf> {
    if build {
        // Both at once, for features that one of them asks of a library change the other's build.
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "-p", "traffic-manager", "-p", "gateway-agent"]);
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        ensure!(cargo.status()?.success(), "cargo build failed");
    }
    bin_folder()
}

/// A published program, installed once below the target folder.
pub(crate) fn install(name: &str, version: &str) -> anyhow::Result<PathBuf> {
    let folder = bin_folder()?.with_file_name(format!("{name}-{version}"));
    let program = folder.join("bin").join(name);
    if !program.is_file() {
        eprintln!("installing {name} {version} into {}; its build needs protoc", folder.display());
        let mut cargo = Command::new("cargo");
        cargo.args(["install", name, "--version", version, "--locked", "--quiet", "--root"]);
        ensure!(cargo.arg(&folder).status()?.success(), "cargo install {name} failed");
    }
    Ok(program)
}

/// A program of the system.
pub(crate) fn system(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];
    folders.iter().map(|folder| Path::new(folder).join(name)).find(|program| program.is_file())
}
