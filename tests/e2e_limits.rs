//! A limit is the limit: to the last request, at one agent and at two, and both managers know it.

mod support;

use std::{thread, time::Duration};

use support::{
    fleet::{Fleet, Plan},
    http::{Response, Session},
    load::Book,
    wait::{wait_for_room, wait_until},
};

const MINUTE: Duration = Duration::from_secs(60);
/// What a test may take on a slow machine, start-up included.
const ROOM: Duration = Duration::from_secs(25);

const PER_APPLICATION: &str = r"
apiVersion: weir/v1
policies:
  - name: per-application
    level: application
    key: [application]
    limits: [ { requests: 100, window: 1m, algorithm: fixed_window } ]
    max_wait: 1s
";

const SHARED: &str = r"
apiVersion: weir/v1
policies:
  - name: shared
    level: application
    key: [application]
    limits: [ { requests: 1000, window: 1m, algorithm: fixed_window } ]
    accuracy: strict
";

#[track_caller]
fn assert_refusal(response: &Response) {
    let whole = |name: &str| response.header(name).and_then(|v| v.parse::<u64>().ok());
    assert_eq!(response.status, 429, "{response:?}");
    assert!(whole("retry-after").is_some_and(|s| (1..=60).contains(&s)), "{response:?}");
    assert_eq!(
        response.header("ratelimit-policy"),
        Some(r#""per-application";q=100;w=60"#),
        "{response:?}"
    );
    let left = response.header("ratelimit").unwrap_or_default();
    assert!(left.starts_with(r#""per-application";r=0;t="#), "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let problem = response.json();
    assert_eq!(problem["status"], 429, "{problem}");
    assert_eq!(problem["policy"], "per-application", "{problem}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("per-application") && detail.contains("100"), "{problem}");
}

#[test]
fn one_agent_admits_a_hundred_of_a_hundred_and_fifty() {
    wait_for_room(MINUTE, ROOM);
    let plan = Plan { policies: PER_APPLICATION, agents: 1, ..Plan::default() };
    let fleet = Fleet::start(&plan);
    let (target, client) = (fleet.agents[0].target(), Session::new());
    let answers: Vec<Response> =
        (0..150).map(|_| target.check(&client, "orders", "shop").expect("an answer")).collect();
    let (allowed, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
    assert_eq!((allowed.len(), refused.len()), (100, 50), "{answers:?}");
    println!("first refusal: {:?}", answers.iter().position(|a| a.status != 200));
    refused.iter().for_each(|response| assert_refusal(response));
    for response in allowed {
        assert!(response.header("ratelimit").is_some(), "{response:?}");
        assert!(response.header("retry-after").is_none(), "{response:?}");
        assert_eq!(response.json()["allowed"], true);
    }
    // Another application has a limit of its own, and another window of the first its own, too.
    let other = target.check(&client, "orders", "office").expect("an answer");
    assert_eq!(other.status, 200, "{other:?}");
    let decided = |manager: &support::fleet::Node| {
        manager.get("/api/v1/decisions").is_some_and(|answer| {
            answer["decisions"][0]["key"][0] == "shop" && answer["decisions"][0]["used"] == 100
        })
    };
    let logs = fleet.processes();
    wait_until("the active manager lists the throttled key", MINUTE / 6, &logs, || {
        decided(&fleet.managers[0])
    });
}

#[test]
fn two_agents_share_one_limit_exactly() {
    wait_for_room(MINUTE, ROOM);
    let fleet = Fleet::start(&Plan { policies: SHARED, agents: 2, ..Plan::default() });
    let threads: Vec<_> = fleet
        .targets()
        .into_iter()
        .flat_map(|target| [target.clone(), target])
        .map(|target| {
            thread::spawn(move || {
                let (client, mut book) = (Session::new(), Book::default());
                for _ in 0..500 {
                    book.check(&target, &client, "orders", "shop");
                }
                book
            })
        })
        .collect();
    let mut book = Book::default();
    for thread in threads {
        book.merge(thread.join().expect("no panic"));
    }
    assert!(book.failures.is_empty(), "{:?}", book.failures);
    assert_eq!(book.total(), 2_000);
    println!("{:?}, slowest {:?}", book.answers, book.slowest);
    assert_eq!(book.allowed()["shop"], 1_000, "{:?}", book.answers);
    fleet.wait_booked("shared", &book);
}
