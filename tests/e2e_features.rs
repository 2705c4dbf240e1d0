//! Everything that a policy can say, as tables: `tables/features.yaml` through the agent's HTTP API,
//! `tables/faults.yaml` through the manager's.

mod support;

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use support::{
    fleet::{Fleet, Plan, SOON},
    http::{self, Response, Session},
    wait::{wait_for, wait_for_room, wait_until},
};

const HOUR: Duration = Duration::from_secs(3600);
/// The whole table takes less.
const ROOM: Duration = Duration::from_secs(120);

fn table(text: &str) -> Vec<Value> {
    serde_norway::from_str(text).expect("a list of cases")
}

fn write(method: &str, url: &str, body: &Value) -> Response {
    let headers = [("content-type", "application/json")];
    http::send(method, url, &headers, &body.to_string()).unwrap_or_else(|e| panic!("{url}: {e}"))
}

/// One case, with the fleet that it runs at.
struct Case<'f> {
    fleet: &'f Fleet,
    client: Session,
    name: String,
    leases: BTreeMap<String, String>,
}

impl Case<'_> {
    fn manager(&self, path: &str) -> String {
        self.fleet.managers[0].url(path)
    }

    fn agent(&self, path: &str) -> String {
        self.fleet.agents[0].url(path)
    }

    /// Waits until the agent has the manager's policies.
    fn settle(&self) {
        let revision = || {
            let nodes = self.fleet.managers[0].get("/api/v1/nodes")?;
            nodes["nodes"][0]["policies_revision"].as_u64()
        };
        let wanted = revision().expect("the manager's revision");
        wait_until("the policies arrive", SOON, &self.fleet.processes(), || {
            let status = self.fleet.agents[0].get("/v1/status");
            status.is_some_and(|s| s["policies_revision"].as_u64() >= Some(wanted))
        });
    }

    fn run(&mut self, case: &Value) {
        let policies = case["policies"].as_array().expect("policies").clone();
        for mut policy in policies.clone() {
            let fields = policy.as_object_mut().expect("a policy");
            fields.entry("level").or_insert(json!("api"));
            let answer = write("POST", &self.manager("/api/v1/policies"), &policy);
            assert_eq!(answer.status, 201, "{}: {}", self.name, answer.body);
        }
        self.settle();
        for (place, step) in case["steps"].as_array().expect("steps").iter().enumerate() {
            let name = format!("{}, step {place}: {step}", self.name);
            for _ in 0..step["times"].as_u64().unwrap_or(1) {
                self.step(&name, step);
            }
        }
        // Children before their parents.
        for policy in policies.iter().rev() {
            let url = format!("/api/v1/policies/{}", policy["name"].as_str().expect("a name"));
            assert_eq!(write("DELETE", &self.manager(&url), &Value::Null).status, 204);
        }
        self.settle();
    }

    fn step(&mut self, name: &str, step: &Value) {
        let given = |field: &str| !step[field].is_null();
        if given("check") || given("peek") {
            self.check(name, step);
        } else if given("report") {
            let mut body = json!({ "attributes": step["report"], "amounts": step["amounts"] });
            if !step["limit"].is_null() {
                body["limit"] = step["limit"].clone();
            }
            let answer = write("POST", &self.agent("/v1/report"), &body);
            assert_eq!(answer.status, 200, "{name}: {}", answer.body);
            assert_eq!(answer.json()["limits"], step["limits"], "{name}");
        } else if let Some(lease) = step["end"].as_str() {
            let body = json!({ "lease": self.leases[lease] });
            let answer = write("POST", &self.agent("/v1/report"), &body);
            assert_eq!(answer.json()["released"], true, "{name}: {}", answer.body);
        } else if given("reset") {
            let body = json!({ "policy": step["reset"], "key": step["key"] });
            let answer = write("POST", &self.manager("/api/v1/counters:reset"), &body);
            assert_eq!(answer.status, 200, "{name}: {}", answer.body);
            assert_eq!(answer.json()["pending"], json!([]), "{name}: {}", answer.body);
        } else if given("put") {
            let policy = &step["put"];
            let url = format!("/api/v1/policies/{}", policy["name"].as_str().expect("a name"));
            assert_eq!(write("PUT", &self.manager(&url), policy).status, 200, "{name}");
            self.settle();
        } else {
            self.used(name, step);
        }
    }

    fn check(&mut self, name: &str, step: &Value) {
        let peek = !step["peek"].is_null();
        let attributes = if peek { &step["peek"] } else { &step["check"] };
        let mut body = json!({ "attributes": attributes, "peek": peek });
        if !step["amounts"].is_null() {
            body["amounts"] = step["amounts"].clone();
        }
        if !step["limit"].is_null() {
            body["limit"] = step["limit"].clone();
        }
        let url = self.agent("/v1/check");
        let ask = || self.client.post_json(&url, &body).unwrap_or_else(|e| panic!("{name}: {e}"));
        let answer = match step["eventually"].as_u64() {
            Some(status) => wait_for(name, SOON, &self.fleet.processes(), || {
                Some(ask()).filter(|answer| u64::from(answer.status) == status)
            }),
            None => {
                let answer = ask();
                let status = step["status"].as_u64().unwrap_or(200);
                assert_eq!(u64::from(answer.status), status, "{name}: {}", answer.body);
                answer
            }
        };
        let answer = answer.json();
        if !step["policy"].is_null() {
            assert_eq!(answer["policy"], step["policy"], "{name}: {answer}");
        }
        for (field, value) in step["body"].as_object().into_iter().flatten() {
            assert_eq!(answer[field], *value, "{name}: {answer}");
        }
        if let Some(lease) = step["hold"].as_str() {
            let held = answer["lease"].as_str().unwrap_or_else(|| panic!("{name}: {answer}"));
            self.leases.insert(lease.to_owned(), held.to_owned());
        }
    }

    /// What the manager was told that a policy's counters used.
    fn used(&self, name: &str, step: &Value) {
        let policy = step["used"].as_str().unwrap_or_else(|| panic!("{name}: what is it?"));
        let url = format!("/api/v1/counters?policy={policy}");
        wait_until(name, SOON, &self.fleet.processes(), || {
            let answer = self.fleet.managers[0].get(&url).expect("counters");
            let counters = answer["counters"].as_array().expect("a list").clone();
            counters.iter().filter_map(|c| c["used"].as_u64()).sum::<u64>()
                == step["amount"].as_u64().expect("an amount")
        });
    }
}

#[test]
fn every_feature_admits_and_refuses_as_its_table_says() {
    wait_for_room(HOUR, ROOM);
    let fleet =
        Fleet::start(&Plan { agents: 1, agent_args: &["--request-limits"], ..Plan::default() });
    for case in table(include_str!("tables/features.yaml")) {
        let name = case["case"].as_str().expect("a name").to_owned();
        let leases = BTreeMap::new();
        Case { fleet: &fleet, client: Session::new(), name, leases }.run(&case);
    }
}

#[test]
fn every_fault_names_the_field_the_value_and_what_is_allowed() {
    let fleet = Fleet::start(&Plan { agents: 0, ..Plan::default() });
    let url = fleet.managers[0].url("/api/v1/policies:validate");
    let mut wrong = Vec::new();
    for case in table(include_str!("tables/faults.yaml")) {
        let mut policy = json!({
            "name": "p", "level": "api", "limits": [{ "requests": 1, "window": "1m" }],
        });
        let fields = policy.as_object_mut().expect("an object");
        fields.extend(case["fields"].as_object().expect("fields").clone());
        let answer = write("POST", &url, &policy);
        assert_eq!(answer.status, 422, "{case}: {}", answer.body);
        let problem = answer.json();
        let found = problem["errors"].as_array().expect("errors");
        let good = found.iter().any(|error| {
            let text = |field: &str| error[field].as_str().unwrap_or_default();
            error["field"] == case["field"]
                && text("value") == case["value"].as_str().expect("a value")
                && text("message").contains(case["says"].as_str().expect("words"))
        });
        if !good {
            wrong.push(format!("{case}\nis answered by\n{problem:#}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
