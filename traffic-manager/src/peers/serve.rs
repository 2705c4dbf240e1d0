//! The links that peers dial.

use std::pin::Pin;

use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use weir_proto::{
    peer::PeerFrame,
    wire::weir::v1::{self as wire, peers_server::Peers},
};

use super::{Me, dial::LinkNumbers, follow, open};
use crate::auth::Speaker;

/// The `Peers` service.
pub(crate) struct PeerService {
    /// This manager.
    pub(crate) me: Me,
    /// Shared with the links that are dialled from here.
    pub(crate) numbers: LinkNumbers,
}

#[tonic::async_trait]
impl Peers for PeerService {
    type LinkStream = Pin<Box<dyn Stream<Item = Result<wire::PeerFrame, Status>> + Send>>;

    async fn link(
        &self,
        request: Request<Streaming<wire::PeerFrame>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let (link, queue, dropped) = open(self.numbers.next());
        let me = self.me.clone();
        let speaker = Speaker::of(&me.guard, &request, "peers");
        let (refusal, refused) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let ended = follow(&me, None, &speaker, link, request.into_inner(), dropped).await;
            // The queue has ended with the link; what is left is to say why.
            let _ = refusal.send(ended);
        });
        let hello = tokio_stream::once(Ok(PeerFrame::Hello(self.me.greeting.clone()).into()));
        let end = futures_util::stream::once(async move {
            match refused.await {
                Ok(Err(status)) => Some(Err(status)),
                _ => None,
            }
        });
        let frames = hello.chain(ReceiverStream::new(queue).map(Ok));
        let frames = frames.chain(end.filter_map(|last| last));
        Ok(Response::new(Box::pin(frames)))
    }
}
