//! The agent with managers on real sockets.

use std::{net::TcpListener, time::Duration};

use tokio::time::Instant;

use super::*;
use crate::fake_manager::{FakeManager, PATIENCE, until};

/// A year-long window, so that no test meets its end.
const THREE: &str = "
- { name: three, level: application, key: [application], limits: [{ requests: 3, window: 365d }] }
";

fn shop() -> Request<'static> {
    Request::new().application("shop")
}

#[test]
fn an_agent_needs_a_runtime() {
    let config = Config::new("gw", ["http://127.0.0.1:1"]).unwrap();
    assert_eq!(Agent::connect(config).unwrap_err(), ConnectError::NoRuntime);
}

#[tokio::test]
async fn https_needs_somebody_to_trust() {
    let config = Config::new("gw", ["https://tm1:9611"]).unwrap();
    let error = Agent::connect(config).unwrap_err().to_string();
    assert!(error.contains("https://tm1:9611") && error.contains("tls.ca"), "{error}");
}

#[test]
fn a_token_in_plain_text_is_noticed_beyond_loopback() {
    for (url, exposed) in [
        ("http://tm1:9611", true),
        ("https://tm1:9611", false),
        ("http://127.0.0.1:9611", false),
        ("http://[::1]:9611", false),
        ("http://localhost:9611", false),
    ] {
        let config = Config::new("gw", [url]).unwrap();
        assert!(!config.exposes_token(), "{url}: no token");
        assert_eq!(config.token("weir_abc").exposes_token(), exposed, "{url}");
    }
}

#[tokio::test]
async fn limits_hold_and_usage_is_reported() {
    let manager = FakeManager::start("tm-1", THREE).await;
    let agent = FakeManager::agent(&[&manager]).await;
    for left in [2, 1, 0] {
        let verdict = agent.check(&shop());
        assert!(verdict.allowed());
        assert_eq!(verdict.limit.map(|limit| limit.remaining), Some(left));
    }
    assert!(!agent.check(&shop()).allowed());
    assert!(agent.check(&Request::new().application("other")).allowed(), "another counter");
    manager.until_told(|told| told.used() >= 4).await;
    assert_eq!(agent.status().active_name, "tm-1");
    assert_eq!(agent.status().managers.len(), 1);
}

#[tokio::test]
async fn a_lost_manager_is_replaced_by_the_next_and_the_limit_still_holds() {
    let first = FakeManager::start("tm-1", THREE).await;
    let second = FakeManager::start("tm-2", THREE).await;
    let agent = FakeManager::agent(&[&first, &second]).await;
    assert_eq!(agent.status().active_name, "tm-1");
    assert!(agent.check_n(&shop(), 2).allowed());
    second.until_told(|told| told.used() == 2).await;

    drop(first);
    until("the second is followed", || agent.status().active_name == "tm-2").await;
    assert_eq!(agent.status().failovers, 1);
    assert!(agent.check(&shop()).allowed());
    assert!(!agent.check(&shop()).allowed());
    second.until_told(|told| told.used() == 3).await;
}

#[tokio::test]
async fn a_manager_that_accepts_and_says_nothing_delays_nobody() {
    // The kernel accepts for it, as for a stopped process.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let manager = FakeManager::start("tm-2", THREE).await;
    let urls = [format!("http://{}", silent.local_addr().unwrap()), manager.url()];
    let began = Instant::now();
    let agent = Agent::connect(Config::new("gw-test", urls).unwrap()).unwrap();
    assert!(agent.wait_ready(PATIENCE).await);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(agent.check(&shop()).allowed());
    manager.until_told(|told| told.used() == 1).await;
    assert!(!agent.status().managers[0].usage_up);
}

/// Of eight agents each, so that none may admit one unasked.
const EIGHT: &str = "
- name: eight
  level: application
  key: [application]
  max_wait: 1s
  limits: [{ requests: 8, window: 365d }]
";

#[tokio::test]
async fn an_uncertain_request_waits_for_its_manager() {
    let manager = FakeManager::of_fleet(8, "tm-1", EIGHT).await;
    let agent = FakeManager::agent(&[&manager]).await;
    assert!(!agent.check(&shop()).allowed(), "nothing is granted yet, and this one does not wait");
    let patient = Request::new().application("patient");
    let began = Instant::now();
    assert!(agent.check_wait(&patient, 1).await.allowed());
    assert!(began.elapsed() < Duration::from_millis(500), "woken, not timed out");
    assert!(!agent.check_wait(&patient, 9).await.allowed(), "more than the limit never comes");
}

#[tokio::test]
async fn waiting_ends() {
    let manager = FakeManager::of_fleet(8, "tm-1", EIGHT).await;
    let agent = FakeManager::agent(&[&manager]).await;
    drop(manager);
    let began = Instant::now();
    assert!(!agent.check_wait(&shop(), 1).await.allowed());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn too_many_waiters_do_not_wait() {
    let manager = FakeManager::of_fleet(8, "tm-1", EIGHT).await;
    let agent = FakeManager::agent(&[&manager]).await;
    let _all = agent.inner.waiters.try_acquire_many(MAX_WAITERS as u32).unwrap();
    let request = shop();
    let mut check = std::pin::pin!(agent.check_wait(&request, 1));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(check.as_mut().poll(&mut context).is_ready());
}

#[tokio::test]
async fn an_agent_that_is_shut_down_says_goodbye_and_brings_its_usage() {
    let manager = FakeManager::start("tm-1", THREE).await;
    let agent = FakeManager::agent(&[&manager]).await;
    assert!(agent.check_n(&shop(), 3).allowed());
    let began = Instant::now();
    agent.shutdown().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(manager.told(crate::fake_manager::Told::used), 3);
    assert!(manager.told(|told| told.credit.iter().any(|frame| frame.leaving)));
    // Late callers are answered all the same.
    agent.shutdown().await;
    assert!(!agent.check(&shop()).allowed());
}

#[tokio::test]
async fn dropping_the_last_handle_says_goodbye() {
    let manager = FakeManager::start("tm-1", THREE).await;
    let agent = FakeManager::agent(&[&manager]).await;
    let clone = agent.clone();
    drop(agent);
    assert!(clone.check(&shop()).allowed());
    drop(clone);
    manager.until_told(|told| told.credit.iter().any(|frame| frame.leaving)).await;
}

#[tokio::test]
async fn an_agent_without_managers_is_not_ready_but_answers() {
    let agent = Agent::connect(Config::new("gw", ["http://127.0.0.1:1"]).unwrap()).unwrap();
    assert!(!agent.ready());
    assert!(!agent.wait_ready(Duration::from_millis(50)).await);
    assert!(agent.check_wait(&shop(), 1).await.allowed(), "no policies, no limits");
    until("it knows that it is alone", || agent.status().isolated).await;
}

#[tokio::test]
async fn an_agent_whose_driver_fails_is_not_ready_but_answers() {
    let manager = FakeManager::start("tm-1", THREE).await;
    let config = Config::new("gw", [manager.url()]).unwrap();
    let fault = Arc::new(Notify::new());
    let strike = fault.clone();
    let agent = Agent::start(config, |driver| async move {
        tokio::select! {
            () = driver.run() => {}
            () = strike.notified() => panic!("a fault"),
        }
    });
    let agent = agent.unwrap();
    assert!(agent.wait_ready(PATIENCE).await && agent.status().managers[0].decisions_up);
    fault.notify_one();
    until("it has ended", || agent.ended()).await;
    assert!(!agent.ready() && !agent.wait_ready(PATIENCE).await);
    let status = agent.status();
    assert!(!status.ready && !status.managers[0].decisions_up);
    assert!(agent.check(&shop()).allowed(), "from memory");
}
