//! A manager for tests: serves fixed policies and remembers what it was told. A fleet of one owns
//! every limit whole and is granted nothing; a larger one is granted whatever it asks for.
#![expect(clippy::unwrap_used, reason = "only tests use it")]

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};
use weir_proto::{
    policy::parse_document,
    wire::weir::v1::{
        CreditEntry, CreditFrame, Decision, DecisionFrame, KeyDef, ManagerHello, Member,
        PolicyUpdate, UsageAck, UsageFrame, View,
        decisions_server::{Decisions, DecisionsServer},
        usage_server::{Usage, UsageServer},
    },
};

use crate::{Agent, Config, clock::incarnation};

/// How long tests wait for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
const BEAT: Duration = Duration::from_millis(100);

/// What the manager was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) usage: Vec<UsageFrame>,
    pub(crate) credit: Vec<CreditFrame>,
}

impl Told {
    /// The sum of admitted amounts of all counters, each as it was told last. Every stream is one of
    /// the same agent, which names its counters alike.
    pub(crate) fn used(&self) -> u64 {
        let mut newest = std::collections::BTreeMap::new();
        for frame in &self.usage {
            let frame = weir_proto::usage::UsageFrame::try_from(frame.clone()).unwrap();
            for entry in &frame.entries {
                newest.insert((entry.key, entry.window), entry.used);
            }
        }
        newest.into_values().sum()
    }
}

pub(crate) struct FakeManager {
    pub(crate) address: SocketAddr,
    told: Arc<Mutex<Told>>,
    /// Of its own, so that its end is the end of every connection, as with a process.
    runtime: Option<Runtime>,
}

impl FakeManager {
    /// Of a fleet of one agent.
    pub(crate) async fn start(name: &str, policies: &str) -> Self {
        Self::of_fleet(1, name, policies).await
    }

    /// Tells the agent that so many share each limit.
    pub(crate) async fn of_fleet(fleet: u32, name: &str, policies: &str) -> Self {
        let runtime =
            runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.spawn(TcpListener::bind("127.0.0.1:0")).await.unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::new(Mutex::new(Told::default()));
        let text = format!("apiVersion: weir/v1\npolicies:\n{policies}");
        let put = parse_document(&text).unwrap();
        let put = put.iter().map(|policy| policy.to_json().to_string().into()).collect();
        let update = PolicyUpdate { revision: 7, full: true, put, deleted: Vec::new(), last: true };
        let service = Service { name: name.to_owned(), fleet, update, told: told.clone() };
        let service = Arc::new(service);
        let server = Server::builder()
            .add_service(UsageServer::from_arc(service.clone()))
            .add_service(DecisionsServer::from_arc(service))
            .serve_with_incoming(TcpIncoming::from(listener));
        runtime.spawn(async { drop(server.await) });
        Self { address, told, runtime: Some(runtime) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A ready agent of these managers.
    pub(crate) async fn agent(managers: &[&FakeManager]) -> Agent {
        let urls: Vec<String> = managers.iter().map(|manager| manager.url()).collect();
        let agent = Agent::connect(Config::new("gw-test", urls).unwrap()).unwrap();
        assert!(agent.wait_ready(PATIENCE).await, "{:?}", agent.status());
        agent
    }

    pub(crate) fn told<T>(&self, look: impl Fn(&Told) -> T) -> T {
        look(&self.told.lock().unwrap())
    }

    /// Waits until it was told so.
    pub(crate) async fn until_told(&self, what: impl Fn(&Told) -> bool) {
        until("the manager is told", || self.told(&what)).await;
    }
}

impl Drop for FakeManager {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits for a condition, with a deadline.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "in vain: {what}");
}

struct Service {
    name: String,
    fleet: u32,
    update: PolicyUpdate,
    told: Arc<Mutex<Told>>,
}

type Frames<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Usage for Service {
    type ReportStream = Frames<UsageAck>;

    async fn report(
        &self,
        request: Request<Streaming<UsageFrame>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let (told, name) = (self.told.clone(), self.name.clone());
        let acks = request.into_inner().map(move |frame| {
            let frame = frame?;
            let ack = UsageAck { seq: frame.seq, manager_id: name.clone(), manager_incarnation: 1 };
            told.lock().unwrap().usage.push(frame);
            Ok(ack)
        });
        Ok(Response::new(Box::pin(acks)))
    }
}

#[tonic::async_trait]
impl Decisions for Service {
    type SubscribeStream = Frames<DecisionFrame>;

    async fn subscribe(
        &self,
        request: Request<Streaming<CreditFrame>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (frames, stream) = mpsc::channel(16);
        let session = Session {
            hello: ManagerHello {
                id: self.name.clone(),
                incarnation: 1,
                version: "test".to_owned(),
                silent_hold_ms: 30_000,
            },
            fleet: self.fleet,
            update: self.update.clone(),
            told: self.told.clone(),
            frames,
        };
        tokio::spawn(session.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

struct Session {
    hello: ManagerHello,
    fleet: u32,
    update: PolicyUpdate,
    told: Arc<Mutex<Told>>,
    frames: mpsc::Sender<Result<DecisionFrame, Status>>,
}

impl Session {
    /// Sends the snapshot, then a sign of life now and then, until the agent goes.
    async fn run(self, mut upstream: Streaming<CreditFrame>) {
        let Ok(Some(first)) = upstream.message().await else { return };
        let identity = first.attach.as_ref().and_then(|attach| attach.identity.clone()).unwrap();
        let member = Member { id: identity.id, incarnation: identity.incarnation };
        let mut revision = 1;
        let snapshot = DecisionFrame {
            hello: Some(self.hello.clone()),
            policies: Some(self.update.clone()),
            install: Some(View {
                lost: Vec::new(),
                number: 1,
                fleet: self.fleet,
                members: vec![member],
                proposer_id: self.hello.id.clone(),
                proposer_incarnation: 1,
            }),
            snapshot_complete: true,
            ..self.frame(revision)
        };
        self.told.lock().unwrap().credit.push(first);
        let mut next = snapshot;
        while self.frames.send(Ok(next)).await.is_ok() {
            revision += 1;
            next = self.frame(revision);
            match timeout(BEAT, upstream.message()).await {
                Ok(Ok(Some(frame))) => {
                    if self.fleet > 1 {
                        (next.keys, next.decisions) = grants(&frame);
                    }
                    self.told.lock().unwrap().credit.push(frame);
                }
                Ok(_) => return,
                Err(_) => {}
            }
        }
    }

    fn frame(&self, revision: u64) -> DecisionFrame {
        DecisionFrame { revision, manager_ms: incarnation() / 1_000, ..DecisionFrame::default() }
    }
}

/// Grants every wish, under the agent's own names.
fn grants(frame: &CreditFrame) -> (Vec<KeyDef>, Vec<Decision>) {
    let wishes = frame.entries.iter().filter(|entry| entry.want > 0);
    let grant = |entry: &CreditEntry| Decision {
        key: entry.key,
        window: entry.window,
        ceiling: entry.used + entry.want,
        ..Decision::default()
    };
    (frame.keys.clone(), wishes.map(grant).collect())
}
