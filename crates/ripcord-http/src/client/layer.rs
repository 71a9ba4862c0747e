//! [`ClientLayer`]: calls go out under the context of whoever makes them.
//!
//! A call is begun in one place for tower and for reqwest (`Shared::begin`): first the observer, which
//! may move the call into a span of its own, then the headers, which carry that span, and last the
//! call itself, unless nothing is left for it.
//!
//! *Costs*: the headers of the call, and one look at the table of peers. The client's future is not
//! boxed.

use crate::client::ClientBody;
use crate::client::call::ClientFuture;
use crate::client::error::CallError;
use crate::client::peers::Peers;
use http::{HeaderMap, Request, Response, Uri};
use http_body::Body;
use ripcord_core::{Cancelled, Ctx};
use ripcord_propagation::{Call, CallObserver, CallSpan, Propagation, Protocol, Side};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// Makes calls under a context, for any HTTP client that is a tower service.
///
/// The context is the one in the request's extensions, else [`Ctx::current`], which inside a handler
/// is that of the request. A call
/// * is told what is left of the deadline, less the peer's reserve; with nothing left it fails here
///   and nothing is sent;
/// * carries trace context, request id, baggage and values, as [`Peers`] allows; copies of such
///   headers that were forwarded from an incoming request are taken out;
/// * ends when the context does, at any time until the last byte of the answer: the client's future
///   or body is dropped, which resets the stream of HTTP/2 and closes the connection of HTTP/1.
///
/// # Examples
/// ```
/// use http::{Request, Response};
/// use ripcord_core::Ctx;
/// use ripcord_http::ClientLayer;
/// use ripcord_propagation::{PeerPolicy, Propagation};
/// use std::time::Duration;
/// use tower::{ServiceBuilder, ServiceExt as _};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// // Stands for a client: answers with the headers that it was sent.
/// let client = tower::service_fn(|request: Request<String>| async move {
///     let timeout = request.headers()["x-request-timeout-ms"].clone();
///     Ok::<_, std::io::Error>(Response::new(timeout.to_str().unwrap_or("").to_owned()))
/// });
/// let client = ServiceBuilder::new()
///     .layer(ClientLayer::new(Propagation::default(), PeerPolicy::external()))
///     .service(client);
///
/// let (root, _guard) = ripcord_tokio::root().build();
/// let ctx = root.with_timeout(Duration::from_millis(1500));
/// let mut request = Request::new(String::new());
/// request.extensions_mut().insert(ctx);
/// let response = client.oneshot(request).await.expect("time is left");
/// let told: u64 = response.into_body().into_inner().parse().expect("milliseconds");
/// assert!(told <= 1500);
/// # }
/// ```
///
/// # With hyper-util's client
/// It is a tower service, and so is every layer of tower-http on it. Layers that make several calls
/// out of one, redirects and retries, stand *above* this one: each of the calls is then told what is
/// left by then, and has an account of its own. What belongs to one call stands below.
///
/// ```no_run
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::{BodyExt as _, Empty};
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use ripcord_http::{ClientLayer, Peers};
/// use ripcord_propagation::{PeerPolicy, Propagation};
/// use tower::{ServiceBuilder, ServiceExt as _};
/// use tower_http::follow_redirect::FollowRedirectLayer;
///
/// # async fn example(ctx: ripcord_core::Ctx) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let peers = Peers::new(PeerPolicy::external()).domain("svc.local", PeerPolicy::internal());
/// let client = ServiceBuilder::new()
///     .layer(FollowRedirectLayer::new())
///     .layer(ClientLayer::new(Propagation::default(), peers))
///     .service(Client::builder(TokioExecutor::new()).build_http());
///
/// let request = Request::get("http://stock.svc.local/7").body(Empty::<Bytes>::new())?;
/// // A redirect is a new request, without the extensions of the first: so the context is entered.
/// let answer = ctx.enter(client.oneshot(request)).await?;
/// let stock = answer.into_body().collect().await?.to_bytes();
/// # drop(stock); Ok(()) }
/// ```
///
/// # Which context
/// In a handler below an [`HttpLayer`](crate::HttpLayer) the current one is that of the request, and in
/// a task that ripcord spawned it is the task's: nothing has to be handed over. A bare `tokio::spawn`
/// loses it, and the call is then under [`Ctx::background`]: it has no deadline, and begins a trace of
/// its own. To be safe from that, put the context into the extensions.
///
/// # Costs
/// A context with a deadline arms a timer when the call first has to wait. One allocation for each
/// header that goes out, and one for the name of the host if there is a table of [`Peers`].
///
/// # Limitations
/// Cancelling many HTTP/1 calls closes as many connections, which the next calls have to open again;
/// HTTP/2 loses only the streams. The callee of a cancelled call learns of it as the network tells it,
/// and not why. Time that a request waits in layers above is the caller's: the deadline is an instant.
#[derive(Clone)]
pub struct ClientLayer {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    propagation: Propagation,
    peers: Peers,
    observer: Option<Arc<dyn CallObserver>>,
}

impl ClientLayer {
    /// Writes headers by `propagation`, and tells peers what `peers` allows.
    ///
    /// Take the propagation of the server's side, so that what came in under some names goes out under
    /// the same. `peers` is a table of [`Peers`], or one [`PeerPolicy`](ripcord_propagation::PeerPolicy)
    /// for everybody: `external()` is the careful choice for a client of which one does not know where
    /// it will be used.
    #[must_use]
    pub fn new(propagation: Propagation, peers: impl Into<Peers>) -> Self {
        Self {
            shared: Arc::new(Shared {
                propagation,
                peers: peers.into(),
                observer: None,
            }),
        }
    }

    /// Tells `observer` of each call: for spans, metrics, or a log of what goes out.
    ///
    /// It is told exactly once of each end, whether the answer was read to its end, given up or
    /// refused before it was sent. A second call replaces the first; see
    /// [`Observers`](ripcord_propagation::Observers) for several. The same observer can be told of both
    /// sides: `call.side` tells them apart.
    ///
    /// # Examples
    /// ```
    /// use http::{Request, Response};
    /// use http_body_util::Empty;
    /// use ripcord_core::Ctx;
    /// use ripcord_http::ClientLayer;
    /// use ripcord_propagation::{AccessLog, PeerPolicy, Propagation};
    /// use std::{convert::Infallible, sync::{Arc, mpsc}, time::Duration};
    /// use tower::{Layer as _, ServiceExt as _, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let (lines, written) = mpsc::channel();
    /// let log = AccessLog::new(move |line| drop(lines.send(line.to_string())));
    /// let layer = ClientLayer::new(Propagation::default(), PeerPolicy::external())
    ///     .observer(Arc::new(log));
    /// let never = service_fn(async |_| Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new())));
    ///
    /// let mut request = Request::get("http://stock.local/7").body(()).expect("a request");
    /// request.extensions_mut().insert(Ctx::background().with_timeout(Duration::ZERO));
    /// assert!(layer.layer(never).oneshot(request).await.is_err());
    /// let line = written.recv().expect("a line of what was not sent, too");
    /// assert!(line.contains(r#""side":"client""#) && line.contains(r#""ending":"cancelled""#), "{line}");
    /// # }
    /// ```
    #[must_use]
    pub fn observer(self, observer: Arc<dyn CallObserver>) -> Self {
        Self {
            shared: Arc::new(Shared {
                propagation: self.shared.propagation.clone(),
                peers: self.shared.peers.clone(),
                observer: Some(observer),
            }),
        }
    }
}

impl fmt::Debug for ClientLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientLayer")
            .field("peers", &self.shared.peers)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Begins a call: its account, and its headers.
    ///
    /// The observer comes first, as it may choose the span that the headers name; so the call that is
    /// refused for want of time has an account, too.
    ///
    /// # Errors
    /// When the context is done, or nothing is left for the call. Then it is accounted for.
    pub(crate) fn begin(
        &self,
        ctx: &Ctx,
        host: &str,
        call: Call<'_>,
        headers: &mut HeaderMap,
    ) -> Result<CallSpan, Cancelled> {
        let mut carried = self.propagation.for_call(ctx);
        let mut span = CallSpan::begin(ctx, &mut carried, call, self.observer.as_ref());
        let peer = self.peers.policy(host);
        match self.propagation.inject_as(ctx, &carried, peer, headers) {
            Ok(_) => Ok(span),
            Err(cancelled) => {
                span.cancelled(cancelled.cause());
                span.complete();
                Err(cancelled)
            }
        }
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = ClientService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ClientService {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }
}

/// A client whose calls are under contexts; made by [`ClientLayer`].
///
/// It is ready when the client is. Waiting for that is the caller's: put it under the context, as
/// `ctx.run(client.oneshot(request))` does, where the client may not be ready for long.
///
/// # Errors
/// [`CallError::Cancelled`] when the context ends before the head of the answer is there, or when
/// nothing is left of its deadline after the peer's reserve; in that case nothing was sent.
/// [`CallError::Failed`] with the client's own error.
#[derive(Clone)]
pub struct ClientService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S: fmt::Debug> fmt::Debug for ClientService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for ClientService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: fmt::Display,
    R: Body,
{
    type Response = Response<ClientBody<R>>;
    type Error = CallError<S::Error>;
    type Future = ClientFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(CallError::Failed)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let ctx = request.extensions().get::<Ctx>().cloned();
        let ctx = ctx.unwrap_or_else(Ctx::current);
        let (mut parts, body) = request.into_parts();
        let begun = {
            let uri = &parts.uri;
            let call = Call::new(
                Side::Client,
                Protocol::Http,
                parts.method.as_str(),
                uri.path(),
            )
            .with_target(
                uri.scheme_str(),
                uri.authority().map(http::uri::Authority::as_str),
            );
            self.shared.begin(&ctx, host(uri), call, &mut parts.headers)
        };
        match begun {
            Ok(span) => {
                let request = Request::from_parts(parts, body);
                ClientFuture::new(ctx.run(self.inner.call(request)), span)
            }
            Err(cancelled) => ClientFuture::refused(cancelled),
        }
    }
}

/// The name for the table of peers; without one, as in a URI that is only a path, the default counts.
fn host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default()
}
