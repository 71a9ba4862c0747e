//! [`HttpLayer`]: every request gets its context.
//!
//! Here the context is made and the request tagged with it; what happens to the answer is in
//! `future.rs` (its head) and `body.rs` (the rest).
//!
//! *Costs*: for each request the context's nodes (a child, a deadline, a name, what travels), the
//! handler's future inline. No task, no lock, no timer until the handler has to wait.
//!
//! *Read next*: `future.rs`.

use crate::BoxError;
use crate::server::body::{RequestBody, ServerBody};
use crate::server::disconnect::{OnDisconnect, OnDisconnectLayer, OnDisconnectService};
use crate::server::future::HttpFuture;
use bytes::Bytes;
use http::{HeaderName, Method, Request, Response};
use http_body::Body;
use ripcord_core::Ctx;
use ripcord_propagation::{Call, CallObserver, Exchange, Peer, Propagation, Protocol, Side};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

/// Makes the context of each request: deadline, trace, request id, baggage, peer.
///
/// The handler finds it in the request's extensions (with axum: [`RequestCtx`](crate::RequestCtx)),
/// and as [`Ctx::current`]. It ends
/// * at the deadline that the caller or the policy sets: one instant for queueing, handler and body
///   of the answer together. The handler is dropped and 504 answered; an answer that is already on
///   its way is cut off, so that nobody takes it for a complete one;
/// * when the client leaves, with [`Kind::PeerGone`](ripcord_core::Kind::PeerGone); see
///   [`OnDisconnect`] for what becomes of the handler;
/// * when the server's context does: 503;
/// * when the last byte of the answer is handed over: what still works for the request is not
///   wanted any more. Work that should go on takes `ctx.detach()`.
///
/// Answers carry the request id. What is answered in place of a handler is an
/// `application/problem+json` (RFC 9457) that names the cause and the request id, and nothing of the
/// cause's text, which may speak of the inside of the service.
///
/// # Examples
/// A request whose caller waits for 20 ms, on a router that is called without a socket, as in a test:
///
/// ```
/// use axum::{Router, body::Body, routing::get};
/// use http::Request;
/// use ripcord_http::{HttpLayer, RequestCtx};
/// use ripcord_propagation::Propagation;
/// use tower::ServiceExt as _;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// async fn order(RequestCtx(ctx): RequestCtx) -> String {
///     let left = ctx.remaining(); // For whoever wants to know.
///     std::future::pending::<()>().await; // Stands for work that takes too long.
///     format!("never sent, with {left:?} left")
/// }
/// let (server, _guard) = ripcord_tokio::root().name("server").build();
/// let app = Router::new()
///     .route("/order", get(order))
///     .layer(HttpLayer::new(&server, Propagation::default()));
///
/// let request = Request::get("/order").header("x-request-timeout-ms", "20").body(Body::empty())?;
/// let answer = app.oneshot(request).await?;
/// assert_eq!(answer.status(), 504);
/// assert_eq!(answer.headers()["content-type"], "application/problem+json");
/// # Ok(()) }
/// ```
///
/// # Where it stands among other layers
/// Outermost, or nearly: what is above it is not seen by contexts, and what is below it ends with
/// them. In a [`tower::ServiceBuilder`](https://docs.rs/tower/latest/tower/struct.ServiceBuilder.html)
/// that is the top; with `Router::layer`, which wraps what was added before, it is the last call.
///
/// | layer | place | otherwise |
/// |---|---|---|
/// | `ConcurrencyLimit`, `Buffer`, rate limits | below | time in their queues does not count against the deadline |
/// | `LoadShed` | below | what it turns away has no request id, no account, no line in the log |
/// | `RequestBodyLimit` | below | the same for a 413; the limit itself works in both places |
/// | `Compression` | below | the account ends when the compressor has the last byte, and not when the server has it |
/// | `CatchPanic` | below | above, a panic counts as a client that left; without it, its client gets no answer |
/// | `Trace` | below for spans that know the context; above to see the 504 and 503 of this layer, too | |
/// | `Timeout` | nowhere: a [`DeadlinePolicy`](ripcord_propagation::DeadlinePolicy) does it | two limits, and the shorter one has no cause |
///
/// ```
/// use axum::{Router, error_handling::HandleErrorLayer, routing::post};
/// use http::{Request, StatusCode};
/// use ripcord_core::Ctx;
/// use ripcord_http::HttpLayer;
/// use ripcord_propagation::{CtxCarried as _, Propagation};
/// use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer, load_shed::LoadShedLayer};
/// use tower_http::{compression::CompressionLayer, limit::RequestBodyLimitLayer, trace::TraceLayer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (server, _guard) = ripcord_tokio::root().build();
/// let layers = ServiceBuilder::new()
///     .layer(HttpLayer::new(&server, Propagation::default()))
///     .layer(TraceLayer::new_for_http().make_span_with(|request: &Request<_>| {
///         let ctx = request.extensions().get::<Ctx>();
///         tracing::info_span!("request", id = ctx.and_then(|ctx| ctx.request_id()))
///     }))
///     .layer(CompressionLayer::new())
///     .layer(RequestBodyLimitLayer::new(1 << 20))
///     .layer(HandleErrorLayer::new(async |_| StatusCode::SERVICE_UNAVAILABLE))
///     .layer(LoadShedLayer::new())
///     .layer(ConcurrencyLimitLayer::new(64));
/// let app: Router = Router::new().route("/import", post(async |rows: String| rows)).layer(layers);
/// # drop(app);
/// # }
/// ```
///
/// # Costs
/// The nodes of the context and what travels with it; the handler's future is not boxed, and no task
/// is spawned for it unless its [`OnDisconnect`] asks for one. A check of the context walks the few
/// nodes between the request and the server.
///
/// # Limitations
/// * Time before this layer sees a request counts only where the service below was not
///   [ready](Service::poll_ready) for it; and while it waits so, no deadline ends it: it is answered
///   when its turn comes.
/// * A handler that waits for its own context is ready when the context ends, and then *its* answer
///   counts: see `Ended` for handlers of axum.
/// * A handler that blocks its thread is neither dropped nor answered for.
/// * An answer that is complete at hand, of at most 64 KiB, is sent whatever the context says.
/// * The context of an upgraded request (a WebSocket) keeps the deadline of the request that asked for
///   the upgrade. For the session take `Connection::ctx`, or `ctx.detach()`.
#[derive(Clone)]
pub struct HttpLayer {
    shared: Arc<Shared>,
    on_disconnect: OnDisconnect,
}

pub(crate) struct Shared {
    pub(crate) server: Ctx,
    pub(crate) propagation: Propagation,
    /// Where answers carry the request id.
    pub(crate) request_id: Option<HeaderName>,
    /// Where the layer was made: what causes of its requests' deadlines name.
    site: &'static Location<'static>,
    pub(crate) observer: Option<Arc<dyn CallObserver>>,
}

impl HttpLayer {
    /// Makes contexts below `server`, from headers by `propagation`.
    ///
    /// Behind a [`Server`](crate::Server) they are below the connection's context, which is below
    /// that server's, and `server` is not asked: the layer of a router that two servers share needs
    /// no choice between them. Behind any other server, and in tests, `server` is the parent; cancel
    /// it, and all requests end.
    ///
    /// `server` should be a root of `ripcord_tokio::root()` or below one: deadlines are then tokio's
    /// timers.
    ///
    /// # Costs
    /// The layer is one reference count to copy, however many routes it is put on.
    #[must_use]
    #[track_caller]
    pub fn new(server: &Ctx, propagation: Propagation) -> Self {
        Self {
            shared: Arc::new(Shared {
                server: server.clone(),
                request_id: HeaderName::try_from(propagation.request_id_header()).ok(),
                propagation,
                site: Location::caller(),
                observer: None,
            }),
            on_disconnect: OnDisconnect::default(),
        }
    }

    /// Tells `observer` of each request: for spans, metrics, an access log, an audit.
    ///
    /// It is told of the beginning and the end of *every* request, of dropped and late ones too,
    /// exactly once. A second call replaces the first; for several observers there is
    /// [`Observers`](ripcord_propagation::Observers).
    ///
    /// # Examples
    /// ```
    /// use axum::{Router, body::Body, routing::get};
    /// use http::Request;
    /// use ripcord_http::HttpLayer;
    /// use ripcord_propagation::{AccessLog, Propagation};
    /// use std::sync::{Arc, mpsc};
    /// use tower::ServiceExt as _;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (lines, written) = mpsc::channel();
    /// let log = AccessLog::new(move |line| drop(lines.send(line.to_string())));
    /// let (server, _guard) = ripcord_tokio::root().build();
    /// let app = Router::new()
    ///     .route("/wait", get(std::future::pending::<()>))
    ///     .layer(HttpLayer::new(&server, Propagation::default()).observer(Arc::new(log)));
    ///
    /// let request = Request::get("/wait").header("grpc-timeout", "5m").body(Body::empty())?;
    /// // Who only wants the status drops the body, and that ends the account.
    /// drop(app.oneshot(request).await?);
    /// let line = written.recv()?;
    /// assert!(line.contains(r#""status":504"#) && line.contains("caller_deadline"), "{line}");
    /// # Ok(()) }
    /// ```
    ///
    /// # Costs
    /// Those of the observer, on the path of the request. A panic of it is contained.
    #[must_use]
    pub fn observer(self, observer: Arc<dyn CallObserver>) -> Self {
        Self {
            shared: Arc::new(Shared {
                server: self.shared.server.clone(),
                propagation: self.shared.propagation.clone(),
                request_id: self.shared.request_id.clone(),
                site: self.shared.site,
                observer: Some(observer),
            }),
            ..self
        }
    }

    /// What becomes of a handler whose client leaves; it is dropped by default.
    ///
    /// A route can be given *more* life with an [`OnDisconnectLayer`] of its own, and not less: a
    /// handler that this layer runs in a task of its own is in that task whatever stands below. So
    /// leave the default here, unless it is right for no route.
    #[must_use]
    pub fn on_disconnect(self, on_disconnect: OnDisconnect) -> Self {
        Self {
            on_disconnect,
            ..self
        }
    }
}

impl fmt::Debug for HttpLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpLayer")
            .field("server", &self.shared.server)
            .field("on_disconnect", &self.on_disconnect)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for HttpLayer {
    type Service = HttpService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpService {
            inner: OnDisconnectLayer::new(self.on_disconnect).layer(inner),
            shared: Arc::clone(&self.shared),
            ready_since: None,
        }
    }
}

/// A service whose requests have contexts; made by [`HttpLayer`].
///
/// There is a reason to name it only in the type of a stack. It is as [ready](Service::poll_ready) as
/// the service below; how long a request had to wait for that is counted against its deadline.
///
/// Requests reach the service below with a [`RequestBody`], and a
/// [`Ctx`](ripcord_core::Ctx) in their extensions; what it answers goes out in a [`ServerBody`]. An
/// error of the service below is passed on: a 500 is the server's business, or of a layer above.
///
/// # Examples
/// Without axum, over any function from request to response:
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use ripcord_core::Ctx;
/// use ripcord_http::HttpLayer;
/// use ripcord_propagation::Propagation;
/// use std::convert::Infallible;
/// use tower::{Layer as _, ServiceExt as _, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (server, _guard) = ripcord_tokio::root().build();
/// let named = service_fn(async |request: Request<_>| {
///     let name = request.extensions().get::<Ctx>().and_then(Ctx::name).unwrap_or_default();
///     Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::from(name.to_owned())))
/// });
/// let service = HttpLayer::new(&server, Propagation::default()).layer(named);
/// let request = Request::put("/stock/7").body(Full::<bytes::Bytes>::default()).expect("a request");
/// let answer = service.oneshot(request).await.expect("cannot fail");
/// let body = http_body_util::BodyExt::collect(answer.into_body()).await.expect("in time");
/// assert_eq!(body.to_bytes(), "PUT /stock/7");
/// # }
/// ```
pub struct HttpService<S> {
    inner: OnDisconnectService<S>,
    shared: Arc<Shared>,
    /// When the service was first found not to be ready: a request has waited since then.
    ready_since: Option<Instant>,
}

impl<S: Clone> Clone for HttpService<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
            ready_since: None,
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for HttpService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for HttpService<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: fmt::Display + Send + 'static,
    B: Body,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<ServerBody<R>>;
    type Error = S::Error;
    type Future = HttpFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let polled = self.inner.poll_ready(cx);
        if polled.is_pending() && self.ready_since.is_none() {
            self.ready_since = Some(self.shared.server.clock_now());
        }
        polled
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let arrived = self.ready_since.take();
        let arrived = arrived.unwrap_or_else(|| self.shared.server.clock_now());
        let exchange = begin(&self.shared, &request, arrived);
        let ctx = exchange.ctx().clone();
        let is_head = request.method() == Method::HEAD;
        let is_connect = request.method() == Method::CONNECT;
        request.extensions_mut().insert(ctx.clone());
        let canceller = exchange.canceller();
        let connection = connection(&request);
        let request = request.map(|body| RequestBody::new(body, ctx.clone(), canceller));
        let future = if ctx.is_done() {
            // Too late already: the work does not begin, not even the part before its first wait.
            None
        } else {
            Some(self.inner.call(request))
        };
        HttpFuture::new(
            Arc::clone(&self.shared),
            exchange,
            future,
            connection,
            is_head,
            is_connect,
        )
    }
}

/// The context of the connection, where our own server accepted it.
#[cfg(feature = "server")]
fn connection<B>(request: &Request<B>) -> Option<Ctx> {
    let connection = request.extensions().get::<Arc<crate::Connection>>()?;
    Some(connection.ctx().clone())
}

#[cfg(not(feature = "server"))]
fn connection<B>(_: &Request<B>) -> Option<Ctx> {
    None
}

/// Reads the headers and makes the context, below that of the connection where there is one: so a
/// client that leaves ends all of its requests with one cancel, and each has its own end as well.
fn begin<B>(shared: &Shared, request: &Request<B>, arrived: Instant) -> Exchange {
    let mut incoming = shared.propagation.extract(request.headers());
    if let Some(peer) = peer(request) {
        incoming = incoming.from_peer(peer);
    }
    // Nobody asks for more than a name where nobody observes.
    let call = if shared.observer.is_some() {
        Call::of_request(Side::Server, Protocol::Http, request)
    } else {
        let (method, path) = (request.method().as_str(), request.uri().path());
        Call::new(Side::Server, Protocol::Http, method, path)
    };
    let call = call.with_route(route(request)).with_site(shared.site);
    let connection = connection(request);
    let parent = connection.as_ref().unwrap_or(&shared.server);
    Exchange::begin(parent, incoming, call, arrived, shared.observer.as_ref())
}

/// The template of the route, where axum has found it: one name for all orders, and one label.
#[cfg(feature = "axum")]
fn route<B>(request: &Request<B>) -> Option<&str> {
    let path: &axum::extract::MatchedPath = request.extensions().get()?;
    Some(path.as_str())
}

#[cfg(not(feature = "axum"))]
fn route<B>(_: &Request<B>) -> Option<&str> {
    None
}

/// The other end: of our own connection, or what a layer above put into the extensions.
fn peer<B>(request: &Request<B>) -> Option<Peer> {
    #[cfg(feature = "server")]
    if let Some(connection) = request.extensions().get::<Arc<crate::Connection>>() {
        return Some(Peer::at(connection.peer()));
    }
    request.extensions().get::<Peer>().cloned()
}
