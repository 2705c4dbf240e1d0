//! The three programs together: started, watched, started again, ended.

use std::{fs, io, path::Path, process::ExitStatus, time::Duration};

use anyhow::{Context, bail};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{
    process::Child,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep, timeout_at},
};

use crate::{
    part::{self, Part},
    ports,
    screen::{Screen, Style},
    watch::{self, Seen},
};

/// A program that died is started again after this.
const REST: Duration = Duration::from_secs(5);
/// All three are ready by then, or something is wrong.
const START: Duration = Duration::from_secs(30);
/// How long a program may take to end in good order.
const FAREWELL: Duration = Duration::from_secs(3);

const POLICIES: &str = include_str!("../../policies/quickstart.yaml");

/// Places in [`Town::parts`].
const AGENT: usize = 2;
const MANAGERS: [Manager; 2] = [
    Manager { name: "tm-1", grpc: 9611, http: 9610 },
    Manager { name: "tm-2", grpc: 9621, http: 9620 },
];
const AGENT_GRPC: u16 = 8081;
const AGENT_HTTP: u16 = 8080;

struct Manager {
    name: &'static str,
    grpc: u16,
    http: u16,
}

/// What happens to a program.
enum Event {
    Ended(usize, io::Result<ExitStatus>),
    StartAgain(usize),
}

struct Town<'a> {
    screen: &'a Screen,
    parts: [Part; 3],
    events: JoinSet<Event>,
    seen: Option<Seen>,
    folder: TempDir,
}

/// Runs until Ctrl-C.
pub(crate) async fn run(screen: &Screen) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    ports::require_free(&addresses())?;
    let mut town = Town::new(screen)?;
    let result = tokio::select! {
        result = town.live() => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    town.end().await;
    result
}

fn addresses() -> Vec<(&'static str, String)> {
    let mut addresses = Vec::new();
    for manager in &MANAGERS {
        addresses.push((manager.name, local(manager.grpc)));
        addresses.push((manager.name, local(manager.http)));
    }
    addresses.extend([("agent", local(AGENT_GRPC)), ("agent", local(AGENT_HTTP))]);
    addresses
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn manager_part(manager: &Manager, folder: &Path) -> Part {
    let policies = folder.join("policies.yaml");
    let store = folder.join(manager.name);
    let peers = MANAGERS.iter().filter(|other| other.name != manager.name);
    let peers: Vec<String> = peers.map(|other| format!("http://{}", local(other.grpc))).collect();
    let arguments = [
        "manager",
        "serve",
        "--id",
        manager.name,
        "--policies-file",
        &policies.to_string_lossy(),
        "--data-dir",
        &store.to_string_lossy(),
        "--peers",
        &peers.join(","),
        "--listen-grpc",
        &local(manager.grpc),
        "--listen-http",
        &local(manager.http),
    ];
    Part::new(manager.name, folder, arguments.map(str::to_owned).into())
}

fn agent_part(folder: &Path) -> Part {
    let managers = MANAGERS.each_ref().map(|m| format!("http://{}", local(m.grpc))).join(",");
    let arguments = [
        "agent",
        "run",
        "--id",
        "gw-1",
        "--managers",
        &managers,
        "--listen-grpc",
        &local(AGENT_GRPC),
        "--listen-http",
        &local(AGENT_HTTP),
    ];
    Part::new("gw-1", folder, arguments.map(str::to_owned).into())
}

impl<'a> Town<'a> {
    fn new(screen: &'a Screen) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("weir-quickstart-")
            .tempdir()
            .context("cannot make a temporary folder")?;
        let path = folder.path();
        fs::write(path.join("policies.yaml"), POLICIES).context("cannot write the policies")?;
        let [first, second] = MANAGERS.each_ref().map(|manager| manager_part(manager, path));
        let parts = [first, second, agent_part(path)];
        Ok(Self { screen, parts, events: JoinSet::new(), seen: None, folder })
    }

    async fn live(&mut self) -> anyhow::Result<()> {
        self.screen.line("Starting two traffic managers and a gateway agent …");
        for place in 0..self.parts.len() {
            self.start(place)?;
        }
        self.ready().await?;
        self.welcome();
        let (news, mut changes) = mpsc::channel(1);
        let url = format!("http://{}/v1/status", local(AGENT_HTTP));
        let follower = tokio::spawn(watch::follow(url, news));
        loop {
            tokio::select! {
                Some(event) = self.events.join_next() => {
                    if let Ok(event) = event {
                        self.take(event)?;
                    }
                }
                Some(seen) = changes.recv() => self.look(seen),
                else => break,
            }
        }
        follower.abort();
        Ok(())
    }

    fn start(&mut self, place: usize) -> anyhow::Result<()> {
        let mut child: Child = self.parts[place].start()?;
        self.events.spawn(async move { Event::Ended(place, child.wait().await) });
        Ok(())
    }

    /// Waits until each program says that it is ready.
    async fn ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        let ports = [MANAGERS[0].http, MANAGERS[1].http, AGENT_HTTP];
        let client = watch::client();
        for (place, port) in ports.into_iter().enumerate() {
            let url = format!("http://{}/readyz", local(port));
            loop {
                let (client, url) = (client.clone(), url.clone());
                let asked = spawn_blocking(move || {
                    client.get(&url).call().is_ok_and(|answer| answer.status() == 200)
                });
                if asked.await.unwrap_or(false) {
                    break;
                }
                if Instant::now() > deadline {
                    let (name, words) = (self.parts[place].name, self.parts[place].last_words());
                    bail!("{name} is not ready after {} s:\n{words}", START.as_secs());
                }
                let pause = Instant::now() + Duration::from_millis(50);
                if let Ok(Some(Ok(Event::Ended(place, status)))) =
                    timeout_at(pause, self.events.join_next()).await
                {
                    self.parts[place].ended();
                    let how = status.map_or_else(|e| e.to_string(), part::describe);
                    let (name, words) = (self.parts[place].name, self.parts[place].last_words());
                    bail!("{name} {how}:\n{words}");
                }
            }
        }
        Ok(())
    }

    fn welcome(&self) {
        let screen = self.screen;
        let pid = |place: usize| self.parts[place].pid().unwrap_or_default();
        let bold = |text: &str| screen.paint(Style::Bold, text);
        let after = screen.age().as_secs_f64();
        screen.line(&screen.paint(Style::Good, format!("Ready after {after:.1} s.\n")));
        for (place, manager) in MANAGERS.iter().enumerate() {
            screen.line(&format!(
                "  {}   pid {:<8} http://{}/   API docs: /docs   metrics: /metrics",
                bold(manager.name),
                pid(place),
                local(manager.http)
            ));
        }
        screen.line(&format!(
            "  {}   pid {:<8} http://{}/v1/status   metrics: /metrics   Envoy: {}",
            bold("gw-1"),
            pid(AGENT),
            local(AGENT_HTTP),
            local(AGENT_GRPC)
        ));
        let folder = self.folder.path().display();
        screen.line(&format!("  policies.yaml and logs   {folder}\n"));
        screen.line("An application may send 100 requests per minute. Ask for one:\n");
        screen.line(&bold(&format!(
            "  curl -i http://{}/v1/check -d '{{\"attributes\":{{\"application\":\"demo\"}}}}'\n",
            local(AGENT_HTTP)
        )));
        screen.line("The agent follows tm-1, and tells both what it counts. Break that:\n");
        let kill = bold(&format!("  kill -9 {:<14}", pid(0)));
        let stop = bold(&format!("  kill -STOP {:<11}", pid(0)));
        screen.line(&format!("{kill} it dies, and is started again after 5 s"));
        screen.line(&format!("{stop} it hangs, until you say kill -CONT {}\n", pid(0)));
        screen.line("Ctrl-C ends everything. What happens from now on:\n");
    }

    fn take(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Ended(place, status) => {
                let how = status.map_or_else(|e| e.to_string(), part::describe);
                let part = &mut self.parts[place];
                let pid = part.pid().unwrap_or_default();
                part.ended();
                let text = format!("{} (pid {pid}) {how}; it starts again in 5 s", part.name);
                self.screen.event(Style::Bad, &text);
                self.events.spawn(async move {
                    sleep(REST).await;
                    Event::StartAgain(place)
                });
            }
            Event::StartAgain(place) => {
                self.start(place)?;
                let part = &self.parts[place];
                let pid = part.pid().unwrap_or_default();
                let then = if place == AGENT {
                    "what its former life held may lie idle for up to a minute"
                } else if place == 0 {
                    "the agent returns to it once it has been well for 3 s"
                } else {
                    "the agent tells it what was counted meanwhile"
                };
                let text = format!("{} runs again (pid {pid}): {then}", part.name);
                self.screen.event(Style::Good, &text);
            }
        }
        Ok(())
    }

    fn look(&mut self, seen: Option<Seen>) {
        let seen = watch::settle(&self.seen, seen);
        let names = MANAGERS.each_ref().map(|manager| manager.name);
        for (style, text) in watch::changes(&names, &self.seen, &seen) {
            self.screen.event(style, &text);
        }
        self.seen = seen;
    }

    /// The agent first, so that it can bring its last usage to the managers.
    async fn end(mut self) {
        self.screen.line("\nEnding …");
        for group in [&[AGENT][..], &[0, 1][..]] {
            for place in group {
                self.parts[*place].signal(Signal::TERM);
            }
            self.wait_for(group, FAREWELL).await;
            for place in group {
                self.parts[*place].signal(Signal::KILL);
            }
            self.wait_for(group, FAREWELL).await;
        }
    }

    async fn wait_for(&mut self, group: &[usize], patience: Duration) {
        let deadline = Instant::now() + patience;
        while group.iter().any(|place| self.parts[*place].pid().is_some()) {
            match timeout_at(deadline, self.events.join_next()).await {
                Ok(Some(Ok(Event::Ended(place, _)))) => self.parts[place].ended(),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{ops::ControlFlow, sync::Arc};

    use weir_proto::{matcher::PolicySet, policy::parse_document, request::Request, time::Time};

    use super::*;

    fn limits(request: &Request<'_>) -> Vec<String> {
        let policies = parse_document(POLICIES).unwrap();
        let set = PolicySet::compile(1, policies.into_iter().map(Arc::new));
        let mut met = Vec::new();
        set.resolve(request, Time::ZERO, &mut Default::default(), |hit| {
            let name = hit.policy.policy.name.as_str();
            met.extend(hit.limits.iter().map(|limit| format!("{name} {}", limit.limit.amount)));
            if hit.limits.is_empty() {
                met.push(format!("{name} denies"));
            }
            ControlFlow::Continue(())
        });
        met
    }

    #[test]
    fn a_plain_application_meets_one_limit() {
        assert_eq!(limits(&Request::new().application("demo")), ["per-application 100"]);
        let one = MANAGERS.iter().map(|manager| manager.grpc).chain([AGENT_GRPC]);
        assert_eq!(one.collect::<Vec<_>>(), [9611, 9621, 8081]);
    }

    #[test]
    fn the_other_policies_need_what_they_are_about() {
        let gold = || Request::new().application("demo").subscription_tier("gold");
        assert_eq!(limits(&gold()), ["gold-subscription 1000", "gold-subscription 50"]);
        let office = gold().ip("10.1.2.3".parse().unwrap());
        assert_eq!(limits(&office), ["gold-subscription 5000"]);
        assert_eq!(limits(&Request::new().api("orders")), ["orders-api 20"]);
        let bad = Request::new().ip("203.0.113.9".parse().unwrap());
        assert_eq!(limits(&bad), ["blocked-range denies"]);
        let reports = Request::new().application("demo").path("/reports/daily");
        assert_eq!(limits(&reports), ["per-application 100", "reports-trial 5"]);
    }
}
