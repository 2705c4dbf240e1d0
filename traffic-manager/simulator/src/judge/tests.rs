//! Scores of hand-made runs.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn facts_of(algorithm: &str) -> Arc<[Facts]> {
    let policy = serde_json::json!({
        "name": "p", "level": "api", "key": ["api"],
        "limits": [{ "requests": 10, "window": "1s", "algorithm": algorithm }],
    });
    facts(&[Policy::from_json(&policy).unwrap()]).into()
}

/// Counts so many requests within a millisecond from `ms` on, of which `pass` pass.
fn burst(judge: &mut Judge, ms: u64, requests: u64, pass: u64) {
    for i in 0..requests {
        let at = Time::from_micros(ms * 1_000 + i);
        let seen = at + Duration::from_secs(EPOCH_SECS);
        let ruling = if i < pass { Ruling::Pass } else { Ruling::Refused(Some(0)) };
        judge.count(&[Hit { limit: 0, counter: 0 }], at, seen, ruling);
    }
}

#[test]
fn over_under_and_wrong_are_of_windows() {
    let mut judge = Judge::new(facts_of("fixed_window"), false);
    burst(&mut judge, 0, 50, 50); // warm-up
    burst(&mut judge, 1_000, 20, 12); // over by 2
    burst(&mut judge, 2_000, 20, 7); // 3 are missing
    burst(&mut judge, 3_000, 8, 6); // 2 of 8 for nothing
    burst(&mut judge, 4_000, 10, 10); // exactly full: nobody refuses
    let score = judge.scores(SECOND, SECOND * 10)[0];
    assert_eq!((score.offered, score.admitted, score.allowed), (58, 35, 38));
    assert_eq!((score.over, score.over_requests), (20.0, 2));
    assert_eq!((score.under, score.saturated), (15.0, 2));
    assert_eq!(score.wrong, 2.0 * 100.0 / 18.0);
}

#[test]
fn a_window_that_does_not_end_is_not_short_of_anything() {
    let mut judge = Judge::new(facts_of("fixed_window"), false);
    burst(&mut judge, 1_000, 20, 1);
    let score = judge.scores(SECOND, SECOND + SECOND / 2)[0];
    assert_eq!((score.under, score.saturated, score.wrong), (0.0, 0, 0.0));
    assert_eq!((score.windows, score.met), (0, 20));
}

#[test]
fn reaction_is_from_the_limit_to_the_last_admission() {
    let mut judge = Judge::new(facts_of("fixed_window"), false);
    burst(&mut judge, 1_000, 10, 10);
    burst(&mut judge, 1_300, 1, 1);
    let reaction = judge.scores(SECOND, SECOND * 10)[0].reaction;
    assert_eq!(reaction.windows, 1);
    assert_eq!(reaction.worst, Duration::from_micros(1_300_000 - 1_000_009));
}

#[test]
fn sliding_windows_begin_anywhere() {
    let mut judge = Judge::new(facts_of("sliding_window"), false);
    burst(&mut judge, 1_900, 9, 9);
    burst(&mut judge, 2_100, 9, 9); // each second holds 9, but 18 came within one
    let score = judge.scores(SECOND, SECOND * 10)[0];
    assert_eq!((score.over_requests, score.over), (8, 80.0));
    assert_eq!(score.allowed, 10);
}

#[test]
fn a_request_that_one_limit_refuses_consumes_from_none() {
    let limits = serde_json::json!([
        { "requests": 2, "window": "1s" }, { "requests": 10, "window": "1m" },
    ]);
    let policy = serde_json::json!({ "name": "p", "level": "api", "limits": limits });
    let facts = facts(&[Policy::from_json(&policy).unwrap()]);
    assert_eq!(facts[0].name, "p requests/1s/fixed_window");
    let mut judge = Judge::new(facts.into(), false);
    let hits = [Hit { limit: 0, counter: 0 }, Hit { limit: 1, counter: 1 }];
    for i in 0..5 {
        let at = Time::from_micros(1_000_000 + i);
        judge.count(&hits, at, at + Duration::from_secs(EPOCH_SECS), Ruling::Pass);
    }
    let scores = judge.scores(Duration::ZERO, SECOND * 60);
    assert_eq!((scores[0].allowed, scores[1].allowed), (2, 2));
    assert_eq!((scores[0].over_requests, scores[1].over_requests), (3, 0));
}

#[test]
fn only_limits_that_refuse_are_judged() {
    for field in ["{\"mode\": \"shadow\"}", "{\"on_limit\": \"allow\"}"] {
        let mut policy = serde_json::json!({
            "name": "p", "level": "api", "limits": [{ "requests": 2, "window": "1s" }],
        });
        let more: serde_json::Value = serde_json::from_str(field).unwrap();
        for (name, value) in more.as_object().unwrap() {
            policy[name] = value.clone();
        }
        assert_eq!(facts(&[Policy::from_json(&policy).unwrap()]), [], "{field}");
    }
}
