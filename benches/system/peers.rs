//! The servers that are compared, and how each is asked.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use prost::Message;
use tempfile::TempDir;
use weir_proto::wire::envoy::{
    extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor::Entry},
    service::ratelimit::v3::RateLimitRequest,
};

use crate::{
    http2::{Call, Shape, drive},
    rig::{self, Core, Server},
    table::Figure,
};

/// Keys that the load chooses from, all alike.
const KEYS: usize = 10_000;
const THROTTLECRAB: &str = "0.4.40";
/// Of a measurement's requests; the rest of its time is redis-benchmark's start.
const REDIS_TRIAL: u64 = 20_000;
const REDIS_MOST: u64 = 100_000_000;
const FIXED_WINDOW: &str = "local c = redis.call('INCR', KEYS[1]) if c == 1 then \
     redis.call('PEXPIRE', KEYS[1], ARGV[1]) end if c > tonumber(ARGV[2]) then return 0 end return 1";

/// One key for all requests of a caller, and a limit that no run reaches.
const POLICIES: &str = "
apiVersion: weir/v1
policies:
  - name: per-user
    level: api
    key: [api, user]
    limits: [ { requests: 200000000000000, window: 1h, algorithm: fixed_window } ]
";

/// A server and its load.
#[derive(Debug)]
pub(crate) struct Peer {
    name: &'static str,
    server: Server,
    load: Load,
    /// What else must run, and the files of all.
    _rest: (Option<Server>, Option<TempDir>),
}

#[derive(Debug)]
enum Load {
    Grpc(Call),
    Redis { port: u16, script: bool },
}

/// gRPC of throttlecrab-server, from its published schema.
#[derive(Clone, PartialEq, Message)]
struct ThrottleRequest {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(int32, tag = "2")]
    max_burst: i32,
    #[prost(int32, tag = "3")]
    count_per_period: i32,
    #[prost(int32, tag = "4")]
    period: i32,
    #[prost(int32, tag = "5")]
    quantity: i32,
}

impl Peer {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// An agent with a manager, which runs beside the load.
    pub(crate) fn weir(manager: &Path, agent: &Path) -> anyhow::Result<Peer> {
        let folder = tempfile::tempdir()?;
        let policies = folder.path().join("policies.yaml");
        std::fs::write(&policies, POLICIES)?;
        let listen = || anyhow::Ok((rig::free_port()?, rig::free_port()?));
        let (grpc, http) = listen()?;
        let mut command = Command::new(manager);
        command.args(["serve", "--id", "tm-1", "--policies-file"]).arg(&policies);
        command.args(addresses(grpc, http));
        let manager = Server::start(Core::Load, &mut command, grpc)?;
        let url = format!("http://127.0.0.1:{grpc}");

        let (grpc, http) = listen()?;
        let mut command = Command::new(agent);
        command.args(["run", "--id", "gw-1", "--managers", &url, "--log", "warn"]);
        command.args(addresses(grpc, http));
        let server = Server::start(Core::Server, &mut command, grpc)?;
        rig::until("the agent is ready", || is_ready(http))?;
        let body = |n| {
            let entry = |key: &str, value| Entry { key: key.to_owned(), value };
            let user = format!("tenant-{:04}/user-{n:012}", n % 100);
            let entries = vec![entry("api", "orders-v1".to_owned()), entry("user", user)];
            let descriptor = RateLimitDescriptor { entries, ..Default::default() };
            let domain = "weir".to_owned();
            framed(&RateLimitRequest { domain, descriptors: vec![descriptor], hits_addend: 0 })
        };
        let path = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
        let call = Call { port: grpc, path, bodies: (0..KEYS).map(body).collect() };
        Ok(Peer {
            name: "weir",
            server,
            load: Load::Grpc(call),
            _rest: (Some(manager), Some(folder)),
        })
    }

    /// throttlecrab-server with its own service and default store.
    pub(crate) fn throttlecrab(program: Option<&Path>) -> anyhow::Result<Peer> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => rig::install("throttlecrab-server", THROTTLECRAB)?,
        };
        let port = rig::free_port()?;
        let mut command = Command::new(program);
        command.args(["--grpc", "--grpc-host", "127.0.0.1", "--log-level", "error"]);
        command.args(["--grpc-port", &port.to_string()]);
        let server = Server::start(Core::Server, &mut command, port)?;
        let body = |n| {
            let key = format!("orders-v1/tenant-{:04}/user-{n:012}", n % 100);
            framed(&ThrottleRequest {
                key,
                max_burst: 1_000_000_000,
                count_per_period: 1_000_000_000,
                period: 3_600,
                quantity: 1,
            })
        };
        let path = "/throttlecrab.RateLimiter/Throttle";
        let call = Call { port, path, bodies: (0..KEYS).map(body).collect() };
        Ok(Peer { name: "throttlecrab", server, load: Load::Grpc(call), _rest: (None, None) })
    }

    /// Redis as a counter, or with a fixed window as a script; `None` where it is not installed.
    pub(crate) fn redis(name: &'static str, script: bool) -> anyhow::Result<Option<Peer>> {
        let Some(program) = rig::system("redis-server") else { return Ok(None) };
        let port = rig::free_port()?;
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--save", "", "--appendonly", "no"]);
        let server = Server::start(Core::Server, &mut command, port)?;
        let load = Load::Redis { port, script };
        Ok(Some(Peer { name, server, load, _rest: (None, None) }))
    }

    /// Asks for so long.
    pub(crate) fn measure(&mut self, shape: Shape, length: Duration) -> anyhow::Result<Figure> {
        let before = self.server.cpu()?;
        let (requests, took) = match &self.load {
            Load::Grpc(call) => {
                drive(call, shape, length).with_context(|| format!("{} {shape}", self.name))?
            }
            Load::Redis { port, script } => redis_benchmark(*port, *script, shape, length)?,
        };
        ensure!(requests > 0, "{} {shape}: nothing was answered", self.name);
        let cpu = self.server.cpu()?.saturating_sub(before);
        Ok(Figure {
            micros: cpu.as_secs_f64() * 1e6 / requests as f64,
            rate: requests as f64 / took.as_secs_f64(),
        })
    }
}

fn addresses(grpc: u16, http: u16) -> [String; 4] {
    let address = |port| format!("127.0.0.1:{port}");
    ["--listen-grpc".to_owned(), address(grpc), "--listen-http".to_owned(), address(http)]
}

fn is_ready(http: u16) -> bool {
    ureq::get(format!("http://127.0.0.1:{http}/readyz")).call().is_ok()
}

/// A message as gRPC sends it.
fn framed(message: &impl Message) -> Vec<u8> {
    let mut out = vec![0];
    out.extend_from_slice(&u32::try_from(message.encoded_len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(&message.encode_to_vec());
    out
}

/// Streams of gRPC are pipelined commands here.
fn redis_benchmark(
    port: u16,
    script: bool,
    shape: Shape,
    length: Duration,
) -> anyhow::Result<(u64, Duration)> {
    let program = rig::system("redis-benchmark").context("redis-benchmark is not installed")?;
    let run = |count: u64| {
        let mut command = Command::new(&program);
        command.args(["-q", "-p", &port.to_string(), "-n", &count.to_string()]);
        command.args(["-c", &shape.connections.to_string(), "-P", &shape.streams.to_string()]);
        command.args(["-r", &KEYS.to_string()]);
        if script {
            command.args(["EVAL", FIXED_WINDOW, "1", "rate:__rand_int__", "3600000", "1000000000"]);
        } else {
            command.args(["INCR", "rate:__rand_int__"]);
        }
        let began = Instant::now();
        let output = command.output().context("redis-benchmark")?;
        ensure!(output.status.success(), "redis-benchmark: {output:?}");
        anyhow::Ok(began.elapsed())
    };
    let trial = run(REDIS_TRIAL)?;
    let rate = REDIS_TRIAL as f64 / trial.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive count")]
    let count = ((rate * length.as_secs_f64()) as u64).clamp(1_000, REDIS_MOST);
    Ok((REDIS_TRIAL + count, trial + run(count)?))
}
