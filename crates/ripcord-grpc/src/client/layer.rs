//! [`GrpcClientLayer`]: puts each call that is made under a context.
//!
//! # Read next
//! `call.rs` (what belongs to one call), `future.rs` (until the head of the answer), `body.rs` (the
//! answer's body), `upload.rs` (the request's body).

use crate::client::body::ClientResponseBody;
use crate::client::call::Call;
use crate::client::future::ClientFuture;
use crate::client::upload::Upload;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use ripcord_core::Ctx;
use ripcord_propagation::{CallObserver, PeerPolicy, Propagation};
use ripcord_wire::timeout::TimeoutHeader;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::Status;
use tower_layer::Layer;
use tower_service::Service;

/// Puts each call under a context: what it carries goes out, and its end ends the call.
///
/// For a `tonic::transport::Channel`, or what is built around one. The context of a call is the
/// one that [`RequestCtx::with_ctx`](crate::RequestCtx::with_ctx) put into the request, else the
/// [current](Ctx::current) one, which in a handler behind a
/// [`GrpcServerLayer`](crate::GrpcServerLayer) is the handler's own.
///
/// * **What goes out**: what is left of the deadline, the trace, baggage, request id and signed
///   values, as the [`PeerPolicy`] allows. All such headers that the application put into the
///   metadata, as by forwarding what it received, are taken out first: they are stale.
/// * **Nothing left**: the call fails with `DEADLINE_EXCEEDED`, and nothing is sent.
/// * **The context ends** during the call, its streams included: the stream is reset, which tells
///   the server, and the caller gets `DEADLINE_EXCEEDED` for a deadline, else `CANCELLED`, with the
///   [`Cancelled`](ripcord_core::Cancelled) as the source of the status.
/// * **`Request::set_timeout`** bounds the call as well; the smaller of the two counts.
/// * **A peer that answers `CANCELLED`** after its deadline, as tonic's own server does, gets its
///   status mended to `DEADLINE_EXCEEDED`.
///
/// # Examples
/// ```
/// use ripcord_core::Ctx;
/// use ripcord_grpc::{GrpcClientLayer, RequestCtx as _};
/// use ripcord_propagation::{PeerPolicy, Propagation};
/// use std::time::Duration;
/// use tonic::Request;
/// use tonic::transport::Channel;
/// use tower_layer::Layer as _;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
///
/// let channel = Channel::from_static("http://orders.internal:50051").connect_lazy();
/// let channel = GrpcClientLayer::new(Propagation::default(), PeerPolicy::internal()).layer(channel);
/// // let mut orders = OrdersClient::new(channel);
///
/// let ctx = Ctx::background().with_timeout(Duration::from_millis(300));
/// let request = Request::new(7).with_ctx(&ctx);
/// // let order = orders.get(request).await?;
/// # drop((channel, request));
/// # }
/// ```
///
/// In front of a fake, to test code that calls without a server:
/// ```
/// use ripcord_core::Ctx;
/// use ripcord_grpc::GrpcClientLayer;
/// use ripcord_propagation::{PeerPolicy, Propagation};
/// use std::time::Duration;
/// use tonic::body::Body;
/// use tower_layer::Layer as _;
/// use tower_service::Service;
///
/// /// Never answers.
/// #[derive(Clone)]
/// struct Silent;
/// impl Service<http::Request<Body>> for Silent {
///     type Response = http::Response<Body>;
///     type Error = std::convert::Infallible;
///     type Future = std::future::Pending<Result<Self::Response, Self::Error>>;
///     # fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
///     #     std::task::Poll::Ready(Ok(()))
///     # }
///     fn call(&mut self, request: http::Request<Body>) -> Self::Future {
///         assert!(request.headers().contains_key("grpc-timeout"));
///         std::future::pending()
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mut service = GrpcClientLayer::new(Propagation::default(), PeerPolicy::internal()).layer(Silent);
/// let ctx = Ctx::background().with_timeout(Duration::from_millis(10));
/// let mut request = http::Request::new(Body::empty());
/// request.extensions_mut().insert(ctx);
/// let status = service.call(request).await.unwrap_err();
/// assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
/// # }
/// ```
///
/// # Errors
/// Calls fail with a [`Status`], whatever the error of the service below is: that error is among its
/// sources. A failure is changed in two cases only: one that says `CANCELLED` after the deadline,
/// and a time-out of tonic's own, become `DEADLINE_EXCEEDED`.
///
/// # Cancel safety
/// A call that is dropped at any point resets its stream, and ends its context. Whether the callee
/// has done its work by then is not known: that is so for every call that has no answer.
///
/// # Costs
/// A child context and a box for the request's body for each call, besides what
/// [`Propagation::inject`] costs. No task, and no timer of its own: a deadline is waited for by the
/// context, once for all that wait for it.
///
/// # Limitations
/// It is always ready, and waits for the service below it within the call, so that a wait for a
/// connection or a permit ends with the context, too. Layers that shed load by readiness belong
/// below it. See also the [crate](crate#limitations).
#[derive(Clone)]
pub struct GrpcClientLayer {
    pub(crate) propagation: Propagation,
    pub(crate) peer: PeerPolicy,
    pub(crate) observer: Option<Arc<dyn CallObserver>>,
}

impl GrpcClientLayer {
    /// Tells peers what `peer` allows, in the headers of `propagation`. Where the deadline goes out,
    /// it does so as `grpc-timeout`.
    ///
    /// One for each kind of peer: a service of one's own may know what a third party may not.
    ///
    /// # Examples
    /// ```
    /// use ripcord_grpc::GrpcClientLayer;
    /// use ripcord_propagation::{PeerPolicy, Propagation};
    ///
    /// let propagation = Propagation::default();
    /// let to_ours = GrpcClientLayer::new(propagation.clone(), PeerPolicy::internal());
    /// let to_others = GrpcClientLayer::new(propagation, PeerPolicy::external());
    /// # let _ = (to_ours, to_others);
    /// ```
    pub fn new(propagation: Propagation, peer: PeerPolicy) -> Self {
        Self {
            propagation,
            peer: peer.for_grpc(),
            observer: None,
        }
    }

    /// Tells this observer of each call, from the moment at which it is asked for.
    ///
    /// Also of one that is never sent because nothing is left of its deadline: its HTTP status is
    /// missing. Time in a queue of the layers below counts as a part of the call.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn CallObserver>) -> Self {
        self.observer = Some(observer);
        self
    }
}

impl fmt::Debug for GrpcClientLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcClientLayer")
            .field("propagation", &self.propagation)
            .field("peer", &self.peer)
            .field("has_observer", &self.observer.is_some())
            .finish()
    }
}

impl<S> Layer<S> for GrpcClientLayer {
    type Service = GrpcClient<S>;

    fn layer(&self, inner: S) -> GrpcClient<S> {
        GrpcClient {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service that makes its calls under contexts; made by [`GrpcClientLayer`].
///
/// What a generated client is made of: `OrdersClient<GrpcClient<Channel>>` is the type to put into a
/// struct. A clone shares what the service below shares.
#[derive(Clone, Debug)]
pub struct GrpcClient<S> {
    inner: S,
    layer: GrpcClientLayer,
}

impl<S, B, R> Service<Request<B>> for GrpcClient<S>
where
    S: Service<Request<tonic::body::Body>, Response = Response<R>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    R: Body,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ClientResponseBody<R>>;
    type Error = Status;
    type Future = ClientFuture<S>;

    /// Always ready: the service below is waited for within the call, under its context.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let above = request
            .extensions_mut()
            .remove::<Ctx>()
            .unwrap_or_else(Ctx::current);
        let timeout = timeout_in(request.headers());
        let call = Call::new(&self.layer, &above, timeout, &request);
        let request = request.map(|body| tonic::body::Body::new(Upload::new(body, call.ctx())));
        ClientFuture::new(self.inner.clone(), request, call, self.layer.clone())
    }
}

/// The time-out that the application asked for with `Request::set_timeout`; the least of several.
///
/// A copy of a caller's header, forwarded with the rest of the metadata, cannot be told from it.
/// It does no harm: it says what was left when the request arrived, which is more than is left now,
/// and the smaller one counts.
fn timeout_in(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all(TimeoutHeader::GRPC.name())
        .iter()
        .filter_map(|value| TimeoutHeader::GRPC.parse(value.as_bytes()).ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_that_is_none_is_ignored() {
        let mut headers = HeaderMap::new();
        assert_eq!(timeout_in(&headers), None);
        for value in ["soon", "5", "1H2M"] {
            headers.append("grpc-timeout", value.parse().unwrap());
        }
        assert_eq!(timeout_in(&headers), None);
        for value in ["5S", "200m", "1H"] {
            headers.append("grpc-timeout", value.parse().unwrap());
        }
        assert_eq!(timeout_in(&headers), Some(Duration::from_millis(200)));
    }
}
