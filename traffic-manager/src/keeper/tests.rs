//! A driver that does not answer keeps nobody waiting who does not need it.

use futures_util::FutureExt;
use traffic_manager_core::{
    Config as CoreConfig, Manager,
    replica::{Config, WriteError},
    roles::{Epochs, Roles, RolesConfig},
};
use weir_proto::{
    counters::CountersAsk,
    id::{ManagerId, ManagerLife},
    peer::{PeerFrame, PeerHello},
    policy::Policy,
    wire::weir::v1 as wire,
};

use super::*;
use crate::{
    clock::Clock,
    driver::{Command, Driver},
    peers::{self, LinkEvent, LinkId},
    stop::{Stopper, stop},
    store::{Identity, MemoryStore, StoreHandle},
    telemetry::Telemetry,
};

fn life(name: &str) -> ManagerLife {
    ManagerLife { id: ManagerId::new(name).expect("a name"), incarnation: 1 }
}

fn policy(name: &str) -> Policy {
    let limit = serde_json::json!({ "requests": 1, "window": "1m" });
    let document = serde_json::json!({ "name": name, "level": "api", "limits": [limit] });
    Policy::from_json(&document).expect("valid")
}

/// Longer than any machine takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A keeper with one peer, and a driver that is played by the test.
struct Scene {
    keeper: Keeper,
    driver: mpsc::Receiver<Command>,
    events: mpsc::Sender<LinkEvent>,
    sent: mpsc::Receiver<wire::PeerFrame>,
    manager: Manager,
    clock: Clock,
    _stop: Stopper,
    _closed: mpsc::Sender<Vec<traffic_manager_core::accounts::Closed>>,
}

async fn scene() -> Scene {
    let (me, mut clock) = (life("tm-1"), Clock::start());
    let now = clock.now();
    let identity = Identity { manager: me.id.clone(), created: now };
    let (driver, commands) = Driver::unattended(me.clone());
    let (events, links) = mpsc::channel(16);
    let (closed_in, closed) = mpsc::channel(1);
    let roles = RolesConfig { me: me.clone(), priority: 1, fail_back: false, group: 2 };
    let parts = Parts {
        replica: Replica::new(Config::new(me.clone(), 2), now),
        store: StoreHandle::start(Box::new(MemoryStore::new(identity))).expect("a thread"),
        driver,
        clock: clock.clone(),
        links,
        closed,
        roles: Roles::new(roles, Epochs::default(), now),
        priority: 1,
        telemetry: Telemetry::new().expect("a recorder"),
    };
    let (stopper, stop) = stop();
    let (keeper, _synced, _ended) = start(parts, stop);
    let (link, sent, _end) = peers::open(LinkId(1));
    let peer = PeerHello { life: life("tm-2"), version: String::new() };
    events.send(LinkEvent::Up { peer, address: None, link }).await.expect("it runs");
    let manager = Manager::new(CoreConfig::new(me), now);
    let (_stop, _closed, driver) = (stopper, closed_in, commands);
    Scene { keeper, driver, events, sent, manager, clock, _stop, _closed }
}

impl Scene {
    /// The next frame to the peer that `pick` is about.
    async fn next<T>(&mut self, pick: impl Fn(&PeerFrame) -> Option<T>) -> T {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.sent.recv()).await;
            let frame = frame.expect("frames go on").expect("the link is there");
            if let Some(found) = pick(&PeerFrame::try_from(frame).expect("valid")) {
                return found;
            }
        }
    }

    async fn heartbeat(&mut self) {
        self.next(|frame| matches!(frame, PeerFrame::Heartbeat(_)).then_some(())).await;
    }

    async fn ask_counters(&self) {
        let ask = CountersAsk { min_window: Duration::ZERO, cursor: None };
        let event = LinkEvent::Frame(life("tm-2"), PeerFrame::AskCounters(ask));
        self.events.send(event).await.expect("it runs");
    }

    /// The driver does one thing.
    async fn obey(&mut self) {
        let Some(Command::With(job)) = self.driver.recv().await else { panic!("a job") };
        job(&mut self.manager, self.clock.now(), &mut Vec::new());
    }
}

#[tokio::test]
async fn heartbeats_leave_and_questions_are_answered_while_the_driver_is_busy() {
    let mut scene = scene().await;
    scene.heartbeat().await;
    let write = scene.keeper.write(|replica, now| {
        Ok::<_, WriteError>((Some(replica.put(&policy("p"), "anna", now)?), ()))
    });
    let mut write = tokio::spawn(write);
    // The policy is to be put in force: the driver has that, and does nothing.
    let job = scene.driver.recv().await.expect("a job");
    // Heartbeats that had left before fill the link's queue at most; these are new ones.
    while scene.sent.try_recv().is_ok() {}
    for _ in 0..3 {
        scene.heartbeat().await;
    }
    let known = scene.keeper.ask(|replica, _| replica.winner("p").is_some()).await;
    assert_eq!(known, Ok(true), "questions are answered");
    assert!((&mut write).now_or_never().is_none(), "it is not in force yet");
    let Command::With(job) = job else { panic!("a job") };
    job(&mut scene.manager, scene.clock.now(), &mut Vec::new());
    assert!(write.await.expect("no panic").is_ok());
    assert_eq!(scene.manager.policies().len(), 1);
}

#[tokio::test]
async fn a_peer_has_one_question_at_a_time() {
    let mut scene = scene().await;
    let counters = |frame: &PeerFrame| matches!(frame, PeerFrame::Counters(_)).then_some(());
    for _ in 0..100 {
        scene.ask_counters().await;
    }
    // Frames are taken one by one: when this is answered, all of them were.
    scene.keeper.ask(|_, _| ()).await.expect("it runs");
    scene.heartbeat().await;
    // The first, and the newest of the others.
    for _ in 0..2 {
        scene.obey().await;
        scene.next(counters).await;
    }
    scene.heartbeat().await;
    assert!(scene.driver.try_recv().is_err(), "no more than those");
}
