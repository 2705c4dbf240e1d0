//! A client that never falls silent.

use std::{io, pin::Pin, task::ready};

use tokio::{
    io::ReadBuf,
    sync::{Notify, watch},
    task::coop::poll_proceed,
};

use super::*;
use crate::{
    Agent, Config,
    fake_manager::PATIENCE,
    sidecar::{gate::Gate, rls::routes},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Of stream 1, which nobody need answer.
const PRIORITY: &[u8] = &[0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];

/// A socket that always has more to read, as long as the turn's budget lasts.
struct Talker {
    said: Vec<u8>,
}

impl AsyncRead for Talker {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(poll_proceed(cx)).made_progress();
        if self.said.is_empty() {
            self.said.extend_from_slice(PRIORITY);
        }
        let length = self.said.len().min(buf.remaining());
        buf.put_slice(&self.said.drain(..length).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Talker {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_client_that_never_falls_silent_does_not_hide_the_order_to_stop() {
    let agent = Agent::connect(Config::new("gw", ["http://127.0.0.1:1"]).unwrap()).unwrap();
    let service = Arc::new(RateLimits::new(Gate::new(agent), routes().await.unwrap()));
    let (_order, mut ordered) = watch::channel(true);
    let heard = Notify::new();
    let stop = async {
        ordered.wait_for(|stop| *stop).await.unwrap();
        heard.notify_one();
    };
    let talker = Talker { said: [PREFACE, SETTINGS].concat() };
    tokio::select! {
        () = serve(service, talker, stop) => panic!("the client has not ended"),
        stopping = timeout(PATIENCE, heard.notified()) => stopping.expect("the order is heard"),
    }
}
