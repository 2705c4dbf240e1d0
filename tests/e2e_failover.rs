//! The active manager dies, hangs, or is cut off, under load, and comes back: no check fails or
//! waits, no limit is exceeded, no count is lost.

mod support;

use std::time::{Duration, Instant};

use support::{
    fleet::{Fleet, Node, Plan, SOON},
    http::Session,
    load::{Book, Load},
    proxy::Proxy,
    wait::{wait_for, wait_for_room, wait_until},
};

const HOUR: Duration = Duration::from_secs(3600);
/// What a test may take on a slow machine.
const ROOM: Duration = Duration::from_secs(120);
/// Of each agent; two agents, five applications and the exhausted one.
const PER_SECOND: u32 = 100;
const APPLICATIONS: [&str; 6] = ["app-1", "app-2", "app-3", "app-4", "app-5", EXHAUSTED];
const EXHAUSTED: &str = "exhausted";
/// The limit of `busy`: the load needs grants from its first second on, and reaches it while the
/// managers change.
const BUSY: u64 = 100;
/// The limit of `small`; an agent may spend an eighth of it without a grant.
const SMALL: u64 = 40;

const POLICIES: &str = r#"
apiVersion: weir/v1
policies:
  - name: busy
    level: application
    match: 'request.api == "busy"'
    key: [application]
    limits: [ { requests: 100, window: 1h, algorithm: fixed_window } ]
    accuracy: strict
  - name: small
    level: application
    match: 'request.api == "small"'
    key: [application]
    limits: [ { requests: 40, window: 1h, algorithm: fixed_window } ]
    accuracy: strict
"#;

/// A fleet under load, and all that was answered so far.
struct Scene {
    fleet: Fleet,
    client: Session,
    small: Book,
    before: Book,
    load: Option<Load>,
}

impl Scene {
    /// Starts the load after one application has used up its limit.
    fn open(fleet: Fleet) -> Self {
        let mut scene = Self {
            fleet,
            client: Session::new(),
            small: Book::default(),
            before: Book::default(),
            load: None,
        };
        let target = scene.fleet.agents[0].target();
        let Scene { fleet, client, before, .. } = &mut scene;
        wait_until("one application is exhausted", SOON, &fleet.processes(), || {
            for _ in 0..BUSY {
                before.check(&target, client, "busy", EXHAUSTED);
            }
            before.allowed()[EXHAUSTED] == BUSY
        });
        let targets = scene.fleet.targets();
        scene.load = Some(Load::start(&targets, "busy", &APPLICATIONS, PER_SECOND));
        scene.grant("at-first", SOON);
        scene
    }

    /// Spends the whole limit of a new application at one agent, which takes grants by a manager
    /// that the agent follows; tells how long it took.
    #[track_caller]
    fn grant(&mut self, application: &str, within: Duration) -> Duration {
        let target = self.fleet.agents[1].target();
        let logs = self.fleet.processes();
        let began = Instant::now();
        wait_for(&format!("{application} is granted its whole limit"), within, &logs, || {
            for _ in 0..SMALL {
                self.small.check(&target, &self.client, "small", application);
            }
            (self.small.allowed()[application] >= SMALL).then(|| began.elapsed())
        })
    }

    /// Waits until the first manager, restarted or reachable again, has at least what the second
    /// one had a moment before; tells how long it took.
    #[track_caller]
    fn wait_caught_up(&self, within: Duration) -> Duration {
        let began = Instant::now();
        wait_for(
            "the manager that returned has its peer's counters",
            within,
            &self.fleet.processes(),
            || {
                let peer = self.fleet.managers[1].used("busy")?;
                let mine = self.fleet.managers[0].used("busy")?;
                assert!(!peer.is_empty(), "nothing is counted");
                let all = peer.iter().all(|(place, used)| mine.get(place) >= Some(used));
                all.then(|| began.elapsed())
            },
        )
    }

    /// Ends the load and checks every promise.
    fn close(mut self) {
        let book = self.load.take().expect("a load").finish();
        println!(
            "{} checks, slowest {:?}, admitted {:?}; small {:?}",
            book.total(),
            book.slowest,
            book.allowed(),
            self.small.allowed()
        );
        for book in [&book, &self.small] {
            assert!(book.failures.is_empty(), "{:?}", book.failures);
            assert!(book.slowest <= Duration::from_secs(1), "a check took {:?}", book.slowest);
        }
        assert_eq!(book.allowed()[EXHAUSTED], 0, "an exhausted counter came back to life");
        let mut all = self.before;
        all.merge(book);
        for (application, allowed) in all.allowed() {
            assert!(allowed <= BUSY, "{application}: {allowed} of {BUSY}");
        }
        for (application, allowed) in self.small.allowed() {
            assert!(allowed <= SMALL, "{application}: {allowed} of {SMALL}");
        }
        self.fleet.wait_booked("busy", &all);
        self.fleet.wait_booked("small", &self.small);
        for node in self.fleet.managers.iter().chain(&self.fleet.agents) {
            node.assert_healthy();
        }
    }

    /// The first manager is gone, in whatever way, as of now.
    fn fail_over(&mut self) {
        let granted = self.grant("after-loss", Duration::from_secs(3));
        let followed = self.fleet.wait_follow("tm-2", Duration::from_secs(3));
        println!("lost tm-1: decisions flow from tm-2 after {granted:?}");
        println!("all agents say so {:?} later", followed);
        // A shorter absence is another story: links that outlive it need not settle anew.
        let down = |agent: &Node| {
            agent.get("/v1/status").is_some_and(|it| it["managers"][0]["usage"] == "down")
        };
        wait_until("the links to tm-1 are given up", SOON, &self.fleet.processes(), || {
            self.fleet.agents.iter().all(down)
        });
    }

    /// The first manager is there again, as of now.
    fn fail_back(&mut self) {
        let caught_up = self.wait_caught_up(Duration::from_secs(5));
        let followed = self.fleet.wait_follow("tm-1", Duration::from_secs(15));
        println!("tm-1 is back: its counters are its peer's after {caught_up:?}");
        println!("all agents follow it again {followed:?} later");
        let granted = self.grant("after-return", SOON);
        println!("decisions flow from tm-1: {granted:?}");
    }
}

fn plan() -> Plan {
    wait_for_room(HOUR, ROOM);
    Plan { policies: POLICIES, agents: 2, ..Plan::default() }
}

#[test]
fn the_active_manager_is_killed_and_restarts_empty() {
    let mut scene = Scene::open(Fleet::start(&plan()));
    scene.fleet.managers[0].process().kill();
    scene.fail_over();
    scene.fleet.managers[0].restart();
    scene.fleet.managers[0].wait_ready();
    scene.fail_back();
    scene.close();
}

#[test]
fn the_active_manager_freezes_and_thaws() {
    let mut scene = Scene::open(Fleet::start(&plan()));
    scene.fleet.managers[0].process().freeze();
    scene.fail_over();
    scene.fleet.managers[0].process().thaw();
    scene.fail_back();
    scene.close();
}

#[test]
fn the_active_manager_is_cut_off_and_reachable_again() {
    let mut proxy = None;
    let fleet = Fleet::start_through(&plan(), |managers| {
        let through = proxy.insert(Proxy::start(managers[0].grpc));
        vec![through.port(), managers[1].grpc]
    });
    let proxy = proxy.expect("a proxy");
    let mut scene = Scene::open(fleet);
    assert!(proxy.connections() >= 4, "the agents came past the proxy");
    proxy.black_hole();
    scene.fail_over();
    proxy.heal();
    scene.fail_back();
    scene.close();
}
