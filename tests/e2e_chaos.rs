//! A group of managers under load while they are killed, hung and restarted at random: at the end they
//! agree, nothing is lost, and no check failed. `WEIR_CHAOS_SECONDS` sets how long, `WEIR_CHAOS_SEED`
//! which course it takes.

mod support;

use std::{
    collections::BTreeMap,
    env,
    time::{Duration, Instant},
};

use serde_json::json;
use support::{
    fleet::{Node, SOON},
    group::Group,
    http,
    load::{Book, Load},
    wait::{wait_for_room, wait_until},
};

const HOUR: Duration = Duration::from_secs(3_600);
const SECONDS: u64 = 60;
/// Of each agent.
const PER_SECOND: u32 = 150;
/// Reached while managers come and go.
const TIGHT: u64 = 700;
const APPLICATIONS: [&str; 4] = ["app-1", "app-2", "app-3", "app-4"];

#[expect(clippy::disallowed_methods, reason = "a longer run is one variable away")]
fn setting(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn policies(group: &Group) {
    for (name, requests) in [("tight", TIGHT), ("wide", 1_000_000)] {
        let body = json!({
            "name": name, "level": "application", "key": ["application"],
            "match": format!("request.api == \"{name}\""),
            "limits": [{ "requests": requests, "window": "1h", "algorithm": "fixed_window" }],
            "accuracy": "strict",
        });
        let url = group.managers[0].url("/api/v1/policies?wait=all");
        let made = http::post_json(&url, &body).expect("an answer");
        assert_eq!(made.status, 201, "{}", made.body);
    }
}

/// Xorshift: a course of events for each seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// What may be done to a manager.
enum Trouble {
    Kill,
    Hang,
}

/// Kills, hangs and restarts managers, at most two of three at a time, and edits policies in between.
fn disturb(group: &mut Group, length: Duration, random: &mut Random) -> u64 {
    let end = Instant::now() + length;
    let mut edits = 0;
    let mut down: BTreeMap<usize, (Trouble, Instant)> = BTreeMap::new();
    while Instant::now() < end {
        let now = Instant::now();
        let over: Vec<usize> =
            down.iter().filter(|(_, (_, until))| *until <= now).map(|(place, _)| *place).collect();
        for place in over {
            match down.remove(&place) {
                Some((Trouble::Kill, _)) => group.managers[place].restart(),
                Some((Trouble::Hang, _)) => group.managers[place].process().thaw(),
                None => {}
            }
        }
        let place = usize::try_from(random.below(group.managers.len() as u64)).unwrap_or(0);
        if down.len() < 2 && !down.contains_key(&place) {
            let until = now + random.millis(200, 4_000);
            let trouble = if random.below(10) < 6 { Trouble::Kill } else { Trouble::Hang };
            match trouble {
                Trouble::Kill => group.managers[place].process().kill(),
                Trouble::Hang => group.managers[place].process().freeze(),
            }
            down.insert(place, (trouble, until));
        }
        let well = (0..group.managers.len()).find(|place| !down.contains_key(place));
        if let Some(place) = well {
            let name = format!("edited-{}", random.below(5));
            let written = group.managers[place].put_policy(&name, 1 + random.below(1_000));
            edits += u64::from(written.is_ok_and(|answer| answer.status < 300));
        }
        let next = now + random.millis(100, 1_500);
        wait_until("the next trouble is due", SOON, &[], || Instant::now() >= next);
    }
    for (place, (trouble, _)) in down {
        match trouble {
            Trouble::Kill => group.managers[place].restart(),
            Trouble::Hang => group.managers[place].process().thaw(),
        }
    }
    edits
}

fn expected(book: &Book) -> BTreeMap<(String, String), u64> {
    let admitted = book.answers.iter().map(|(place, answers)| (place.clone(), answers.allowed));
    admitted.filter(|(_, allowed)| *allowed > 0).collect()
}

#[test]
fn managers_killed_and_hung_at_random_agree_at_the_end_and_lose_nothing() {
    let length = Duration::from_secs(setting("WEIR_CHAOS_SECONDS", SECONDS));
    let seed = setting("WEIR_CHAOS_SEED", u64::from(std::process::id()));
    println!("seed {seed}: WEIR_CHAOS_SEED={seed} takes this course again");
    wait_for_room(HOUR, length + SOON * 4);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut group = Group::start(3, &[]).with_agents(2);
    policies(&group);
    let targets: Vec<_> = group.agents.iter().map(Node::target).collect();
    wait_until("the agents share the limits", SOON, &group.processes(), || {
        group
            .agents
            .iter()
            .all(|agent| agent.get("/v1/status").is_some_and(|status| status["fleet"] == 2))
    });
    let first = Load::start(&targets, "wide", &APPLICATIONS, PER_SECOND);
    // A key that is new to an agent in a running window needs a manager's word.
    wait_until("every key has been granted something", SOON, &group.processes(), || {
        let used = group.managers[0].used("wide").unwrap_or_default();
        used.len() == targets.len() * APPLICATIONS.len() && used.values().all(|used| *used > 5)
    });
    let first = first.finish();
    let wide = Load::start(&targets, "wide", &APPLICATIONS, PER_SECOND);
    let tight = Load::start(&targets, "tight", &APPLICATIONS, PER_SECOND / 3);
    let edits = disturb(&mut group, length, &mut random);
    group.wait_linked();
    let (mut wide, tight) = (wide.finish(), tight.finish());
    println!(
        "{} checks, slowest {:?}; {edits} edits; tight admitted {:?}",
        wide.total() + tight.total(),
        wide.slowest.max(tight.slowest),
        tight.allowed(),
    );
    assert_eq!((&wide.failures, &tight.failures), (&Vec::new(), &Vec::new()), "seed {seed}");
    for (application, admitted) in tight.allowed() {
        assert!(admitted <= TIGHT, "seed {seed}: {application} admitted {admitted}");
    }
    assert_eq!(wide.answers.values().map(|a| a.refused).sum::<u64>(), 0, "seed {seed}");
    wide.merge(first);
    group.wait_converged();
    for (policy, book) in [("wide", &wide), ("tight", &tight)] {
        let want = expected(book);
        let mut last = Vec::new();
        let began = Instant::now();
        wait_until(&format!("{policy}: every manager was asked"), SOON * 2, &[], || {
            last = group.managers.iter().map(|manager| manager.used(policy)).collect();
            last.iter().all(|used| used.as_ref() == Some(&want)) || began.elapsed() > SOON
        });
        for (manager, used) in group.managers.iter().zip(&last) {
            assert_eq!(used.as_ref(), Some(&want), "seed {seed}: {} counts {policy}", manager.id);
        }
    }
}
