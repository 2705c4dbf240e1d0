//! The guard of the gRPC port: which service wants which role.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    body::Bytes,
    http::{Request, Response, header},
};
use futures_util::future::{Either, Ready, ready as at_once};
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{Credentials, Guard, Need, Role, Why};
use crate::{net::Caller, tls::Port};

/// Services by the beginning of their path. What is not here nobody may call: a new service must
/// say whom it serves.
const NEEDS: &[(&str, Need)] = &[
    ("/weir.v1.Usage/", Need::Role(Role::Agent)),
    ("/weir.v1.Decisions/", Need::Role(Role::Agent)),
    ("/weir.v1.Peers/", Need::Role(Role::Peer)),
    ("/grpc.reflection.", Need::Any),
    // As /healthz: whoever starts and balances managers has no credentials.
    ("/grpc.health.v1.Health/", Need::Nothing),
];

/// What a call of `path` asks for.
pub(super) fn need(path: &str) -> Need {
    let known = NEEDS.iter().find(|(start, _)| path.starts_with(start));
    known.map_or(Need::Never, |(_, need)| *need)
}

/// Puts the guard in front of every service.
#[derive(Clone)]
pub(crate) struct GuardLayer(pub(crate) Guard);

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.0.clone(), inner }
    }
}

/// Services behind the guard.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response<Body>, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
        let authorization = request.headers_mut().remove(header::AUTHORIZATION);
        let credentials = Credentials::new(authorization.as_ref(), caller.certificate);
        let need = need(request.uri().path());
        let what = || request.uri().path().chars().take(128).collect();
        let admitted = self.guard.admit(Port::Grpc, caller.address, &credentials, need, what);
        let actor = match admitted {
            Ok(actor) => actor,
            Err(why) => return Either::Left(at_once(Ok(status(why).into_http()))),
        };
        if actor.role.is_some() {
            let end = Box::pin(self.guard.clone().withdrawn(credentials, need));
            request = request.map(|inner| Body::new(Watched { inner, end }));
        }
        request.extensions_mut().insert(actor);
        Either::Right(self.inner.call(request))
    }
}

fn status(why: Why) -> Status {
    if why.is_identity() {
        Status::unauthenticated(why.advice())
    } else {
        Status::permission_denied(why.advice())
    }
}

/// What the caller sends, for as long as its credentials hold: a stream may live for months.
struct Watched {
    inner: Body,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.end.as_mut().poll(cx).is_ready() {
            let message = "the token or certificate of this stream is not valid any more";
            return Poll::Ready(Some(Err(Status::unauthenticated(message))));
        }
        Poll::Ready(ready!(Pin::new(&mut self.inner).poll_frame(cx)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
