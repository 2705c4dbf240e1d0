//! Requests come as the stream says, where and when it says.

use super::*;

fn demand(traffic: &str, events: &str) -> Vec<Arrival> {
    let text = format!(
        "duration = '10s'\n[[policies]]\nname = 'p'\nlevel = 'application'\nkey = ['application']\n\
         limits = [{{ requests = 100, window = '1s' }}]\n[agents]\ncount = 4\n{traffic}\n{events}\n"
    );
    let none = |_: &str| Err(String::new());
    Demand::new(&Scenario::parse(&text, none).unwrap(), 1).collect()
}

fn within(arrivals: &[Arrival], from: f64, to: f64) -> usize {
    let inside = |a: &&Arrival| (from..to).contains(&a.at.as_secs_f64());
    arrivals.iter().filter(inside).count()
}

#[test]
fn rates_are_kept_and_order_is_that_of_time() {
    let all =
        demand("[[traffic]]\nrate = '5x'\n[[traffic]]\nshape = 'steady'\nrate = '100/s'\n", "");
    assert!(all.is_sorted_by_key(|arrival| arrival.at));
    let steady = all.iter().filter(|arrival| arrival.stream == 1).count();
    let poisson = all.len() - steady;
    assert!((999..=1_001).contains(&steady), "{steady}");
    assert!((4_700..=5_300).contains(&poisson), "{poisson} of 5000, four deviations off");
}

#[test]
fn bursts_have_their_number() {
    let burst = "[[traffic]]\nshape = 'burst'\nrequests = '2x'\nwithin = '100ms'\nevery = '3s'\nfrom = '500ms'\n";
    let all = demand(burst, "");
    for begin in [0.5, 3.5, 6.5, 9.5] {
        assert_eq!(within(&all, begin, begin + 0.1), 200, "from {begin} s on");
    }
    assert_eq!(all.len(), 800);
    let once = demand(&burst.replace("every = '3s'\n", ""), "");
    assert_eq!((once.len(), within(&once, 0.5, 0.6)), (200, 200));
}

#[test]
fn on_off_is_silent_when_off_and_ramps_rise() {
    let all = demand("[[traffic]]\nshape = 'on-off'\nrate = '10x'\non = '1s'\noff = '4s'\n", "");
    assert_eq!((within(&all, 1.0, 5.0), within(&all, 6.0, 10.0)), (0, 0));
    assert!(within(&all, 5.0, 6.0) > 800);
    let all = demand("[[traffic]]\nshape = 'ramp'\nrate = 0\nto_rate = '10x'\n", "");
    let (early, late) = (within(&all, 0.0, 2.0), within(&all, 8.0, 10.0));
    assert!(early * 4 < late && all.len() > 4_500, "{early} {late} {}", all.len());
}

#[test]
fn requests_go_where_they_should() {
    let at = |all: &[Arrival], agent| all.iter().filter(|a| a.agent == agent).count();
    let all = demand("[[traffic]]\nrate = '10x'\nspread = 'zipf'\n", "");
    assert!(at(&all, 0) > 2 * at(&all, 1) && at(&all, 1) > at(&all, 3), "the first get most");
    let all = demand("[[traffic]]\nrate = '10x'\nspread = 'moving'\nmove_every = '1s'\n", "");
    for (second, agent) in [(0.0, 0), (1.0, 1), (3.0, 3), (4.0, 0)] {
        let there = all.iter().filter(|a| a.agent == agent);
        let there: Vec<Arrival> = there.copied().collect();
        assert_eq!(within(&there, second, second + 1.0), within(&all, second, second + 1.0));
    }
    let all = demand("[[traffic]]\nrate = '10x'\nagents = [2, 4]\n", "");
    assert_eq!((at(&all, 0), at(&all, 2)), (0, 0));
    assert!(at(&all, 1) > 4_000 && at(&all, 3) > 4_000);
}

#[test]
fn gateways_that_are_not_there_get_nothing() {
    let events = "[[events]]\nat = '2s'\nevent = 'crash'\nagents = 1\nfor = '3s'\n\
                  [[events]]\nat = '4s'\nevent = 'join'\nagents = 5\n";
    let all = demand("[[traffic]]\nrate = '10x'\n", events);
    let at = |agent| all.iter().filter(|a| a.agent == agent).copied().collect::<Vec<_>>();
    let (crashed, joined) = (at(0), at(4));
    assert_eq!(within(&crashed, 2.0, 5.5), 0, "it comes back at 5 s, and is ready at 5.5 s");
    assert!(within(&crashed, 5.5, 10.0) > 500);
    assert_eq!(within(&joined, 0.0, 4.5), 0);
    assert!(within(&joined, 4.5, 10.0) > 500);
}

#[test]
fn few_keys_get_most() {
    let all = demand("[[traffic]]\nrate = '10x'\nkeys = 50\nkeys_zipf = 1.1\n", "");
    let of = |key| all.iter().filter(|a| a.key == key).count();
    assert!(of(0) > of(5) && of(5) > of(49) && of(49) > 0);
}
