//! A file of Envoy's rate limit service, taken over unchanged: Weir answers Envoy's calls as that
//! service would.

mod support;

use std::{path::Path, process::Command, time::Duration};

use support::{
    fleet::{Fleet, Plan, SOON},
    http,
    process::weir_binary,
    wait::{wait_for, wait_for_room},
};
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use weir_proto::wire::envoy::{
    extensions::common::ratelimit::v3::{
        RateLimitDescriptor,
        rate_limit_descriptor::{Entry, RateLimitOverride},
    },
    service::ratelimit::v3::{
        RateLimitRequest, RateLimitResponse,
        rate_limit_response::{Code, DescriptorStatus, rate_limit::Unit},
        rate_limit_service_client::RateLimitServiceClient,
    },
    r#type::v3::RateLimitUnit,
};

const DAY: Duration = Duration::from_secs(86_400);
const ROOM: Duration = Duration::from_secs(60);

/// What that service's documentation shows, with numbers of our own.
const LIMITS: &str = r"
domain: messaging
descriptors:
  - key: message_type
    value: marketing
    descriptors:
      - key: to_number
        rate_limit: { unit: day, requests_per_unit: 2 }
  - key: to_number
    rate_limit: { unit: day, requests_per_unit: 4 }
  - key: to_number
    value: '110'
    rate_limit: { unlimited: true }
  - key: to_number
    value: '5550*'
    share_threshold: true
    rate_limit: { unit: day, requests_per_unit: 3 }
  - key: to_number
    value: '112'
  - key: sender
    rate_limit: { unit: month, requests_per_unit: 1 }
    shadow_mode: true
  - key: banned
    rate_limit: { unit: hour, requests_per_unit: 0 }
  - key: path
    value: /a/*/z
    rate_limit: { unit: week, requests_per_unit: 5 }
  - key: category
    value: account
    rate_limit: { name: general, unit: day, requests_per_unit: 1 }
  - key: user
    descriptors:
      - key: category
        value: account
        rate_limit: { replaces: [ { name: general } ], unit: day, requests_per_unit: 6 }
";

const OTHER: &str = r"
domain: other
descriptors:
  - key: to_number
    rate_limit: { unit: year, requests_per_unit: 9 }
";

/// What that service says about one descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// Neither a limit nor anything left.
    Unknown,
    Unlimited,
    /// Allowed or not, by this limit, with so much left.
    Limited(Code, u32, Unit, u32),
    /// Allowed by a limit that only watches.
    Watched,
}
use Status::{Limited, Unknown, Unlimited, Watched};

const OK: Code = Code::Ok;
const OVER: Code = Code::OverLimit;

type Entries<'a> = &'a [(&'a str, &'a str)];

/// Descriptors and, in order, what is said about each.
type Step<'a> = (&'a [Entries<'a>], &'a [Status]);

/// In this order: each call counts.
const STEPS: &[Step<'_>] = &[
    // Nested, beside the wider limit: both count, and each number has counters of its own.
    (
        &[&[("message_type", "marketing"), ("to_number", "1")], &[("to_number", "1")]],
        &[Limited(OK, 2, Unit::Day, 1), Limited(OK, 4, Unit::Day, 3)],
    ),
    (
        &[&[("message_type", "marketing"), ("to_number", "1")], &[("to_number", "1")]],
        &[Limited(OK, 2, Unit::Day, 0), Limited(OK, 4, Unit::Day, 2)],
    ),
    (
        &[&[("message_type", "marketing"), ("to_number", "1")], &[("to_number", "1")]],
        &[Limited(OVER, 2, Unit::Day, 0), Limited(OK, 4, Unit::Day, 1)],
    ),
    (&[&[("message_type", "marketing"), ("to_number", "2")]], &[Limited(OK, 2, Unit::Day, 1)]),
    // More or fewer entries, another order, another domain's words: nothing applies.
    (
        &[
            &[("message_type", "marketing")],
            &[("message_type", "letter"), ("to_number", "1")],
            &[("to_number", "1"), ("message_type", "marketing")],
            &[("to_number", "1"), ("more", "x")],
            &[("nothing", "known")],
        ],
        &[Unknown, Unknown, Unknown, Unknown, Unknown],
    ),
    // A value before a pattern, a pattern before the bare key.
    (
        &[&[("to_number", "110")], &[("to_number", "112")], &[("to_number", "113")]],
        &[Unlimited, Unknown, Limited(OK, 4, Unit::Day, 3)],
    ),
    // One threshold for all that fit the pattern.
    (
        &[&[("to_number", "55501")], &[("to_number", "55502")], &[("to_number", "5550")]],
        &[Limited(OK, 3, Unit::Day, 2), Limited(OK, 3, Unit::Day, 1), Limited(OK, 3, Unit::Day, 0)],
    ),
    (&[&[("to_number", "55503")]], &[Limited(OVER, 3, Unit::Day, 0)]),
    // A counter for each value of an unshared one; what a star stands for may be empty.
    (
        &[&[("path", "/a/b/z")], &[("path", "/a/c/z")], &[("path", "/a/b")], &[("path", "/a//z")]],
        &[
            Limited(OK, 5, Unit::Week, 4),
            Limited(OK, 5, Unit::Week, 4),
            Unknown,
            Limited(OK, 5, Unit::Week, 4),
        ],
    ),
    // Watched only: over the limit, but let through.
    (&[&[("sender", "me")]], &[Watched]),
    (&[&[("sender", "me")]], &[Watched]),
    (&[&[("banned", "x")]], &[Limited(OVER, 0, Unit::Hour, 0)]),
    // A limit that another descriptor of the call replaces is neither asked nor charged.
    (
        &[&[("category", "account")], &[("user", "u"), ("category", "account")]],
        &[Unknown, Limited(OK, 6, Unit::Day, 5)],
    ),
    (&[&[("category", "account")]], &[Limited(OK, 1, Unit::Day, 0)]),
    (&[&[("category", "account")]], &[Limited(OVER, 1, Unit::Day, 0)]),
    (
        &[&[("category", "account")], &[("user", "u"), ("category", "account")]],
        &[Unknown, Limited(OK, 6, Unit::Day, 4)],
    ),
];

/// Runs the client of the admin API, as an operator does.
fn import(fleet: &Fleet, arguments: &[&str]) -> (bool, String) {
    let program = weir_binary("traffic-manager").unwrap_or_else(|why| panic!("{why}"));
    let output = Command::new(program)
        .args(["policy", "import", "--format", "envoy", "--server", &fleet.managers[0].url("")])
        .args(arguments)
        .output()
        .expect("the client runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("text"))
}

fn descriptor(entries: Entries<'_>) -> RateLimitDescriptor {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).into(), value: (*value).into() };
    RateLimitDescriptor { entries: entries.iter().map(entry).collect(), ..Default::default() }
}

fn call(domain: &str, descriptors: Vec<RateLimitDescriptor>) -> RateLimitRequest {
    RateLimitRequest { domain: domain.into(), descriptors, hits_addend: 0 }
}

/// What is said, and that it goes together.
#[track_caller]
fn read(status: &DescriptorStatus) -> Status {
    let Some(limit) = &status.current_limit else {
        assert_eq!((status.code(), status.duration_until_reset), (OK, None), "{status:?}");
        return match status.limit_remaining {
            u32::MAX => Unlimited,
            left => {
                assert_eq!(left, 0, "{status:?}");
                Unknown
            }
        };
    };
    let most = match limit.unit() {
        Unit::Hour => 3_600,
        Unit::Day => 86_400,
        Unit::Week => 7 * 86_400,
        Unit::Month => 30 * 86_400,
        Unit::Year => 365 * 86_400,
        other => panic!("{other:?} is in no file"),
    };
    let reset = status.duration_until_reset.as_ref().expect("a duration");
    assert!((0..=most).contains(&reset.seconds), "{status:?}");
    Limited(status.code(), limit.requests_per_unit, limit.unit(), status.limit_remaining)
}

struct Envoy {
    runtime: Runtime,
    client: RateLimitServiceClient<Channel>,
}

impl Envoy {
    fn connect(port: u16) -> Envoy {
        let runtime = Runtime::new().expect("a runtime");
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("a URL");
        let channel = runtime.block_on(endpoint.connect()).expect("a connection");
        Envoy { runtime, client: RateLimitServiceClient::new(channel) }
    }

    fn ask(&mut self, request: RateLimitRequest) -> RateLimitResponse {
        let answer = self.runtime.block_on(self.client.should_rate_limit(request));
        answer.expect("an answer").into_inner()
    }
}

fn header<'a>(response: &'a RateLimitResponse, name: &str) -> Option<&'a str> {
    let found = response.response_headers_to_add.iter().find(|header| header.key == name);
    found.map(|header| header.value.as_str())
}

#[test]
fn an_imported_file_answers_as_envoys_own_service_does() {
    wait_for_room(DAY, ROOM);
    let agent_args = &["--headers", "both", "--request-limits"];
    let fleet = Fleet::start(&Plan { agents: 1, agent_args, ..Plan::default() });
    let folder = tempfile::tempdir().expect("a folder");
    let files = [("limits.yaml", LIMITS), ("other.yaml", OTHER)].map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    });
    let files: Vec<&str> = files.iter().filter_map(|path| path.to_str()).collect();

    let (good, told) = import(&fleet, &[&files[..], &["--dry-run"]].concat());
    assert!(good && told.contains("policy messaging.to_number created (dry run)"), "{told}");
    let policies = fleet.managers[0].get("/api/v1/policies").expect("policies");
    assert_eq!(policies["policies"].as_array().map(Vec::len), Some(0), "only tried");
    let (good, told) = import(&fleet, &files);
    println!("{told}");
    assert!(good && told.contains("policy other.to_number created"), "{told}");
    let (good, told) = import(&fleet, &files);
    assert!(good && !told.contains("created") && told.contains("unchanged"), "{told}");

    let mut envoy = Envoy::connect(fleet.agents[0].grpc);
    // Zero hits only look.
    let look = RateLimitDescriptor { hits_addend: Some(0), ..descriptor(&[("to_number", "9")]) };
    wait_for("the agent has the policies", SOON, &fleet.processes(), || {
        let looked = envoy.ask(call("other", vec![look.clone()]));
        (read(&looked.statuses[0]) == Limited(OK, 9, Unit::Year, 9)).then_some(())
    });
    for (number, (descriptors, expected)) in STEPS.iter().enumerate() {
        let all = descriptors.iter().map(|entries| descriptor(entries)).collect();
        let answer = envoy.ask(call("messaging", all));
        let found: Vec<Status> = answer.statuses.iter().map(read).collect();
        // See the importer's documentation: a limit that only watches is not told of.
        let expected: Vec<Status> =
            expected.iter().map(|s| if *s == Watched { Unknown } else { *s }).collect();
        assert_eq!(found, expected, "step {number}: {descriptors:?}\n{answer:?}");
        let over = expected.iter().any(|status| matches!(status, Limited(Code::OverLimit, ..)));
        assert_eq!(answer.overall_code() == OVER, over, "step {number}: {answer:?}");
    }
    amounts_and_headers(&mut envoy);
    descriptors_bring_limits(&mut envoy);
    shadows_are_counted(&fleet);
    refuses(&fleet, folder.path());
}

/// Hits of the call and of a descriptor; the headers tell of the limit that is closest.
fn amounts_and_headers(envoy: &mut Envoy) {
    let number = |value| descriptor(&[("to_number", value)]);
    let own = RateLimitDescriptor { hits_addend: Some(1), ..number("8") };
    let asked = RateLimitRequest { hits_addend: 3, ..call("messaging", vec![number("7"), own]) };
    let answer = envoy.ask(asked.clone());
    let left: Vec<u32> = answer.statuses.iter().map(|status| status.limit_remaining).collect();
    assert_eq!(left, [1, 3], "{answer:?}");
    assert_eq!(header(&answer, "x-ratelimit-limit"), Some("4"), "{answer:?}");
    assert_eq!(header(&answer, "x-ratelimit-remaining"), Some("1"), "{answer:?}");
    let reset = header(&answer, "x-ratelimit-reset").and_then(|text| text.parse::<u64>().ok());
    assert!(reset.is_some_and(|seconds| (1..=86_400).contains(&seconds)), "{answer:?}");
    let ietf = header(&answer, "ratelimit-policy").unwrap_or_default();
    assert!(ietf.contains("\"messaging.to_number\";q=4;w=86400"), "{answer:?}");

    let refused = envoy.ask(asked);
    assert_eq!(refused.overall_code(), OVER);
    assert_eq!(header(&refused, "x-ratelimit-remaining"), Some("0"), "{refused:?}");
    assert!(header(&refused, "retry-after").is_some(), "{refused:?}");
    // Three did not fit into what was left, which one still does: refused hits are not counted.
    let answer = envoy.ask(call("messaging", vec![number("7")]));
    assert_eq!(read(&answer.statuses[0]), Limited(OK, 4, Unit::Day, 0));
    // Looking costs nothing, and nothing fits into what is used up.
    let look = RateLimitDescriptor { hits_addend: Some(0), ..number("7") };
    let answer = envoy.ask(call("messaging", vec![look]));
    assert_eq!(read(&answer.statuses[0]), Limited(OK, 4, Unit::Day, 0));
}

/// A descriptor's own limit counts in the place of the file's, in a counter of its own.
fn descriptors_bring_limits(envoy: &mut Envoy) {
    let asks = |requests_per_unit, unit: RateLimitUnit| {
        let limit = Some(RateLimitOverride { requests_per_unit, unit: unit.into() });
        let limited = RateLimitDescriptor { limit, ..descriptor(&[("to_number", "70")]) };
        call("messaging", vec![limited])
    };
    let plain = call("messaging", vec![descriptor(&[("to_number", "70")])]);
    let mut ask = |request| read(&envoy.ask(request).statuses[0]);
    assert_eq!(ask(plain.clone()), Limited(OK, 4, Unit::Day, 3));
    assert_eq!(ask(asks(2, RateLimitUnit::Month)), Limited(OK, 2, Unit::Month, 1));
    assert_eq!(ask(asks(2, RateLimitUnit::Month)), Limited(OK, 2, Unit::Month, 0));
    assert_eq!(ask(asks(2, RateLimitUnit::Month)), Limited(OVER, 2, Unit::Month, 0));
    assert_eq!(ask(asks(3, RateLimitUnit::Month)), Limited(OK, 3, Unit::Month, 2));
    assert_eq!(ask(asks(0, RateLimitUnit::Year)), Limited(OVER, 0, Unit::Year, 0));
    assert_eq!(ask(plain), Limited(OK, 4, Unit::Day, 2));
    let unknown = envoy.client.should_rate_limit(asks(1, RateLimitUnit::Unknown));
    let status = envoy.runtime.block_on(unknown).expect_err("no unit");
    assert!(status.message().starts_with("descriptors[0].limit.unit is 0"), "{status:?}");
}

/// What would have been refused is in the metrics.
fn shadows_are_counted(fleet: &Fleet) {
    let metrics = http::get(&fleet.agents[0].url("/metrics")).expect("metrics").body;
    let line = r#"weir_agent_shadow_refusals_total{policy="messaging.sender"} 1"#;
    assert!(metrics.lines().any(|other| other == line), "{metrics}");
}

/// Nothing is written of a file that cannot be taken over whole.
fn refuses(fleet: &Fleet, folder: &Path) {
    let file = folder.join("quota.yaml");
    let limit = "rate_limit: { unit: day, requests_per_unit: 1 }";
    let text = format!(
        "domain: quota\ndescriptors:\n- {{ key: a, {limit} }}\n- {{ key: b, quota_mode: true, {limit} }}\n"
    );
    std::fs::write(&file, text).expect("a file");
    let path = file.to_str().expect("a path");
    let (good, told) = import(fleet, &[path]);
    assert!(!good && told.contains("quota.yaml:4: descriptors[1].quota_mode = \"true\""), "{told}");
    assert!(fleet.managers[0].get("/api/v1/policies/quota.a").is_none());
    let (good, told) = import(fleet, &[path, "--partial"]);
    assert!(good && told.contains("left out: "), "{told}");
    assert!(fleet.managers[0].get("/api/v1/policies/quota.a").is_some());
}
