//! Health and reflection, and refusals of what is not served: tonic's, on the same connections.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Request, Response};
use http_body::{Body, Frame};
use tonic::{body::Body as TonicBody, service::Routes};
use tower::ServiceExt;
use weir_proto::wire::{
    self, envoy::service::ratelimit::v3::rate_limit_service_server::SERVICE_NAME,
};

use super::RateLimits;

/// Health and reflection.
///
/// # Errors
/// The generated descriptors are broken.
pub(crate) async fn routes() -> Result<Routes, tonic_reflection::server::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status(SERVICE_NAME, tonic_health::ServingStatus::Serving).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(SERVICE_NAME)
            .with_service_name("grpc.health.v1.Health")
    };
    Ok(Routes::new(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .prepare())
}

/// Serves one call until it ends or the client cancels it.
pub(super) async fn serve(
    service: &RateLimits,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let request = request.map(|stream| TonicBody::new(Incoming { stream }));
    let Ok(response) = service.others.clone().oneshot(request).await;
    let (head, body) = response.into_parts();
    let ended = body.is_end_stream();
    let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), ended) else {
        return;
    };
    if !ended && pipe(body, &mut stream).await.is_err() {
        stream.send_reset(Reason::INTERNAL_ERROR);
    }
}

/// Sends a body as fast as the client takes it.
async fn pipe(body: TonicBody, stream: &mut SendStream<Bytes>) -> Result<(), ()> {
    let mut body = pin!(body);
    loop {
        let frame = poll_fn(|cx| {
            if stream.poll_reset(cx).is_ready() {
                return Poll::Ready(None);
            }
            body.as_mut().poll_frame(cx).map(Some)
        });
        let Some(frame) = frame.await else { return Ok(()) };
        let Some(frame) = frame else {
            return stream.send_data(Bytes::new(), true).map_err(drop);
        };
        match frame.map_err(drop)?.into_data() {
            Ok(data) => send(stream, data).await?,
            Err(frame) => {
                let trailers = frame.into_trailers().map_err(drop)?;
                return stream.send_trailers(trailers).map_err(drop);
            }
        }
    }
}

async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), ()> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await;
        let room = room.ok_or(())?.map_err(drop)?.min(data.len());
        stream.send_data(data.split_to(room), false).map_err(drop)?;
    }
    Ok(())
}

/// The body of a request.
struct Incoming {
    stream: RecvStream,
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(data) = ready!(self.stream.poll_data(cx)) {
            let data = data?;
            // Room for as much again: the service takes what it is given.
            self.stream.flow_control().release_capacity(data.len())?;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let trailers = ready!(self.stream.poll_trailers(cx));
        Poll::Ready(trailers.transpose().map(|trailers| trailers.map(Frame::trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
