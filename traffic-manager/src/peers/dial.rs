//! The links that this manager dials: one task for each peer, for as long as the manager runs.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::http::Uri;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Request, Status};
use weir_proto::{
    convert::MAX_FRAME_BYTES, peer::PeerFrame, wire::weir::v1::peers_client::PeersClient,
};

use super::{LinkId, Me, follow, open};
use crate::{auth::Speaker, clock::Clock, stop::Stop};

/// How long a peer may take to answer the call with its headers: a stopped process still accepts connections.
const ANSWER: Duration = Duration::from_secs(1);
/// A manager that starts does not wait for a peer that has not answered for so long.
const GIVE_UP: Duration = Duration::from_secs(1);
/// The pause between attempts doubles up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Numbers for all links of a manager.
#[derive(Debug, Clone, Default)]
pub(crate) struct LinkNumbers(Arc<AtomicU64>);

impl LinkNumbers {
    pub(super) fn next(&self) -> LinkId {
        LinkId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Keeps a link to the peer at `address` open until the shutdown.
pub(crate) async fn keep(
    address: String,
    me: Me,
    numbers: LinkNumbers,
    mut clock: Clock,
    mut shutdown: Stop,
) {
    let mut pause = PAUSES.0;
    let mut said = String::new();
    let mut failing_since = Instant::now();
    loop {
        let mut linked = false;
        let ended = tokio::select! {
            () = shutdown.requested() => return,
            ended = attempt(&address, &me, &numbers, &mut linked) => ended,
        };
        if linked {
            // It worked for a while: begin anew at once, and say so if that fails.
            (pause, said, failing_since) = (PAUSES.0, String::new(), Instant::now());
        }
        match ended {
            Ok(()) => {}
            Err(status) => {
                let why = describe(&status);
                let absent = failing_since.elapsed() > GIVE_UP;
                me.directory.failed(&address, why.clone(), absent, clock.now());
                if why != said {
                    tracing::warn!(peer = address, "no link to a peer: {why}; trying on");
                    said = why;
                }
                if matches!(status.code(), Code::AlreadyExists | Code::PermissionDenied) {
                    pause = PAUSES.1;
                }
            }
        }
        tokio::select! {
            () = shutdown.requested() => return,
            () = sleep(pause) => pause = (pause * 2).min(PAUSES.1),
        }
    }
}

/// One link, from dialling to its end.
async fn attempt(
    address: &str,
    me: &Me,
    numbers: &LinkNumbers,
    linked: &mut bool,
) -> Result<(), Status> {
    let url = address.parse::<Uri>().map_err(|e| Status::invalid_argument(e.to_string()))?;
    let (channel, certificate) = me.access.connect(&url).await.map_err(Status::unavailable)?;
    let speaker = Speaker::dialled(&me.guard, me.guard.recognise(certificate));
    let mut client = PeersClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES);
    let (link, queue, dropped) = open(numbers.next());
    let hello = PeerFrame::Hello(me.greeting.clone()).into();
    let frames = tokio_stream::once(hello).chain(ReceiverStream::new(queue));
    let mut call = Request::new(frames);
    me.access.authorize(&mut call).await.map_err(Status::unauthenticated)?;
    let silent = |_| Status::deadline_exceeded("it did not answer in time");
    let answer = timeout(ANSWER, client.link(call)).await.map_err(silent)??;
    me.directory.answered(address);
    *linked = true;
    follow(me, Some(address.to_owned()), &speaker, link, answer.into_inner(), dropped).await
}

/// The innermost reason: the outer ones only say that something failed.
fn describe(status: &Status) -> String {
    let mut cause: Option<&dyn Error> = status.source();
    while let Some(inner) = cause.and_then(Error::source) {
        cause = Some(inner);
    }
    match cause {
        Some(cause) => cause.to_string(),
        None => status.message().to_owned(),
    }
}
