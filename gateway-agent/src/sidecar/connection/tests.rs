//! Clients that connect and do not ask.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use super::*;
use crate::{
    Agent, Config,
    fake_manager::PATIENCE,
    sidecar::{gate::Gate, http},
};

/// A client that has said so much, served by a server that waits so long.
async fn serve(said: &str, head_timeout: Duration) -> (TcpStream, impl Future<Output = ()>) {
    let router = |agent| http::router(Gate::new(agent));
    serve_router(router, said, head_timeout).await
}

async fn serve_router(
    router: impl FnOnce(Agent) -> Router,
    said: &str,
    patience: Duration,
) -> (TcpStream, impl Future<Output = ()>) {
    let agent = Agent::connect(Config::new("gw", ["http://127.0.0.1:1"]).unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(connect, listener.accept());
    let mut client = client.unwrap();
    client.write_all(said.as_bytes()).await.unwrap();
    let stream = Patient::new(accepted.unwrap().0, patience);
    (client, serve_http(router(agent), patience, stream, pending()))
}

#[tokio::test]
async fn a_client_that_does_not_ask_is_not_kept() {
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for said in ["", "P", "GET / HTTP/1.1\r\n", &preface[..9], preface] {
        let (mut client, server) = serve(said, Duration::from_millis(50)).await;
        let served = timeout(PATIENCE, server).await;
        assert!(served.is_ok(), "a client is kept that said {said:?}");
        // Closed or reset: in either case nobody is left.
        let _ = client.read_to_end(&mut Vec::new()).await;
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_not_kept() {
    // More than the system keeps for a connection.
    const ANSWER: usize = 64 << 20;
    let router = |_| Router::new().route("/", axum::routing::get(|| async { vec![b'x'; ANSWER] }));
    let ask = "GET / HTTP/1.1\r\nhost: weir\r\n\r\n".repeat(9);
    let (client, server) = serve_router(router, &ask, Duration::from_millis(50)).await;
    timeout(PATIENCE, server).await.expect("a client is kept that reads nothing");
    drop(client);
}

#[tokio::test]
async fn a_client_that_asks_is_answered() {
    let ask = "GET /healthz HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n";
    let (mut client, server) = serve(ask, PATIENCE).await;
    let mut answer = String::new();
    let (read, ()) = tokio::join!(client.read_to_string(&mut answer), server);
    read.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
