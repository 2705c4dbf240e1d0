//! A manager whose store does not answer.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::*;
use crate::config::{Listen, Settings, StoreSettings};

/// For what happens at once.
const PATIENCE: Duration = Duration::from_secs(10);

async fn get(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.expect("an answer").unwrap();
    answer
}

#[tokio::test]
async fn a_manager_that_starts_answers_probes_and_can_be_stopped() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = free.local_addr().unwrap();
    drop(free);
    let url = format!("postgres://weir@{}/limits", silent.local_addr().unwrap());
    let config = Config::resolve(Settings {
        id: Some("tm-1".into()),
        store: StoreSettings { url: Some(url), ..StoreSettings::default() },
        listen: Listen { grpc: Some("127.0.0.1:0".into()), http: Some(http.to_string()) },
        ..Settings::default()
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let manager = tokio::spawn(run(config.unwrap(), async { drop(stopped.await) }));
    // The database is called, and never says anything.
    let call = timeout(PATIENCE, silent.accept()).await.expect("a call").unwrap();

    assert!(get(http, "/healthz").await.starts_with("HTTP/1.1 200"), "it lives");
    let ready = get(http, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("\nstarting: "), "{ready}");
    let api = get(http, "/api/v1/policies").await;
    assert!(api.starts_with("HTTP/1.1 503") && api.contains("problem+json"), "{api}");

    stop.send(()).unwrap();
    let end = timeout(PATIENCE, manager).await.expect("it ends").unwrap();
    assert!(end.is_ok(), "{end:?}");
    drop(call);
}
