//! Who may hold a place at a port, and for how long.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const SHORT: Duration = Duration::from_millis(50);
/// For what happens at once.
const PATIENCE: Duration = Duration::from_secs(10);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A client that has said so much, and what a port for HTTP/2 alone makes of it.
async fn meet(said: &[u8]) -> (TcpStream, Connection) {
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(anywhere, "listen.grpc", metrics::Counter::noop()).await.unwrap();
    let mut listener = listener.impatient(SHORT).http2_only();
    let mut client = TcpStream::connect(listener.address().unwrap()).await.unwrap();
    client.write_all(said).await.unwrap();
    (client, listener.accept().await)
}

#[tokio::test]
async fn a_client_that_does_not_begin_is_given_up() {
    for said in [&PREFACE[..0], &PREFACE[..1], &PREFACE[..23]] {
        let (client, mut connection) = meet(said).await;
        let mut heard = Vec::new();
        let read = connection.read_to_end(&mut heard);
        let error = timeout(PATIENCE, read).await.expect("an end").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{} bytes: {error}", said.len());
        drop(client);
    }
}

#[tokio::test]
async fn a_client_that_has_begun_may_be_silent() {
    let (mut client, mut connection) = meet(PREFACE).await;
    connection.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
    assert!(timeout(3 * SHORT, connection.read_u8()).await.is_err(), "nothing comes");
    client.write_u8(7).await.unwrap();
    assert_eq!(connection.read_u8().await.unwrap(), 7);
}
