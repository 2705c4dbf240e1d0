//! Pictures: what is on them, and the curve below.

use super::*;
use crate::{contest::Entrant, judge, report::simulate};

fn picture(window: &str) -> String {
    let text = format!(
        "title = 'a < b & c'\nduration = '6s'\nwarm_up = '1s'\n[[policies]]\nname = 'p'\n\
         level = 'api'\nlimits = [{{ requests = 50, window = '1s', algorithm = '{window}' }}]\n\
         [agents]\ncount = 3\n[[traffic]]\nrate = '10x'\n\
         [[events]]\nat = '3s'\nevent = 'kill'\nmanagers = 1\nfor = '1s'\n"
    );
    let scenario = Scenario::parse(&text, |_| Err(String::new())).unwrap();
    let entrants = [Entrant::Flag, Entrant::Strict];
    let (_, runs) = simulate(&scenario, 1..2, &entrants, true);
    svg(&scenario, &judge::facts(&scenario.policies), &runs)
}

#[test]
fn a_picture_has_a_panel_for_each_limiter_and_names_what_happens() {
    let picture = picture("fixed_window");
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
    for text in
        ["flag · p", "weir strict · p", "kill manager 1", "start manager 1", "a &lt; b &amp; c"]
    {
        assert!(picture.contains(text), "{text} is not in the picture");
    }
    assert!(!picture.contains("NaN") && !picture.contains("inf"));
    assert!(picture.len() < 200_000, "{} bytes", picture.len());
}

#[test]
fn long_titles_are_cut_and_one_key_of_many_is_named() {
    let text = format!(
        "title = '{}'\nduration = '6s'\n[[policies]]\nname = 'p'\nlevel = 'application'\n\
         key = ['application']\nlimits = [{{ requests = 9, window = '1s' }}]\n\
         [agents]\ncount = 3\n[[traffic]]\nrate = '20x'\nkeys = 7\nkeys_zipf = 2\n",
        "é".repeat(200)
    );
    let scenario = Scenario::parse(&text, |_| Err(String::new())).unwrap();
    let (_, runs) = simulate(&scenario, 1..2, &[Entrant::Weir], true);
    let picture = svg(&scenario, &judge::facts(&scenario.policies), &runs);
    assert!(picture.contains(&format!(">{}…<", "é".repeat(95))));
    assert!(picture.contains("weir · p · application = application-1, busiest of 7"), "{picture}");
}

#[test]
fn sliding_windows_can_be_drawn() {
    assert!(picture("sliding_window").contains("weir strict · p"));
}

#[test]
fn a_curve_rises_within_a_window_and_falls_with_it() {
    let text = "duration = '4s'\n[[policies]]\nname = 'p'\nlevel = 'api'\nlimits = [{ requests = 5, \
                window = '1s' }]\n[agents]\ncount = 1\n[[traffic]]\nrate = '1/s'\n";
    let scenario = Scenario::parse(text, |_| Err(String::new())).unwrap();
    let step = |ms: u64, admitted| crate::judge::Step {
        at: Duration::from_millis(ms),
        window: Duration::from_secs(ms / 1_000),
        admitted,
        exact: true,
    };
    let track = [step(100, true), step(300, true), step(600, false), step(1_100, true)];
    let facts = judge::facts(&scenario.policies);
    let curve = Curve::new(&track, &facts[0], (Duration::ZERO, Duration::from_secs(4)), 8.0);
    let admitted: Vec<f64> = curve.columns.iter().map(|column| column.admitted).collect();
    assert_eq!(admitted, [2.0, 2.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(curve.columns[1].wanted, 3.0);
    assert_eq!(curve.peak, (0, 2.0));
    let warm = (Duration::from_secs(1), Duration::from_secs(4));
    assert_eq!(Curve::new(&track, &facts[0], warm, 8.0).peak, (2, 1.0), "not the warm-up's");
}
