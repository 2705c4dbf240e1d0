//! `/metrics` of both programs: as Prometheus wants them, and with the names that dashboards use.

mod support;

use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
};

use support::{
    fleet::{Fleet, Node, Plan},
    http::{self, Session},
    peers::{or_skip, promtool_binary},
    wait::wait_until,
};

const POLICIES: &str = r#"
apiVersion: weir/v1
policies:
  - name: per-application
    level: application
    key: [application]
    limits: [ { requests: 5, window: 2s, algorithm: fixed_window } ]
  - name: watched
    level: custom
    limits: [ { requests: 1, window: 1h, algorithm: fixed_window } ]
    mode: shadow
"#;

/// What the contract (section 8) names. `weir_manager_replication_lag_seconds` comes with the
/// managers' links.
const AGENT: [&str; 8] = [
    "weir_agent_checks_total",
    "weir_agent_check_duration_seconds_bucket",
    "weir_agent_usage_unsent",
    "weir_agent_usage_dropped_total",
    "weir_agent_link_up",
    "weir_agent_failovers_total",
    "weir_agent_decision_age_seconds",
    "weir_build_info",
];
const MANAGER: [&str; 17] = [
    "weir_manager_usage_reports_total",
    "weir_manager_usage_entries_total",
    "weir_manager_decisions_total",
    "weir_manager_counters",
    "weir_manager_policies",
    "weir_manager_overshoot_ratio_bucket",
    "weir_manager_undershoot_ratio_bucket",
    "weir_manager_agents",
    "weir_manager_role",
    "weir_manager_refused_commits_total",
    "weir_manager_peer_frames_dropped_total",
    "weir_manager_tombstones",
    "weir_manager_conflicts",
    "weir_manager_audit_records",
    "weir_manager_usage_records",
    "weir_manager_refused_entries_total",
    "weir_build_info",
];

fn metrics(node: &Node) -> String {
    let answer = http::get(&node.url("/metrics")).expect("metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    answer.body
}

/// Names of all samples.
fn names(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect()
}

/// The value of the first sample that begins so.
fn value(text: &str, start: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(start))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn use_the_fleet(fleet: &Fleet) {
    let client = Session::new();
    for target in fleet.targets() {
        for _ in 0..20 {
            target.check(&client, "orders", "shop").expect("an answer");
        }
    }
    wait_until("a used window has closed", support::fleet::SOON, &fleet.processes(), || {
        let counts = |node: &Node| value(&metrics(node), "weir_manager_overshoot_ratio_count");
        counts(&fleet.managers[0]).is_some_and(|count| count >= 1.0)
    });
}

#[test]
fn dashboards_find_their_metrics() {
    let fleet = Fleet::start(&Plan { policies: POLICIES, agents: 2, ..Plan::default() });
    use_the_fleet(&fleet);
    let nodes = fleet.agents.iter().map(|node| (node, &AGENT[..]));
    for (node, wanted) in nodes.chain(fleet.managers.iter().map(|node| (node, &MANAGER[..]))) {
        let text = metrics(node);
        let names = names(&text);
        let missing: Vec<&&str> = wanted.iter().filter(|name| !names.contains(**name)).collect();
        assert!(missing.is_empty(), "{}: {missing:?} are missing from\n{text}", node.id);
    }
    let agent = metrics(&fleet.agents[0]);
    let (one, two) = (fleet.managers[0].grpc, fleet.managers[1].grpc);
    for (manager, link, up) in
        [(one, "usage", 1.0), (one, "decisions", 1.0), (two, "usage", 1.0), (two, "decisions", 0.0)]
    {
        let start =
            format!("weir_agent_link_up{{manager=\"127.0.0.1:{manager}\",link=\"{link}\"}}");
        assert_eq!(value(&agent, &start), Some(up), "{start} in\n{agent}");
    }
    for verdict in ["allowed", "limited"] {
        let start = format!("weir_agent_checks_total{{verdict=\"{verdict}\",policy=\"");
        assert!(value(&agent, &start).is_some_and(|n| n >= 1.0), "{start} in\n{agent}");
    }
    assert!(!agent.contains("shop"), "a counter's key is a label:\n{agent}");
    for manager in &fleet.managers {
        let text = metrics(manager);
        assert_eq!(value(&text, "weir_manager_agents"), Some(2.0), "{text}");
        assert_eq!(value(&text, "weir_manager_policies"), Some(2.0), "{text}");
        assert!(!text.contains("shop"), "a counter's key is a label:\n{text}");
    }
}

#[test]
fn prometheus_has_nothing_to_complain_about() {
    let Some(promtool) = or_skip(promtool_binary()) else {
        return;
    };
    let manager_args = &["--peers", "http://127.0.0.1:1"];
    let plan = Plan { policies: POLICIES, agents: 1, manager_args, ..Plan::default() };
    let fleet = Fleet::start(&plan);
    let of_peers = metrics(&fleet.managers[0]);
    assert!(of_peers.contains("weir_manager_peer_up{peer=\"http://127.0.0.1:1\"} 0"), "{of_peers}");
    use_the_fleet(&fleet);
    for node in fleet.managers.iter().chain(&fleet.agents) {
        let text = metrics(node);
        let mut child = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool starts");
        let mut input = child.stdin.take().expect("its input");
        input.write_all(text.as_bytes()).expect("promtool reads");
        drop(input);
        let out = child.wait_with_output().expect("promtool ends");
        let said =
            [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(out.status.success() && said.concat().is_empty(), "{}: {said:?}\n{text}", node.id);
    }
}
