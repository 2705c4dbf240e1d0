//! The usage path with real processes over loopback: what a manager pays for each entry, and what an
//! agent pays for each further manager. See `benches/README.md`.
//!
//! CPU time is the kernel's, of the manager's process and of the agent's own threads.

#![expect(clippy::disallowed_methods, reason = "a measurement keeps time itself")]

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use gateway_agent::{Agent, Config, Request};

#[path = "usage/counting.rs"]
mod counting;
#[path = "usage/flood.rs"]
mod flood;
#[path = "usage/process.rs"]
mod process;

use counting::Counting;
use process::{Manager, cpu_of_process, cpu_of_thread};

type Failure = Box<dyn Error + Send + Sync>;

/// Counters that the agent uses.
const COUNTERS: usize = 20_000;
/// How often each of them is used per second: once per report of the agent.
const ROUNDS_PER_SECOND: u32 = 10;
/// How long an agent is watched.
const WATCH: Duration = Duration::from_secs(5);

const POLICIES: &str = "apiVersion: weir/v1
policies:
  - name: per-user
    level: api
    key: [request.tenant, request.resource, request.user]
    limits: [ { requests: 200000000000000, window: 1h } ]
";

const HELP: &str = "\
What a manager pays for each entry, and an agent for each further manager.

  --manager FILE    the traffic-manager to measure, instead of building it
";

fn main() -> ExitCode {
    match manager().and_then(|program| program.map_or(Ok(()), |program| run(&program))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("system-usage: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The manager's program; `None` when only help was asked for.
fn manager() -> Result<Option<PathBuf>, Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => process::build().map(Some),
        ["--manager", file] => Ok(Some(file.into())),
        ["-h" | "--help"] => {
            print!("{HELP}");
            Ok(None)
        }
        _ => Err(format!("unknown options {}; see --help", arguments.join(" ")).into()),
    }
}

fn run(program: &Path) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    println!("load average: {}", process::load());
    for (counters, per_frame) in [(100_000, 100), (100_000, 1_000), (1_000_000, 1_000)] {
        let manager = Manager::start(program, "tm-1", POLICIES)?;
        let flood = runtime.block_on(flood::run(&manager, counters, per_frame))?;
        println!(
            "manager, {counters} counters, frames of {per_frame}: {:.1} M entries/s, {:.0} ns CPU per \
             entry; sender {:.0} ns; resident {} MiB",
            flood.entries as f64 / flood.wall.as_secs_f64() / 1e6,
            nanos(flood.manager, flood.entries),
            nanos(flood.sender, flood.entries),
            manager.resident()? >> 20,
        );
    }
    let mut before = None;
    for managers in 1..=3 {
        let watched = runtime.block_on(watch(program, managers))?;
        let further = before
            .map_or(String::new(), |b: f64| format!(", {:+.0} for this one", watched.agent - b));
        println!(
            "agent, {COUNTERS} counters used {ROUNDS_PER_SECOND} times per second, {managers} managers: \
             {:.0} ns CPU per entry{further}; first manager {:.0} ns; {:.1} bytes per entry, {:.0} \
             bytes/s per counter and manager",
            watched.agent, watched.manager, watched.bytes_per_entry, watched.bytes_per_second,
        );
        before = Some(watched.agent);
    }
    Ok(())
}

fn nanos(time: Duration, entries: u64) -> f64 {
    time.as_nanos() as f64 / entries.max(1) as f64
}

/// What an agent and its first manager cost.
struct Watched {
    /// CPU of all threads of the agent but the one that checks, per entry sent to *one* manager.
    agent: f64,
    manager: f64,
    bytes_per_entry: f64,
    bytes_per_second: f64,
}

/// A real agent of so many real managers, with all counters in use.
async fn watch(program: &Path, managers: usize) -> Result<Watched, Failure> {
    let mut nodes = Vec::new();
    for n in 1..=managers {
        nodes.push(Manager::start(program, &format!("tm-{n}"), POLICIES)?);
    }
    let counting = Counting::start(nodes[0].grpc)?;
    // The first manager is reached through a relay that counts; its cost is the relay's own thread's.
    let mut urls = vec![format!("http://127.0.0.1:{}", counting.port)];
    urls.extend(nodes[1..].iter().map(Manager::url));
    let agent = Agent::connect(Config::new("gw-bench", urls)?)?;
    if !agent.wait_ready(Duration::from_secs(10)).await {
        return Err("the agent did not become ready".into());
    }
    let user = agent.clone();
    let checks = tokio::task::spawn_blocking(move || -> Result<Watched, Failure> {
        // Everything is named, and counters are warm, before the clock starts.
        use_all(&user, 3 * ROUNDS_PER_SECOND);
        let (entries, bytes) = (nodes[0].entries()?, counting.bytes());
        let (own, checking) = (cpu_of_process()?, cpu_of_thread());
        let (manager, relay) = (nodes[0].cpu()?, counting.cpu());
        let begun = Instant::now();
        let rounds = u32::try_from(WATCH.as_secs())? * ROUNDS_PER_SECOND;
        use_all(&user, rounds);
        let took = begun.elapsed();
        let reported = nodes[0].entries()? - entries;
        let others = (cpu_of_thread() - checking) + (counting.cpu() - relay);
        let bytes = (counting.bytes() - bytes) as f64;
        Ok(Watched {
            agent: nanos((cpu_of_process()? - own).saturating_sub(others), reported),
            manager: nanos(nodes[0].cpu()?.saturating_sub(manager), reported),
            bytes_per_entry: bytes / reported.max(1) as f64,
            bytes_per_second: bytes / took.as_secs_f64() / COUNTERS as f64,
        })
    });
    let watched = checks.await??;
    agent.shutdown().await;
    Ok(watched)
}

/// Uses every counter once per round, and keeps time.
fn use_all(agent: &Agent, rounds: u32) {
    let begun = Instant::now();
    for round in 1..=rounds {
        for n in 0..COUNTERS {
            let (tenant, user) = (format!("tenant-{:03}", n % 1_000), format!("user-{n:013}"));
            let request = Request::new().tenant(&tenant).resource("route-0001").user(&user);
            std::hint::black_box(agent.check(&request));
        }
        let due = begun + Duration::from_secs(1) / ROUNDS_PER_SECOND * round;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}
