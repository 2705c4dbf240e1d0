//! Managers that replicate to one another, each with a store of its own, and agents that report to all.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    fleet::{Node, SOON},
    http::{self, Response},
    ports::free_ports,
    process::Process,
    wait::wait_until,
};

/// A group of managers.
pub(crate) struct Group {
    pub(crate) managers: Vec<Node>,
    pub(crate) agents: Vec<Node>,
    folder: TempDir,
}

impl Group {
    /// Starts managers `tm-1`, `tm-2`, … and waits until each is ready and linked to all others.
    #[track_caller]
    pub(crate) fn start(count: usize, args: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("weir-test-").tempdir().expect("a folder");
        let ports: Vec<[u16; 2]> = (0..count).map(|_| free_ports()).collect();
        let managers = (0..count).map(|place| {
            let id = format!("tm-{}", place + 1);
            let peers: Vec<String> = (0..count)
                .filter(|peer| *peer != place)
                .map(|peer| format!("http://127.0.0.1:{}", ports[peer][0]))
                .collect();
            let data = folder.path().join(&id);
            let mut all = vec!["--data-dir".to_owned(), data.display().to_string()];
            if !peers.is_empty() {
                all.extend(["--peers".to_owned(), peers.join(",")]);
            }
            all.extend(args.iter().map(|arg| (*arg).to_owned()));
            Node::start_on("traffic-manager", &id, ports[place], &all)
        });
        let group = Self { managers: managers.collect(), agents: Vec::new(), folder };
        group.wait_linked();
        group
    }

    /// Adds agents `gw-1`, `gw-2`, … that report to every manager and follow the first.
    #[track_caller]
    pub(crate) fn with_agents(mut self, count: usize) -> Self {
        self.agents = (1..=count).map(|n| self.agent(&format!("gw-{n}"))).collect();
        self.agents.iter().for_each(Node::wait_ready);
        self
    }

    /// Adds one more, and waits until it is ready.
    #[track_caller]
    pub(crate) fn add_agent(&mut self, id: &str) {
        let agent = self.agent(id);
        agent.wait_ready();
        self.agents.push(agent);
    }

    #[track_caller]
    fn agent(&self, id: &str) -> Node {
        let urls: Vec<String> =
            self.managers.iter().map(|m| format!("http://127.0.0.1:{}", m.grpc)).collect();
        let args = ["--managers".to_owned(), urls.join(",")];
        Node::start_on("gateway-agent", id, free_ports(), &args)
    }

    /// Where the manager in this place keeps its store.
    pub(crate) fn data_dir(&self, place: usize) -> PathBuf {
        self.folder.path().join(format!("tm-{}", place + 1))
    }

    /// Forgets the store of a manager that does not run.
    pub(crate) fn wipe(&self, place: usize) {
        fs::remove_dir_all(self.data_dir(place)).expect("its store can be removed");
    }

    pub(crate) fn processes(&self) -> Vec<&Process> {
        self.managers.iter().chain(&self.agents).map(Node::process).collect()
    }

    /// Two managers that have a policy, and cannot reach each other, change it: the first to 111 requests, the second
    /// to 222. When they meet, one of them has won everywhere.
    #[track_caller]
    pub(crate) fn edit_apart(&mut self, policy: &str) {
        self.managers[1].process().kill();
        self.managers[0].put_policy(policy, 111).expect("an answer");
        self.managers[0].process().kill();
        self.managers[1].restart();
        // Its peer is away: it waits for that one's counters, and then serves alone.
        self.managers[1].wait_ready();
        self.managers[1].put_policy(policy, 222).expect("an answer");
        self.managers[0].restart();
        self.wait_linked();
    }

    /// Waits until every manager is ready and has a link to each of the others.
    #[track_caller]
    pub(crate) fn wait_linked(&self) {
        wait_until("the managers are linked", SOON, &self.processes(), || {
            self.managers.iter().all(|manager| {
                let linked = manager.peers().iter().filter(|peer| peer["link"] == "up").count();
                manager.is_ready() && linked + 1 == self.managers.len()
            })
        });
    }

    /// Waits until all running managers have the same policies, and returns them by name and tag.
    #[track_caller]
    pub(crate) fn wait_converged(&self) -> Vec<(String, String)> {
        let mut last = Vec::new();
        let running = || self.managers.iter().filter(|manager| manager.process().is_running());
        wait_until("the managers have the same policies", SOON * 2, &self.processes(), || {
            let all: Option<Vec<_>> = running().map(Node::versions).collect();
            let Some(all) = all else { return false };
            let equal = all.windows(2).all(|pair| pair[0] == pair[1]);
            last = all.into_iter().next().unwrap_or_default();
            equal
        });
        last
    }
}

impl Node {
    /// The other managers, as this one sees them.
    pub(crate) fn peers(&self) -> Vec<Value> {
        let Some(answer) = self.get("/api/v1/nodes") else { return Vec::new() };
        let nodes = answer["nodes"].as_array().cloned().unwrap_or_default();
        nodes.into_iter().filter(|node| node["self"] == false).collect()
    }

    /// Name and tag of every policy.
    pub(crate) fn versions(&self) -> Option<Vec<(String, String)>> {
        let answer = self.get("/api/v1/policies")?;
        let names = answer["policies"].as_array()?.iter().filter_map(|p| p["name"].as_str());
        let tagged = names.map(|name| {
            let answer = http::get(&self.url(&format!("/api/v1/policies/{name}"))).ok()?;
            Some((name.to_owned(), answer.header("etag")?.to_owned()))
        });
        tagged.collect()
    }

    /// Creates or replaces a policy with so many requests a minute, which no load of a test meets.
    pub(crate) fn put_policy(&self, name: &str, requests: u64) -> Result<Response, String> {
        let body = json!({
            "name": name, "level": "application", "key": ["application"],
            "match": "request.api == \"edited\"",
            "limits": [{ "requests": requests, "window": "1m" }],
        });
        let path = format!("/api/v1/policies/{name}");
        let headers = [("content-type", "application/json")];
        let replaced = http::send("PUT", &self.url(&path), &headers, &body.to_string())?;
        if replaced.status != 404 {
            return Ok(replaced);
        }
        http::post_json(&self.url("/api/v1/policies"), &body)
    }
}
