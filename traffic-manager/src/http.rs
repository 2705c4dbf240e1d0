//! The HTTP port: hyper under axum, because a public port needs limits on slow clients.

use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::task::JoinSet;
use tower::Layer;

use crate::{
    net::{Connection, Listener},
    stop::Stop,
};

/// A client that has not sent its request's head by then is disconnected; an idle one as well.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest head of a request.
const MAX_HEAD: usize = 64 << 10;

/// Serves until `shutdown`, then until the requests under way are answered.
pub(crate) async fn serve(mut listener: Listener, router: Router, shutdown: Stop) {
    let mut connections = JoinSet::new();
    let mut stop = shutdown.clone();
    loop {
        tokio::select! {
            biased;
            () = stop.requested() => break,
            Some(_) = connections.join_next() => {}
            connection = listener.accept() => {
                connections.spawn(converse(connection, router.clone(), shutdown.clone()));
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn converse(connection: Connection, router: Router, mut shutdown: Stop) {
    let caller = connection.caller().clone();
    let service = TowerToHyperService::new(Extension(caller).layer(router));
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(connection), service);
    tokio::pin!(conversation);
    let result = tokio::select! {
        result = conversation.as_mut() => result,
        () = shutdown.requested() => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("an HTTP connection ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

    use super::*;
    use crate::stop::stop;

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_closed() {
        // More than the system keeps for a connection.
        const ANSWER: usize = 64 << 20;
        let anywhere = "127.0.0.1:0".parse().unwrap();
        let refused = metrics::Counter::noop();
        let listener = Listener::bind(anywhere, "listen.http", refused).await.unwrap();
        let listener = listener.impatient(Duration::from_millis(50));
        let mut client = TcpStream::connect(listener.address().unwrap()).await.unwrap();
        let (stopper, stop) = stop();
        let router = Router::new().route("/", get(|| async { vec![b'x'; ANSWER] }));
        let server = tokio::spawn(serve(listener, router, stop));
        client.write_all(&b"GET / HTTP/1.1\r\nhost: weir\r\n\r\n".repeat(9)).await.unwrap();
        client.readable().await.unwrap();
        // The server ends when its last connection has.
        stopper.stop();
        timeout(Duration::from_secs(10), server).await.expect("it is kept").unwrap();
        drop(client);
    }
}
