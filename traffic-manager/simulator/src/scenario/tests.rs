//! The format: what can be said, and what bad input is told.

use super::*;

/// The smallest scenario, with other lines in front and behind.
fn text(front: &str, behind: &str) -> String {
    format!(
        "duration = '10s'\n{front}\n[[policies]]\nname = 'p'\nlevel = 'application'\n\
         key = ['application']\nlimits = [{{ requests = 100, window = '1s' }}]\n\
         [agents]\ncount = 4\n{behind}\n"
    )
}

const TRAFFIC: &str = "[[traffic]]\nrate = '2x'\n";

fn parse(text: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse(text, |name| match name {
        "good.yaml" => Ok("name: q\nlevel: api\nlimits: [{requests: 5, window: 1m}]\n".to_owned()),
        "wrong.yaml" => {
            Ok("name: q\nlevel: api\nlimits: [{requests: 5, window: 1ms}]\n".to_owned())
        }
        "broken.yaml" => Ok("name: [\n".to_owned()),
        name => Err(format!("{name} is not there")),
    })
}

fn error(text: &str) -> String {
    parse(text).err().unwrap_or_else(|| panic!("this was taken: {text}")).to_string()
}

#[test]
fn the_smallest_scenario_has_sensible_defaults() {
    let scenario = parse(&text("", TRAFFIC)).unwrap();
    assert_eq!((scenario.seed, scenario.warm_up), (1, Duration::from_secs(3)));
    assert_eq!((scenario.plan.managers, scenario.plan.agents, scenario.fleet()), (2, 4, 4));
    assert_eq!(scenario.streams[0].shape, crate::demand::Shape::Poisson(200.0));
    assert_eq!(scenario.streams[0].agents, [0, 1, 2, 3]);
    assert!(scenario.strict() && !scenario.with_accuracy(Accuracy::Balanced).strict());
}

#[test]
fn everything_can_be_said() {
    let scenario = parse(&text(
        "title = 't'\nseed = 9\nwarm_up = '1500ms'\nexpect_over = 0\nexpect_under = 1.5",
        "[managers]\ncount = 3\nsilent_hold = '1m30s'\nfence = '2s'\n\
         [network]\ndelay = '2ms'\njitter = '1ms'\nloss = '1%'\n[network.down]\nloss = 0.25\n\
         [clocks]\nmanagers = ['+500ms', '-1s']\nagents = ['3s']\n\
         [[traffic]]\nshape = 'burst'\nrequests = '0.5x'\nwithin = '50ms'\nevery = '2s'\nagents = 2\n\
         [[traffic]]\nshape = 'on-off'\nrate = '90/m'\non = '1s'\noff = '1s'\nspread = 'zipf'\n\
         [[traffic]]\nshape = 'ramp'\nrate = 0\nto_rate = '1x'\nof = 'p'\nspread = 'moving'\n\
         move_every = '80ms'\nkeys = 5\nkeys_zipf = 1\nkey = 'ip'\nattributes = { api = 'a' }\n\
         [[events]]\nat = '4s'\nevent = 'crash'\nagents = '25%'\nfor = '1s'\n\
         [[events]]\nat = '2s'\nevent = 'cut'\nagents = '1-2'\nmanagers = [2]\nplane = 'decisions'\n\
         [[events]]\nat = '5s'\nevent = 'join'\nagents = [5, 6]\n",
    ))
    .unwrap();
    let [up, down] = scenario.plan.lines.unwrap();
    assert_eq!((up.least.as_millis(), up.most.as_millis()), (1, 3));
    assert_eq!((up.loss, down.loss), (0.01, 0.25));
    assert_eq!(scenario.plan.skew_ms, [500, -1_000]);
    assert_eq!(scenario.fleet(), 6);
    let at = |ms| Duration::from_millis(ms);
    let expected = [
        (at(2_000), Incident::CutDecisions(0, 1)),
        (at(2_000), Incident::CutDecisions(1, 1)),
        (at(4_000), Incident::Fault(Fault::KillAgent(0))),
        (at(4_000), Incident::Fault(Fault::KillAgent(1))),
        (at(5_000), Incident::Fault(Fault::StartAgent(0))),
        (at(5_000), Incident::Fault(Fault::StartAgent(1))),
        (at(5_000), Incident::Fault(Fault::StartAgent(4))),
        (at(5_000), Incident::Fault(Fault::StartAgent(5))),
    ];
    assert_eq!(scenario.incidents, expected);
    assert_eq!(
        scenario.streams[1].shape,
        crate::demand::Shape::OnOff { rate: 1.5, on: at(1_000), off: at(1_000) }
    );
}

#[test]
fn policies_may_be_in_a_file_of_their_own() {
    let text = "duration = '9s'\npolicies_file = 'good.yaml'\n[agents]\ncount = 1\n";
    let scenario = parse(&format!("{text}{TRAFFIC}")).unwrap();
    assert_eq!(scenario.policies[0].name.as_str(), "q");
    let missing = error(&format!("{text}{TRAFFIC}").replace("good", "bad"));
    assert_eq!(missing, "policies_file = \"bad.yaml\": bad.yaml is not there");
    for (file, named) in
        [("wrong", "wrong.yaml: limits[0].window = "), ("broken", "broken.yaml: the document ")]
    {
        let wrong = error(&format!("{text}{TRAFFIC}").replace("good", file));
        assert!(wrong.starts_with(named), "{named} does not begin: {wrong}");
    }
}

#[test]
fn missing_fields_are_named() {
    for (text, named) in [
        ("", "missing field `duration`"),
        ("duration = '5s'", "missing field `agents`"),
        ("duration = '5s'\n[agents]\n", "missing field `count`"),
        ("duration = '5s'\n[agents]\ncount = 1\n[[events]]\nevent = 'cut'\n", "missing field `at`"),
    ] {
        let error = error(text);
        assert!(error.contains(named), "{named} is not in: {error}");
    }
}

#[test]
fn policies_that_refuse_nothing_are_refused() {
    let zero = |rate: &str| text("", rate).replace("requests = 100", "requests = 0");
    for (text, named) in [
        (
            text("", TRAFFIC).replace("[agents]", "mode = 'shadow'\n[agents]"),
            "no limit that refuses",
        ),
        (
            text("", TRAFFIC).replace("[agents]", "on_limit = 'allow'\n[agents]"),
            "no limit that refuses",
        ),
        (zero(TRAFFIC), "traffic[0].rate = \"2x\" is a multiple of the policy's limit, which is 0"),
        (
            zero("[[traffic]]\nshape = 'burst'\nrequests = '2x'\n"),
            "traffic[0].requests = \"2x\" is a multiple of the policy's limit, which is 0",
        ),
    ] {
        let error = error(&text);
        assert!(error.contains(named), "{named} is not in: {error}");
    }
    assert!(parse(&zero("[[traffic]]\nrate = '5/s'\n")).is_ok());
}

#[test]
fn what_is_not_judged_is_refused() {
    for limit in
        ["requests = 5, window = '1s', algorithm = 'token_bucket'", "tokens = 5, window = '1s'"]
    {
        let text = text("", TRAFFIC).replace("requests = 100, window = '1s'", limit);
        let error = error(&text);
        assert!(error.contains("policies[0].limits") && error.contains("are simulated"), "{error}");
    }
}

#[test]
fn bad_input_names_the_field_and_what_is_allowed() {
    for (front, behind, named) in [
        ("sed = 3", TRAFFIC, ["unknown field `sed`", "`seed`"]),
        ("warm_up = '20s'", TRAFFIC, ["duration = 10s", "longer than warm_up"]),
        ("warm_up = 3", TRAFFIC, ["warm_up = 3", "3 has no unit"]),
        ("seed = -1", TRAFFIC, ["seed = -1", "whole number from 0"]),
        ("expect_over = -1", TRAFFIC, ["expect_over", "0 or more"]),
        ("policies_file = 'x'", TRAFFIC, ["policies_file", "exclude each other"]),
        ("warm_up = '3600s'", TRAFFIC, ["duration = 10s", "warm_up 1h"]),
        ("seed = 1.5", TRAFFIC, ["1.5 is not a whole number", "seed = 1.5"]),
        ("expect_over = '1%'", TRAFFIC, ["expect_over", "not a number"]),
        ("expect_wrong = 101", TRAFFIC, ["expect_wrong = 101", "never fail"]),
        ("expect_under = true", TRAFFIC, ["boolean `true`", "expected a number"]),
        ("", "", ["traffic is missing", "[[traffic]]"]),
        ("", "[[traffic]]\n", ["traffic[0].rate is missing", "(poisson)"]),
        ("", "[[traffic]]\nrate = 'fast'\n", ["\"fast\" is not a rate", "2x"]),
        ("", "[[traffic]]\nrate = 0\n", ["traffic[0].rate", "is 0"]),
        ("", "[[traffic]]\nrate = '2x'\nof = 'nobody'\n", ["traffic[0].of", "nobody"]),
        ("", "[[traffic]]\nrate = '2x'\non = '1s'\n", ["traffic[0].on", "no meaning"]),
        ("", "[[traffic]]\nrate = '1/s'\nshape = 'wave'\n", ["`wave`", "`on-off`"]),
        (
            "",
            "[[traffic]]\nrate = '1/s'\nagents = 5\n",
            ["traffic[0].agents names agent 5", "there are 4"],
        ),
        ("", "[[traffic]]\nrate = '1/s'\nagents = 'most'\n", ["\"most\" is not known", "1-4"]),
        ("", "[[traffic]]\nrate = '1/s'\nspread = 'moving'\n", ["traffic[0].move_every", "80ms"]),
        ("", "[[traffic]]\nrate = '1/s'\nkeys = 0\n", ["traffic[0].keys = 0", "1 to"]),
        (
            "",
            "[[traffic]]\nrate = '1/s'\nkey = 'colour'\n",
            ["traffic[0].key = \"colour\"", "attribute"],
        ),
        (
            "",
            "[[traffic]]\nrate = '1/s'\nattributes = { application = 'a' }\n",
            ["traffic[0].attributes.application", "varies"],
        ),
        ("", "[[traffic]]\nrate = '1/s'\nfrom = '11s'\n", ["traffic[0].from", "before the end"]),
        ("", "[[traffic]]\nrate = '9000000/s'\n", ["traffic makes about", "20000000"]),
        ("", "[[traffic]]\nrate = 10\n", ["10 is not a rate with a unit", "\"500/s\""]),
        ("", "[[traffic]]\nrate = '2x'\nkeys_zipf = 1\n", ["traffic[0].keys_zipf", "set keys"]),
        ("", "[[traffic]]\nshape = 'on-off'\n", ["traffic[0].on is missing", "(on-off)"]),
        ("", "[[traffic]]\nrate = '2x'\nagents = -1\n", ["integer `-1`", "a number from 1"]),
        ("", "[[traffic]]\nrate = '2x'\nagents = [-1]\n", ["-1 is not", "whole number"]),
        ("", "[[traffic]]\nrate = '2x'\nkeys = 'many'\n", ["\"many\"", "whole number from 0"]),
        (
            "",
            "[[traffic]]\nshape = 'burst'\nrequests = 9\nwithin = '1s'\nevery = '1ms'\n",
            ["traffic[0].every", "overlap"],
        ),
    ] {
        let error = error(&text(front, behind));
        assert!(named.iter().all(|part| error.contains(part)), "{named:?} is not in: {error}");
    }
}

#[test]
fn bad_worlds_are_refused() {
    for (behind, named) in [
        ("[managers]\ncount = 0\n", ["managers.count = 0", "1 to 10"]),
        ("[network]\njitter = '1ms'\n", ["network.up.jitter", "more than the delay"]),
        ("[network]\nloss = '120%'\n", ["\"120%\" is not a part", "5%"]),
        ("[network.up]\nloss = 0.9\n", ["network.up.loss = 0.9", "50%"]),
        ("[network]\nduplicates = 0.1\n", ["unknown field `duplicates`", "`loss`"]),
        ("[clocks]\nmanagers = ['1s', '1s', '1s']\n", ["clocks.managers has 3 clocks", "2 nodes"]),
        ("[clocks]\nmanagers = [5]\n", ["5 is not a clock's error", "+500ms"]),
        ("[[events]]\nat = '1s'\nevent = 'explode'\n", ["`explode`", "`kill`"]),
        ("[[events]]\nat = '1s'\nevent = 'kill'\n", ["events[0].managers is missing", "say which"]),
        (
            "[[events]]\nat = '1s'\nevent = 'kill'\nmanagers = 3\n",
            ["names manager 3", "there are 2"],
        ),
        (
            "[[events]]\nat = '1s'\nevent = 'kill'\nmanagers = 1\nagents = 1\n",
            ["events[0].agents", "no meaning"],
        ),
        ("[[events]]\nat = '1s'\nevent = 'heal'\nfor = '1s'\n", ["events[0].for", "no meaning"]),
        (
            "[[events]]\nat = '1s'\nevent = 'cut'\nfor = '0s'\n",
            ["events[0].for = 0s", "leave the event out"],
        ),
        (
            "[[events]]\nat = '1s'\nevent = 'join'\nagents = [4, 5]\n",
            ["events[0].agents names agent 4", "there already at 1s"],
        ),
        (
            "[[events]]\nat = '2s'\nevent = 'kill'\nmanagers = 1\n[[events]]\nat = '1s'\n\
             event = 'kill'\nmanagers = 'all'\n",
            ["events[0].managers names manager 1", "is dead at 2s"],
        ),
        (
            "[[events]]\nat = '1s'\nevent = 'start'\nmanagers = 2\n",
            ["events[0].managers names manager 2", "which runs"],
        ),
        (
            "[[events]]\nat = '1s'\nevent = 'kill'\nmanagers = -1\n",
            ["integer `-1`", "expected a number from 1"],
        ),
        ("[[events]]\nat = '11s'\nevent = 'cut'\n", ["events[0].at", "after the end"]),
        (
            "[[events]]\nat = '1s'\nevent = 'join'\nplane = 'decisions'\nagents = 5\n",
            ["events[0].plane", "no meaning"],
        ),
    ] {
        let error = error(&text("", &format!("{TRAFFIC}{behind}")));
        assert!(named.iter().all(|part| error.contains(part)), "{named:?} is not in: {error}");
    }
}

#[test]
fn every_fault_is_told_at_once_policies_included() {
    let text = text("", "[managers]\ncount = 99\n").replace("'1s'", "'1ms'").replace("= 4", "= 0");
    let error = error(&text);
    for named in ["policies[0].limits[0].window", "managers.count", "agents.count", "traffic"] {
        assert!(error.contains(named), "{named} is not in: {error}");
    }
}

#[test]
fn durations_are_read_or_refused() {
    for (text, micros) in [
        ("0s", 0),
        ("250us", 250),
        ("1m30s", 90_000_000),
        ("2h", 7_200_000_000),
        ("1s5ms", 1_005_000),
    ] {
        assert_eq!(units::span(text), Ok(Duration::from_micros(micros)), "{text}");
        assert_eq!(units::human(Duration::from_micros(micros)), text);
    }
    for text in ["", "5", "s", "-1s", "1.5s", "1 s", "25h", "1d", "99999999999999999999s", "１s"] {
        assert!(units::span(text).unwrap_err().contains("duration"), "{text}");
    }
}
