//! The bound, with real programs: whatever the managers suffer, all agents together admit no more
//! than the limit in any window; and small limits are met exactly, by more agents than requests.
//!
//! Windows are those that the agents name in their answers, never the test's own.
//!
//! `WEIR_BOUND_SECONDS` makes the first test longer (30), `WEIR_BOUND_SEED` repeats a run.

mod support;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use support::{
    fleet::{Fleet, Node, Plan, SOON},
    http::Session,
    load::{Book, Target},
    wait::{Pace, wait_for, wall_clock},
};

/// The policy `total` refuses nothing: it counts what passed, in a window that outlives the test.
const POLICIES: &str = "
apiVersion: weir/v1
policies:
  - name: total
    level: application
    key: [application]
    limits: [ { requests: 1000000, window: 365d, algorithm: fixed_window } ]
    mode: shadow
  - name: bound
    level: application
    match: 'request.api == \"bound\"'
    key: [application]
    limits: [ { requests: 1000, window: 5s, algorithm: fixed_window } ]
    accuracy: strict
";

const LIMIT: u64 = 1_000;
const AGENTS: usize = 4;
const REQUESTS_PER_SECOND: u64 = 667;
/// Of each agent, of sixteen requests.
const WEIGHTS: [u64; AGENTS] = [8, 5, 2, 1];

/// Small, fast, and the same everywhere (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

#[expect(clippy::disallowed_methods, reason = "how long and how, for whoever looks for a fault")]
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn rest(pause: Duration) {
    let mut pace = Pace::new(pause);
    pace.beat();
    pace.beat();
}

/// What was answered in each window.
#[derive(Default)]
struct Windows {
    answers: BTreeMap<u64, (u64, u64)>,
    book: Book,
}

impl Windows {
    /// One check; its window, and whether it passed.
    fn check(
        &mut self,
        target: &Target,
        client: &Session,
        api: &str,
        application: &str,
    ) -> Option<(u64, bool)> {
        let began = Instant::now();
        let response = match target.check(client, api, application) {
            Ok(response) if [200, 429].contains(&response.status) => response,
            other => {
                self.book.failures.push(format!("{target:?}: {other:?}"));
                return None;
            }
        };
        self.book.slowest = self.book.slowest.max(began.elapsed());
        let body = response.json();
        let Some(window) = body["window_start"].as_u64() else {
            self.book.failures.push(format!("{target:?}: no window: {response:?}"));
            return None;
        };
        let allowed = response.status == 200;
        let place = (target.agent.clone(), application.to_owned());
        let answers = self.book.answers.entry(place).or_default();
        let (passed, refused) = self.answers.entry(window).or_default();
        *(if allowed { passed } else { refused }) += 1;
        // A shadow policy's counter has no share in a window that is older than the fleet: what
        // passes before its first credit comes is not in it, and the answer says so.
        if allowed && body["shadow"].is_null() {
            answers.allowed += 1;
        } else if !allowed {
            answers.refused += 1;
        }
        Some((window, allowed))
    }

    fn merge(&mut self, other: Windows) {
        for (window, (allowed, refused)) in other.answers {
            let mine = self.answers.entry(window).or_default();
            *mine = (mine.0 + allowed, mine.1 + refused);
        }
        self.book.merge(other.book);
    }
}

/// Kills and restarts managers until told to stop; then all of them run. Says what it did.
fn torment(managers: &mut [Node], mut random: Random, stop: &AtomicBool) -> String {
    let mut story = String::new();
    let began = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        rest(random.millis(100, 2_500));
        let both = random.below(4) == 0;
        let one = usize::try_from(random.below(2)).expect("it is small");
        let victims: Vec<usize> = if both { vec![one, 1 - one] } else { vec![one] };
        for &victim in &victims {
            managers[victim].process().kill();
            story += &format!("{:?} killed {}\n", began.elapsed(), managers[victim].id);
            rest(random.millis(1, 300));
        }
        rest(random.millis(1, 2_500));
        for &victim in &victims {
            managers[victim].restart();
            story += &format!("{:?} restarted {}\n", began.elapsed(), managers[victim].id);
            rest(random.millis(1, 300));
        }
    }
    for manager in managers {
        manager.wait_ready();
    }
    story
}

/// Bursts and pauses, so many requests in all over that time.
fn burst(target: &Target, requests: u64, length: Duration, mut random: Random) -> Windows {
    let (client, mut windows) = (Session::new(), Windows::default());
    let began = Instant::now();
    let mut sent = 0;
    while sent < requests {
        let size = (1 + random.below(100)).min(requests - sent);
        for _ in 0..size {
            windows.check(target, &client, "bound", "shop");
        }
        sent += size;
        // Up to twice the mean, so that some windows get more than others.
        let due = length.mul_f64(sent as f64 / requests as f64);
        let early = due.saturating_sub(began.elapsed());
        rest(early.mul_f64(random.below(200) as f64 / 100.0));
    }
    windows
}

#[test]
fn no_window_exceeds_its_limit_while_managers_are_killed() {
    let seed = number("WEIR_BOUND_SEED", u64::from(wall_clock().subsec_nanos()));
    let length = Duration::from_secs(number("WEIR_BOUND_SECONDS", 30));
    println!("WEIR_BOUND_SEED={seed}");
    let plan = Plan {
        policies: POLICIES,
        agents: AGENTS,
        agent_args: &["--listen-workers", "1"],
        ..Plan::default()
    };
    let mut fleet = Fleet::start(&plan);
    let targets = fleet.targets();
    let all = length.as_secs() * REQUESTS_PER_SECOND;
    let stop = AtomicBool::new(false);
    let (windows, story) = thread::scope(|scope| {
        let managers = &mut fleet.managers;
        let torment = scope.spawn(|| torment(managers, Random(seed), &stop));
        let load = targets.iter().zip(WEIGHTS).enumerate().map(|(place, (target, weight))| {
            let random = Random(seed ^ (place as u64 + 1) << 32);
            scope.spawn(move || burst(target, all * weight / 16, length, random))
        });
        let load: Vec<_> = load.collect();
        let mut windows = Windows::default();
        for thread in load {
            windows.merge(thread.join().expect("the load does not panic"));
        }
        stop.store(true, Ordering::Relaxed);
        (windows, torment.join().expect("managers start again"))
    });
    println!("{story}windows {:?}", windows.answers);
    assert!(windows.book.failures.is_empty(), "{:?}", windows.book.failures);
    for (window, (allowed, _)) in &windows.answers {
        assert!(*allowed <= LIMIT, "{allowed} of {LIMIT} in window {window}, seed {seed}\n{story}");
    }
    let full = windows.answers.values().filter(|(allowed, _)| *allowed > LIMIT / 2).count();
    assert!(full > 0, "no window came near its limit: {:?}", windows.answers);
    fleet.wait_booked("total", &windows.book);
}

/// Limits below the number of agents. Who waits for the managers' answer does so for a second here,
/// so that a slow machine is not taken for a wrong answer.
const SMALL: &str = "
apiVersion: weir/v1
policies:
  - { name: one, level: application, match: 'request.api == \"1\"', key: [application],
      limits: [ { requests: 1, window: 5s, algorithm: fixed_window } ], max_wait: 1s }
  - { name: two, level: application, match: 'request.api == \"2\"', key: [application],
      limits: [ { requests: 2, window: 5s, algorithm: fixed_window } ], max_wait: 1s }
  - { name: five, level: application, match: 'request.api == \"5\"', key: [application],
      limits: [ { requests: 5, window: 5s, algorithm: fixed_window } ], max_wait: 1s }
  - { name: ten, level: application, match: 'request.api == \"10\"', key: [application],
      limits: [ { requests: 10, window: 5s, algorithm: fixed_window } ], max_wait: 1s }
";

const SMALL_LIMITS: [u64; 4] = [1, 2, 5, 10];
const MANY_AGENTS: usize = 12;
fn many() -> Fleet {
    Fleet::start(&Plan {
        policies: SMALL,
        agents: MANY_AGENTS,
        agent_args: &["--listen-workers", "1"],
        ..Plan::default()
    })
}

/// One request after the other, each at another agent: the first `limit` pass and no other.
#[test]
fn small_limits_are_exact_one_by_one_at_a_dozen_agents() {
    let fleet = many();
    let targets = fleet.targets();
    let client: Vec<Session> = targets.iter().map(|_| Session::new()).collect();
    let mut wrong = Vec::new();
    let mut slowest = Duration::ZERO;
    for limit in SMALL_LIMITS {
        let api = limit.to_string();
        for round in 0..3 {
            // A round that saw two windows says nothing; the next one has all of its window.
            let answers = wait_for("a round in one window", SOON, &fleet.processes(), || {
                let mut windows = Windows::default();
                let application = format!("shop-{round}-{}", wall_clock().as_nanos());
                let answers: Vec<(u64, bool)> = (0..limit + 3)
                    .map(|n| {
                        let place = usize::try_from(round * 5 + n * 7).expect("it is small");
                        let place = place % MANY_AGENTS;
                        windows.check(&targets[place], &client[place], &api, &application)
                    })
                    .collect::<Option<_>>()
                    .unwrap_or_else(|| panic!("{:?}", windows.book.failures));
                slowest = slowest.max(windows.book.slowest);
                let one = answers.iter().all(|(window, _)| *window == answers[0].0);
                one.then(|| answers.iter().map(|(_, allowed)| *allowed).collect::<Vec<_>>())
            });
            let right = (0..limit + 3).map(|n| n < limit);
            if !answers.iter().copied().eq(right) {
                wrong.push(format!("limit {limit}, round {round}: {answers:?}"));
            }
        }
    }
    println!("slowest {slowest:?}");
    assert!(wrong.is_empty(), "passed (true) and refused, in order:\n{}", wrong.join("\n"));
}

/// All agents at once, all the time: each window lets exactly its limit pass, never more.
#[test]
fn small_limits_are_exact_under_load_at_a_dozen_agents() {
    let fleet = many();
    let targets = fleet.targets();
    let ask = |target: &Target, limit: u64| {
        let (client, api) = (Session::new(), limit.to_string());
        let mut windows = Windows::default();
        let mut pace = Pace::new(Duration::from_millis(250));
        // The first window has begun before, and the last is left before its end.
        while windows.answers.len() < 4 && windows.book.failures.is_empty() {
            pace.beat();
            windows.check(target, &client, &api, "shop");
        }
        windows
    };
    let mut wrong = Vec::new();
    let all: BTreeMap<u64, Windows> = thread::scope(|scope| {
        let start = |limit| -> Vec<_> {
            targets.iter().map(|target| scope.spawn(move || ask(target, limit))).collect()
        };
        let threads: Vec<_> = SMALL_LIMITS.map(|limit| (limit, start(limit))).into();
        let join = |threads: Vec<thread::ScopedJoinHandle<'_, Windows>>| {
            let mut windows = Windows::default();
            for thread in threads {
                windows.merge(thread.join().expect("the load does not panic"));
            }
            windows
        };
        threads.into_iter().map(|(limit, threads)| (limit, join(threads))).collect()
    });
    // On a machine so slow that an agent gave its manager up, shares wait for it to return.
    let calm = !fleet.agents.iter().any(|agent| agent.process().log().contains("detached"));
    println!("every agent followed its manager all the time: {calm}");
    for (limit, windows) in &all {
        println!("limit {limit}: {:?}", windows.answers);
        assert!(windows.book.failures.is_empty(), "{:?}", windows.book.failures);
        for (place, (window, (allowed, _))) in windows.answers.iter().enumerate() {
            let whole = calm && place > 0 && place + 1 < windows.answers.len();
            if allowed > limit || (whole && allowed < limit) {
                wrong.push(format!("limit {limit}: {allowed} in window {window}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What an agent is asked first in a window passes, whichever agent it is: nothing has been used.
#[test]
fn the_first_request_of_a_window_passes() {
    let fleet = many();
    let targets = fleet.targets();
    let client = Session::new();
    let (mut wrong, mut slowest) = (Vec::new(), Duration::ZERO);
    for target in &targets {
        for limit in SMALL_LIMITS {
            let mut windows = Windows::default();
            let application = format!("first-{}", target.agent);
            let answer = windows.check(target, &client, &limit.to_string(), &application);
            let (window, allowed) = answer.unwrap_or_else(|| panic!("{:?}", windows.book.failures));
            slowest = slowest.max(windows.book.slowest);
            if !allowed {
                wrong.push(format!("limit {limit} at {}, window {window}", target.agent));
            }
        }
    }
    println!("slowest {slowest:?}");
    assert!(wrong.is_empty(), "refused though nothing was used: {wrong:?}");
}
