//! Malformed, huge and hostile input: refused with a reason, and nobody falls over. That no program
//! panicked is checked by the guard of each ([`support::process::Process`]).

#[path = "support/raw.rs"]
mod raw;
mod support;

use std::{ops::Range, time::Duration};

use raw::{Reply, http_request, talk};
use serde_json::json;
use support::{
    fleet::{Fleet, Node, Plan, SOON},
    http,
    wait::{wait_until, wall_clock},
};
use tokio::runtime::Runtime;
use tokio_stream::StreamExt;
use tonic::{Request, codegen::http::uri::PathAndQuery, transport::Channel};
use weir_proto::{
    key::CounterKey,
    time::WindowStart,
    usage::{EntryWriter, NameWriter, UsageEntry},
    wire::{
        envoy::{
            extensions::common::ratelimit::v3::{
                RateLimitDescriptor, rate_limit_descriptor::Entry,
            },
            service::ratelimit::v3::{
                RateLimitRequest, rate_limit_service_client::RateLimitServiceClient,
            },
        },
        weir::v1::{
            AgentIdentity, CreditFrame, UsageFrame, decisions_client::DecisionsClient,
            usage_client::UsageClient,
        },
    },
};

const MIB: usize = 1 << 20;

const POLICIES: &str = r"
apiVersion: weir/v1
policies:
  - name: per-application
    level: application
    key: [application]
    limits: [ { requests: 100, window: 1h, algorithm: fixed_window } ]
  - name: long-keys
    level: custom
    key: [api, resource, user, tenant, path, method]
    limits: [ { requests: 1000000, window: 1h, algorithm: fixed_window } ]
";

fn fleet() -> Fleet {
    Fleet::start(&Plan { policies: POLICIES, agents: 1, ..Plan::default() })
}

/// Everything still runs, is healthy, and decides.
#[track_caller]
fn assert_unharmed(fleet: &Fleet) {
    for node in fleet.managers.iter().chain(&fleet.agents) {
        node.assert_healthy();
    }
    let body = json!({ "attributes": { "application": "honest" } });
    let agent = &fleet.agents[0];
    let answer = http::post_json(&agent.url("/v1/check"), &body).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}\n{}", agent.process().log_tail());
    assert!(answer.header("ratelimit").is_some(), "{answer:?}");
    assert_eq!(agent.follows().as_deref(), Some("tm-1"), "{}", agent.process().log_tail());
}

/// Where bodies are read: an agent's port and a manager's.
fn readers(fleet: &Fleet) -> [(u16, &'static str); 3] {
    let (agent, manager) = (fleet.agents[0].http, fleet.managers[0].http);
    [(agent, "/v1/check"), (manager, "/api/v1/policies"), (manager, "/api/v1/policies:validate")]
}

#[test]
fn huge_bodies_are_refused() {
    let fleet = fleet();
    let huge = vec![b' '; 10 * MIB];
    for (port, path) in readers(&fleet) {
        // As curl sends it: the server can say no before anything is sent.
        let length = format!("content-length: {}\r\nexpect: 100-continue\r\n", huge.len());
        let head = http_request("POST", path, &length);
        let reply = talk(port, &[head.as_bytes()], Reply::Head);
        let status = reply.status();
        let asked = status == Some(100);
        assert!(asked || status == Some(413), "{path}: {reply:?}");
        if asked {
            let reply = talk(port, &[head.as_bytes(), &huge], Reply::Final);
            assert!(reply.is_refusal(), "{path}: {reply:?}");
        }
        // Without asking. The server may hang up while this is still being sent.
        let head = http_request("POST", path, &format!("content-length: {}\r\n", huge.len()));
        let reply = talk(port, &[head.as_bytes(), &huge], Reply::Final);
        assert!(reply.is_refusal(), "{path}: {reply:?}");
        // In chunks, which tell no length beforehand.
        let head = http_request("POST", path, "transfer-encoding: chunked\r\n");
        let size = format!("{:x}\r\n", huge.len());
        let chunks = [head.as_bytes(), size.as_bytes(), &huge, b"\r\n0\r\n\r\n"];
        let reply = talk(port, &chunks, Reply::Final);
        assert!(reply.is_refusal(), "{path}: {reply:?}");
    }
    assert_unharmed(&fleet);
}

fn closed(error: &str) -> bool {
    ["Broken pipe", "reset"].iter().any(|kind| error.contains(kind))
}

#[test]
fn deep_broken_and_oversized_documents_are_refused() {
    let fleet = fleet();
    let (open, shut) = ("[".repeat(30_000), "]".repeat(30_000));
    let huge = "[".repeat(900_000);
    let nested = "{\"a\":".repeat(10_000);
    let documents = [
        open.clone(),
        format!("{open}{shut}"),
        format!("{{\"attributes\":{open}{shut}}}"),
        format!("{{\"attributes\":{{\"headers\":{{\"x\":{open}{shut}}}}}}}"),
        nested,
        "{\"attributes\":{\"application\":\"\u{0}\"}".to_owned(),
        format!("{{\"attributes\":{{\"application\":\"{}\"}}}}", "x".repeat(2_000)),
        format!("{{\"attributes\":{{\"descriptors\":[{}[]]}}}}", "[],".repeat(1_000)),
        "{\"amounts\":{\"requests\":18446744073709551616}}".to_owned(),
        "{\"amounts\":{\"requests\":-1}}".to_owned(),
        "null".to_owned(),
        "\u{feff}{}".to_owned(),
        "{} {}".to_owned(),
        "{\"attributes\":{},\"atributes\":{}}".to_owned(),
    ];
    let yaml = [
        format!("a: {open}{shut}"),
        format!("a: {huge}"),
        "- ".repeat(20_000),
        billion_laughs(),
        // 20 kB that mean 20 million values.
        format!("a: &a [{}]\nb: [{}]", "1, ".repeat(3_300), "*a, ".repeat(2_500)),
        "&a [*a]".to_owned(),
        "? ? ? ? :".to_owned(),
        "!!binary x".to_owned(),
    ];
    let json = documents.iter().map(|text| ("application/json", text));
    for (kind, text) in json.chain(yaml.iter().map(|text| ("application/yaml", text))) {
        for (port, path) in readers(&fleet) {
            let url = format!("http://127.0.0.1:{port}{path}");
            let answer = http::send("POST", &url, &[("content-type", kind)], text);
            let answer = match answer {
                Ok(answer) => answer,
                // A server may refuse a body by its length and close while it is still being sent;
                // then the refusal may be lost on its way.
                Err(e) if text.len() > MIB / 2 && closed(&e) => continue,
                Err(e) => panic!("{e}: {text:.80}"),
            };
            let refused = [400, 413, 422].contains(&answer.status);
            assert!(refused, "{path} {:.80}: {answer:?}", text);
            assert!(
                answer.body.len() < 16_000,
                "{path} {:.80}: an echo of {}",
                text,
                answer.body.len()
            );
        }
    }
    let head = format!("x-a: {}\r\ncontent-length: 0\r\n", "x".repeat(MIB));
    for (port, path) in readers(&fleet) {
        let reply = talk(port, &[http_request("POST", path, &head).as_bytes()], Reply::Final);
        assert!(reply.is_refusal(), "{path}: {reply:?}");
    }
    assert_unharmed(&fleet);
}

/// Aliases of aliases: a few hundred bytes that mean gigabytes.
fn billion_laughs() -> String {
    let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for n in 1..12 {
        let many = vec![format!("*a{}", n - 1); 9].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{many}]\n"));
    }
    text
}

#[test]
fn noise_on_the_grpc_ports_is_cut_off() {
    let fleet = fleet();
    let mut noise = raw::Noise::new(7);
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for port in [fleet.agents[0].grpc, fleet.managers[0].grpc, fleet.managers[1].grpc] {
        for round in 0..40 {
            let bytes = noise.bytes(64 << (round % 8));
            talk(port, &[&bytes], Reply::Nothing);
            talk(port, &[preface, &bytes], Reply::Nothing);
            // A frame that announces 16 MiB; settings of a strange length; endless headers.
            talk(port, &[preface, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1], &bytes], Reply::Nothing);
            talk(port, &[preface, &[0, 0, 5, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5]], Reply::Nothing);
            talk(
                port,
                &[preface, raw::SETTINGS, &[0, 64, 0, 1, 0, 0, 0, 0, 1], &bytes],
                Reply::Nothing,
            );
        }
    }
    assert_unharmed(&fleet);
}

async fn channel(node: &Node) -> Channel {
    let endpoint = Channel::from_shared(format!("http://127.0.0.1:{}", node.grpc)).expect("a URL");
    endpoint.connect().await.expect("a connection")
}

/// Sends these bytes as the one message of a call; true if the call failed.
async fn bogus_call(channel: &Channel, path: &'static str, message: Vec<u8>) -> bool {
    let mut client = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(64 * MIB);
    client.ready().await.expect("the connection stands");
    let path = PathAndQuery::from_static(path);
    // The streams stay open on this side, so that only the server can end them.
    let open = path.path().starts_with("/weir.");
    let rest = tokio_stream::pending().take(usize::from(open));
    let request = Request::new(tokio_stream::once(message).chain(rest));
    let call = async {
        let mut answers = client.streaming(request, path, raw::RawCodec).await?.into_inner();
        while let Some(answer) = answers.next().await {
            answer?;
        }
        Ok::<(), tonic::Status>(())
    };
    let patience = Duration::from_secs(10);
    tokio::time::timeout(patience, call).await.is_ok_and(|ended| ended.is_err())
}

#[test]
fn messages_that_are_no_protobuf_are_refused() {
    let fleet = fleet();
    let calls = [
        (&fleet.managers[0], "/weir.v1.Usage/Report"),
        (&fleet.managers[0], "/weir.v1.Decisions/Subscribe"),
        (&fleet.agents[0], "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"),
    ];
    Runtime::new().expect("a runtime").block_on(async {
        let mut noise = raw::Noise::new(11);
        for (node, path) in calls {
            let channel = channel(node).await;
            for round in 0..60 {
                let message = noise.bytes(1 << (round % 16));
                // Some noise is a message of unknown fields; a stream that does not begin with an
                // identity ends with an error all the same.
                assert!(bogus_call(&channel, path, message).await, "{path}, round {round}");
            }
            assert!(bogus_call(&channel, path, vec![0; 8 * MIB]).await, "{path}: 8 MiB");
            assert!(bogus_call(&channel, path, vec![0x0b; 100_000]).await, "{path}: deep groups");
        }
        assert!(bogus_call(&channel(&fleet.managers[0]).await, "/no.such/Call", vec![]).await);
    });
    assert_unharmed(&fleet);
}

fn identity(id: &str) -> AgentIdentity {
    AgentIdentity { id: id.to_owned(), incarnation: 1, ..AgentIdentity::default() }
}

fn entry(key: u32, window: u64, used: u64) -> UsageEntry {
    UsageEntry { key, window: WindowStart(window), used, rejected: 0 }
}

fn entries(list: &[UsageEntry]) -> bytes::Bytes {
    list.iter().collect::<EntryWriter>().finish()
}

/// Usage frames that are protobuf, and lies.
fn lying_frames() -> Vec<Vec<UsageFrame>> {
    let first =
        |id: &str| UsageFrame { identity: Some(identity(id)), seq: 1, ..Default::default() };
    // An id, a length of two or three bytes, and the key.
    let key = |length: &[u8], key: &[u8]| [&[1], length, key].concat().into();
    let one = entries(&[entry(1, 0, 5)]);
    vec![
        vec![UsageFrame { seq: 1, entries: one.clone(), ..Default::default() }],
        vec![first("")],
        vec![first(&"x".repeat(100_000))],
        vec![first("two words")],
        vec![UsageFrame { entries: vec![4].into(), ..first("liar") }],
        vec![UsageFrame { entries: vec![0xff; 100].into(), ..first("liar") }],
        vec![UsageFrame { entries: vec![0; 200_000].into(), ..first("liar") }],
        vec![UsageFrame { entries: entries(&[entry(1, 0, 1 << 48)]), ..first("liar") }],
        vec![UsageFrame { entries: entries(&[entry(1, 1 << 45, 1)]), ..first("liar") }],
        vec![UsageFrame { forgotten: vec![1; 100_000], ..first("liar") }],
        vec![UsageFrame { names: key(b"\x03", b"\xff\xff\xff"), ..first("liar") }],
        vec![UsageFrame { names: key(b"\x09", b"\xff\xff\xff"), ..first("liar") }],
        vec![UsageFrame { names: key(b"\xa0\x8d\x06", &[0; 100_000]), ..first("liar") }],
        vec![UsageFrame { names: key(b"\x00", b""), entries: one, ..first("liar") }],
    ]
}

#[test]
fn frames_that_break_the_protocol_are_refused() {
    let fleet = fleet();
    let manager = &fleet.managers[0];
    Runtime::new().expect("a runtime").block_on(async {
        let channel = channel(manager).await;
        for (n, frames) in lying_frames().into_iter().enumerate() {
            let mut client = UsageClient::new(channel.clone());
            let answers =
                client.report(tokio_stream::iter(frames).chain(tokio_stream::pending())).await;
            let mut answers = answers.expect("the call is taken").into_inner();
            let mut end = answers.next().await;
            while let Some(Ok(_)) = end {
                end = answers.next().await;
            }
            let status =
                end.unwrap_or_else(|| panic!("frame {n} was believed")).expect_err("an error");
            assert!(!status.message().is_empty(), "frame {n}: {status:?}");
            println!("{n}: {}", status.message());
        }
        // Huge numbers and unknown counters are no errors; they must do no harm.
        let odd = UsageFrame {
            identity: Some(identity("odd")),
            seq: u64::MAX,
            entries: entries(&[entry(u32::MAX, (1 << 48) / 1_000, (1 << 48) - 1)]),
            ..Default::default()
        };
        let mut client = UsageClient::new(channel.clone());
        let _ = client.report(tokio_stream::once(odd)).await.map(drop);
        let credit = CreditFrame {
            seq: 9,
            now_ms: u64::MAX,
            applied: u64::MAX,
            leaving: true,
            ..Default::default()
        };
        let mut client = DecisionsClient::new(channel);
        let answers =
            client.subscribe(tokio_stream::once(credit).chain(tokio_stream::pending())).await;
        let mut answers = answers.expect("the call is taken").into_inner();
        let end = answers.next().await;
        assert!(matches!(end, Some(Err(_))), "a session without an attachment: {end:?}");
    });
    assert_unharmed(&fleet);
    // Nobody of these may have become a member of the fleet.
    let nodes = manager.get("/api/v1/nodes").expect("nodes");
    assert_eq!(nodes["nodes"][0]["fleet"]["members"], json!(["gw-1"]), "{nodes}");
}

/// What a program keeps at most, here.
const MAX_COUNTERS: u64 = 10_000;
/// What is invented.
const KEYS: u64 = 200_000;
/// Descriptors of one call.
const BATCH: u64 = 64;
/// Counters in one usage frame, as agents send them.
const FRAME: u64 = 4_000;

async fn invent(client: &mut RateLimitServiceClient<Channel>, keys: Range<u64>) {
    let mut next = keys.start;
    while next < keys.end {
        let batch = next..(next + BATCH).min(keys.end);
        next = batch.end;
        let descriptor = |n| RateLimitDescriptor {
            entries: vec![Entry { key: "application".into(), value: format!("invented-{n:08}") }],
            ..Default::default()
        };
        let request = RateLimitRequest {
            domain: "weir".into(),
            descriptors: batch.map(descriptor).collect(),
            ..Default::default()
        };
        client.should_rate_limit(request).await.expect("an answer");
    }
}

#[test]
fn invented_keys_do_not_exhaust_an_agent() {
    let plan = Plan {
        policies: POLICIES,
        agents: 1,
        agent_args: &["--max-counters", "10000"],
        ..Plan::default()
    };
    let fleet = Fleet::start(&plan);
    let agent = &fleet.agents[0];
    let nodes = || [agent].into_iter().chain(&fleet.managers);
    let memory = || -> Vec<u64> { nodes().map(Node::memory).collect() };
    let runtime = Runtime::new().expect("a runtime");
    let mut client = RateLimitServiceClient::new(runtime.block_on(channel(agent)));
    let honest = json!({ "attributes": { "application": "honest" } });
    assert_eq!(http::post_json(&agent.url("/v1/check"), &honest).expect("an answer").status, 200);
    // Twice the bound fills every table and every queue of its size.
    runtime.block_on(invent(&mut client, 0..2 * MAX_COUNTERS));
    let full = memory();
    runtime.block_on(invent(&mut client, 2 * MAX_COUNTERS..KEYS));
    wait_until("all usage is reported", SOON, &fleet.processes(), || {
        agent.get("/v1/status").is_some_and(|status| status["unsent_usage"] == 0)
    });
    let after = memory();
    let few = 2 * MAX_COUNTERS;
    println!("KiB of agent and managers: {full:?} with {few} keys, {after:?} with {KEYS}");
    let status = agent.get("/v1/status").expect("a status");
    // One shared counter for each limit comes on top.
    assert!(status["counters"].as_u64().is_some_and(|n| n <= MAX_COUNTERS + 2), "{status}");
    assert!(status["overflowed_checks"].as_u64().is_some_and(|n| n > KEYS / 2), "{status}");
    for (before, after) in full.iter().zip(&after) {
        assert!(*after < before + 40 * 1024, "memory grew: {full:?} → {after:?} KiB");
    }
    // Who was there before keeps a counter of its own.
    assert_unharmed(&fleet);
}

/// An agent's report of counters that nobody ever saw.
fn invented_frames() -> Vec<UsageFrame> {
    let hour = wall_clock().as_secs() / 3600 * 3600;
    let frame = |n: u64| {
        let numbers = n * FRAME..(n + 1) * FRAME;
        let key = |i: u64| {
            let part = format!("invented-{i:08}");
            CounterKey::new("per-application", "requests/1h/fixed_window", &[&part]).expect("a key")
        };
        let id = |i: u64| u32::try_from(i).expect("it fits");
        let mut names = NameWriter::default();
        numbers.clone().for_each(|i| names.push(id(i), &key(i)));
        let list: Vec<UsageEntry> = numbers.map(|i| entry(id(i), hour, 1)).collect();
        UsageFrame {
            identity: (n == 0).then(|| identity("inventor")),
            seq: n + 1,
            names: names.finish(),
            entries: entries(&list),
            ..Default::default()
        }
    };
    (0..KEYS / FRAME).map(frame).collect()
}

#[test]
fn invented_counters_do_not_exhaust_a_manager() {
    let plan = Plan {
        policies: POLICIES,
        agents: 1,
        manager_args: &["--max-counters", "10000"],
        ..Plan::default()
    };
    let fleet = Fleet::start(&plan);
    let manager = &fleet.managers[0];
    let honest = json!({ "attributes": { "application": "honest" } });
    let check = fleet.agents[0].url("/v1/check");
    assert_eq!(http::post_json(&check, &honest).expect("an answer").status, 200);
    wait_until("the honest application is known", SOON, &fleet.processes(), || {
        manager.used("per-application").is_some_and(|used| !used.is_empty())
    });
    let before = manager.memory();
    Runtime::new().expect("a runtime").block_on(async {
        let mut client = UsageClient::new(channel(manager).await);
        let frames = invented_frames();
        let last = frames.len() as u64;
        let frames = tokio_stream::iter(frames).chain(tokio_stream::pending());
        let mut acks = client.report(frames).await.expect("the call is taken").into_inner();
        while acks.next().await.expect("an answer").expect("no error").seq < last {}
        println!("KiB of the manager: {before}, then {}", manager.memory());
        // Names of counters stay as long as the stream that told them, twice as many as are counted.
        assert!(manager.memory() < before + 60 * 1024, "{before} → {} KiB", manager.memory());
    });
    let nodes = manager.get("/api/v1/nodes").expect("nodes");
    let kept = nodes["nodes"][0]["counters"].as_u64();
    assert!(kept.is_some_and(|n| n <= MAX_COUNTERS), "{nodes}");
    let metrics = http::get(&manager.url("/metrics")).expect("metrics").body;
    let refused = format!("weir_manager_refused_counters_total {}", KEYS - MAX_COUNTERS + 1);
    assert!(metrics.contains(&refused), "{refused} is not in\n{metrics}");
    assert_unharmed(&fleet);
}
