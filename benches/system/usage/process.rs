//! A traffic manager in a process of its own, and CPU time as the kernel counts it.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use crate::Failure;

/// A running traffic manager; killed when dropped.
pub(crate) struct Manager {
    child: Child,
    pub(crate) grpc: u16,
    http: u16,
    policies: PathBuf,
}

impl Manager {
    /// Starts one with these policies.
    pub(crate) fn start(program: &Path, id: &str, policies: &str) -> Result<Self, Failure> {
        let (grpc, http) = (free_port()?, free_port()?);
        let name = format!("weir-bench-{}-{id}.yaml", std::process::id());
        let file = std::env::temp_dir().join(name);
        fs::write(&file, policies)?;
        let child = Command::new(program)
            .args(["serve", "--id", id, "--max-counters", "2000000"])
            .args(["--listen-grpc", &format!("127.0.0.1:{grpc}")])
            .args(["--listen-http", &format!("127.0.0.1:{http}")])
            .args([Path::new("--policies-file"), &file])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let manager = Manager { child, grpc, http, policies: file };
        let begun = Instant::now();
        while manager.get("/metrics").is_err() {
            if begun.elapsed() > Duration::from_secs(10) {
                return Err("the traffic manager does not answer".into());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(manager)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    fn get(&self, path: &str) -> Result<String, Failure> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.http))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Usage entries merged since it started.
    pub(crate) fn entries(&self) -> Result<u64, Failure> {
        let text = self.get("/metrics")?;
        let line = text.lines().find(|l| l.starts_with("weir_manager_usage_entries_total "));
        let value = line.and_then(|line| line.rsplit(' ').next()).ok_or("no such metric")?;
        Ok(value.parse()?)
    }

    /// CPU time of all its threads.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        cpu_of(&format!("/proc/{}/task", self.child.id()))
    }

    /// Resident bytes.
    pub(crate) fn resident(&self) -> Result<usize, Failure> {
        let text = fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        let pages = text.split(' ').nth(1).ok_or("statm has one field")?;
        Ok(pages.parse::<usize>()? * 4_096)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // A process that is gone already needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.policies);
    }
}

/// The manager's program beside this one, built if it is missing or older.
pub(crate) fn build() -> Result<PathBuf, Failure> {
    // Both programs in one call, as `system-rls` does: another choice of packages is another choice of
    // their libraries' features, and a build from the beginning.
    let status = Command::new("cargo")
        .args(["build", "--release", "-p", "traffic-manager", "-p", "gateway-agent"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    let program = std::env::current_exe()?.with_file_name("traffic-manager");
    if status.success() && program.exists() {
        return Ok(program);
    }
    Err(format!("{} could not be built; run this with --release", program.display()).into())
}

fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Time on a CPU of all threads of a process. A thread that has ended counts no more.
fn cpu_of(tasks: &str) -> Result<Duration, Failure> {
    let mut nanos = 0;
    for task in fs::read_dir(tasks)? {
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanos += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

/// CPU time of this process.
pub(crate) fn cpu_of_process() -> Result<Duration, Failure> {
    Ok(time(ClockId::ProcessCPUTime))
}

/// CPU time of this thread.
pub(crate) fn cpu_of_thread() -> Duration {
    time(ClockId::ThreadCPUTime)
}

fn time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(secs) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// The machine's load averages.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
