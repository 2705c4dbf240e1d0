//! The planes over real sockets: what a peer meets that misbehaves, and what one meets that does
//! not.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use weir_proto::{
    key::CounterKey,
    usage::NameWriter,
    wire::weir::v1::{
        AgentIdentity, Attach, CreditFrame, UsageAck, UsageFrame, View,
        decisions_client::DecisionsClient, usage_client::UsageClient,
    },
};

use super::*;
use crate::{
    config::{Config, Settings},
    group::Group,
    security::PeerAccess,
    stop::{Stopper, stop},
};

const PATIENCE: Duration = Duration::from_secs(5);

struct Served {
    channel: Channel,
    address: SocketAddr,
    driver: Driver,
    stopper: Stopper,
    server: tokio::task::JoinHandle<anyhow::Result<()>>,
    _group: Group,
}

async fn start() -> Served {
    start_with(|listener| listener).await
}

async fn start_with(change: fn(Listener) -> Listener) -> Served {
    let settings = Settings { id: Some("tm-1".into()), ..Settings::default() };
    let config = Config::resolve(settings).unwrap();
    let telemetry = Telemetry::new().unwrap();
    let (stopper, stop) = stop();
    let guard = Guard::open(Arc::clone(&telemetry));
    let access = (PeerAccess::load(&config).unwrap(), guard.clone());
    let group = Group::start(&config, access, &telemetry, &stop).await.unwrap();
    let driver = group.driver.clone();
    let services = Services { driver: driver.clone(), peers: group.peers() };
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let refused = telemetry.refused_grpc.clone();
    let listener = Listener::bind(anywhere, "listen.grpc", refused).await.unwrap();
    let address = listener.address().unwrap();
    let server = tokio::spawn(serve(change(listener), services, telemetry, guard, stop));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    Served { channel, address, driver, stopper, server, _group: group }
}

fn identity(id: &str) -> AgentIdentity {
    AgentIdentity { id: id.into(), incarnation: 1, ..AgentIdentity::default() }
}

fn usage(seq: u64) -> UsageFrame {
    UsageFrame { identity: Some(identity("gw-1")), seq, ..UsageFrame::default() }
}

async fn report(served: &Served) -> (mpsc::Sender<UsageFrame>, Streaming<UsageAck>) {
    let (frames, outbound) = mpsc::channel(4);
    let mut client = UsageClient::new(served.channel.clone());
    let response = client.report(ReceiverStream::new(outbound)).await.unwrap();
    (frames, response.into_inner())
}

/// The code with which a stream ends.
async fn end<T>(stream: &mut Streaming<T>) -> Option<Code> {
    let drain = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status.code()),
            }
        }
    };
    timeout(PATIENCE, drain).await.expect("the stream ends")
}

#[tokio::test]
async fn usage_is_acknowledged() {
    let served = start().await;
    let (frames, mut acks) = report(&served).await;
    frames.send(usage(7)).await.unwrap();
    let ack = timeout(PATIENCE, acks.message()).await.unwrap().unwrap().unwrap();
    assert_eq!((ack.seq, ack.manager_id.as_str()), (7, "tm-1"));
    assert!(ack.manager_incarnation > 0);
    drop(frames);
    assert_eq!(end(&mut acks).await, None, "a goodbye is answered with a regular end");
}

#[tokio::test]
async fn a_client_that_does_not_begin_is_closed() {
    let served = start_with(|listener| listener.impatient(Duration::from_millis(50))).await;
    for said in [&b""[..], b"PRI * HTTP/2.0\r\n"] {
        let mut client = TcpStream::connect(served.address).await.unwrap();
        client.write_all(said).await.unwrap();
        // Closed or reset: in either case its place is free.
        let end = timeout(PATIENCE, client.read_to_end(&mut Vec::new())).await;
        assert!(end.is_ok(), "a client is kept that said {said:?}");
    }
}

#[tokio::test]
async fn a_malformed_frame_ends_only_its_stream() {
    let served = start().await;
    let (frames, mut acks) = report(&served).await;
    let (other, mut other_acks) = report(&served).await;
    frames.send(UsageFrame { entries: vec![4].into(), ..usage(1) }).await.unwrap();
    let error = timeout(PATIENCE, acks.message()).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("entries"), "names the field: {}", error.message());
    other.send(usage(1)).await.unwrap();
    let ack = timeout(PATIENCE, other_acks.message()).await.unwrap().unwrap();
    assert_eq!(ack.map(|ack| ack.seq), Some(1));
}

#[tokio::test]
async fn a_huge_frame_is_refused() {
    let served = start().await;
    let (frames, mut acks) = report(&served).await;
    let entries = vec![0; MAX_FRAME_BYTES].into();
    frames.send(UsageFrame { entries, ..usage(1) }).await.unwrap();
    assert_eq!(end(&mut acks).await, Some(Code::InvalidArgument));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_waits_while_the_manager_is_busy_and_arrives_whole() {
    const FRAMES: u64 = 150;
    let served = start().await;
    let (go_on, blocked) = std::sync::mpsc::sync_channel::<()>(1);
    let driver = served.driver.clone();
    let busy = tokio::spawn(async move { driver.with(move |_, _, _| blocked.recv()).await });
    let (frames, mut acks) = report(&served).await;
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let flood = tokio::spawn(async move {
        let mut names = NameWriter::default();
        let key = CounterKey::new("p", "l", &[&*"x".repeat(1_000); 16]).unwrap();
        (0..66).for_each(|_| names.push(1, &key));
        let names = names.finish();
        for seq in 1..=FRAMES {
            frames.send(UsageFrame { names: names.clone(), ..usage(seq) }).await.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
        }
        frames
    });
    let full = async {
        while served.driver.room() > 1 << 20 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE * 12, full).await.expect("frames of 1 MiB fill the room");
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent < 80, "{sent} frames of {FRAMES}: the sender is held back");
    go_on.send(()).unwrap();
    busy.await.unwrap().unwrap().unwrap();
    let mut newest = 0;
    while newest < FRAMES {
        newest = timeout(PATIENCE * 12, acks.message()).await.unwrap().unwrap().unwrap().seq;
    }
    drop(flood.await.unwrap());
    assert_eq!(end(&mut acks).await, None, "nothing was refused");
}

#[tokio::test]
async fn a_stranger_is_refused_by_the_core() {
    let served = start().await;
    let (frames, mut acks) = report(&served).await;
    frames.send(UsageFrame { identity: None, ..usage(1) }).await.unwrap();
    assert_eq!(end(&mut acks).await, Some(Code::FailedPrecondition));
}

#[tokio::test]
async fn a_subscriber_is_greeted_and_a_shutdown_is_told() {
    let served = start().await;
    let (frames, outbound) = mpsc::channel(4);
    let mut client = DecisionsClient::new(served.channel.clone());
    let response = client.subscribe(ReceiverStream::new(outbound)).await.unwrap();
    let mut decisions = response.into_inner();
    let attach = Attach {
        identity: Some(identity("gw-1")),
        view: Some(View::default()),
        ..Attach::default()
    };
    let first = CreditFrame {
        seq: 1,
        attach: Some(attach),
        holdings_complete: true,
        ..CreditFrame::default()
    };
    frames.send(first).await.unwrap();
    let greeting = timeout(PATIENCE, decisions.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(greeting.hello.map(|hello| hello.id), Some("tm-1".to_owned()));
    let mut health = HealthClient::new(served.channel.clone());
    let service = "weir.v1.Decisions".to_owned();
    let check = health.check(HealthCheckRequest { service }).await.unwrap();
    assert_eq!(check.into_inner().status, 1, "serving");

    served.stopper.stop();
    assert_eq!(end(&mut decisions).await, Some(Code::Unavailable));
    drop((frames, client, health, served.channel));
    timeout(PATIENCE, served.server).await.expect("the server ends").unwrap().unwrap();
}
