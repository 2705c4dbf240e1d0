//! Roles in a group of real managers: one ledger, one janitor, another one soon after a death, and every
//! record of usage exactly once whatever becomes of the ledger.

mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    fleet::{Node, SOON},
    group::Group,
    http,
    load::Load,
    wait::{wait_for, wait_for_room, wait_until, wall_clock},
};

const MINUTE: Duration = Duration::from_secs(60);
/// What the test does before the minute is over, on a slow machine.
const BEFORE: Duration = Duration::from_secs(25);
/// Records of short windows are due so long after their minute (`GATHER` in `accounts.rs`).
const GATHER: Duration = Duration::from_secs(12);
const APPLICATIONS: [&str; 3] = ["app-1", "app-2", "app-3"];
/// Of each agent.
const PER_SECOND: u32 = 60;

/// Admitted and the number of records, by limit and application.
type Sums = BTreeMap<(String, String), (u64, usize)>;

fn policy(group: &Group) {
    let body = json!({
        "name": "metered", "level": "application", "key": ["application"],
        "limits": [
            { "requests": 30, "window": "1s", "algorithm": "fixed_window" },
            { "requests": 100_000, "window": "1m", "algorithm": "fixed_window" },
        ],
    });
    let url = group.managers[0].url("/api/v1/policies?wait=all");
    let made = http::post_json(&url, &body).expect("an answer");
    assert_eq!(made.status, 201, "{}", made.body);
}

/// Whether the manager itself says that it has the role.
fn has(manager: &Node, role: &str) -> bool {
    let nodes = manager.get("/api/v1/nodes");
    nodes.is_some_and(|answer| {
        answer["nodes"][0]["roles"].as_array().is_some_and(|roles| roles.iter().any(|r| r == role))
    })
}

/// Who has a role, as one manager sees it.
fn holders(manager: &Node, role: &str) -> Option<Vec<String>> {
    let answer = manager.get("/api/v1/nodes")?;
    let has = |node: &&Value| node["roles"].as_array().is_some_and(|r| r.iter().any(|r| r == role));
    let ids = answer["nodes"].as_array()?.iter().filter(has).filter_map(|node| node["id"].as_str());
    Some(ids.map(str::to_owned).collect())
}

/// Waits until these managers all see the same one with the role; its place.
#[track_caller]
fn wait_one(group: &Group, places: &[usize], role: &str) -> usize {
    wait_for(&format!("all see one {role}"), SOON, &group.processes(), || {
        let seen: Option<Vec<_>> =
            places.iter().map(|place| holders(&group.managers[*place], role)).collect();
        let seen = seen?;
        let [holder] = seen.first()?.as_slice() else { return None };
        let same = seen.iter().all(|holders| holders.as_slice() == [holder.clone()]);
        let place = group.managers.iter().position(|manager| manager.id == *holder)?;
        (same && has(&group.managers[place], role)).then_some(place)
    })
}

/// Waits until another manager says that it is the ledger; tells which, and how long it took.
#[track_caller]
fn wait_takeover(group: &Group, former: usize) -> (usize, Duration) {
    let began = Instant::now();
    let others: Vec<usize> = (0..group.managers.len()).filter(|place| *place != former).collect();
    let place = wait_for("another manager is the ledger", SOON, &group.processes(), || {
        others.iter().copied().find(|place| has(&group.managers[*place], "ledger"))
    });
    (place, began.elapsed())
}

fn records(manager: &Node) -> Option<Vec<Value>> {
    let answer = manager.get("/api/v1/usage?policy=metered&limit=10000")?;
    assert_eq!(answer["truncated"], false, "{answer}");
    answer["records"].as_array().cloned()
}

fn sums(records: &[Value]) -> Sums {
    let mut sums = Sums::new();
    for record in records {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let sum = sums.entry((text(&record["limit_id"]), text(&record["key"][0]))).or_default();
        sum.0 += record["admitted"].as_u64().unwrap_or_default();
        sum.1 += 1;
    }
    sums
}

/// Waits until this moment of the wall clock.
fn wait_clock(at: Duration) {
    wait_until("the clock says so", MINUTE * 2, &[], || wall_clock() >= at);
}

#[test]
fn the_ledger_dies_and_hangs_and_every_record_is_there_exactly_once() {
    let mut group = Group::start(3, &[]).with_agents(2);
    policy(&group);
    let first = wait_one(&group, &[0, 1, 2], "ledger");
    wait_one(&group, &[0, 1, 2], "janitor");
    // The load lies within one minute, so that it is known which records there must be.
    wait_for_room(MINUTE, BEFORE);
    let minute = wall_clock().as_secs() / 60;
    let targets: Vec<_> = group.agents.iter().map(Node::target).collect();
    let load = Load::start(&targets, "any", &APPLICATIONS, PER_SECOND);
    wait_until("usage is counted", SOON, &group.processes(), || {
        let used = group.managers[first].used("metered").unwrap_or_default();
        used.len() == targets.len() * APPLICATIONS.len() && used.values().all(|used| *used > 10)
    });

    group.managers[first].process().kill();
    let (second, took) = wait_takeover(&group, first);
    println!("the ledger was killed: another one has the role after {took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    group.managers[first].restart();
    group.wait_linked();
    assert_eq!(wait_one(&group, &[0, 1, 2], "ledger"), second, "no fail-back");
    let book = load.finish();
    assert_eq!(wall_clock().as_secs() / 60, minute, "too slow a machine: see BEFORE");
    assert_eq!(book.failures, Vec::<String>::new());

    // It stands still when its records are due, and finds them written when it goes on.
    let due = Duration::from_secs((minute + 1) * 60) + GATHER;
    wait_clock(due.saturating_sub(Duration::from_secs(1)));
    group.managers[second].process().freeze();
    let (third, took) = wait_takeover(&group, second);
    println!("the ledger stood still: another one has the role after {took:?}");
    wait_clock(due + Duration::from_secs(2));
    group.managers[second].process().thaw();
    group.wait_linked();
    assert_eq!(wait_one(&group, &[0, 1, 2], "ledger"), third, "its tenure is over");

    let allowed = book.allowed();
    let ids = ["requests/1m/fixed_window", "requests/1s/fixed_window"];
    let want: Sums = ids
        .iter()
        .flat_map(|id| {
            allowed.iter().map(|(app, count)| (((*id).to_owned(), app.clone()), (*count, 1)))
        })
        .collect();
    let mut last = Vec::new();
    let began = Instant::now();
    wait_until("every manager was asked for records", SOON * 3, &[], || {
        last = group.managers.iter().filter_map(records).collect();
        let equal = last.len() == 3 && last.windows(2).all(|pair| pair[0] == pair[1]);
        equal && sums(&last[0]) == want || began.elapsed() > SOON * 2
    });
    assert_eq!(last.len(), 3);
    for (manager, found) in group.managers.iter().zip(&last) {
        assert_eq!(sums(found), want, "{} differs: {found:#?}", manager.id);
        assert_eq!(found, &last[0], "{} and {} differ", manager.id, group.managers[0].id);
    }
}
