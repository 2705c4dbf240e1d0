//! Peers that read nothing, little, or late.

use std::future::poll_fn;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::timeout,
};

use super::*;

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(3_600);
/// For what happens at once.
const PATIENCE: Duration = Duration::from_secs(10);
const ROOM: usize = 16;

fn pair(limit: Duration) -> (Patient<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(ROOM);
    (Patient::new(ours, limit), theirs)
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_given_up() {
    let (mut ours, theirs) = pair(SHORT);
    let written = timeout(PATIENCE, ours.write_all(&[7; 2 * ROOM])).await.expect("an end");
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    drop(theirs);
}

#[tokio::test]
async fn a_peer_that_takes_a_little_gets_its_time_anew() {
    let (mut ours, mut theirs) = pair(LONG);
    ours.write_all(&[7; ROOM]).await.unwrap();
    assert!(ours.stalled.is_none(), "all of it has gone");
    for _ in 0..3 {
        poll_fn(|cx| {
            assert!(Pin::new(&mut ours).poll_write(cx, &[7]).is_pending());
            Poll::Ready(())
        })
        .await;
        assert!(ours.stalled.is_some(), "time runs while something waits");
        theirs.read_u8().await.unwrap();
        ours.write_u8(7).await.unwrap();
        assert!(ours.stalled.is_none(), "and begins anew with each step");
    }
}

#[tokio::test]
async fn idling_is_no_offence() {
    let (mut ours, mut theirs) = pair(SHORT);
    for _ in 0..2 {
        ours.write_all(&[7; ROOM]).await.unwrap();
        // Long past the limit, with nothing to write.
        assert!(timeout(3 * SHORT, ours.read_u8()).await.is_err());
        theirs.read_exact(&mut [0; ROOM]).await.unwrap();
    }
}
