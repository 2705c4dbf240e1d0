//! A limit in front of a [tower] service: refused requests are answered here, with 429 (or 403 for a
//! deny policy, 503 for one that is closed while no manager is reachable) and the headers that say
//! why. What a request holds of limits of concurrency is free again when its response has been sent, or is
//! given up.
//!
//! ```no_run
//! use gateway_agent::{Agent, Request, layer::LimitLayer};
//!
//! # fn with(agent: Agent) {
//! let limit = LimitLayer::new(agent, |parts: &http::request::Parts| {
//!     Request::new().method(parts.method.as_str()).path(parts.uri.path())
//! });
//! # let _ = limit;
//! # }
//! ```
//!
//! [tower]: https://docs.rs/tower

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderValue, StatusCode, request::Parts};
use http_body::{Body, Frame, SizeHint};
use tower_layer::Layer;
use tower_service::Service;
use weir_proto::request::Request;

use crate::{Agent, HeaderStyle, LeaseId, Outcome, RateLimitHeaders, Reason, Verdict};

/// Puts a [`Limit`] in front of a service.
#[derive(Debug, Clone)]
pub struct LimitLayer<F> {
    agent: Agent,
    describe: F,
}

impl<F> LimitLayer<F>
where
    F: for<'a> Fn(&'a Parts) -> Request<'a>,
{
    /// Checks with `agent` what `describe` says of each request. An attribute that breaks a bound is
    /// absent: [`Request::check`] tells.
    pub fn new(agent: Agent, describe: F) -> Self {
        Self { agent, describe }
    }
}

impl<S, F: Clone> Layer<S> for LimitLayer<F> {
    type Service = Limit<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Limit { inner, agent: self.agent.clone(), describe: self.describe.clone() }
    }
}

/// A service behind a limit. See [`LimitLayer`].
#[derive(Debug, Clone)]
pub struct Limit<S, F> {
    inner: S,
    agent: Agent,
    describe: F,
}

impl<S, F, B, R> Service<http::Request<B>> for Limit<S, F>
where
    S: Service<http::Request<B>, Response = http::Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    F: for<'a> Fn(&'a Parts) -> Request<'a> + Clone + Send + Sync + 'static,
    B: Send + 'static,
    R: Default,
{
    type Response = http::Response<Held<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        // The clone may not be ready; the original, which is, serves this call.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let (agent, describe) = (self.agent.clone(), self.describe.clone());
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let verdict = agent.check_wait(&describe(&parts), 1).await;
            if !verdict.allowed() {
                let refusal = refusal(&verdict).map(|body| Held { body, lease: None });
                return Ok(with_headers(refusal, &verdict));
            }
            // Given back, too, if the service fails or the caller does not wait.
            let lease = verdict.lease.map(|id| Lease { agent, id });
            let response = inner.call(http::Request::from_parts(parts, body)).await?;
            Ok(with_headers(response.map(|body| Held { body, lease }), &verdict))
        })
    }
}

/// A response's body. When it has ended, or is dropped, what its request held is free again.
#[derive(Debug)]
pub struct Held<R> {
    body: R,
    lease: Option<Lease>,
}

impl<R> Held<R> {
    /// The service's own body, without waiting for its end.
    pub fn into_inner(self) -> R {
        self.body
    }
}

/// Gives back what a request holds.
#[derive(Debug)]
struct Lease {
    agent: Agent,
    id: LeaseId,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.agent.release(self.id);
    }
}

impl<R: Body + Unpin> Body for Held<R> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream() {
            self.lease = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn refusal<R: Default>(verdict: &Verdict) -> http::Response<R> {
    let mut response = http::Response::new(R::default());
    *response.status_mut() = match verdict.outcome {
        Outcome::Refused(Reason::Denied) => StatusCode::FORBIDDEN,
        Outcome::Refused(Reason::Disconnected) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::TOO_MANY_REQUESTS,
    };
    response
}

fn with_headers<R>(mut response: http::Response<R>, verdict: &Verdict) -> http::Response<R> {
    for (name, value) in RateLimitHeaders::of(verdict).iter(HeaderStyle::default()) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

#[cfg(all(test, feature = "sidecar"))]
mod tests {
    use http_body_util::BodyExt as _;
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;
    use crate::fake_manager::FakeManager;

    const ONE: &str = "
- { name: one, level: api, key: [path], limits: [{ requests: 1, window: 365d }] }
- { name: busy, level: api, match: 'request.method == ''PUT''', limits: [{ concurrency: 1, lease: 1h }] }
";

    #[tokio::test]
    async fn a_service_is_asked_only_for_what_is_allowed() {
        let manager = FakeManager::start("tm-1", ONE).await;
        let agent = FakeManager::agent(&[&manager]).await;
        let layer = LimitLayer::new(agent, |parts: &Parts| Request::new().path(parts.uri.path()));
        let service = ServiceBuilder::new().layer(layer).service(service_fn(
            async |request: http::Request<()>| {
                Ok::<_, std::convert::Infallible>(http::Response::new(request.uri().to_string()))
            },
        ));
        let call = async |path: &'static str| {
            let request = http::Request::get(path).body(()).unwrap();
            service.clone().oneshot(request).await.unwrap()
        };
        let allowed = call("/a").await;
        assert_eq!((allowed.status(), &*allowed.body().body), (StatusCode::OK, "/a"));
        assert!(allowed.headers().contains_key("ratelimit"));
        let refused = call("/a").await;
        assert_eq!((refused.status(), &*refused.body().body), (StatusCode::TOO_MANY_REQUESTS, ""));
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(call("/b").await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn what_is_in_flight_is_free_when_the_response_has_ended() {
        let manager = FakeManager::start("tm-1", ONE).await;
        let agent = FakeManager::agent(&[&manager]).await;
        let layer =
            LimitLayer::new(agent, |parts: &Parts| Request::new().method(parts.method.as_str()));
        let service = ServiceBuilder::new().layer(layer).service(service_fn(
            async |request: http::Request<()>| match request.uri().path() {
                "/fails" => Err(std::io::Error::other("it fails")),
                _ => Ok(http::Response::new("done".to_owned())),
            },
        ));
        let call = async |path: &'static str| {
            let request = http::Request::put(path).body(()).unwrap();
            service.clone().oneshot(request).await
        };
        let first = call("/a").await.unwrap();
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(
            call("/b").await.unwrap().status(),
            StatusCode::TOO_MANY_REQUESTS,
            "one at a time"
        );
        let body = first.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&*body, b"done");
        call("/fails").await.expect_err("the service fails");
        let third = call("/c").await.unwrap();
        assert_eq!(third.status(), StatusCode::OK);
        drop(third);
        assert_eq!(call("/d").await.unwrap().status(), StatusCode::OK);
    }
}
