//! Weir itself under test: managers and agents on free ports.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    http,
    load::{Book, Target},
    ports::free_ports,
    process::{Process, weir_binary},
    wait::{wait_for, wait_until},
};

/// Long enough for anything that will happen at all.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A program of Weir that can be killed and started anew on its ports.
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) grpc: u16,
    pub(crate) http: u16,
    program: PathBuf,
    args: Vec<String>,
    process: Process,
}

impl Node {
    #[track_caller]
    fn start(program: &str, id: &str, args: &[String]) -> Self {
        Self::start_on(program, id, free_ports(), args)
    }

    /// On these ports: for gRPC, for HTTP.
    #[track_caller]
    pub(crate) fn start_on(
        program: &str,
        id: &str,
        [grpc, http]: [u16; 2],
        args: &[String],
    ) -> Self {
        let program = weir_binary(program).unwrap_or_else(|why| panic!("{why}"));
        let command = if program.ends_with("traffic-manager") { "serve" } else { "run" };
        let mut all: Vec<String> = [command, "--id", id].map(str::to_owned).into();
        all.extend(["--listen-grpc".to_owned(), format!("127.0.0.1:{grpc}")]);
        all.extend(["--listen-http".to_owned(), format!("127.0.0.1:{http}")]);
        all.extend(args.iter().cloned());
        let process = launch(id, &program, &all);
        Self { id: id.to_owned(), grpc, http, program, args: all, process }
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http)
    }

    /// Starts it anew with nothing but its configuration. The former life must have ended.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        assert!(!self.process.is_running(), "{} is still running", self.id);
        self.process = launch(&self.id, &self.program, &self.args);
    }

    /// The JSON that a GET brings; `None` when there is no answer or another status than 200.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        let answer = http::get(&self.url(path)).ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    pub(crate) fn is_ready(&self) -> bool {
        http::get(&self.url("/readyz")).is_ok_and(|answer| answer.status == 200)
    }

    /// Fails unless it runs and says so.
    #[track_caller]
    pub(crate) fn assert_healthy(&self) {
        let answer = http::get(&self.url("/healthz"));
        let well = answer.as_ref().is_ok_and(|answer| answer.status == 200);
        assert!(well, "{}: {answer:?}\n{}", self.id, self.process.log_tail());
    }

    /// Resident memory in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.pid());
        let status = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .unwrap_or_else(|| panic!("{path} has no VmRSS:\n{status}"))
    }

    /// For an agent: whom checks are sent to.
    pub(crate) fn target(&self) -> Target {
        Target { agent: self.id.clone(), http: self.http }
    }

    /// For an agent: the name of the manager that it follows.
    pub(crate) fn follows(&self) -> Option<String> {
        let status = self.get("/v1/status")?;
        Some(status["active_manager"]["name"].as_str()?.to_owned())
    }

    /// For a manager: what each agent used, by agent and the key's first part, all windows
    /// together.
    pub(crate) fn used(&self, policy: &str) -> Option<BTreeMap<(String, String), u64>> {
        let answer = self.get(&format!("/api/v1/counters?policy={policy}&limit=1000"))?;
        assert_eq!(answer["truncated"], false, "{answer}");
        let mut used = BTreeMap::new();
        for counter in answer["counters"].as_array()? {
            let key = counter["key"][0].as_str().unwrap_or_default();
            for part in counter["agents"].as_array()? {
                let place = (part["agent"].as_str()?.to_owned(), key.to_owned());
                *used.entry(place).or_default() += part["used"].as_u64()?;
            }
        }
        used.retain(|_, amount| *amount > 0);
        Some(used)
    }
}

#[track_caller]
fn launch(id: &str, program: &std::path::Path, args: &[String]) -> Process {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Process::start(id, program, &args)
}

/// What a fleet is started with.
#[derive(Default)]
pub(crate) struct Plan {
    /// The policies file of every manager (YAML); none if empty.
    pub(crate) policies: &'static str,
    pub(crate) agents: usize,
    pub(crate) manager_args: &'static [&'static str],
    pub(crate) agent_args: &'static [&'static str],
}

/// Two managers, and agents that report to both.
pub(crate) struct Fleet {
    pub(crate) managers: Vec<Node>,
    pub(crate) agents: Vec<Node>,
    _folder: TempDir,
}

impl Fleet {
    /// Starts everything and waits until the agents share the limits.
    #[track_caller]
    pub(crate) fn start(plan: &Plan) -> Self {
        Self::start_through(plan, |managers| managers.iter().map(|m| m.grpc).collect())
    }

    /// As [`Fleet::start`], with the ports under which the agents find the managers.
    #[track_caller]
    pub(crate) fn start_through(plan: &Plan, ports: impl FnOnce(&[Node]) -> Vec<u16>) -> Self {
        let folder = tempfile::Builder::new().prefix("weir-test-").tempdir().expect("a folder");
        let file = folder.path().join("policies.yaml");
        let mut args: Vec<String> = plan.manager_args.iter().map(|a| (*a).to_owned()).collect();
        if !plan.policies.is_empty() {
            fs::write(&file, plan.policies).expect("a policies file");
            args.extend(["--policies-file".to_owned(), file.display().to_string()]);
        }
        let managers: Vec<Node> =
            ["tm-1", "tm-2"].map(|id| Node::start("traffic-manager", id, &args)).into();
        let urls: Vec<String> =
            ports(&managers).iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
        for manager in &managers {
            manager.wait_ready();
        }
        let mut args: Vec<String> = plan.agent_args.iter().map(|a| (*a).to_owned()).collect();
        args.extend(["--managers".to_owned(), urls.join(",")]);
        let agents: Vec<Node> = (1..=plan.agents)
            .map(|n| Node::start("gateway-agent", &format!("gw-{n}"), &args))
            .collect();
        let fleet = Self { managers, agents, _folder: folder };
        fleet.wait_settled();
        fleet
    }

    /// Every program's guard, for the logs of a wait.
    pub(crate) fn processes(&self) -> Vec<&Process> {
        self.managers.iter().chain(&self.agents).map(Node::process).collect()
    }

    pub(crate) fn targets(&self) -> Vec<Target> {
        self.agents.iter().map(Node::target).collect()
    }

    /// Waits until every agent follows the first manager, reports to both, and shares the limits
    /// with all others.
    #[track_caller]
    pub(crate) fn wait_settled(&self) {
        let count = self.agents.len() as u64;
        let settled = |agent: &Node| {
            let Some(status) = agent.get("/v1/status") else { return false };
            let links = status["managers"].as_array().into_iter().flatten();
            let connected = links.filter(|link| link["usage"] == "up").count();
            status["ready"] == true
                && status["fleet"] == count
                && status["active_manager"]["name"] == "tm-1"
                && connected == self.managers.len()
        };
        wait_until("the agents share the limits", SOON, &self.processes(), || {
            self.agents.iter().all(settled)
        });
    }

    /// Waits until every agent follows the manager of this name; tells how long it took.
    #[track_caller]
    pub(crate) fn wait_follow(&self, name: &str, within: Duration) -> Duration {
        let began = Instant::now();
        wait_until(&format!("all follow {name}"), within, &self.processes(), || {
            self.agents.iter().all(|agent| agent.follows().as_deref() == Some(name))
        });
        began.elapsed()
    }

    /// Waits until both managers' counters say, agent by agent, what the agents answered.
    #[track_caller]
    pub(crate) fn wait_booked(&self, policy: &str, book: &Book) {
        let mut expected: BTreeMap<_, _> =
            book.answers.iter().map(|(place, answers)| (place.clone(), answers.allowed)).collect();
        expected.retain(|_, allowed| *allowed > 0);
        let mut last = Vec::new();
        let began = Instant::now();
        let booked = wait_quietly(SOON, || {
            last = self.managers.iter().map(|manager| manager.used(policy)).collect();
            last.iter().all(|used| used.as_ref() == Some(&expected))
        });
        let tails: String = self.processes().iter().map(|p| p.log_tail()).collect();
        assert!(
            booked,
            "{policy}: the managers' counters differ from what was admitted\nadmitted {expected:?}\n\
             managers {last:?}\n{tails}"
        );
        eprintln!("{policy}: both managers have every request after {:?}", began.elapsed());
    }
}

impl Node {
    #[track_caller]
    pub(crate) fn wait_ready(&self) {
        let what = format!("{} is ready", self.id);
        wait_until(&what, SOON, &[&self.process], || self.is_ready());
    }
}

/// Whether the condition came true in time.
fn wait_quietly(within: Duration, mut poll: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + within;
    wait_for("a verdict", within + SOON, &[], || {
        if poll() {
            return Some(true);
        }
        (Instant::now() >= end).then_some(false)
    })
}
