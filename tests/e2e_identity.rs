//! Agents that were given one id: the one that is refused says so, and comes back by itself.

mod support;

use support::{
    fleet::{Node, SOON},
    http,
    ports::free_ports,
    wait::wait_until,
};

/// Why an agent is not ready; empty if it is.
fn unready(agent: &Node) -> String {
    let answer = http::get(&agent.url("/readyz"));
    answer
        .map(|answer| if answer.status == 200 { String::new() } else { answer.body })
        .unwrap_or_default()
}

fn incarnation(agent: &Node) -> Option<u64> {
    agent.get("/v1/status")?["incarnation"].as_u64()
}

#[test]
fn of_two_agents_with_one_id_the_first_comes_back_when_the_second_is_gone() {
    let manager = Node::start_on("traffic-manager", "tm-1", free_ports(), &[]);
    manager.wait_ready();
    let args = ["--managers".to_owned(), format!("http://127.0.0.1:{}", manager.grpc)];
    let first = Node::start_on("gateway-agent", "gw-1", free_ports(), &args);
    first.wait_ready();
    let life = incarnation(&first);
    let second = Node::start_on("gateway-agent", "gw-1", free_ports(), &args);
    let logs = [manager.process(), first.process(), second.process()];
    wait_until("the first is refused and says why", SOON, &logs, || {
        unready(&first).contains("give each agent an id of its own")
    });
    wait_until("the second has the id", SOON, &logs, || second.is_ready());
    let status = first.get("/v1/status").expect("its status");
    let problem = status["managers"][0]["problem"].to_string();
    assert!(problem.contains("started later"), "{status}");
    let told = first.process().log().matches("another agent has this one's id and lives").count();
    assert_eq!(told, 1, "once, however often it tries: {}", first.process().log());
    assert_eq!(incarnation(&first), life, "it waits as it is");

    second.process().kill();
    wait_until("the first joins by itself", SOON, &logs, || first.is_ready());
    assert!(incarnation(&first) > life, "in a new life");
    let agents = manager.get("/api/v1/agents").expect("the agents");
    let members = agents["agents"].as_array().expect("a list").iter();
    let members: Vec<_> = members.filter(|agent| agent["member"] == true).collect();
    assert!(members.len() == 1 && members[0]["id"] == "gw-1", "{agents}");
}
