//! What a decision costs over the network: Weir's agent beside throttlecrab-server and Redis, each as
//! a real process on loopback, in turns, in one run.
//!
//! ```text
//! cargo run --release -p weir-benches --bin system-rls -- --help
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

mod http2;
mod peers;
mod rig;
mod table;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail, ensure};

use self::{http2::Shape, peers::Peer, table::Table};

const HELP: &str = "\
CPU time of the server per request, and requests per second, one core each for server and load.

  --seconds N         length of each measurement, 1 to 60 (3)
  --repeats N         measurements of each row, interleaved; the median is shown, 1 to 20 (5)
  --shapes A,B        connections x streams (2x50,2x8,16x1)
  --only NAME,NAME    weir, throttlecrab, redis-incr, redis-lua (all that are there)
  --throttlecrab FILE the program, instead of installing it below the target folder
  --no-build          take the programs of Weir as they are, beside this one
  --manager FILE      take this traffic-manager, and build nothing
  --agent FILE        take this gateway-agent, and build nothing
";

/// What the command line asks for.
struct Options {
    seconds: Duration,
    repeats: usize,
    shapes: Vec<Shape>,
    only: Vec<String>,
    throttlecrab: Option<PathBuf>,
    build: bool,
    manager: Option<PathBuf>,
    agent: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = options().and_then(|options| options.map_or(Ok(()), |options| run(&options)));
    if let Err(error) = outcome {
        eprintln!("system-rls: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// `None` when only help was asked for.
fn options() -> anyhow::Result<Option<Options>> {
    let mut options = Options {
        seconds: Duration::from_secs(3),
        repeats: 5,
        shapes: ["2x50", "2x8", "16x1"].map(Shape::parse).into_iter().collect::<Result<_, _>>()?,
        only: Vec::new(),
        throttlecrab: None,
        build: true,
        manager: None,
        agent: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if ["-h", "--help"].contains(&&*name) {
            print!("{HELP}");
            return Ok(None);
        }
        if name == "--no-build" {
            options.build = false;
            continue;
        }
        let value = arguments.next().with_context(|| format!("{name} has no value; see --help"))?;
        let number = |most: usize| {
            let number: usize = value.parse().with_context(|| format!("{name} {value}"))?;
            ensure!((1..=most).contains(&number), "{name} is {number}; it may be 1 to {most}");
            Ok(number)
        };
        match &*name {
            "--seconds" => options.seconds = Duration::from_secs(number(60)? as u64),
            "--repeats" => options.repeats = number(20)?,
            "--shapes" => {
                options.shapes = value.split(',').map(Shape::parse).collect::<Result<_, _>>()?;
            }
            "--only" => options.only = value.split(',').map(str::to_owned).collect(),
            "--manager" => options.manager = Some(value.into()),
            "--agent" => options.agent = Some(value.into()),
            "--throttlecrab" => options.throttlecrab = Some(value.into()),
            _ => bail!("unknown option {name}; see --help"),
        }
    }
    Ok(Some(options))
}

fn run(options: &Options) -> anyhow::Result<()> {
    let mut peers = start(options)?;
    let mut table = Table::new(peers.iter().map(|peer| peer.name()).collect());
    for shape in &options.shapes {
        for peer in &mut peers {
            // Opens the counters and warms everything up.
            peer.measure(*shape, Duration::from_millis(500))?;
        }
        for repeat in 0..options.repeats {
            // Every row is first, second, … equally often.
            for turn in 0..peers.len() {
                let place = (turn + repeat) % peers.len();
                if let Some(peer) = peers.get_mut(place) {
                    table.add(*shape, place, peer.measure(*shape, options.seconds)?);
                }
            }
            eprintln!("{shape}: {} of {}", repeat + 1, options.repeats);
        }
    }
    print!("{table}");
    Ok(())
}

fn start(options: &Options) -> anyhow::Result<Vec<Peer>> {
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|n| n == name);
    let mut peers = Vec::new();
    if wanted("weir") {
        let given = options.manager.is_some() || options.agent.is_some();
        let folder = rig::weir(options.build && !given)?;
        let program = |given: &Option<PathBuf>, name| given.clone().unwrap_or(folder.join(name));
        let manager = program(&options.manager, "traffic-manager");
        peers.push(Peer::weir(&manager, &program(&options.agent, "gateway-agent"))?);
    }
    if wanted("throttlecrab") {
        peers.push(Peer::throttlecrab(options.throttlecrab.as_deref())?);
    }
    for (name, script) in [("redis-incr", false), ("redis-lua", true)] {
        if wanted(name) {
            match Peer::redis(name, script)? {
                Some(peer) => peers.push(peer),
                None => eprintln!("{name}: skipped; redis-server is not installed"),
            }
        }
    }
    ensure!(!peers.is_empty(), "nothing to measure: --only {}", options.only.join(","));
    Ok(peers)
}
