//! A real Envoy asks an agent about every request.

mod support;

use std::time::Duration;

use support::{
    envoy,
    fleet::{Fleet, Plan, SOON},
    http::{self, Response},
    peers::or_skip,
    ports::free_ports,
    process::Process,
    upstream::Upstream,
    wait::{wait_for_room, wait_until},
};

const MINUTE: Duration = Duration::from_secs(60);
/// What the test may take on a slow machine, start-up included.
const ROOM: Duration = Duration::from_secs(25);

const POLICIES: &str = r"
apiVersion: weir/v1
policies:
  - name: per-application
    level: application
    key: [application]
    limits: [ { requests: 100, window: 1m, algorithm: fixed_window } ]
";

struct Gateway {
    envoy: Process,
    upstream: Upstream,
    listen: u16,
}

impl Gateway {
    fn start(program: &std::path::Path, agent_grpc: u16) -> Self {
        let [listen, admin] = free_ports();
        let upstream = Upstream::start();
        let bootstrap = envoy::bootstrap(listen, upstream.port(), agent_grpc, admin);
        let envoy = envoy::start(program, &bootstrap);
        let ready = format!("http://127.0.0.1:{admin}/ready");
        wait_until("Envoy is ready", SOON, &[&envoy], || {
            http::get(&ready).is_ok_and(|response| response.status == 200)
        });
        Self { envoy, upstream, listen }
    }

    #[track_caller]
    fn request(&self, application: &str) -> Response {
        let url = format!("http://127.0.0.1:{}/", self.listen);
        http::send("GET", &url, &[("x-application", application)], "")
            .unwrap_or_else(|e| panic!("{e}\n{}", self.envoy.log_tail()))
    }
}

#[test]
fn envoy_limits_by_the_agent_and_refuses_without_it() {
    let Some(program) = or_skip(envoy::envoy_binary()) else {
        return;
    };
    wait_for_room(MINUTE, ROOM);
    let fleet = Fleet::start(&Plan { policies: POLICIES, agents: 1, ..Plan::default() });
    let agent = &fleet.agents[0];
    let gateway = Gateway::start(&program, agent.grpc);

    for n in 1..=100 {
        let answer = gateway.request("shop");
        assert_eq!(answer.status, 200, "request {n}: {answer:?}\n{}", agent.process().log_tail());
        assert_eq!(answer.body, "ok\n");
        let left = answer.header("x-ratelimit-remaining").and_then(|v| v.parse().ok());
        assert_eq!(left, Some(100 - n), "request {n}: {answer:?}");
    }
    let refused = gateway.request("shop");
    println!("the 101st: {refused:?}");
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"), "{refused:?}");
    let limit = refused.header("x-ratelimit-limit").unwrap_or_default();
    assert!(limit.starts_with("100"), "{refused:?}");
    for name in ["x-ratelimit-reset", "retry-after"] {
        let seconds = refused.header(name).and_then(|v| v.parse::<u64>().ok());
        assert!(seconds.is_some_and(|s| s <= 60), "{name}: {refused:?}");
    }
    let named = refused.header("ratelimit-policy").unwrap_or_default();
    assert!(named.contains("\"per-application\";q=100;w=60"), "{refused:?}");

    let other = gateway.request("office");
    assert_eq!(other.status, 200, "another application: {other:?}");
    assert_eq!(gateway.upstream.requests(), 101, "a refused request reached the upstream");

    agent.process().kill();
    let denied = gateway.request("office");
    assert_eq!(denied.status, 500, "without the agent: {denied:?}");
    assert_eq!(gateway.upstream.requests(), 101);
}
