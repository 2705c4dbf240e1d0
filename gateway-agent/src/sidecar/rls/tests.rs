//! Envoy's service over a real connection, against an agent with policies.

use std::num::NonZeroUsize;

use tokio::net::TcpListener;
use tonic::Code;
use weir_proto::wire::envoy::{
    extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor::Entry},
    service::ratelimit::v3::{
        RateLimitResponse,
        rate_limit_response::{Code as Answer, rate_limit::Unit},
        rate_limit_service_client::RateLimitServiceClient,
    },
};

use super::*;
use crate::{
    fake_manager::{FakeManager, PATIENCE},
    sidecar::{server::start_workers, workers::Port},
};

const POLICIES: &str = "
- { name: app, level: application, key: [application], limits: [{ requests: 2, window: 365d }] }
- name: address
  level: custom
  match: 'request.domain == \"edge\"'
  key: [ip]
  limits: [{ requests: 100, window: 90d }]
- name: generic
  level: custom
  match: 'request.descriptors[0].generic_key == \"slow\"'
  limits: [{ requests: 1, window: 30d }]
- name: monthly
  level: custom
  match: 'request.domain == \"billing\"'
  limits: [{ requests: 9, calendar: month, timezone: Europe/Berlin }]
";

/// What an import makes of a file for Envoy's own service, and a limit by a repeated key.
const RULES: &str = "
- name: any
  level: custom
  match: 'request.rule == \"d|user\"'
  key: ['descriptors[0].user']
  limits: [{ requests: 2, window: 365d }]
- { name: free, level: custom, match: 'request.rule == \"d|user=free\"', mode: 'off', limits: [{ requests: 0, window: 1d }] }
- { name: one, level: custom, match: 'request.rule == \"d|user=one\"', limits: [{ requests: 1, window: 365d }] }
- name: replaced
  level: custom
  match: 'request.rule == \"d|path\" && !(\"d|user=one\" in request.rules)'
  limits: [{ requests: 1, window: 365d }]
- name: twice
  level: custom
  match: 'request.rule == \"d|k=a*|k\"'
  key: ['descriptors[0][\"k[0]\"]', 'descriptors[0][\"k[1]\"]']
  limits: [{ requests: 1, window: 365d }]
";

type Client = RateLimitServiceClient<tonic::transport::Channel>;

async fn started() -> (FakeManager, Client) {
    started_with(POLICIES).await
}

async fn started_with(policies: &str) -> (FakeManager, Client) {
    let manager = FakeManager::start("tm-1", policies).await;
    let agent = FakeManager::agent(&[&manager]).await;
    let url = format!("http://{}", serve_with(agent).await);
    let channel = tonic::transport::Channel::from_shared(url).unwrap().connect().await.unwrap();
    (manager, Client::new(channel))
}

/// Where the agent is served.
async fn serve_with(agent: crate::Agent) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let workers = start_workers(NonZeroUsize::MIN, &Gate::new(agent)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            workers.hand(Port::Grpc, stream).await.unwrap();
        }
    });
    address
}

fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entry =
        |(key, value): &(&str, &str)| Entry { key: (*key).to_owned(), value: (*value).to_owned() };
    RateLimitDescriptor { entries: entries.iter().map(entry).collect(), ..Default::default() }
}

fn call(domain: &str, descriptors: Vec<RateLimitDescriptor>) -> RateLimitRequest {
    RateLimitRequest { domain: domain.to_owned(), descriptors, hits_addend: 0 }
}

fn codes(response: &RateLimitResponse) -> (Answer, Vec<Answer>) {
    let statuses = response.statuses.iter().map(|status| status.code()).collect();
    (response.overall_code(), statuses)
}

fn header<'a>(response: &'a RateLimitResponse, name: &str) -> Option<&'a str> {
    let header = response.response_headers_to_add.iter().find(|header| header.key == name);
    header.map(|header| &*header.value)
}

#[tokio::test]
async fn a_descriptor_is_limited_by_the_attribute_that_it_names() {
    let (_manager, mut client) = started().await;
    let ask = call("d", vec![descriptor(&[("application", "shop")])]);
    for left in [1, 0] {
        let response = client.should_rate_limit(ask.clone()).await.unwrap().into_inner();
        assert_eq!(codes(&response), (Answer::Ok, vec![Answer::Ok]));
        let status = &response.statuses[0];
        let limit = status.current_limit.as_ref().unwrap();
        assert_eq!((limit.requests_per_unit, limit.unit()), (2, Unit::Year));
        assert!(limit.name.starts_with("app/requests"), "{}", limit.name);
        assert_eq!(status.limit_remaining, left);
        assert!(status.duration_until_reset.as_ref().unwrap().seconds > 0);
        assert_eq!(header(&response, "retry-after"), None);
    }
    let response = client.should_rate_limit(ask).await.unwrap().into_inner();
    assert_eq!(codes(&response), (Answer::OverLimit, vec![Answer::OverLimit]));
    assert_eq!(header(&response, "ratelimit-policy"), Some(r#""app";q=2;w=31536000"#));
    assert!(header(&response, "ratelimit").unwrap().starts_with(r#""app";r=0;t="#));
    assert!(header(&response, "retry-after").is_some());
}

#[tokio::test]
async fn each_descriptor_is_answered_and_one_refusal_is_enough() {
    let (_manager, mut client) = started().await;
    let both = call(
        "edge",
        vec![
            descriptor(&[("generic_key", "slow")]),
            descriptor(&[("remote_address", "192.0.2.7")]),
            descriptor(&[("nothing", "known")]),
        ],
    );
    client.should_rate_limit(both.clone()).await.unwrap();
    let response = client.should_rate_limit(both).await.unwrap().into_inner();
    let (over, ok) = (Answer::OverLimit, Answer::Ok);
    assert_eq!(codes(&response), (over, vec![over, ok, ok]));
    assert_eq!(response.statuses[0].current_limit.as_ref().unwrap().unit(), Unit::Month);
    // Refused first, but the later ones still count; 90 days have no name at Envoy's.
    assert_eq!(response.statuses[1].limit_remaining, 98);
    assert_eq!(response.statuses[1].current_limit, None);
    assert_eq!(response.statuses[2].duration_until_reset, None);
    assert!(header(&response, "ratelimit").unwrap().contains(r#", "address";r=98"#));
}

#[tokio::test]
async fn a_descriptor_meets_only_the_most_specific_rule() {
    let (_manager, mut client) = started_with(RULES).await;
    let (over, ok) = (Answer::OverLimit, Answer::Ok);
    let user = |name: &str| descriptor(&[("user", name)]);
    // A client cannot name a rule.
    let forged = descriptor(&[("rule", "d|user=one")]);
    let all = call("d", vec![user("one"), user("two"), user("free"), forged]);
    for expected in [[ok, ok, ok, ok], [over, ok, ok, ok], [over, over, ok, ok]] {
        let response = client.should_rate_limit(all.clone()).await.unwrap().into_inner();
        assert_eq!(codes(&response).1, expected);
        assert_eq!(response.statuses[2].current_limit, None);
    }
    let other = client.should_rate_limit(call("e", vec![user("one")])).await.unwrap();
    assert_eq!(other.into_inner().overall_code(), ok, "another domain");
    let more = call("d", vec![descriptor(&[("user", "one"), ("more", "")])]);
    let more = client.should_rate_limit(more).await.unwrap();
    assert_eq!(more.into_inner().overall_code(), ok, "more entries than the rule");
}

#[tokio::test]
async fn a_rule_of_another_descriptor_may_take_one_out() {
    let (_manager, mut client) = started_with(RULES).await;
    let path = || descriptor(&[("path", "/")]);
    let both = call("d", vec![path(), descriptor(&[("user", "one")])]);
    let response = client.should_rate_limit(both).await.unwrap().into_inner();
    assert_eq!(response.statuses[0].current_limit, None, "replaced");
    assert!(response.statuses[1].current_limit.is_some());
    for expected in [Answer::Ok, Answer::OverLimit] {
        let alone = client.should_rate_limit(call("d", vec![path()])).await.unwrap();
        assert_eq!(alone.into_inner().overall_code(), expected);
    }
}

#[tokio::test]
async fn entries_with_one_key_are_told_apart_by_their_places() {
    let (_manager, mut client) = started_with(RULES).await;
    for (first, second, expected) in [
        ("a1", "b", Answer::Ok),
        ("a2", "b", Answer::Ok),
        ("a1", "b", Answer::OverLimit),
        ("a1", "c", Answer::Ok),
        ("b", "a1", Answer::Ok),
    ] {
        let ask = call("d", vec![descriptor(&[("k", first), ("k", second)])]);
        let response = client.should_rate_limit(ask).await.unwrap().into_inner();
        assert_eq!(response.overall_code(), expected, "{first} {second}");
    }
}

#[tokio::test]
async fn a_calendar_has_the_unit_of_its_period_however_long_the_window_is() {
    let (_manager, mut client) = started().await;
    let ask = call("billing", vec![descriptor(&[("generic_key", "x")])]);
    let response = client.should_rate_limit(ask).await.unwrap().into_inner();
    let limit = response.statuses[0].current_limit.as_ref().unwrap();
    assert_eq!((limit.requests_per_unit, limit.unit()), (9, Unit::Month));
    assert_eq!(limit.name, "monthly/requests/month@Europe/Berlin/fixed_window");
    let policy = header(&response, "ratelimit-policy").unwrap();
    let seconds: i64 = policy.rsplit_once(";w=").unwrap().1.parse().unwrap();
    // 28 to 31 days, give or take an hour; it ends with the month.
    assert!((28 * 86_400 - 3_600..=31 * 86_400 + 3_600).contains(&seconds), "{policy}");
    assert!(response.statuses[0].duration_until_reset.as_ref().unwrap().seconds < seconds);
}

#[tokio::test]
async fn hits_come_from_the_descriptor_then_the_call_then_one() {
    let (_manager, mut client) = started().await;
    let address = || descriptor(&[("remote_address", "192.0.2.7")]);
    let own = RateLimitDescriptor { hits_addend: Some(20), ..address() };
    let request = RateLimitRequest { hits_addend: 5, ..call("edge", vec![address(), own]) };
    let response = client.should_rate_limit(request).await.unwrap().into_inner();
    let left: Vec<u32> = response.statuses.iter().map(|status| status.limit_remaining).collect();
    assert_eq!(left, [95, 75]);
    let response = client.should_rate_limit(call("edge", vec![address()])).await.unwrap();
    assert_eq!(response.into_inner().statuses[0].limit_remaining, 74);
}

#[tokio::test]
async fn negative_hits_are_given_back() {
    let (_manager, mut client) = started().await;
    let shop = || descriptor(&[("application", "shop")]);
    let mut ask = async |descriptor| {
        let answer = client.should_rate_limit(call("d", vec![descriptor])).await.unwrap();
        let answer = answer.into_inner();
        (answer.overall_code(), answer.statuses[0].limit_remaining)
    };
    assert_eq!(ask(shop()).await, (Answer::Ok, 1));
    assert_eq!(ask(shop()).await, (Answer::Ok, 0));
    assert_eq!(ask(shop()).await, (Answer::OverLimit, 0));
    let back = |hits| RateLimitDescriptor {
        is_negative_hits: true,
        hits_addend: Some(hits),
        ..descriptor(&[("application", "shop")])
    };
    assert_eq!(ask(back(1)).await, (Answer::Ok, 1));
    assert_eq!(ask(back(100)).await, (Answer::Ok, 2), "never below nothing");
    assert_eq!(ask(shop()).await, (Answer::Ok, 1));
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_anything_counts() {
    let (_manager, mut client) = started().await;
    let good = || descriptor(&[("application", "shop")]);
    let huge = RateLimitDescriptor { hits_addend: Some(u64::MAX), ..good() };
    let address = descriptor(&[("remote_address", "nowhere")]);
    for (request, reason) in [
        (call("", vec![good()]), "domain must not be empty"),
        (call("d", vec![]), "list must not be empty"),
        (call("d", vec![good(); 65]), "at most 64"),
        (call("d", vec![good(), descriptor(&[("k", "v"); 65])]), "descriptors[1].entries"),
        (call("d", vec![good(), huge]), "hits_addend"),
    ] {
        let status = client.should_rate_limit(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(reason), "{}", status.message());
    }
    // What a proxy does not know is no reason to let everything pass.
    let unknown = client.should_rate_limit(call("d", vec![address])).await.unwrap().into_inner();
    assert_eq!(unknown.overall_code(), Answer::Ok);
    let response = client.should_rate_limit(call("d", vec![good()])).await.unwrap().into_inner();
    assert_eq!(response.statuses[0].limit_remaining, 1);
}

#[tokio::test]
async fn a_value_that_a_client_stretches_is_still_limited() {
    let (_manager, mut client) = started().await;
    let long = "x".repeat(10_000);
    let ask = call("d", vec![descriptor(&[("application", &long)])]);
    for expected in [Answer::Ok, Answer::Ok, Answer::OverLimit] {
        let response = client.should_rate_limit(ask.clone()).await.unwrap();
        assert_eq!(response.into_inner().overall_code(), expected);
    }
}

#[tokio::test]
async fn a_connection_takes_more_than_its_window_in_the_course_of_time() {
    let (_manager, mut client) = started().await;
    let ask = call("d", vec![descriptor(&[("application", &"x".repeat(200_000))])]);
    for _ in 0..30 {
        let asked = tokio::time::timeout(PATIENCE, client.should_rate_limit(ask.clone())).await;
        asked.expect("room for the message").unwrap();
    }
}

/// A connection below tonic, to send what no decent client does.
async fn raw(manager: &FakeManager) -> h2::client::SendRequest<bytes::Bytes> {
    let agent = FakeManager::agent(&[manager]).await;
    let stream = tokio::net::TcpStream::connect(serve_with(agent).await).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

fn post(path: &str, headers: &[(&str, &str)]) -> http::Request<()> {
    let mut request = http::Request::post(format!("http://weir{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");

/// Sends a message in these pieces; the HTTP status, and gRPC's from wherever it comes.
async fn ask(
    client: &mut h2::client::SendRequest<bytes::Bytes>,
    request: http::Request<()>,
    pieces: &[&[u8]],
) -> (u16, Option<String>) {
    let (response, mut stream) = client.send_request(request, false).unwrap();
    for piece in pieces {
        // The server may have refused already.
        let _ = stream.send_data(bytes::Bytes::copy_from_slice(piece), false);
        tokio::task::yield_now().await;
    }
    let _ = stream.send_data(bytes::Bytes::new(), true);
    let response = response.await.unwrap();
    let status = response.status().as_u16();
    let code = |map: &http::HeaderMap| Some(map.get("grpc-status")?.to_str().unwrap().to_owned());
    let at_once = code(response.headers());
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        data.unwrap();
    }
    let trailers = body.trailers().await.unwrap();
    (status, at_once.or_else(|| code(&trailers?)))
}

/// Path, headers, pieces of the body; HTTP status and gRPC's.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a [u8]], u16, Option<&'a str>);

#[tokio::test]
async fn odd_calls_get_the_answer_that_the_protocol_demands() {
    use prost::Message;
    let manager = FakeManager::start("tm-1", POLICIES).await;
    let mut client = raw(&manager).await;
    let message = call("d", vec![descriptor(&[("application", "odd")])]).encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let framed = [&[0][..], &length, &message].concat();
    let compressed = [&[1][..], &length, &message].concat();
    let twice = [&framed[..], &framed].concat();
    let huge = [0, 0x7f, 0, 0, 0];
    let (head, tail) = framed.split_at(20);
    let gzip: &[_] = &[GRPC, ("grpc-encoding", "gzip")];
    let timed: &[_] = &[GRPC, ("grpc-timeout", "1S"), ("grpc-encoding", "identity")];
    let cases: [Case<'_>; 12] = [
        (SHOULD_RATE_LIMIT, &[GRPC], &[&framed], 200, Some("0")),
        (SHOULD_RATE_LIMIT, timed, &[&framed], 200, Some("0")),
        (SHOULD_RATE_LIMIT, &[GRPC], &[head, tail], 200, Some("0")),
        (SHOULD_RATE_LIMIT, &[("content-type", "application/json")], &[&framed], 415, None),
        (SHOULD_RATE_LIMIT, &[], &[&framed], 415, None),
        (SHOULD_RATE_LIMIT, &[GRPC], &[], 200, Some("13")),
        (SHOULD_RATE_LIMIT, &[GRPC], &[head], 200, Some("13")),
        (SHOULD_RATE_LIMIT, &[GRPC], &[&twice], 200, Some("13")),
        (SHOULD_RATE_LIMIT, &[GRPC], &[&huge], 200, Some("8")),
        (SHOULD_RATE_LIMIT, gzip, &[&compressed], 200, Some("12")),
        ("/envoy.service.ratelimit.v3.RateLimitService/No", &[GRPC], &[&framed], 200, Some("12")),
        ("/no.such.Service/Call", &[GRPC], &[&framed], 200, Some("12")),
    ];
    for (place, (path, headers, pieces, status, code)) in cases.into_iter().enumerate() {
        let answer = ask(&mut client, post(path, headers), pieces).await;
        assert_eq!(answer, (status, code.map(str::to_owned)), "case {place}");
    }
}

#[tokio::test]
async fn a_worker_that_drains_answers_and_says_goodbye() {
    let manager = FakeManager::start("tm-1", POLICIES).await;
    let agent = FakeManager::agent(&[&manager]).await;
    let workers = start_workers(NonZeroUsize::MIN, &Gate::new(agent)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
    let (stream, accepted) = tokio::join!(connect, listener.accept());
    workers.hand(Port::Grpc, accepted.unwrap().0).await.unwrap();
    let (client, connection) = h2::client::handshake(stream.unwrap()).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let (response, mut stream) =
        client.send_request(post(SHOULD_RATE_LIMIT, &[GRPC]), false).unwrap();
    // The call is open before the worker is told, and ends afterwards.
    let health = post("/grpc.health.v1.Health/Check", &[GRPC]);
    assert_eq!(ask(&mut client, health, &[&[0; 5]]).await, (200, Some("0".to_owned())));
    let drained = tokio::spawn(workers.drain(PATIENCE));
    stream.send_data(bytes::Bytes::from_static(&[0; 5]), true).unwrap();
    let answer = response.await.unwrap();
    // An empty request has no domain.
    assert_eq!(answer.headers()["grpc-status"], "3");
    drop((answer, stream, client));
    assert!(drained.await.unwrap(), "the worker waits for nothing");
    connection.await.unwrap().unwrap();
}
