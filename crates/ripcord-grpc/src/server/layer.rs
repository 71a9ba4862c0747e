//! [`GrpcServerLayer`]: gives each call that is served a context of its own.
//!
//! # Read next
//! `future.rs` (the handler until its answer's head), `body.rs` (the answer's body), `upload.rs`
//! (the request's body), `answer.rs` (what is said of a context that is done).

use crate::server::answer::Answers;
use crate::server::future::ServerFuture;
use crate::server::upload::ServerRequestBody;
use http::header::CONTENT_TYPE;
use http::{Extensions, HeaderMap, Request, Response};
use ripcord_core::Ctx;
use ripcord_propagation::{Call, CallObserver, Exchange, Peer, Propagation, Protocol, Side};
use ripcord_wire::timeout::TimeoutHeader;
use std::fmt;
use std::net::SocketAddr;
use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_layer::Layer;
use tower_service::Service;

/// Gives each call that is served a context, and ends the call with it.
///
/// For `tonic::transport::Server::builder().layer(..)`. The context of a call is a child of the
/// server's, is named by the path, and carries the deadline of `grpc-timeout` and what else the
/// [`Propagation`] reads. Handlers get it with [`RequestCtx::ctx`](crate::RequestCtx::ctx), and it
/// is the current one in every poll of the handler and of the stream that it returns.
///
/// * **Deadline, shutdown, any cancel**: the handler is dropped, or the stream is cut, and the
///   client gets the status for the cause, `DEADLINE_EXCEEDED` or `UNAVAILABLE` for example, with the
///   cause's kind and the context's name in its trailers.
/// * **Client gone** (a reset stream, a closed connection): the handler is dropped, and its
///   context is done with [`Kind::PeerGone`](ripcord_core::Kind::PeerGone), which ends what it
///   spawned too.
/// * **The call is over**: the context is done with `Kind::Dropped`.
/// * **Every answer** has the request id in its metadata, for whoever reports a problem.
///
/// # Examples
/// ```no_run
/// use ripcord_core::{Ctx, Kind};
/// use ripcord_grpc::GrpcServerLayer;
/// use ripcord_propagation::Propagation;
/// # async fn example(routes: tonic::service::Routes) -> Result<(), Box<dyn std::error::Error>> {
/// let (server, shut_down) = ripcord_tokio::root().name("orders").build();
/// tonic::transport::Server::builder()
///     .layer(GrpcServerLayer::new(&server, Propagation::default()))
///     .add_routes(routes)
///     // tonic stops to accept as soon as the context drains, and lets calls finish.
///     .serve_with_shutdown("[::1]:50051".parse()?, async move { server.draining().await })
///     .await?;
/// # drop(shut_down);
/// # Ok(()) }
/// ```
///
/// # Other layers
/// Those that are added to the builder before this one are around it: what they do is not under the
/// context. Those after it are within, and take `http::Request<ServerRequestBody<_>>`; layers that
/// are generic over the body do so unchanged. A layer that sheds load or limits concurrency belongs
/// within, so that time in its queue counts against the deadline.
///
/// # Cancel safety
/// A handler is dropped at whatever await it stands. Work that must not be torn there, such as a
/// commit, runs in a task of its own under a [shield](Ctx::shield).
///
/// # Costs
/// For each call what [`Exchange::begin`] costs, and one waiter as long as the handler or the
/// stream is pending. Each poll of a stream reads the clock once if there is a deadline.
///
/// # Limitations
/// See the [crate](crate#limitations).
#[derive(Clone)]
pub struct GrpcServerLayer {
    parent: Ctx,
    propagation: Propagation,
    observer: Option<Arc<dyn CallObserver>>,
    answers: Answers,
    peer_address: Option<PeerAddress>,
    /// Where the layer was made: what causes of its calls' deadlines name.
    site: &'static Location<'static>,
}

/// Finds the address of the peer among what the server put into a request.
type PeerAddress = fn(&Extensions) -> Option<SocketAddr>;

impl GrpcServerLayer {
    /// Makes contexts below `server`, from what `propagation` reads.
    ///
    /// When `server` is done, calls that go on end, and calls that arrive are refused with the status
    /// for its cause, without their handlers being run. Its clock is the one by which deadlines are
    /// kept: take a root of the runtime that serves, as `ripcord_tokio::root()`.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_grpc::GrpcServerLayer;
    /// use ripcord_propagation::Propagation;
    ///
    /// // A server that strangers can reach: their baggage, values and ids are not taken over, and
    /// // they do not learn the names of limits.
    /// let (server, _shut_down) = Ctx::root().name("edge").build();
    /// let propagation = Propagation::builder().edge().build()?;
    /// let layer = GrpcServerLayer::new(&server, propagation).tell_causes(false);
    /// # let _ = layer;
    /// # Ok::<_, ripcord_propagation::PolicyError>(())
    /// ```
    #[track_caller]
    pub fn new(server: &Ctx, propagation: Propagation) -> Self {
        Self {
            parent: server.clone(),
            answers: Answers::new(&propagation),
            propagation,
            observer: None,
            peer_address: None,
            site: Location::caller(),
        }
    }

    /// Tells this observer of each call: of its start with the head of the request, and exactly once
    /// of its end, also where the client leaves and everything is dropped.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn CallObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Whether an answer to a cancelled call tells the kind of its cause and the name of the
    /// context that ended; on by default.
    ///
    /// Names are chosen by the programmer, as `query` or `/shop.Orders/Get`, and help a caller to
    /// say which of several limits it ran into. A server whose callers are strangers turns it off.
    #[must_use]
    pub fn tell_causes(mut self, yes: bool) -> Self {
        self.answers.tells_causes = yes;
        self
    }

    /// Takes the address of the peer from where the server has put it, for whoever asks
    /// [`Carried::peer`](ripcord_propagation::Carried::peer): an access log, an audit.
    ///
    /// # Examples
    /// tonic's own server puts it there as `TcpConnectInfo`:
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_grpc::GrpcServerLayer;
    /// use ripcord_propagation::Propagation;
    /// use tonic::transport::server::TcpConnectInfo;
    ///
    /// let layer = GrpcServerLayer::new(&Ctx::background(), Propagation::default())
    ///     .peer_address(|extensions| extensions.get::<TcpConnectInfo>()?.remote_addr());
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn peer_address(mut self, find: fn(&Extensions) -> Option<SocketAddr>) -> Self {
        self.peer_address = Some(find);
        self
    }

    fn begin<B>(&self, request: &Request<B>) -> Exchange {
        let arrived = self.parent.clock_now();
        let mut incoming = self.propagation.extract(request.headers());
        incoming.budget = least(incoming.budget, tonic_timeout(request.headers()));
        let find = self.peer_address;
        if let Some(address) = find.and_then(|find| find(request.extensions())) {
            incoming = incoming.from_peer(Peer::at(address));
        }
        let call = Call::of_request(Side::Server, Protocol::Grpc, request);
        let call = call
            .with_route(Some(request.uri().path()))
            .with_site(self.site);
        Exchange::begin(
            &self.parent,
            incoming,
            call,
            arrived,
            self.observer.as_ref(),
        )
    }
}

impl fmt::Debug for GrpcServerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcServerLayer")
            .field("parent", &self.parent)
            .field("propagation", &self.propagation)
            .field("has_observer", &self.observer.is_some())
            .field("answers", &self.answers)
            .field("has_peer_address", &self.peer_address.is_some())
            .field("site", &self.site)
            .finish()
    }
}

impl<S> Layer<S> for GrpcServerLayer {
    type Service = GrpcServer<S>;

    fn layer(&self, inner: S) -> GrpcServer<S> {
        GrpcServer {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service whose calls have contexts; made by [`GrpcServerLayer`].
///
/// What is no gRPC call, by its content type, goes through as if this layer were not there.
#[derive(Clone, Debug)]
pub struct GrpcServer<S> {
    inner: S,
    layer: GrpcServerLayer,
}

impl<S, B, R> Service<Request<B>> for GrpcServer<S>
where
    S: Service<Request<ServerRequestBody<B>>, Response = Response<R>>,
    S::Error: fmt::Display,
    R: http_body::Body,
    R::Error: fmt::Display,
{
    type Response = Response<crate::ServerResponseBody<R>>;
    type Error = S::Error;
    type Future = ServerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !is_grpc(request.headers()) {
            return ServerFuture::plain(self.inner.call(request.map(ServerRequestBody::plain)));
        }
        let exchange = self.layer.begin(&request);
        let answers = self.layer.answers.clone();
        let ctx = exchange.ctx().clone();
        if let Some(cause) = ctx.cause() {
            return ServerFuture::refused(exchange, cause, answers);
        }
        let mut request = request.map(|body| ServerRequestBody::served(body, &exchange));
        request.extensions_mut().insert(ctx.clone());
        // What a service does before it returns its future is a part of the call.
        let handler = ctx.enter_sync(|| self.inner.call(request));
        ServerFuture::served(exchange, handler, answers)
    }
}

/// The time after which tonic's own server ends the handler, with `CANCELLED`.
///
/// Its timer starts after this layer, as it is wrapped around all layers: an earlier or equal
/// deadline of ours comes first, and is reported as what it is. A policy that would give the caller
/// more cannot.
fn tonic_timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(TimeoutHeader::GRPC.name())?;
    TimeoutHeader::GRPC.parse(value.as_bytes()).ok()
}

fn least(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    a.into_iter().chain(b).min()
}

/// Whether a request is a gRPC call over HTTP/2: those of gRPC-Web frame their trailers in the
/// body, and a plain request would not understand the answer.
fn is_grpc(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    let Some((start, rest)) = value.as_bytes().split_at_checked(GRPC.len()) else {
        return false;
    };
    start.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_grpc_is_grpc() {
        for (value, expect) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
            ("application/grp", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_grpc(&headers), expect, "{value:?}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
