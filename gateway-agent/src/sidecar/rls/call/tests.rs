//! Calls that wait, on a connection in memory.

use h2::{client, server};
use prost::Message;
use tokio::io::DuplexStream;
use weir_proto::wire::envoy::{
    extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor::Entry},
    service::ratelimit::v3::RateLimitRequest,
};

use super::*;
use crate::{
    fake_manager::FakeManager,
    sidecar::{gate::Gate, rls::routes},
};

/// Of eight agents each, so that the first check waits for the manager.
const EIGHT: &str = "
- name: eight
  level: application
  key: [application]
  max_wait: 1s
  limits: [{ requests: 8, window: 365d }]
";

/// Both ends of a connection; the server's still has to be driven.
async fn connect() -> (client::SendRequest<Bytes>, server::Connection<DuplexStream, Bytes>) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (client, server) = tokio::join!(client::handshake(near), server::handshake(far));
    let (client, connection) = client.unwrap();
    tokio::spawn(connection);
    (client, server.unwrap())
}

fn request() -> Request<()> {
    let uri = format!("http://weir{SHOULD_RATE_LIMIT}");
    Request::post(uri).header("content-type", "application/grpc").body(()).unwrap()
}

fn message() -> Bytes {
    let entry = Entry { key: "application".to_owned(), value: "shop".to_owned() };
    let descriptor = RateLimitDescriptor { entries: vec![entry], ..Default::default() };
    let request =
        RateLimitRequest { domain: "d".to_owned(), descriptors: vec![descriptor], hits_addend: 0 };
    frame::write(|out| request.encode(out).unwrap())
}

#[tokio::test]
async fn a_call_that_is_cancelled_while_it_waits_is_not_counted() {
    let manager = FakeManager::of_fleet(8, "tm-1", EIGHT).await;
    let gate = Gate::new(FakeManager::agent(&[&manager]).await);
    let service = Arc::new(RateLimits::new(gate.clone(), routes().await.unwrap()));
    let (mut client, mut server) = connect().await;

    let (_cancelled, mut stream) = client.send_request(request(), false).unwrap();
    stream.send_data(message(), true).unwrap();
    let (asked, respond) = server.accept().await.unwrap().unwrap();
    // The next call comes after the message, and its end after the first call's.
    let (_next, mut next) = client.send_request(request(), false).unwrap();
    let (_next_asked, _next_respond) = server.accept().await.unwrap().unwrap();
    let mut call = Call::answer(&service, asked, respond).expect("it waits for the manager");
    let Rest::Decide { body, .. } = &mut call.rest else { panic!("the message is there") };
    let held = body.flow_control().used_capacity();
    assert_eq!(held, message().len(), "a message that waits counts against the window");
    stream.send_reset(h2::Reason::CANCEL);
    next.send_reset(h2::Reason::CANCEL);
    let (_last, _) = client.send_request(request(), true).unwrap();
    let _last_asked = server.accept().await.unwrap().unwrap();

    call.finish(service).await;
    let metrics = gate.telemetry.render(&gate.agent);
    assert!(!metrics.contains("weir_agent_checks_total{"), "{metrics}");
}
