//! The scenarios that users get, with the numbers that their files state, and the limiters that they
//! are compared with.

use std::{collections::BTreeMap, path::Path, time::Duration};

use weir_proto::{policy::Policy, window::Algorithm};
use weir_simulator::{
    Scenario,
    contest::Entrant,
    plan::Fault,
    report::{Report, Row, simulate},
    scenario::Incident,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/scenarios");

/// Every shipped scenario by name.
fn shipped() -> BTreeMap<String, Scenario> {
    let files = std::fs::read_dir(FOLDER).expect("deploy/scenarios");
    let paths = files.map(|file| file.expect("an entry").path());
    let toml = paths.filter(|path| path.extension().is_some_and(|end| end == "toml"));
    toml.map(|path| (stem(&path), read(&path))).collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}

fn read(path: &Path) -> Scenario {
    let text = std::fs::read_to_string(path).expect("a scenario");
    let none = |name: &str| Err(format!("{name} is not there"));
    Scenario::parse(&text, none).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn scenario(name: &str) -> Scenario {
    read(&Path::new(FOLDER).join(name).with_extension("toml"))
}

fn compared(name: &str) -> Report {
    simulate(&scenario(name), 1..3, &Entrant::COMPARED, false).0
}

fn row(report: &Report, entrant: Entrant) -> &Row {
    let found = report.rows.iter().find(|row| row.limiter == entrant.name());
    found.expect("a row for everybody who took part")
}

#[test]
fn the_first_half_of_the_shipped_scenarios_keeps_what_it_states() {
    let all = shipped();
    assert!(all.len() >= 25, "only {:?}", all.keys());
    let half = all.len() / 2;
    all.iter().take(half).for_each(keeps);
}

#[test]
fn the_second_half_of_the_shipped_scenarios_keeps_what_it_states() {
    let all = shipped();
    all.iter().skip(all.len() / 2).for_each(keeps);
}

fn keeps((name, scenario): (&String, &Scenario)) {
    assert_eq!(scenario.expect.over, Some(0.0), "{name} claims that the limit holds");
    assert!(!scenario.title.is_empty(), "{name} has no title");
    let (report, _) = simulate(scenario, 11..13, &[Entrant::Weir], false);
    assert!(report.passed(), "{name}: {:#?}", report.failures);
    assert!(report.rows.iter().all(|row| row.admitted > 0.0), "{name}: {:#?}", report.rows);
}

#[test]
fn strict_fills_the_limit_wherever_the_load_is() {
    for name in ["steady-2x", "zipf-gateways", "moving-gateway"] {
        let report = compared(name);
        let strict = row(&report, Entrant::Strict);
        let under = strict.under.expect("saturated windows").worst;
        assert!(under <= 1.0 && strict.over.worst == 0.0, "{name}: {strict:#?}");
    }
}

#[test]
fn flags_let_more_pass_the_higher_the_load() {
    let over = |name| row(&compared(name), Entrant::Flag).over.mean;
    let (twice, ten, hundred) = (over("steady-2x"), over("steady-10x"), over("steady-100x"));
    assert!(twice > 0.0 && ten > 2.0 * twice && hundred > 2.0 * ten, "{twice} {ten} {hundred}");
}

#[test]
fn static_shares_hold_the_limit_and_waste_it() {
    let report = compared("moving-gateway");
    let fixed = row(&report, Entrant::Static);
    assert_eq!(fixed.over.worst, 0.0, "{fixed:#?}");
    assert!(fixed.under.expect("saturated windows").mean > 20.0, "{fixed:#?}");
    let wrong = row(&compared("idle-burst"), Entrant::Static).wrong.mean;
    assert!(wrong > 20.0, "{wrong} % of a burst below the limit was refused");
}

/// Windows are fixed, and no gateway joins, leaves, crashes or comes back.
fn steady(scenario: &Scenario) -> bool {
    let fixed = |policy: &Policy| {
        policy.all_limits().all(|(_, limit)| limit.algorithm == Algorithm::FixedWindow)
    };
    let moves = |(_, incident): &(Duration, Incident)| {
        use Fault::{KillAgent, StartAgent, StopAgent};
        matches!(incident, Incident::Fault(StartAgent(_) | KillAgent(_) | StopAgent(_)))
    };
    scenario.policies.iter().all(fixed) && !scenario.incidents.iter().any(moves)
}

#[test]
fn static_shares_cannot_exceed_the_limit_while_the_fleet_stays_the_same() {
    let all = shipped().into_iter().filter(|(_, scenario)| steady(scenario));
    let mut names = Vec::new();
    for (name, scenario) in all {
        let (report, _) = simulate(&scenario, 1..3, &[Entrant::Static], false);
        assert!(report.rows.iter().all(|row| row.over_requests == 0), "{name}: {:#?}", report.rows);
        names.push(name);
    }
    assert!(names.len() >= 20 && names.iter().any(|name| name == "clock-skew"), "{names:?}");
}

#[test]
fn requests_at_agents_that_are_not_ready_are_nobodys() {
    // The only manager is away for so long that a gateway begins without policies.
    let text = r#"
        title = "A gateway starts while the manager is away"
        duration = "14s"
        expect_over = 0
        [agents]
        count = 2
        [managers]
        count = 1
        [[policies]]
        name = "p"
        level = "application"
        key = ["application"]
        limits = [{ requests = 100, window = "1s" }]
        [[traffic]]
        rate = "4x"
        [[events]]
        at = "5s"
        event = "kill"
        managers = 1
        for = "4s"
        [[events]]
        at = "6s"
        event = "crash"
        agents = 2
        for = "1s"
    "#;
    let scenario = Scenario::parse(text, |name| Err(name.to_owned())).expect("a scenario");
    let (report, _) = simulate(&scenario, 1..3, &Entrant::COMPARED, false);
    assert!(report.unready > 100, "{report:#?}");
    let offered = |entrant| row(&report, entrant).offered;
    let (flag, weir) = (offered(Entrant::Flag), offered(Entrant::Strict));
    assert!((flag - weir).abs() < flag * 0.005, "{flag} {weir}");
}

#[test]
fn drop_ratios_follow_bursts_too_late() {
    let report = compared("burst-spread");
    assert!(row(&report, Entrant::Ratio).over.mean > 50.0, "{report:#?}");
    let steady = compared("steady-10x");
    let (ratio, flag) = (row(&steady, Entrant::Ratio), row(&steady, Entrant::Flag));
    assert!(ratio.over.mean < flag.over.mean, "{ratio:#?} {flag:#?}");
}

#[test]
fn balanced_stays_within_its_bound() {
    // L + n × floor: 20 agents, 2 each at a limit of 100.
    for name in ["steady-2x", "near-limit", "split-brain"] {
        let report = compared(name);
        let balanced = row(&report, Entrant::Balanced);
        assert!(balanced.over_requests <= 40, "{name}: {balanced:#?}");
    }
}

#[test]
fn everybody_meets_the_same_requests() {
    let report = compared("many-keys");
    let offered = |entrant| row(&report, entrant).offered;
    assert!(offered(Entrant::Flag) > 10_000.0, "{report:#?}");
    assert_eq!(offered(Entrant::Flag), offered(Entrant::Static));
    // Windows begin a delay apart, and a few requests before the first counted one are another's.
    let (flag, weir) = (offered(Entrant::Flag), offered(Entrant::Strict));
    assert!((flag - weir).abs() < flag * 0.001, "{flag} {weir}");
}

#[test]
fn one_seed_is_one_run() {
    let scenario = scenario("split-brain");
    let run = |seeds| simulate(&scenario, seeds, &Entrant::COMPARED, false).0;
    assert_eq!(run(7..8), run(7..8));
    assert_ne!(run(7..8).rows, run(8..9).rows);
}

#[test]
fn an_unmet_expectation_names_the_seed() {
    let mut scenario = scenario("all-managers-down");
    scenario.expect.under = Some(0.0);
    let (report, _) = simulate(&scenario, 5..7, &[Entrant::Weir], false);
    let seeds: Vec<u64> = report.failures.iter().map(|failure| failure.seed).collect();
    assert_eq!(seeds, [5, 6], "{:#?}", report.failures);
    assert!(report.failures.iter().all(|failure| failure.expectation == "expect_under"));
}

#[test]
fn losing_the_manager_costs_less_than_a_second() {
    let (report, _) = simulate(&scenario("failover"), 1..4, &[Entrant::Weir], false);
    let failover = report.traffic[0].failover_ms.expect("the followed manager was lost");
    assert!(failover.worst > 1.0 && failover.worst < 1_000.0, "{failover:?} ms");
}

#[test]
fn a_group_applies_while_its_schedule_holds() {
    // Runs begin on a Friday at eight.
    let text = r#"
        title = "More until a minute past eight"
        duration = "75s"
        expect_over = 0
        [agents]
        count = 4
        [[policies]]
        name = "p"
        level = "application"
        key = ["application"]
        limits = [{ requests = 100, window = "1s" }]
        [[policies.groups]]
        name = "early"
        during = { weekdays = ["fri"], hours = "07:00-08:01" }
        limits = [{ requests = 200, window = "1s" }]
        [[traffic]]
        rate = "3x"
    "#;
    let scenario = Scenario::parse(text, |name| Err(format!("{name} is not there"))).unwrap();
    let (report, _) = simulate(&scenario, 1..2, &[Entrant::Weir], false);
    assert!(report.passed(), "{:#?}", report.failures);
    let admitted = |limit: u64| {
        let row = report.rows.iter().find(|row| row.limit == limit).expect("a row");
        (row.admitted / limit as f64).round()
    };
    // From the first window behind the warm-up to the minute, and from there to the end.
    assert_eq!((admitted(200), admitted(100)), (57.0, 15.0), "{:#?}", report.rows);
}
