//! reqwest under a context: [`ReqwestClient`].
//!
//! reqwest has a request and an answer of its own, which tower layers do not fit around without
//! losing its builder. So this is a wrapper whose `send` does what [`ClientLayer`] does.

use crate::client::body::ClientBody;
use crate::client::error::CallError;
use crate::client::layer::{ClientLayer, Shared};
use reqwest::{Body, Client, Request, RequestBuilder, Response, ResponseBuilderExt as _};
use ripcord_core::Ctx;
use ripcord_propagation::{Call, Protocol, Side};
use std::fmt;
use std::sync::Arc;

/// A `reqwest::Client` whose calls are under a context.
///
/// What [`ClientLayer`] says holds here, too: deadline, trace and the rest go along, and the call
/// ends with its context until the last byte of the answer is read. reqwest's own time-outs count as
/// well; with deadlines there is no need for them, except `connect_timeout`, which tells a host that
/// is away from one that is slow.
///
/// # Examples
/// ```no_run
/// use ripcord_core::Ctx;
/// use ripcord_http::{CallError, ClientLayer, ReqwestClient};
/// use ripcord_propagation::{PeerPolicy, Propagation};
///
/// async fn stock(ctx: &Ctx, client: &ReqwestClient) -> Result<String, CallError<reqwest::Error>> {
///     let answer = client.send(ctx, client.get("http://stock.local/7")).await?;
///     answer.text().await.map_err(CallError::Failed)
/// }
///
/// let layer = ClientLayer::new(Propagation::default(), PeerPolicy::internal());
/// let client = ReqwestClient::new(reqwest::Client::new(), &layer);
/// # let _ = stock(&Ctx::background(), &client);
/// ```
///
/// Reading the answer gives reqwest's own error, also where the context is why. The end is among its
/// sources then:
///
/// ```
/// use ripcord_core::Cancelled;
/// use std::error::Error;
///
/// fn cancelled<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Cancelled> {
///     let mut chain = std::iter::successors(Some(error), |&error| error.source());
///     chain.find_map(|error| error.downcast_ref())
/// }
///
/// let outer: ripcord_http::CallError<reqwest::Error> =
///     Cancelled::new(ripcord_core::Kind::DeadlineExceeded).into();
/// assert!(cancelled(&outer).is_some_and(Cancelled::is_deadline));
/// ```
///
/// # Costs
/// Those of the layer, and a copy of the URL. A clone is two reference counts.
///
/// # Limitations
/// Of a redirect only the first request is told what is left of the deadline; the context ends all
/// of them. What is built with [`get`](reqwest::Client::get) and sent by the builder's own `send()`
/// goes out as by a plain reqwest client, without a context: send it with [`send`](Self::send).
#[derive(Clone)]
pub struct ReqwestClient {
    client: Client,
    shared: Arc<Shared>,
}

impl std::ops::Deref for ReqwestClient {
    type Target = Client;

    /// For `get`, `post` and their fellows, whose builders [`send`](Self::send) takes.
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl ReqwestClient {
    /// Makes calls with `client` as `layer` would: by its propagation, peers and observer.
    ///
    /// One layer may serve clients of several kinds.
    #[must_use]
    pub fn new(client: Client, layer: &ClientLayer) -> Self {
        Self {
            client,
            shared: Arc::clone(&layer.shared),
        }
    }

    /// Sends what a builder has built, under `ctx`.
    ///
    /// The context is an argument here, as reqwest's requests have no extensions to carry it.
    ///
    /// # Errors
    /// [`CallError::Cancelled`] when the context ends first, or nothing is left of its deadline;
    /// [`CallError::Failed`] when the request cannot be built or sent.
    ///
    /// # Cancel safety
    /// Dropped, it gives the call up, on the wire too.
    pub async fn send(
        &self,
        ctx: &Ctx,
        request: RequestBuilder,
    ) -> Result<Response, CallError<reqwest::Error>> {
        let request = request.build().map_err(CallError::Failed)?;
        self.execute(ctx, request).await
    }

    /// Sends a request under `ctx`: for one that was built before, or by somebody else.
    ///
    /// Headers of the propagation's names that are in it are replaced or taken out.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Dropped, it gives the call up, on the wire too.
    pub async fn execute(
        &self,
        ctx: &Ctx,
        mut request: Request,
    ) -> Result<Response, CallError<reqwest::Error>> {
        let (method, url) = (request.method().clone(), request.url().clone());
        let call = Call::new(Side::Client, Protocol::Http, method.as_str(), url.path())
            .with_target(Some(url.scheme()), Some(url.authority()));
        let host = url.host_str().unwrap_or_default();
        let mut span = self.shared.begin(ctx, host, call, request.headers_mut())?;
        match ctx.run(self.client.execute(request)).await {
            Ok(Ok(response)) => {
                span.answered(response.status().as_u16());
                Ok(under(response, |body| ClientBody::new(body, span)))
            }
            Ok(Err(error)) => {
                span.failed(&error);
                span.complete();
                Err(CallError::Failed(error))
            }
            Err(cancelled) => {
                span.cancelled(cancelled.cause());
                span.complete();
                Err(CallError::Cancelled(cancelled))
            }
        }
    }
}

/// The same answer with its body under the context; reqwest keeps the URL beside the parts.
fn under(response: Response, wrap: impl FnOnce(Body) -> ClientBody<Body>) -> Response {
    let url = response.url().clone();
    let (parts, body) = http::Response::from(response).into_parts();
    let mut again = http::Response::from_parts(parts, Body::wrap(wrap(body)));
    if let Ok(tagged) = http::Response::builder().url(url).body(()) {
        again
            .extensions_mut()
            .extend(tagged.into_parts().0.extensions);
    }
    Response::from(again)
}

impl fmt::Debug for ReqwestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestClient")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
