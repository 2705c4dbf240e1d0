//! Who gets a connection, and how workers end.

use std::num::NonZeroUsize;

use tokio::{io::AsyncReadExt, net::TcpListener};

use super::*;
use crate::{
    Agent, Config,
    fake_manager::{PATIENCE, until},
    sidecar::{gate::Gate, server::start_workers},
};

async fn workers(count: usize) -> Workers {
    let agent = Agent::connect(Config::new("gw", ["http://127.0.0.1:1"]).unwrap()).unwrap();
    start_workers(NonZeroUsize::new(count).unwrap(), &Gate::new(agent)).await.unwrap()
}

/// A connection's two ends: the client's, and the one to hand on.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(connect, listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

fn open(workers: &Workers) -> Vec<usize> {
    workers.workers.iter().map(|worker| worker.open.load(Ordering::Relaxed)).collect()
}

#[tokio::test]
async fn a_connection_goes_to_the_worker_that_has_the_fewest() {
    let workers = workers(3).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let (client, server) = connection().await;
        workers.hand(Port::Http, server).await.unwrap();
        clients.push(client);
    }
    assert_eq!(open(&workers), [2, 2, 2]);
    // The second connection went to the second worker.
    drop(clients.remove(1));
    until("a closed connection is not counted", || open(&workers) == [2, 1, 2]).await;
    let (_client, server) = connection().await;
    workers.hand(Port::Grpc, server).await.unwrap();
    assert_eq!(open(&workers), [2, 2, 2]);
}

#[tokio::test]
async fn a_connection_beyond_the_ports_bound_is_closed_and_counted() {
    let agent = Agent::connect(Config::new("gw", ["http://127.0.0.1:1"]).unwrap()).unwrap();
    let gate = Gate::new(agent);
    let workers = start_workers(NonZeroUsize::MIN, &gate).await.unwrap();
    let others = u32::try_from(MAX_CONNECTIONS).unwrap() - 1;
    let _others = workers.http.permits.try_acquire_many(others).unwrap();
    let (last, server) = connection().await;
    workers.hand(Port::Http, server).await.unwrap();

    let (mut refused, server) = connection().await;
    workers.hand(Port::Http, server).await.unwrap();
    assert_eq!(refused.read(&mut [0]).await.unwrap(), 0, "it is closed");
    let metrics = gate.telemetry.render(&gate.agent);
    let line = r#"weir_agent_refused_connections_total{port="http"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    assert_eq!(open(&workers), [1]);

    let (_other_port, server) = connection().await;
    workers.hand(Port::Grpc, server).await.unwrap();
    assert_eq!(open(&workers), [2]);
    drop(last);
    until("a closed connection makes room", || open(&workers) == [1]).await;
    let (_again, server) = connection().await;
    workers.hand(Port::Http, server).await.unwrap();
    assert_eq!(open(&workers), [2]);
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let workers = workers(2).await;
    let mut clients = Vec::new();
    for port in [Port::Http, Port::Grpc] {
        let (client, server) = connection().await;
        workers.hand(port, server).await.unwrap();
        clients.push(client);
    }
    // Whether they ended or were cut makes no difference to the clients.
    let _ = workers.drain(Duration::from_millis(200)).await;
    for mut client in clients {
        let mut end = Vec::new();
        // Closed or reset: in either case nobody is left.
        let _ = timeout(PATIENCE, client.read_to_end(&mut end)).await.expect("the end");
    }
}
